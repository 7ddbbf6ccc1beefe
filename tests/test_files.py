import gzip
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.files import Record, detect_encoding, open_records
from shelfwise.indexer.reading.files.csv import MAX_RECORD_LINES
from shelfwise.indexer.reading.rejects import Reject

CHINESE = "编号,标题,类目\n1,无线蓝牙耳机,电子产品\n2,纯棉T恤 男,服装\n"


def read(path, **options):
    with open_records(path, **options) as source:
        return list(source.records())


def values(path, **options):
    return [record.values for record in read(path, **options)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_every_encoding_gives_the_same_rows(tmp_path, encoding):
    (tmp_path / "c.csv").write_bytes(CHINESE.encode(encoding))
    assert values(tmp_path / "c.csv") == [
        {"编号": "1", "标题": "无线蓝牙耳机", "类目": "电子产品"},
        {"编号": "2", "标题": "纯棉T恤 男", "类目": "服装"},
    ]


def test_a_guessed_encoding_is_reported(tmp_path):
    (tmp_path / "c.csv").write_bytes(CHINESE.encode("gb18030"))
    with open_records(tmp_path / "c.csv") as source:
        assert "GB18030" in source.notices[0]


def test_short_western_text_is_not_detected_as_chinese():
    codec, notices = detect_encoding("id,title\n1,Crème brûlée café\n2,Jalapeño\n".encode("cp1252"))
    assert codec == "utf-8"
    assert "name the encoding of the file" in notices[0]


def test_encoding_can_be_named(tmp_path):
    (tmp_path / "c.csv").write_bytes("id,title\n1,Crème\n".encode("cp1252"))
    assert values(tmp_path / "c.csv", encoding="cp1252") == [{"id": "1", "title": "Crème"}]


def test_a_row_with_an_invalid_byte_is_rejected_and_other_rows_are_read(tmp_path):
    (tmp_path / "c.csv").write_bytes("id,title\n1,好\n2,b\xff\n3,茶\n4,c\n".encode().replace(b"\xc3\xbf", b"\xff"))
    good, bad, *rest = read(tmp_path / "c.csv")
    assert good == Record(2, {"id": "1", "title": "好"})
    assert (bad.line, bad.column, bad.reason) == (3, "title", "invalid byte 0xFF in this encoding")
    assert len(rest) == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_detected(tmp_path, delimiter):
    (tmp_path / "c.csv").write_text(delimiter.join(("id", "title")) + "\n" + delimiter.join(("1", "a")) + "\n")
    assert values(tmp_path / "c.csv") == [{"id": "1", "title": "a"}]


def test_quoted_fields_and_inch_marks_are_read(tmp_path):
    (tmp_path / "c.csv").write_text('id,title\n1,"two\nlines, ""quoted"""\n\n2,Pizza 12" pan\n3,"4"" nails"\n')
    assert read(tmp_path / "c.csv") == [
        Record(2, {"id": "1", "title": 'two\nlines, "quoted"'}),
        Record(5, {"id": "2", "title": 'Pizza 12" pan'}),
        Record(6, {"id": "3", "title": '4" nails'}),
    ]


def test_an_unclosed_quote_rejects_only_its_own_line(tmp_path):
    lines = ["id,title", '1,"never closed', *(f"{i},row {i}" for i in range(2, 2 * MAX_RECORD_LINES))]
    (tmp_path / "c.csv").write_text("\n".join(lines) + "\n")
    bad, *good = read(tmp_path / "c.csv")
    assert isinstance(bad, Reject)
    assert bad.line == 2
    assert [record.line for record in good] == list(range(3, 2 * MAX_RECORD_LINES + 1))


@pytest.mark.parametrize("row", ["1", "1,a,b"])
def test_rows_with_another_number_of_fields_are_rejected(tmp_path, row):
    (tmp_path / "c.csv").write_text(f"id,title\n{row}\n2,b\n")
    bad, good = read(tmp_path / "c.csv")
    assert isinstance(bad, Reject)
    assert (bad.line, bad.value) == (2, row)
    assert good.values == {"id": "2", "title": "b"}


def test_tsv_keeps_quotes_unless_they_enclose_the_field(tmp_path):
    (tmp_path / "c.tsv").write_text('id\ttitle\n1\t"Best" chocolate\n2\t"a ""b"" c"\n3\t5" pan\n')
    assert [v["title"] for v in values(tmp_path / "c.tsv")] == ['"Best" chocolate', 'a "b" c', '5" pan']


def test_jsonl_keeps_types_and_rejects_lines_that_are_not_objects(tmp_path):
    (tmp_path / "c.jsonl").write_text(
        '{"title": "a", "price": 3}\n[1]\n{"title": "b"\n{"title": "\\ud800"}\n{"title": "c"}\n'
    )
    first, array, broken, half, last = read(tmp_path / "c.jsonl")
    assert first == Record(1, {"title": "a", "price": 3})
    assert [bad.line for bad in (array, broken, half)] == [2, 3, 4]
    assert last.values == {"title": "c"}


def test_parquet_and_gzip_read_like_csv(tmp_path):
    rows = [{"id": "1", "title": "茶"}, {"id": "2", "title": "tea"}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress("id,title\n1,茶\n2,tea\n".encode()))
    assert values(tmp_path / "c.parquet") == values(tmp_path / "c.jsonl.gz") == values(tmp_path / "c.csv.gz") == rows


def test_the_format_of_standard_input_is_detected(tmp_path):
    assert values("-", stdin=io.BytesIO(b'{"title": "a"}\n')) == [{"title": "a"}]
    assert values("-", stdin=io.BytesIO(b"title\na\n")) == [{"title": "a"}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.csv", b"", "is empty"),
        ("c.csv", b" \n\n", "is empty"),
        ("c.xlsx", b"PK\x03\x04....", "spreadsheet"),
        ("c.json", b'[{"title": "a"}]', "one object on each line"),
        ("c.csv", b"id,id\n1,2\n", "more than once"),
        ("c.parquet", b"PAR1 but not really", "Parquet"),
        ("c.csv.gz", b"\x1f\x8bnonsense", "damaged"),
        ("c.csv.gz", gzip.compress(b"id,title\n" + b"1,a\n" * 100_000)[:-200], "damaged"),
    ],
)
def test_unusable_files_are_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read(tmp_path / name)


def test_a_truncated_utf16_file_is_refused(tmp_path):
    (tmp_path / "c.csv").write_bytes(CHINESE.encode("utf-16") + b"\x00\xd8\x00")
    with pytest.raises(InputError, match="name the encoding of the file"):
        read(tmp_path / "c.csv")


def test_an_unknown_encoding_is_refused(tmp_path):
    (tmp_path / "c.csv").write_text("id\n1\n")
    with pytest.raises(InputError, match="gb18030"):
        read(tmp_path / "c.csv", encoding="klingon")


fields = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=20)


@given(st.lists(st.tuples(fields, fields), min_size=1, max_size=8))
def test_rows_written_by_the_csv_module_are_read_back(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.mktemp("csv") / "c.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "title"), *rows])
    assert [tuple(v.values()) for v in values(path, encoding="utf-8")] == rows


@given(st.binary(max_size=400))
def test_any_bytes_give_records_rejects_or_one_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "c.csv"
    path.write_bytes(b"id,title\n" + content)
    try:
        found = read(path)
    except InputError:
        return
    assert all(isinstance(row, Record | Reject) for row in found)
