"""Recognition of encodings: right where it is certain, refused with candidates where it is not."""

import codecs
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfwise.indexer.reading.encodings import SHOWN_CHARACTERS, Candidate, EncodingError, detect

# Titles of several words in each language, with the encodings that hold them.
TITLES = {
    ("cp1252", "cp850", "mac-roman"): ["Größe 42 für Männer", "Küchenwaage weiß", "Bügeleisen mit Gehäuse", "Möhren süß",
        "Théière émaillée été", "Crème brûlée à l'ancienne", "Pâte à gâteau", "Niño pequeño montaña", "Jalapeño en cáscara"],
    ("cp1250", "iso8859-2", "cp852"): ["Nóż kuchenny żółty duży", "Ręcznik łazienkowy", "Książka dla dzieci świąteczna",
        "Łyżka do miąższu", "Płaszcz męski brązowy", "Źródło wiśniowe", "Ćwiartka śliwek"],
    ("cp1254",): ["Büyük çocuk ayakkabısı", "Kırmızı şapka", "Yağmurluk ışıklı", "Küçük çay kaşığı", "İnce kulaklık şarjı"],
    ("cp1251", "koi8-r", "cp866"): ["Беспроводные наушники", "Чайник электрический", "Мёд цветочный 500 г", "Детский рюкзак"],
    ("cp1253",): ["Ασύρματα ακουστικά", "Μαχαίρι κουζίνας", "Παιδικό ποδήλατο", "Ελαιόλαδο εξαιρετικό"],
    ("gb18030",): ["无线蓝牙耳机 降噪", "儿童运动鞋 透气 42码", "不锈钢保温杯500ml", "纯棉短袖T恤 夏季新款"],
    ("cp950", "gb18030"): ["無線藍牙耳機 降噪", "兒童運動鞋 透氣", "不鏽鋼保溫杯500ml", "純棉短袖上衣 夏季新款"],
    ("cp932", "euc-jp"): ["ワイヤレスイヤホン 防水", "子供用の運動靴", "ステンレス保温カップ 500ml", "夏用Tシャツ 新品"],
    ("cp949",): ["무선 이어폰 블루투스", "어린이 운동화 화이트", "스테인리스 보온컵 500ml", "여름 반팔 티셔츠"],
}  # fmt: skip
CASES = [(encoding, titles) for encodings, titles in TITLES.items() for encoding in encodings]


def file_of(titles):
    return "id,title,category\n" + "".join(f"{n},{title},Home > Kitchen\n" for n, title in enumerate(titles))


def refused(data, complete=True):
    with pytest.raises(EncodingError) as caught:
        detect(data, complete)
    return caught.value


@pytest.mark.parametrize(("encoding", "titles"), CASES)
def test_files_are_read_as_written_and_the_guess_is_said(encoding, titles):
    data = file_of(titles).encode(encoding)
    found = detect(data, complete=True)
    assert data.decode(found.encoding) == file_of(titles)
    assert len(found.notices) == 1
    assert found.encoding.upper() in found.notices[0]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("titles", TITLES.values())
def test_unicode_is_always_recognised(encoding, titles):
    data = file_of(titles).encode(encoding)
    assert data.decode(detect(data, complete=True).encoding) == file_of(titles)


@pytest.mark.parametrize("title", ["café", "25°C", "Nestlé", "Soy 5 € “best”", "grün", "Ø 5 mm", "кофе", "茶", "お茶", "차", "ขนมๆ", "Tiếng Việt", "🍵",
    "Hawaiʻi", "ქართული", "հայերեն", "日本★"])  # fmt: skip
def test_a_single_character_of_utf8_is_enough(title):
    assert detect(file_of([title]).encode(), complete=True).encoding == "utf-8"


@settings(max_examples=60, deadline=None)
@given(draw=st.randoms(use_true_random=False), case=st.sampled_from(CASES), rows=st.integers(1, 9))
def test_no_part_of_a_file_is_read_wrongly(draw, case, rows):
    encoding, titles = case
    words = [word for title in titles for word in title.split()]
    text = file_of([" ".join(draw.choices(words, k=draw.randint(1, 3))) for _ in range(rows)])
    data = text.encode(encoding)
    try:
        assert data.decode(detect(data, complete=True).encoding) == text
    except EncodingError as error:
        assert error.code == "unknown_file_encoding"


@pytest.mark.parametrize(
    ("encoding", "titles"), [*CASES, ("utf-8", TITLES[("gb18030",)]), ("utf-16-le", TITLES[("gb18030",)])]
)
def test_a_sample_may_end_within_a_character(encoding, titles):
    data = file_of(titles).encode(encoding)
    for size in range(len(data) - 12, len(data)):
        found = detect(data[:size], complete=False).encoding
        text = codecs.getincrementaldecoder(found)().decode(data[:size])
        assert file_of(titles).startswith(text)


def test_a_whole_file_that_ends_within_a_character_is_not_of_that_encoding():
    data = file_of(TITLES[("gb18030",)]).encode("gb18030") + "茶".encode("gb18030")[:1]
    assert "gb18030" not in [one.encoding for one in refused(data).candidates]


def test_an_uncertain_file_shows_a_line_as_each_candidate_reads_it():
    text = file_of(["Crème brûlée café", "Milk"])
    error = refused(text.encode("cp1252"))
    lines = {one.encoding: one.line for one in error.candidates}
    assert lines["cp1252"] == "0,Crème brûlée café,Home > Kitchen"
    assert lines["cp1250"] == "0,Crčme brűlée café,Home > Kitchen"
    assert len({one.line for one in error.candidates}) == len(error.candidates)
    assert "not certain" in str(error)
    assert "\n" not in str(error)
    there = error.at("shop.csv")
    assert (str(there), there.candidates) == (f"shop.csv: {error}", error.candidates)


def test_sample_lines_are_short_and_show_the_letters():
    data = ("x" * 5000 + " café " + "y" * 5000).encode("cp1252")
    for one in refused(data).candidates:
        assert isinstance(one, Candidate)
        assert len(one.line) <= SHOWN_CHARACTERS
        assert not one.line.isascii()


def test_a_sample_line_cannot_control_the_terminal():
    lines = [one.line for one in refused("1,caf\xe9 \x1b[31m\x9b\n".encode("latin-1") + b"Tea\n" * 500).candidates]
    assert lines
    assert all(line.isprintable() or "\ufffd" in line for line in lines)
    assert not any("\x1b" in line or "\x9b" in line for line in lines)


def test_a_line_that_differs_is_shown():
    error = refused(file_of(["Größe 5", "Fußball", "Crème"]).encode("cp1252"))
    assert len({one.line for one in error.candidates}) == len(error.candidates)


def test_a_line_that_ends_like_a_character_of_utf8_is_not_valid():
    data = ("1,café\n2,thé\n3,santé\n" * 9).encode("cp1252") + b"4,tea\n"
    refused(data, complete=False)


def test_a_repeated_word_is_evidence_once():
    refused(file_of(["Crème brûlée"] * 500).encode("cp1252"))


def test_half_of_the_lines_must_be_valid_utf8():
    good, bad = "5,Crème brûlée\n".encode(), "6,Größe\n".encode("cp1252")
    assert detect(b"id,title\n" + 3 * good + 3 * bad, complete=True).encoding == "utf-8"
    refused(b"id,title\n" + 3 * good + 4 * bad)


def test_parts_in_utf8_within_another_encoding_are_not_read_wrongly():
    data = file_of(TITLES["cp1252", "cp850", "mac-roman"]).encode("cp1252")
    assert detect(data, complete=True).encoding == "cp1252"
    refused(data + "77,Café\n".encode())


@pytest.mark.parametrize("letter", ["å", "ü", "ŵ", "茶"])
def test_valid_utf8_is_certain_even_with_a_single_letter(letter):
    assert detect(file_of(["mug", letter]).encode(), complete=True).encoding == "utf-8"


def test_bytes_that_are_no_text_are_refused():
    noise = random.Random(1).randbytes(5000)
    assert refused(noise).candidates == ()
    assert "neither" in str(refused(noise))
    refused(bytes(range(0x80, 0x100)) * 3)
    refused(b"\xff")
    refused(b"\xe9")


def test_nul_bytes_do_not_make_utf16():
    assert detect(b"id,title\n1,a\0b\n", complete=True).encoding == "utf-8"
    assert detect(b"\0" * 40, complete=True).encoding == "utf-8"
    assert detect(file_of(["Crème\0 brûlée"]).encode(), complete=True).encoding == "utf-8"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_text_of_units_without_a_mark_may_be_cut(encoding):
    data = file_of(["Red tea cup", "茶杯"]).encode(encoding)
    for cut in (1, 2, 3):
        found = detect(data[:-cut], complete=True)
        assert found.encoding == encoding
        assert "no byte order mark" in found.notices[0]


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=60), complete=st.booleans())
def test_any_bytes_are_read_or_refused(data, complete):
    try:
        codecs.lookup(detect(data, complete).encoding)
    except EncodingError as error:
        assert str(error)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60), rest=st.text(max_size=60))
def test_a_mark_decides(text, rest):
    assert (
        detect(codecs.BOM_UTF8 + text.encode("utf-8", "ignore") + rest.encode("cp1252", "ignore"), True).encoding
        == "utf-8-sig"
    )
