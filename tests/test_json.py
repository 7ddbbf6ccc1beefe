import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading import json_text
from shelfwise.indexer.reading.files import Record, open_records
from shelfwise.indexer.reading.json_text import MAX_DEPTH, value_of
from shelfwise.indexer.reading.rejects import Reject

ROWS = [
    {"title": "mug", "tags": ["a", "}"]},
    {"title": '杯子 \u2028 "x"', "more": {"a": 1}},
    {"title": "pan", "late": None},
]
LONG = {"count": 3, "products": ROWS, "next": {"page": [1, 2]}}
FORMS = {
    "lines.jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
    "lines.json": "\n\n".join(map(json.dumps, ROWS)) + "\n",
    "array.json": json.dumps(ROWS),
    "array.jsonl": json.dumps(ROWS, ensure_ascii=False),
    "array of lines.json": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "pretty array.json": json.dumps(ROWS, indent=2),
    "pretty objects.jsonl": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "object.json": json.dumps(LONG),
    "pretty object.json": json.dumps(LONG, indent=4),
    "glued.jsonl": "".join(map(json.dumps, ROWS)),
    "arrays.json": json.dumps(ROWS[:1]) + "\n" + json.dumps(ROWS[1:]),
}


def read(folder, text, name="c.json"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with open_records(path) as source:
        return list(source.records()), source.notices, source.columns


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_give_the_same_records(tmp_path, name):
    records, notices, columns = read(tmp_path, FORMS[name], name)
    assert [record.values for record in records] == ROWS
    assert columns == ["title", "tags", "more", "late"]
    assert notices == (["read the list under products"] if "object.json" in name else [])
    with open_records("-", stdin=io.BytesIO(FORMS[name].encode("utf-8-sig"))) as source:
        assert [record.values for record in source.records()] == ROWS


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"status": "ok", "data": {"total": 1, "products": [{"title": "mug"}]}}', "data.products"),
        ('{"a": {"b": {"c": {"rows": [{"title": "mug"}]}}}, "more": {"title": "x"}}', "a.b.c.rows"),
        ('{"filters": [{"key": 1}], "products": []}', "filters"),
        ('{"filters": {"names": [{"key": 1}]}, "data": {"names": [], "goods": [{"title": "mug"}]}}', "data.goods"),
        ('{"options": {"all": [{"title": "size"}]}, "goods": [{"artikel": "mug"}]}', "goods"),
        ('{"title": "mug", "variants": {"all": [{"title": "red"}]}}', None),
        ('{"data": {"images": [{"url": "x"}]}, "artikel": "mug"}', None),
        ('{"data": [1, 2]}', None),
    ],
)
def test_the_list_of_records_is_found_in_inner_objects(tmp_path, text, path):
    records, notices, _ = read(tmp_path, text)
    assert notices == ([f"read the list under {path}"] if path else [])
    assert len(records) == 1
    assert path is None or ("data" not in records[0].values and records[0].values)


@pytest.mark.parametrize(
    "text",
    [
        '{"id": [1, 2], "title": ["mug", "pan"]}',
        '{"id": {"0": 1, "1": 2}, "title": {"0": "mug", "1": "pan"}}',
        '{"columns": ["id", "title"], "index": [0], "data": [[1, "mug"]]}',
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["c.json", "c.jsonl"])
def test_an_object_of_columns_is_refused(tmp_path, text, indent, name):
    with pytest.raises(InputError, match=r"is an object of columns: .*an object for each row"):
        read(tmp_path, json.dumps(json.loads(text), indent=indent), name)


def test_a_listing_of_lists_is_no_object_of_columns(tmp_path):
    row = {"title": "mug", "tags": ["a", "b"], "sizes": ["S", "M"]}
    assert [record.values for record in read(tmp_path, json.dumps(row))[0]] == [row]


@pytest.mark.parametrize("name", FORMS)
def test_text_is_read_in_pieces_of_any_size(tmp_path, name, monkeypatch):
    for size in (1, 2, 7):
        monkeypatch.setattr(json_text, "_PIECE", size)
        assert [record.values for record in read(tmp_path, FORMS[name], name)[0]] == ROWS


def test_a_line_is_the_place_in_the_file_or_in_the_array(tmp_path):
    assert [record.line for record in read(tmp_path, FORMS["lines.json"])[0]] == [1, 3, 5]
    assert [record.line for record in read(tmp_path, FORMS["pretty array.json"])[0]] == [1, 2, 3]


def test_an_object_with_a_title_is_a_record(tmp_path):
    product = {"title": "mug", "images": [{"src": "a.jpg"}]}
    assert read(tmp_path, json.dumps(product, indent=1))[0] == [Record(1, product)]
    assert read(tmp_path, json.dumps(product))[0] == [Record(1, product)]
    feed = {"title": "Our shop", "items": [{"title": "mug"}]}
    assert read(tmp_path, json.dumps(feed))[0] == [Record(1, {"title": "mug"})]
    assert read(tmp_path, json.dumps(feed), "c.jsonl")[0] == [Record(1, feed)]  # one object per line


def test_numbers_are_exact_and_can_be_written_as_json():
    text = '{"a": 1e999, "b": -1e999, "c": 12.0, "d": 123456789012345678901234567890, "e": 1.10, "f": [0.12345678901234567890, 1e3]}'
    assert value_of(text) == {
        "a": "1e999",
        "b": "-1e999",
        "c": 12,
        "d": 123456789012345678901234567890,
        "e": 1.1,
        "f": ["0.12345678901234567890", 1000],
    }
    assert value_of("[1e-99999999999999999999, 1e99999999999999999999]") == [
        "1e-99999999999999999999",
        "1e99999999999999999999",
    ]
    assert value_of("[" + "9" * 5000 + "]") == ["9" * 5000]
    assert value_of('{"a": NaN, "b": Infinity, "c": "NaN", "d": [-Infinity]}') == {
        "a": None,
        "b": "Infinity",
        "c": "NaN",
        "d": ["-Infinity"],
    }


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10))  # fmt: skip
def test_values_written_by_the_json_module_are_read_back(value):
    assert value_of(json.dumps(value)) == value


def test_bad_lines_are_rejected_with_the_reason(tmp_path):
    lines = [
        '{"title": "a"}',
        '{"title": "b"},',
        "{'title': 'c'}",
        '{"title": "d" "x": 1}',
        '{"title": True}',
        "[1]",
        "3",
        '{"title": "\\ud800"}',
        '{"title": "z"}',
    ]
    first, *bad, last = read(tmp_path, "\n".join(lines), "c.jsonl")[0]
    assert (first.values, last.values) == ({"title": "a"}, {"title": "z"})
    assert [reject.line for reject in bad] == list(range(2, 9))
    assert [reject.code for reject in bad] == ["bad_json"] * 6 + ["invalid_character"]
    assert [reject.reason for reject in bad] == [
        "not JSON: a comma follows the object",
        "not JSON: its quotes are ', as in Python, where JSON has \"",
        "not JSON: expecting ',' delimiter at character 15",
        "not JSON: True} is Python, where JSON has true, false and null",
        "not an object but a list",
        "not an object but a number, true, false or null",
        "incomplete character",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"title": "a"},\n{"title": "b"},\n', "a comma follows the object"),
        ("{'title': 'a'}\n{'title': 'b'}\n", "as in Python"),
        ('{"title": "a" "b": 1}\n{"title": "b"}\n', "expecting ',' delimiter"),
        ('{"title": "a"\n{"title": "b"}\n', "first line"),
        ("[{'title': 'a'}]", "as in Python"),
        ("{\n 'title': 'a'\n}", "as in Python"),
        ('"a"\n"b"\n', "not an object"),
    ],
)
@pytest.mark.parametrize("name", ["c.json", "c.jsonl"])
def test_a_file_that_does_not_begin_with_json_is_refused(tmp_path, text, said, name):
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, text, name)
    assert error.value.code == "bad_json"


@pytest.mark.parametrize("name", ["array.json", "pretty array.json", "object.json", "pretty objects.jsonl"])
def test_a_truncated_document_gives_its_records_and_then_an_error(tmp_path, name):
    path = tmp_path / name
    path.write_text(FORMS[name][: FORMS[name].index("late")], encoding="utf-8")
    found = []
    with open_records(path) as source, pytest.raises(InputError, match="after 2 objects") as error:
        found.extend(source.records())
    assert error.value.code == "damaged_file"


def test_a_damaged_element_ends_the_reading(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('[{"title": "a"},\n{"title": "b" 3},\n{"title": "c"}]')
    with open_records(path) as source:
        records = source.records()
        assert next(records).values == {"title": "a"}
        with pytest.raises(InputError, match="object 2, which ends on line 2, is not JSON"):
            next(records)
    for text in ('[{"title": "a"} {"title": "b"}]', '[{"title": "a"},]', '[{"title": "a"}] x'):
        with pytest.raises(InputError) as error:
            read(tmp_path, text)
        assert error.value.code == "bad_json"


def test_two_lists_of_objects_are_refused(tmp_path):
    with pytest.raises(InputError, match="both products and brands are lists of objects"):
        read(tmp_path, json.dumps({"products": ROWS, "brands": [{"name": "KULA"}]}))


@pytest.mark.parametrize("name", ["c.json", "c.jsonl"])
def test_deep_values_are_rejected_alone(tmp_path, name):
    deep = '{"title": ' + "[" * 100_000 + "]" * 100_000 + "}"
    allowed = '{"title": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"
    for text in (f'{{"title": "a"}}\n{deep}\n{allowed}\n', f'[{{"title": "a"}},{deep},{allowed}]'):
        first, bad, last = read(tmp_path, text, name)[0]
        assert isinstance(bad, Reject)
        assert (first.values, bad.line, bad.code) == ({"title": "a"}, 2, "bad_json")
        assert isinstance(last, Record)


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data())
def test_cuts_and_flips_give_records_rejects_or_one_clear_error(tmp_path_factory, name, data):
    whole = FORMS[name].encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"[", b"{", b'"', b"}", b"]", b",", b"\\"]))
    rest = whole[place + 1 :] if data.draw(st.booleans()) else b""
    try:
        records, _, _ = read(tmp_path_factory.mktemp("any"), whole[:place] + piece + rest, name)
    except InputError:
        return
    assert all(isinstance(record, Record | Reject) for record in records)
