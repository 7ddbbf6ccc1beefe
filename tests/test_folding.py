import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shelfwise as sw
from shelfwise.indexer.searching.folding import folded


def test_every_character_is_folded_as_python_does_it():
    texts = [f"{chr(code)}B" for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    assert folded(pa.chunked_array([texts[:9], texts[9:]])).to_pylist() == [text.casefold() for text in texts]


@given(st.lists(st.text(), max_size=20), st.sampled_from([pa.string(), pa.large_string()]))
def test_texts_are_folded_as_python_does_it(texts, kind):
    found = folded(pa.chunked_array([pa.array(texts, kind)]))
    assert (found.to_pylist(), found.type) == ([text.casefold() for text in texts], kind)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [("İpek", "İpek"), ("İpek", "i̇pek"), ("STRASSE", "straße"), ("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος")],
)
def test_a_filter_compares_by_case_folding(tmp_path, stored, asked):
    rows = [
        {"id": "1", "title": "red mug", "category": "Home", "brand": stored, "attributes": f"by: {stored} & co"},
        {"id": "2", "title": "red pan", "category": "Home", "brand": "Other", "attributes": "by: other"},
    ]
    store = sw.build(tmp_path / "s", rows, encoder="hashing")
    for where in ({"brand": asked}, {"attributes": asked}):
        assert [found.id for found in store.similar("red mug", k=1, where=where)] == ["1"]
