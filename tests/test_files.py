import gzip
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.encodings import EncodingError
from shelfwise.indexer.reading.files import FileOptions, Record, open_records
from shelfwise.indexer.reading.rejects import Reject

CHINESE = "编号,标题,类目\n1,无线蓝牙耳机,电子产品\n2,纯棉T恤 男,服装\n"


def read(path, **options):
    with open_records(path, options.pop("stdin", None), FileOptions(**options)) as source:
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


def test_text_of_an_uncertain_encoding_is_refused_with_candidates(tmp_path):
    (tmp_path / "c.csv").write_bytes("id,title\n1,Fu\xdf\n".encode("cp1252"))
    with pytest.raises(EncodingError, match="name the encoding of the file") as error:
        values(tmp_path / "c.csv")
    assert str(tmp_path / "c.csv") in str(error.value)
    assert error.value.candidates


def test_encoding_can_be_named(tmp_path):
    (tmp_path / "c.csv").write_bytes("id,title\n1,Crème\n".encode("cp1252"))
    assert values(tmp_path / "c.csv", encoding="cp1252") == [{"id": "1", "title": "Crème"}]


def test_a_row_with_an_invalid_byte_is_rejected_and_other_rows_are_read(tmp_path):
    (tmp_path / "c.csv").write_bytes("id,title\n1,好\n2,b\xff\n3,茶\n4,c\n".encode().replace(b"\xc3\xbf", b"\xff"))
    good, bad, *rest = read(tmp_path / "c.csv")
    assert good == Record(2, {"id": "1", "title": "好"})
    assert (bad.line, bad.column, bad.reason) == (3, "title", "invalid byte 0xFF in this encoding")
    assert len(rest) == 2


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
        ("c.json", b"[{'title': 'a'}]", "as in Python"),
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


@given(st.binary(max_size=400))
def test_any_bytes_give_records_rejects_or_one_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "c.csv"
    path.write_bytes(b"id,title\n" + content)
    try:
        found = read(path)
    except InputError:
        return
    assert all(isinstance(row, Record | Reject) for row in found)


@pytest.mark.parametrize(
    ("text", "cells", "spaced"),
    [
        ('id, title\n1, "mug, red"\n2, "cup"\n', ["mug, red", "cup"], True),
        ('id; title\n1;  "mug; ""red""\nlarge"\n2; 5" pan\n', ['mug; "red"\nlarge', '5" pan'], True),
        ('id,title\n1," ""x"" y"\n2, z\n', [' "x" y', " z"], False),
        ('id,title\n1, "best\n2, z\n', [' "best', " z"], False),
        ('id,title\n1, "L" wide\n2, z\n', [' "L" wide', " z"], False),
    ],
)
def test_blanks_may_stand_before_the_quotes_around_fields(tmp_path, text, cells, spaced):
    (tmp_path / "c.csv").write_text(text)
    with open_records(tmp_path / "c.csv") as source:
        records = list(source.records())
    assert [list(record.values.values())[1] for record in records] == cells
    assert source.notices == (["blanks before the quotes around fields are left out"] if spaced else [])
