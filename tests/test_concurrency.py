"""Readers and writers of one store at the same time."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import small_catalog

from shelfwise.classifier.changing import maintenance, release
from shelfwise.classifier.changing.checking import check
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.item import Item
from shelfwise.indexer.searching.compaction import compact
from shelfwise.indexer.store import snapshot as store_module
from shelfwise.indexer.store.disk import locked
from shelfwise.indexer.store.history import history
from shelfwise.indexer.store.snapshot import read_snapshot

pytestmark = pytest.mark.slow

LISTINGS = [Item(str(i), item.title) for i, item in enumerate(small_catalog(2))]


def run_in_threads(*works):
    """Run all functions in threads at the same time and return their failures."""
    failures = []

    def guarded(work):
        try:
            work()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def marker(version):
    """Return the item whose title names the version that wrote it last."""
    return Item("marker", f"marker {version}", category="Markers", category_path="Markers")


def test_readers_see_complete_versions_only(store):
    maintenance.apply(store, maintenance.Edit({"marker": marker(2)}))
    done, seen, items = threading.Event(), set(), {item.id: item for item in small_catalog()}

    def read():
        classifier = Classifier.open(store)
        while not done.is_set():
            classifier = classifier.refreshed()
            manifest, segments = classifier.index.snapshot.manifest, classifier.index.segments
            decisions = classifier.classify(LISTINGS)
            assert {decision.store_version for decision in decisions} == {manifest.version}
            assert manifest.rows == len(classifier.index)
            if manifest.change.command != "remove":
                row = segments.row_of("marker")
                assert segments.column("title")[row].as_py() == f"marker {manifest.version}"
            seen.add(manifest.version)

    def write():
        try:
            for turn in range(5):
                maintenance.apply(
                    store,
                    maintenance.Edit({"marker": marker(4 * turn + 3), "more": replace(items["als-000"], id="more")}),
                )
                maintenance.remove(store, ["more"])
                release.build(store, {**items, "marker": marker(4 * turn + 5)})
                maintenance.apply(store, maintenance.Edit({"marker": marker(4 * turn + 6)}))
                compact(store, 2)
        finally:
            done.set()

    assert run_in_threads(write, *[read] * 3) == []
    assert len(seen) > 3
    assert read_snapshot(store).manifest.version == 22


def test_two_writers_lose_no_items(store):
    def write(name):
        for i in range(6):
            maintenance.apply(store, maintenance.Edit({f"{name}{i}": replace(small_catalog()[0], id=f"{name}{i}")}))

    assert run_in_threads(lambda: write("a"), lambda: write("b")) == []
    rows = read_snapshot(store).rows
    assert {f"{name}{i}" for name in "ab" for i in range(6)} <= rows.row_of.keys()
    assert len(rows) == 50 + 12
    assert len(history(store)) == 13
    assert check(store).problems == ()


def test_a_writer_without_pauses_does_not_starve_another_writer(store, monkeypatch):
    monkeypatch.setattr("shelfwise.indexer.store.disk.LOCK_SECONDS", 2.0)
    done = threading.Event()

    def without_a_pause():
        while not done.is_set():
            with locked(store):
                time.sleep(0.01)

    def once_in_a_while():
        try:
            for _ in range(3):
                with locked(store):
                    pass
        finally:
            done.set()

    assert run_in_threads(without_a_pause, once_in_a_while) == []


def test_refreshed_reuses_the_classifier_and_its_encoder(store, monkeypatch):
    classifier = Classifier.open(store)
    assert classifier.refreshed() is classifier
    maintenance.apply(
        store, maintenance.Edit({"new": Item("new", "zirconium crucible", category="Labware", category_path="Labware")})
    )
    monkeypatch.setattr(
        "shelfwise.indexer.searching.index.encoder_for", lambda *_: pytest.fail("the encoder was loaded again")
    )
    (decision,) = classifier.refreshed().classify([Item("", "zirconium crucible")])
    assert (decision.category, decision.store_version) == ("Labware", 2)


def test_a_second_first_build_leaves_the_running_one_intact(tmp_path, monkeypatch):
    """The loser of two concurrent first builds must not remove the winner's folder."""
    monkeypatch.setattr("shelfwise.indexer.store.disk.LOCK_SECONDS", 0.2)
    items = {item.id: item for item in small_catalog()}
    real = Path.exists

    def finds_no_folder(path):  # as if both builds checked before the folder existed
        return False if path == tmp_path / "s" else real(path)

    with store_module.writing(tmp_path / "s", create=True) as draft:
        monkeypatch.setattr(Path, "exists", finds_no_folder)
        with pytest.raises(StoreError, match="is being written by"):
            release.build(tmp_path / "s", items, "hashing")
        monkeypatch.undo()
        assert (tmp_path / "s").is_dir()
        assert draft.base is None
