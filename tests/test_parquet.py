import datetime
import io
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.files import Record, open_records


def packed(table, **options):
    out = io.BytesIO()
    parquet.write_table(table, out, **options)
    return out.getvalue()


def read(folder, content):
    path = folder / "c.parquet"
    path.write_bytes(content)
    with open_records(path) as source:
        return list(source.records()), source.notices


def column(folder, array):
    records, notices = read(folder, packed(pa.table({"c": array})))
    assert not notices
    return [record.values["c"] for record in records]


FAR = pa.array([40_000_000, 1, None], pa.int32()).cast(pa.date32())


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1003.0, 12.5, None, float("nan"), float("-inf"), 1e300]), [1003, 12.5, None, None, "-Infinity", 1e300]),
        (pa.array([Decimal("1.50"), None]), [Decimal("1.50"), None]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["茶".encode(), b"\xff", None], pa.binary()), ["茶", b"\xff", None]),
        (pa.array([b"a", b"\xff", b"c"]).view(pa.string()), ["a", b"\xff", "c"]),
        (pa.array([["A", "B"], [], None]), [["A", "B"], [], None]),
        (pa.array([{"a": 3.0, "b": [b"x"]}, None]), [{"a": 3, "b": ["x"]}, None]),
        (pa.array([[("a", 1.0)], []], pa.map_(pa.string(), pa.float64())), [{"a": 1}, []]),
        (pa.array([datetime.date(2026, 11, 27)]), [datetime.date(2026, 11, 27)]),
        (FAR, ["<value out of range: 40000000>", "1970-01-02", None]),
        (pa.StructArray.from_arrays([FAR], ["day"]), [{"day": "<value out of range: 40000000>"}, {"day": "1970-01-02"}, {"day": None}]),
        (pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), FAR), [["<value out of range: 40000000>", "1970-01-02"], [None]]),
        (pa.array([5 * 10**17], pa.int64()).cast(pa.timestamp("us")), ["17814-05-16 00:53:20.000000"]),
        (pa.nulls(2), [None, None]),
    ],
)  # fmt: skip
def test_values_of_all_types_are_read(tmp_path, array, expected):
    found = column(tmp_path, array)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_a_column_that_cannot_be_read_does_not_break_the_file(tmp_path):
    times = pa.array([1, 2], pa.int64()).cast(pa.timestamp("us", "Nowhere/Town"))
    records, notices = read(tmp_path, packed(pa.table({"title": ["mug", "pan"], "t": times})))
    assert records == [Record(1, {"title": "mug", "t": None}), Record(2, {"title": "pan", "t": None})]
    assert len(notices) == 1
    assert notices[0].startswith("column t cannot be read and is left empty")


def test_parquet_is_read_from_standard_input():
    content = packed(pa.table({"title": [f"mug {i}" for i in range(3000)]}))
    with open_records("-", stdin=io.BytesIO(content)) as source:
        records = list(source.records())
    assert (len(records), records[-1]) == (3000, Record(3000, {"title": "mug 2999"}))


def test_a_repeated_column_is_renamed(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array(["mug"]), pa.array([2])], ["id", "title", "id"])
    path = tmp_path / "c.parquet"
    path.write_bytes(packed(table))
    with open_records(path) as source:
        assert list(source.records()) == [Record(1, {"id": 1, "title": "mug", "id (2)": 2})]
        assert source.notices == [
            "the header names id more than once: the first keeps the name, the next is called id (2)"
        ]


TABLE = packed(pa.table({"id": list(range(4000)), "title": [f"mug {i * i}" for i in range(4000)]}), row_group_size=1000)


def test_a_damaged_row_group_gives_the_earlier_rows_and_then_an_error(tmp_path):
    groups = parquet.ParquetFile(io.BytesIO(TABLE)).metadata
    start = groups.row_group(2).column(1).dictionary_page_offset or groups.row_group(2).column(1).data_page_offset
    path = tmp_path / "c.parquet"
    path.write_bytes(TABLE[:start] + b"\xff" * 200 + TABLE[start + 200 :])
    found = []
    with open_records(path) as source, pytest.raises(InputError) as error:
        found.extend(record.line for record in source.records())
    assert error.value.code == "bad_parquet"
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= 1000


@settings(max_examples=60)
@given(data=st.data())
def test_cuts_and_flips_give_records_or_one_clear_error(tmp_path_factory, data):
    place = data.draw(st.integers(0, len(TABLE) - 1) | st.integers(len(TABLE) - 1000, len(TABLE) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    content = TABLE[:place] + (b"" if data.draw(st.booleans()) else bytes([TABLE[place] ^ bit]) + TABLE[place + 1 :])
    try:
        records, _ = read(tmp_path_factory.mktemp("any"), content)
    except InputError:
        return
    assert all(isinstance(record, Record) for record in records)
