"""Random sequences of add, upsert, delete and filter on a store, compared with a plain dictionary."""

import math
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import small_catalog
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shelfwise.classifier.changing import maintenance, release
from shelfwise.indexer.errors import QueryError, StoreError
from shelfwise.indexer.item import Item
from shelfwise.indexer.searching import engine
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.searching.search import ExactSearcher
from shelfwise.indexer.store import snapshot as store_module
from shelfwise.indexer.store.snapshot import read_snapshot
from shelfwise.indexer.store.table import in_small_files

IDS = st.sampled_from(
    [f"{letter}'{number}" for letter in "abc" for number in range(4)]
)  # with a quote, to test SQL escaping
TITLES = st.sampled_from(["red shoe", "red shoes", "blue mug", "blue mug 2", "茶杯", "雨靴 加厚", "kettle"])
BRANDS = st.sampled_from(["", "Veloro", "云岚"])
PATHS = st.sampled_from(["Fashion > Shoes", "Home > Mugs", "Home > Kettles"])
ITEMS = st.builds(lambda id_, title, brand, path: Item(id_, title, "", brand, "", path.split(" > ")[-1], path),
                  IDS, TITLES, BRANDS, PATHS)  # fmt: skip


class StoreMachine(RuleBasedStateMachine):
    """Compare every state of the store with `self.items`, searched by the oracle.

    `self.added` has the ids that were added in addition to the catalog.
    """

    @initialize()
    def start(self):
        self.patched = pytest.MonkeyPatch()
        self.build(small_catalog(2))

    def build(self, items):
        self.patched.setattr(maintenance, "SIMILAR_FILES", 2)  # so that added rows are merged at once
        self.folder = Path(tempfile.mkdtemp())
        self.path, self.added = self.folder / "store", set()
        self.items = {item.id: item for item in items}
        release.build(self.path, self.items, "hashing")
        self.held = Index.open(self.path)

    def teardown(self):
        self.patched.undo()
        shutil.rmtree(self.folder)

    @rule(items=st.lists(ITEMS, min_size=1, max_size=4), held=st.sampled_from(["nothing", "an old one", "the last"]))
    def add_or_upsert(self, items, held):
        given = {item.id: item for item in items}
        if held == "the last":
            self.held = self.held.refreshed()
        maintenance.apply(self.path, maintenance.Edit(given), reuse=None if held == "nothing" else self.held)
        self.added |= {id_ for id_, item in given.items() if self.items.get(id_) != item}
        self.items |= given

    @rule(data=st.data())
    def delete(self, data):
        ids = data.draw(st.lists(st.sampled_from(sorted(self.items)), min_size=1, max_size=3, unique=True))
        if len(ids) < len(self.items):
            maintenance.remove(self.path, ids)
            self.added -= set(ids)
            for id_ in ids:
                del self.items[id_]

    @rule(id_=IDS)
    def delete_a_missing_id(self, id_):
        if id_ not in self.items:
            with pytest.raises(QueryError):
                maintenance.remove(self.path, [id_])

    @rule(items=st.lists(ITEMS, min_size=1, max_size=6))
    def rebuild(self, items):
        catalog = {item.id: item for item in items}
        release.build(self.path, catalog)
        self.items = {id_: item for id_, item in self.items.items() if id_ in self.added} | catalog
        self.added -= catalog.keys()

    @invariant()
    def matches_the_oracle(self):
        index = Index.open(self.path)
        ids = sorted(self.items)
        assert list(index.snapshot.rows.column("id")) == ids
        assert len(index) == len(ids)
        texts = [i.words.text() for i in map(self.items.__getitem__, ids)]
        oracle = ExactSearcher(index.space.project(index.encoder.encode(texts)))
        queries = index.embed(["red shoe", "mug", "雨靴"])
        for where, allowed in (
            (None, None),
            ("brand = 'Veloro'", np.array([self.items[id_].brand == "Veloro" for id_ in ids])),
            ("category_path LIKE 'Home%'", np.array([self.items[id_].category_path.startswith("Home") for id_ in ids])),
        ):
            expected, found = oracle.search(queries, len(ids) + 5, allowed), index.search(queries, 5, where)
            stored = np.array([*index.segments.column("id").to_pylist(), ""])  # NONE (-1) selects the last entry
            self.compare(
                stored[found.rows], found.similarities, np.array([*ids, ""])[expected.rows], expected.similarities
            )

    def compare(self, ids, similarities, expected_ids, expected):
        """Require the results to equal the first five of the oracle, which returns all rows."""
        np.testing.assert_array_equal(ids, expected_ids[:, :5])
        np.testing.assert_allclose(similarities, expected[:, :5], atol=1e-5)


class ApproximateStoreMachine(StoreMachine):
    """Run the same rules with the approximate engine of large catalogs.

    The engine may miss rows. Each row it finds must exist, pass the filter and have the stated similarity.
    """

    @initialize()
    def start(self):
        self.patched = pytest.MonkeyPatch()
        for name, value in {
            "APPROXIMATE_FROM": 20, "CELL": 5, "SAMPLED_EVERY": 1, "RECALL": 0.1, "ENGINE_PROBES": 9, "FEWEST_CELLS": 0.1,
            "MOST_CELLS": 1, "PROPOSED": (1,), "RECALL_K": 8, "SPARE_FOUND": 2, "LARGE": 0,
        }.items():  # fmt: skip
            self.patched.setattr(engine, name, value)
        self.build(small_catalog(8))
        assert read_snapshot(self.path).manifest.replica.engine == engine.APPROXIMATE

    def compare(self, ids, similarities, expected_ids, expected):
        for query in range(len(ids)):
            true = dict(zip(expected_ids[query], expected[query], strict=True))
            assert len(set(ids[query]) - {""}) == min(5, len(set(expected_ids[query]) - {""}))
            np.testing.assert_allclose(similarities[query], [true[id_] for id_ in ids[query]], atol=1e-5)
            assert list(similarities[query]) == sorted(similarities[query], reverse=True)


TestApproximateStore = pytest.mark.slow(ApproximateStoreMachine.TestCase)
TestApproximateStore.settings = settings(max_examples=8, stateful_step_count=6)
TestStore = pytest.mark.slow(StoreMachine.TestCase)
TestStore.settings = settings(max_examples=8, stateful_step_count=6)


@pytest.fixture
def path(tmp_path):
    release.build(tmp_path / "store", {item.id: item for item in small_catalog()}, "hashing")
    return tmp_path / "store"


@pytest.mark.slow
def test_only_changed_texts_are_embedded(path):
    items = {item.id: item for item in small_catalog()}
    first, second, third = sorted(items)[:3]
    items[first] = replace(items[first], title="something else")
    items[second] = replace(items[second], category="Moved", category_path="Moved")
    items["copy"] = replace(items[third], id="copy")
    report = release.build(path, items)
    assert (report.added, report.updated, report.removed, report.unchanged) == (1, 2, 0, len(items) - 3)
    assert report.embedded == 1


def test_a_build_without_changes_creates_no_version(path):
    items = {item.id: item for item in small_catalog()}
    report = release.build(path, items)
    assert (report.version, report.embedded, report.unchanged) == (1, 0, len(items))


def test_added_rows_in_many_files_are_merged(path, monkeypatch):
    monkeypatch.setattr(maintenance, "SIMILAR_FILES", 3)
    index, base = Index.open(path), Index.open(path)
    for i in range(10):
        item = Item(f"x{i}", f"new boot {i % 4}", category="Boots", category_path="Boots")
        maintenance.apply(path, maintenance.Edit({item.id: item}, removed=[f"x{i - 5}"]), reuse=index)
        index = index.refreshed()
        assert len(np.unique(index.segments.fresh_row_ids >> np.uint64(32))) <= 6
    assert [id_ for id_ in index.snapshot.rows.row_of if id_.startswith("x")] == [f"x{i}" for i in range(5, 10)]
    assert (
        index.segments.parts[0].texts.equals(base.segments.parts[0].texts) and index.segments.alive[: len(base)].all()
    )


@given(st.lists(st.integers(1, 40), max_size=100), st.integers(2, 16))
def test_files_of_added_rows_stay_few_and_each_row_is_seldom_rewritten(batches, tier):
    files, rewritten, made = dict[int, int](), 0, 0
    for size in batches:
        row_ids = np.array([file << 32 | row for file, rows in files.items() for row in range(rows)], np.uint64)
        moved = in_small_files(row_ids, tier)
        gone = set((moved >> np.uint64(32)).tolist())
        assert len(moved) == sum(files[file] for file in gone)
        rewritten, made = rewritten + len(moved), made + 1
        files = {file: rows for file, rows in files.items() if file not in gone} | {made: size + len(moved)}
    rows = sum(batches)
    sizes = math.ceil(math.log(max(rows, 2), tier)) + 1
    assert sum(files.values()) == rows
    assert len(files) <= tier * sizes
    assert rewritten <= rows * sizes


def test_rows_do_not_depend_on_the_order_of_writing(path, tmp_path):
    items = list(small_catalog())
    release.build(tmp_path / "other", {item.id: item for item in reversed(items)}, "hashing")
    one, other = Index.open(path).snapshot.rows, Index.open(tmp_path / "other").snapshot.rows
    assert one.table.equals(other.table)
    np.testing.assert_array_equal(one.vectors, other.vectors)


def test_a_failed_write_leaves_the_previous_version(path):
    """Uncommitted changes of a failed writer are neither read nor kept."""
    before = read_snapshot(path)
    with pytest.raises(ZeroDivisionError), store_module.writing(path) as draft:
        draft.table.delete(list(before.rows.column("id")[:10]))
        raise ZeroDivisionError
    assert read_snapshot(path).rows.table.equals(before.rows.table)
    report = maintenance.apply(
        path, maintenance.Edit({"new": Item("new", "new boot", category="Boots", category_path="Boots")})
    )
    assert (report.rows, report.version) == (len(before.rows) + 1, 2)


def test_a_second_writer_waits_and_then_names_the_lock_holder(path, monkeypatch):
    monkeypatch.setattr("shelfwise.indexer.store.disk.LOCK_SECONDS", 0.2)
    with store_module.writing(path), pytest.raises(StoreError, match=f"process {os.getpid()} on .*try again"):
        maintenance.remove(path, category="Fashion")


def test_remove_by_category_includes_the_categories_below(path):
    report = maintenance.remove(path, category="Fashion>Shoes")
    assert report.removed == 20
    with pytest.raises(QueryError, match="did you mean Home > Kitchen > Kettles"):
        maintenance.remove(path, category="Home > Kitchen > Kettle")
    with pytest.raises(QueryError, match="all 30 items"):
        maintenance.remove(path, Index.open(path).snapshot.rows.column("id").tolist())
