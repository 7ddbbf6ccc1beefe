import pyarrow as pa
import pytest
from conftest import require_failure
from hypothesis import example, given
from hypothesis import strategies as st

import shelfwise as sw
from shelfwise.indexer.errors import QueryError
from shelfwise.indexer.searching.conditions import LONGEST_CONDITION, matching

ROWS = [
    {"id": "1", "title": "red mug", "brand": "KULA", "attributes": "size: 3; note: it's"},
    {"id": "2", "title": "blue mug", "brand": "Nike", "attributes": ""},
    {"id": "3", "title": "杯子", "brand": "", "attributes": "100%"},
]
TABLES = [pa.Table.from_pylist(ROWS[:2]), pa.Table.from_pylist(ROWS[2:]), pa.Table.from_pylist(ROWS[:0], pa.schema([]))]
TABLES[2] = TABLES[0].slice(0, 0)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("brand = 'KULA'", "1"),
        ("\"brand\" = 'KULA'", "1"),
        (r"title = 'a\b'", ""),
        ("`brand` = 'KULA' OR id > '2'", "13"),
        ("title LIKE '%mug'", "12"),
        ("title = '杯子' AND NOT brand = 'x'", "3"),
        ("attributes LIKE '%it''s%'", "1"),
        ("lower(brand) IN ('kula', 'nike')", "12"),
        ("regexp_match(title, '^b') IS NOT NULL", "2"),
        ("brand = ';'", ""),
        ("NULL", None),
        ("brand = NULL", ""),
        ("true", "123"),
        ("length(id) = 1", "123"),
    ],
)
def test_conditions_choose_rows(condition, ids):
    if ids is None:
        with pytest.raises(QueryError, match="not true or false"):
            matching(TABLES, condition)
    else:
        found = matching(TABLES, condition)
        assert "".join(row["id"] for row, fulfils in zip(ROWS, found, strict=True) if fulfils) == ids


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "brand",
        "'a'",
        "colour = 'x'",
        "brand = ",
        "brand = 'KULA'; AND id = '1'",
        "1 = 1; DROP TABLE items",
        "id IN (SELECT id FROM items)",
        "EXISTS (SELECT * FROM '/etc/passwd')",
        "id = ?",
        "(" * 500 + "true" + ")" * 500,
        "true" + " AND true" * LONGEST_CONDITION,
        "\0",
    ],
)
def test_other_texts_are_refused_in_one_line(run, store, condition):
    with pytest.raises(QueryError) as error:
        matching(TABLES, condition)
    assert error.value.code == "bad_filter"
    assert "\n" not in str(error.value)
    if condition and "\0" not in condition and len(condition) < 2000:
        require_failure(run("similar", "shoe", "--store", store, "--where", condition), "is not valid")


@given(
    st.lists(st.lists(st.text(max_size=5), max_size=30), min_size=1, max_size=4),
    st.text(max_size=3),
)
@example([["a"] * 9000 + ["b"], ["b"]], "b")
def test_rows_keep_their_order_in_tables_of_any_size(parts, text):
    tables = [pa.table({"title": pa.array(part, pa.string())}) for part in parts]
    quoted = text.replace("'", "''")
    assert matching(tables, f"title = '{quoted}'").tolist() == [title == text for part in parts for title in part]


def test_a_condition_reads_what_was_verified(store):
    opened = sw.open(store)
    before = opened.similar("shoe", k=5, where="brand <> '~' AND id >= 'b'")
    assert before
    (file,) = (store / "items.lance" / "data").iterdir()
    content = bytearray(file.read_bytes())
    file.write_bytes(bytes(byte ^ 1 for byte in content))
    assert sw.open(store).similar("shoe", k=5, where="brand <> '~' AND id >= 'b'") == before
