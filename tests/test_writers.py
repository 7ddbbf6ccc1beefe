"""Writers of decisions: what standard readers find in each format is what was written."""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet
from python_calamine import CalamineWorkbook

from shelfwise.classifier.measuring import workbook
from shelfwise.classifier.measuring.output import Layout, kept_names
from shelfwise.classifier.measuring.parquet import types_of
from shelfwise.classifier.measuring.writers import OUTPUT_WRITERS, writer_for
from shelfwise.classifier.model.decision import Alternative, Decision, SimilarItem
from shelfwise.commands.options import OUTPUT_FORMATS
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.files import Record, open_records
from shelfwise.indexer.reading.guard import COLUMNS, guarded, told_apart, unguarded
from shelfwise.indexer.reading.headers import one_line
from shelfwise.indexer.reading.listings import Listing

MUG = Decision(
    category="Mugs",
    category_path="Home > Mugs",
    confidence=0.75,
    decision="accept",
    reason="ok",
    sure_path="Home > Mugs",
    alternatives=(Alternative("Home > Mugs", 0.75),),
    levels=(),
    prediction_set=("Home > Mugs",),
    evidence=(SimilarItem("A", '"red" mug', "", "Home > Mugs", 0.5),),
    tier="full",
    store_version=3,
)
RISKY = (
    "=1+1",
    "'=1",
    "@x",
    "\t=1",
    "\r",
    " -x",
    "＝1",
    "\u200b+1",
    "-5",
    '"',
    "a\rb",
    "a\r\nb",
    ",",
    "",
    "<r>a & b</r>",
)
TEXTS = st.one_of(st.sampled_from(RISKY), st.text(max_size=8))
TABLES = st.lists(TEXTS, min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(st.just(names), st.lists(st.lists(TEXTS, min_size=len(names), max_size=len(names))))
)


def beside_results(names: list[str]) -> list[str]:
    """Return the names of input columns as an output has them: one that a result column has, too, gets a prefix."""
    return [f"input_{name}" if name in COLUMNS else name for name in names]


def written(layout: Layout, *sources: dict[str, object], decision: Decision | None = MUG) -> tuple[bytes, list[str]]:
    """Return an output of some rows, each written alone, and the notices."""
    out = io.BytesIO()
    with writer_for(out, layout) as writer:
        for line, source in enumerate(sources, 2):
            writer.write([Listing(line, Item(), source)], [decision])
    return out.getvalue(), writer.notices


def read_csv(data: bytes, delimiter: str = ",", encoding: str = "utf-8") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(encoding), newline=""), delimiter=delimiter, strict=True))


def read_xlsx(data: bytes) -> Sequence[Sequence[object]]:
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0)
    return sheet.to_python(skip_empty_area=False)


def dicts(names: Sequence[str], rows: list[list[str]]) -> list[dict[str, object]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_the_command_line_offers_all_formats():
    assert tuple(OUTPUT_WRITERS) == OUTPUT_FORMATS


@given(st.text())
def test_a_guard_is_undone_exactly(text):
    assert unguarded(guarded(text)) == text
    assert unguarded(told_apart(text)) == text


@given(st.lists(st.sampled_from("'=-5 \t\r\u200b＋@e,x"), max_size=6).map("".join))
def test_a_guard_is_undone_exactly_where_it_matters(text):
    safe = guarded(text)
    assert unguarded(safe) == unguarded(told_apart(text)) == text
    assert guarded(safe) == f"'{safe}" or safe == text


@pytest.mark.parametrize("start", ["", " ", "\u200b", "\ufeff", "\u3000", "\u00ad", "\u3164", "\x00", "\U000e0001"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_a_cell_that_a_spreadsheet_runs_is_guarded(start, sign):
    assert guarded(f"{start}{sign}SUM(A1)") == f"'{start}{sign}SUM(A1)"


@pytest.mark.parametrize(
    "text", ["-5", "+3.2", "1e5", "-1,5", "+1.234,50", "-20%", "-1E-3", " -5 ", "red - mug", "'s", ""]
)
def test_numbers_and_plain_text_are_not_guarded(text):
    assert guarded(text) == text


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(("fmt", "delimiter"), [("csv", ","), ("csv", ";"), ("tsv", "\t")])
@example(table=(["reason"], [["a"]]))
@given(table=TABLES)
def test_a_text_table_reads_back(fmt, delimiter, raw, table):
    names, rows = table
    data, notices = written(Layout(names, fmt, delimiter, raw), *dicts(names, rows))
    header, *found = read_csv(data, delimiter)
    assert [list(map(unguarded, row[: len(names)])) for row in found] == rows
    assert header == [*map(told_apart if raw else guarded, beside_results(names)), *COLUMNS]
    assert all(row[len(names) :][:3] == ["Mugs", "Home > Mugs", "0.75"] for row in found)
    assert not notices


@example(table=(["reason"], [["a"]]))
@given(table=TABLES)
def test_parquet_reads_back(table):
    names, rows = table
    data, _ = written(Layout(names, "parquet"), *dicts(names, rows))
    found = parquet.read_table(io.BytesIO(data))
    assert found.column_names == [*beside_results(names), *COLUMNS]
    assert [list(row.values())[: len(names)] for row in found.to_pylist()] == rows
    assert found.schema.field("confidence").type == pa.float64()
    assert found["confidence"].to_pylist() == [0.75] * len(rows)


@example(table=(["reason"], [["a"]]))
@given(table=TABLES)
def test_a_workbook_reads_back(table):
    names, rows = table
    data, _ = written(Layout(names, "xlsx"), *dicts(names, rows))
    header, *found = [[str(cell) for cell in row] for row in read_xlsx(data)]
    in_xml = [
        [told_apart(cell).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff") for cell in row]
        for row in [beside_results(names), *rows]
    ]
    assert header == [*in_xml[0], *COLUMNS]
    assert [row[: len(names)] for row in found] == in_xml[1:]
    assert all(row[len(names) + 2] == "0.75" for row in found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4) | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def strict(value):
    """Return a value as strict JSON keeps it."""
    if isinstance(value, dict):
        return {key: strict(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [strict(entry) for entry in value]
    if isinstance(value, float | Decimal):
        number = Decimal(repr(value)) if isinstance(value, float) else value
        return number if number.is_finite() else None
    return value


def refuse(constant: str) -> None:
    raise AssertionError(constant)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "gb18030"])
@given(source=st.dictionaries(st.text(max_size=4), JSON, max_size=3))
def test_jsonl_is_strict_and_reads_back(encoding, source):
    data, _ = written(Layout(list(source), "jsonl", encoding=encoding), source)
    found = json.loads(data.decode(encoding), parse_float=Decimal, parse_constant=refuse)
    names = kept_names(tuple(source))
    assert {column: found[name] for column, name in names.items()} == strict(source)
    assert found["alternatives"] == [{"category_path": "Home > Mugs", "probability": Decimal("0.75")}]


@pytest.mark.parametrize("fmt", OUTPUT_WRITERS)
def test_an_output_of_an_output_has_each_column_once(fmt):
    source: dict[str, object] = {"title": "mug", "decision": "mine", "input_decision": "older"}
    header = list(json.loads(written(Layout(list(source), "jsonl"), source)[0]))
    assert header == ["title", "input_input_decision", "input_decision", *COLUMNS]
    again = dict.fromkeys(COLUMNS, "old") | {"title": "mug", "input_decision": "mine"}
    data, _ = written(Layout(list(again), fmt, "\t" if fmt == "tsv" else ","), again)
    if fmt == "parquet":
        found = parquet.read_table(io.BytesIO(data)).column_names
    elif fmt == "xlsx":
        found = read_xlsx(data)[0]
    else:
        found = list(json.loads(data)) if fmt == "jsonl" else read_csv(data, "\t" if fmt == "tsv" else ",")[0]
    assert found == ["title", "input_decision", *COLUMNS]


@pytest.mark.parametrize("fmt", OUTPUT_WRITERS)
def test_a_row_without_a_decision_has_empty_results(fmt):
    data, _ = written(Layout(["title"], fmt), {"title": "variant"}, decision=None)
    if fmt == "parquet":
        (row,) = parquet.read_table(io.BytesIO(data)).to_pylist()
    elif fmt == "jsonl":
        row = json.loads(data)
    else:
        header, values = read_xlsx(data) if fmt == "xlsx" else read_csv(data)
        row = dict(zip(map(str, header), values, strict=False))
    assert row.pop("title") == "variant"
    assert not any(row.values())


def test_a_table_of_json_rows_keeps_values_and_names_late_columns():
    first = {"title": "mug", "size": None, "new": True, "tags": ["a", 1.5], "big": Decimal("1E+999"), "raw": b"\xff"}
    data, notices = written(Layout(list(first)), first, {"title": "cup", "price": 3})
    _, row, second = read_csv(data)
    assert row[: len(first)] == ["mug", "", "true", '["a", 1.5]', "1E+999", ""]
    assert second[0] == "cup"
    assert len(notices) == 1 and "price" in notices[0]


def test_an_encoding_that_lacks_a_character_becomes_utf8_with_a_mark():
    out = io.BytesIO()
    with writer_for(out, Layout(["title"], encoding="cp1252")) as writer:
        writer.write([Listing(2, Item(), {"title": "café"})], [MUG])
        assert b"caf\xe9" in out.getvalue()
        writer.write([Listing(3, Item(), {"title": "杯子 \ud800"})], [MUG])
        writer.write([Listing(4, Item(), {"title": "tasse"})], [MUG])
    assert out.getvalue().count(b"\xef\xbb\xbf") == 1
    assert [row[0] for row in read_csv(out.getvalue(), encoding="utf-8-sig")] == [
        "title",
        "café",
        "杯子 \\ud800",
        "tasse",
    ]
    assert len(writer.notices) == 1 and "cp1252" in writer.notices[0] and "杯" in writer.notices[0]


@pytest.mark.parametrize(("expected", "title"), [((), "\\u676f"), (("Home > 杯",), "杯")])
def test_a_stream_that_cannot_be_rewritten_is_utf8_from_the_start_if_categories_need_it(expected, title):
    file = io.BytesIO()
    out = gzip.GzipFile(fileobj=file, mode="wb")
    with out, writer_for(out, Layout(["title"], encoding="cp1252"), expected) as writer:
        writer.write([Listing(2, Item(), {"title": "杯"})], [MUG])
    text = gzip.decompress(file.getvalue()).decode("utf-8-sig" if expected else "cp1252")
    assert text.splitlines()[1].startswith(f"{title},")
    assert len(writer.notices) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "gb18030", "iso2022_jp"])
def test_an_encoding_and_its_mark_are_kept(encoding):
    data, notices = written(Layout(["title"], encoding=encoding), {"title": "日本"}, {"title": "日"})
    assert data == "\n".join([*data.decode(encoding).splitlines(), ""]).encode(encoding)
    assert not notices


def test_a_workbook_cuts_what_a_cell_cannot_hold_and_says_so():
    data, notices = written(Layout(["title"], "xlsx"), {"title": "x" * 40_000}, {"title": "😀" * 20_000})
    assert [row[0] for row in read_xlsx(data)[1:]] == ["x" * 32_767, "😀" * 16_383]
    assert len(notices) == 1 and "Excel holds: 2" in notices[0]


def test_a_workbook_keeps_numbers_and_long_digits():
    source = {"title": "mug", "price": 2.5, "stock": 3, "ean": 4006381333931004, "new": True, "none": float("nan")}
    data, _ = written(Layout(list(source), "xlsx"), source)
    assert read_xlsx(data)[1][:6] == ["mug", 2.5, 3.0, "4006381333931004", True, ""]


def test_a_full_sheet_is_an_error_and_what_fits_stays_readable(monkeypatch):
    monkeypatch.setattr(workbook, "MOST_SHEET_ROWS", 2)
    out = io.BytesIO()
    with pytest.raises(InputError, match="at most 1 rows"), writer_for(out, Layout(["title"], "xlsx")) as writer:
        writer.write([Listing(line, Item(), {"title": "mug"}) for line in (2, 3)], [MUG, MUG])
    assert len(read_xlsx(out.getvalue())) == 2
    with pytest.raises(InputError, match="columns"):
        writer_for(io.BytesIO(), Layout(list(map(str, range(20_000))), "xlsx"))


def test_parquet_keeps_the_simple_types_of_parquet(tmp_path):
    table = pa.table({"title": ["mug"], "price": [2.5], "stock": pa.array([3], pa.int16()), "tags": [["a"]]})
    parquet.write_table(table, tmp_path / "l.parquet")
    types = types_of(str(tmp_path / "l.parquet"))
    data, _ = written(Layout(table.column_names, "parquet", types=types), table.to_pylist()[0])
    found = parquet.read_table(io.BytesIO(data))
    assert list(found.to_pylist()[0].values())[:4] == ["mug", 2.5, 3, '["a"]']
    assert found.schema.types[:4] == [pa.string(), pa.float64(), pa.int16(), pa.string()]
    with pytest.raises(InputError, match="'stock' has a value"):
        written(Layout(table.column_names, "parquet", types=types), {"stock": "three"})
    assert types_of("standard input") == {}


NO_CELL = "\ufffe\uffff"  # XML has no form for these
KEPT_TEXTS = st.one_of(
    st.sampled_from((*RISKY, "''-x", ";", "\t")),
    st.text(st.characters(exclude_characters=NO_CELL, codec="utf-8"), max_size=8),
)
# White space in a header is folded, a column without a name gets one, and one of the results gets a prefix. After a
# byte order mark of UTF-16, a NUL would make it one of UTF-32.
KEPT_NAMES = KEPT_TEXTS.map(one_line).filter(
    lambda name: name.strip("\0")[:1] == name[:1] != "" and name not in COLUMNS
)
KEPT_TABLES = st.lists(KEPT_NAMES, min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(
        st.just(names), st.lists(st.lists(KEPT_TEXTS, min_size=len(names), max_size=len(names)), min_size=1, max_size=5)
    )
)


def read_again(data: bytes) -> tuple[list[str], list[dict[str, object]]]:
    """Return the columns and rows of a file without the result columns."""
    with open_records("-", stdin=io.BytesIO(data)) as source:
        records = list(source.records())
        columns = source.columns
    assert columns[-len(COLUMNS) :] == list(COLUMNS)
    assert all(isinstance(record, Record) for record in records)
    return columns[: -len(COLUMNS)], [
        {name: value for name, value in record.values.items() if name not in COLUMNS}
        for record in records
        if isinstance(record, Record)
    ]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("fmt", "delimiter", "encoding"),
    [
        *((fmt, "\t" if fmt == "tsv" else ",", "utf-8") for fmt in OUTPUT_WRITERS),
        ("csv", ";", "utf-8-sig"),
        ("csv", ",", "utf-16"),
        ("jsonl", ",", "utf-16"),
    ],
)
@given(table=KEPT_TABLES)
def test_a_table_that_we_wrote_is_the_same_table(fmt, delimiter, encoding, raw, table):
    names, cells = table
    rows = dicts(names, cells)
    columns, found = read_again(written(Layout(names, fmt, delimiter, raw, encoding), *rows)[0])
    assert columns == names
    assert [{name: value or "" for name, value in row.items()} for row in found] == rows
