import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.files import Record, open_records
from shelfwise.indexer.reading.files.xml import MAX_DEPTH
from shelfwise.indexer.reading.rejects import Reject

GOOGLE = 'xmlns:g="http://base.google.com/ns/1.0"'
RSS = f"""<?xml version="1.0" encoding="UTF-8"?>
<rss {GOOGLE} version="2.0"><channel><title>Our shop</title><link>https://shop.example</link>
<item><g:id>1</g:id><title>Mug</title><g:product_type>Kitchen &gt; Mugs</g:product_type>
  <description><![CDATA[<b>Red</b> & large]]></description></item>
<item><g:id>2</g:id><title>茶杯</title><g:product_type>Kitchen</g:product_type><g:product_type>Mugs</g:product_type></item>
</channel></rss>"""


def read(folder, text, name="c.xml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with open_records(path) as source:
        return list(source.records()), source.notices, source.columns


def rows(folder, text):
    return [record.values for record in read(folder, text)[0]]


def test_a_merchant_feed_is_read(tmp_path):
    records, notices, columns = read(tmp_path, RSS)
    assert records == [
        Record(3, {"id": "1", "title": "Mug", "product_type": "Kitchen > Mugs", "description": "<b>Red</b> & large"}),
        Record(5, {"id": "2", "title": "茶杯", "product_type": ["Kitchen", "Mugs"]}),
    ]
    assert (notices, columns) == ([], ["id", "title", "product_type", "description"])
    assert read(tmp_path, RSS, "c.txt")[0] == records
    with open_records("-", stdin=io.BytesIO(b"\xef\xbb\xbf" + RSS.encode())) as source:
        assert list(source.records()) == records


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("g:", "x:"),
        lambda text: text.replace("g:", "").replace("xmlns:g", "xmlns"),
        lambda text: text.replace(GOOGLE, ""),
        lambda text: (
            text.replace("rss", "feed").replace("<channel>", "").replace("</channel>", "").replace("item>", "entry>")
        ),
        lambda text: "\n\n" + text,
    ],
)
def test_prefixes_and_feeds_vary(tmp_path, change):
    assert rows(tmp_path, change(RSS)) == rows(tmp_path, RSS)


def test_the_name_of_google_comes_first_and_no_value_is_lost(tmp_path):
    item = "<item><title>Mug</title><g:title>Red mug</g:title><link>x</link><g:link>x</g:link></item>"
    text = f"<rss {GOOGLE}><channel>{item}</channel></rss>"
    assert rows(tmp_path, text) == [{"plain:title": "Mug", "title": "Red mug", "link": "x"}]


def test_other_files_repeat_an_element(tmp_path):
    text = """<shop><name>S</name><categories><category id="1">A</category><category id="2" parent="1">B</category></categories>
        <offers><offer id="7"><name>mug</name><price currency="EUR">3</price><param name="Colour">red</param><param name="Size">M</param>
        <box><w>1</w><h>2</h></box><link href="x"/><none/></offer><offer id="8"><name>a <b>big</b> pan</name></offer></offers></shop>"""
    records, notices, _ = read(tmp_path, text)
    assert [record.values for record in records] == [
        {
            "name": "mug",
            "price": "3",
            "price@currency": "EUR",
            "param": ["red", "M"],
            "param@name": ["Colour", "Size"],
            "box": {"w": "1", "h": "2"},
            "link": {"href": "x"},
            "none": "",
            "id": "7",
        },
        {"name": "a big pan", "id": "8"},
    ]
    assert notices == ["read each <offer> as a row"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<products><product><title>mug</title></product></products>", [{"title": "mug"}]),
        (
            "<shop><products><product><title>a</title><id>1</id></product></products></shop>",
            [{"title": "a", "id": "1"}],
        ),
        (
            '<rows><row id="1" title="a"/><row id="2" title="b"/></rows>',
            [{"id": "1", "title": "a"}, {"id": "2", "title": "b"}],
        ),
        ("<rss><channel><title>shop</title></channel></rss>", []),
        ("<rss><channel><item><title>one</title></item></channel></rss>", [{"title": "one"}]),
    ],
)
def test_small_files_are_read(tmp_path, text, expected):
    assert rows(tmp_path, text) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030", "big5", "shift_jis"])
def test_the_declaration_names_the_encoding(tmp_path, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><a><p><t>茶杯</t></p><p><t>é</t></p></a>'
    text = text if encoding in ("utf-8", "utf-16", "gb18030") else text.replace("é", "e")
    assert rows(tmp_path, text.encode(encoding))[0] == {"t": "茶杯"}


def test_entities_of_html_are_known(tmp_path):
    text = "<a><p><t>caf&eacute;&nbsp;&amp; &unknown;</t></p><p><t>x</t></p></a>"
    assert rows(tmp_path, text)[0] == {"t": "café\xa0& &unknown;"}


BOMB = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f'<!DOCTYPE a [<!ENTITY a0 "ha">{BOMB}]><a><p><t>&a9;</t></p></a>', "xml_declarations"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><p><t>&x;</t></p></a>', "xml_declarations"),
        ('<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><a/>', "xml_declarations"),
        ("<!doctype html><html><body>Not found</body></html>", "is_a_web_page"),
        ('<?xml version="1.0"?><!DOCTYPE html PUBLIC "a" "b"><html/>', "is_a_web_page"),
        ("<html><body>", "is_a_web_page"),
        ('<?xml version="1.0"?><Workbook><Worksheet/></Workbook>', "is_a_spreadsheet"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "unknown_encoding"),
        ('<?xml version="1.0" encoding="base64"?><a/>', "unknown_encoding"),
        ('<?xml version="1.0" encoding="gbk"?><a><p><t>\xff\xff</t></p></a>'.encode("latin-1"), "undecodable_file"),
        ("title,price\nmug,3\n", "bad_xml"),
        ("<a><p><t>x</q></p></a>", "bad_xml"),
        ("<a><p><t>x", "damaged_file"),
    ],
)
def test_unusable_files_are_refused(tmp_path, text, code):
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert error.value.code == code


def test_a_document_type_elsewhere_is_never_opened(tmp_path):
    (tmp_path / "own.dtd").write_text('<!ENTITY x "from the file">')
    text = f'<!DOCTYPE a SYSTEM "{tmp_path}/own.dtd"><a><p><t>1&x;</t></p><p><t>2</t></p></a>'
    assert rows(tmp_path, text) == [{"t": "1&x;"}, {"t": "2"}]


def test_a_truncated_feed_gives_its_rows_and_then_an_error(tmp_path):
    path = tmp_path / "c.xml"
    path.write_text(RSS[: RSS.index("<g:id>2") + 9], encoding="utf-8")
    with open_records(path) as source:
        records = source.records()
        assert next(records).values["title"] == "Mug"
        with pytest.raises(InputError, match="ends too early, on line 5") as error:
            next(records)
    assert error.value.code == "damaged_file"


def test_deep_rows_are_rejected_alone(tmp_path):
    deep = "<q>" * (MAX_DEPTH + 2) + "</q>" * (MAX_DEPTH + 2)
    first, bad, last = read(tmp_path, f"<a><p><t>1</t></p><p>{deep}</p><p><t>2</t></p></a>")[0]
    assert isinstance(bad, Reject)
    assert (first.values, bad.code, last.values) == ({"t": "1"}, "bad_xml", {"t": "2"})


def test_memory_stays_bounded_in_a_long_feed(tmp_path):
    import tracemalloc

    item = "<item><g:id>1</g:id><title>" + "Mug " * 50 + "</title></item>\n"
    (tmp_path / "c.xml").write_text(f"<rss {GOOGLE}><channel>{item * 40_000}</channel></rss>")
    tracemalloc.start()
    with open_records(tmp_path / "c.xml") as source:
        assert sum(1 for _ in source.records()) == 40_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 7 << 20


@given(data=st.data())
def test_cuts_and_flips_give_records_or_one_clear_error(tmp_path_factory, data):
    whole = RSS.encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"<", b">", b"&", b"/"]))
    rest = whole[place + 1 :] if data.draw(st.booleans()) else b""
    try:
        records, _, _ = read(tmp_path_factory.mktemp("any"), whole[:place] + piece + rest)
    except InputError:
        return
    assert all(isinstance(record, Record | Reject) for record in records)
