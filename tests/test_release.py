"""Rebuilds: preview of changes, refusal of broken catalogs, and resuming after a kill."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import WORDS, small_catalog, write_catalog

from shelfwise.classifier.changing import maintenance, release
from shelfwise.classifier.changing.checking import check
from shelfwise.classifier.changing.release import ReleaseLimits, flips, releasing
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.encoding.kinds.hashing import HashingEncoder
from shelfwise.indexer.errors import EncoderError, ReleaseError
from shelfwise.indexer.item import Item
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.store import embedded
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.store.snapshot import read_snapshot

PATHS = list(WORDS)


@pytest.fixture
def rebuilt(run, store, tmp_path):
    """Rebuild the store of the small catalog from other items, as in `rebuilt(items, option, ...)`."""

    def call(items, *options):
        write_catalog(tmp_path / "next.csv", items)
        return run("build", "next.csv", "--store", store, *options)

    return call


def swap_categories(items, one=PATHS[0], other=PATHS[2]):
    """Return the items with two categories swapped."""
    to = {one: other, other: one}
    return [replace(item, category_path=to.get(item.category_path, item.category_path)) for item in items]


def test_a_catalog_that_lost_many_items_is_refused(rebuilt, store):
    items = small_catalog()
    refused = rebuilt(items[:39])
    assert refused.exit_code == 1
    assert "11 of 50 items would be removed: expected at most 20%; nothing was changed" in refused.stderr
    assert read_manifest(store).version == 1
    assert rebuilt(items[:39], "--max-removed", "22%", "--max-flipped", "1").exit_code == 0
    assert rebuilt(items[:10], "--max-removed", "0.1").exit_code == 1
    assert rebuilt(items[:10], "--force").exit_code == 0
    assert read_manifest(store).rows == 10


@pytest.mark.slow
def test_a_catalog_with_wrong_labels_is_refused(rebuilt, store):
    refused = rebuilt(swap_categories(small_catalog()))
    assert refused.exit_code == 1
    assert "20 relabelled" in refused.stdout
    assert "known items would get another category: expected at most 5%" in refused.stderr
    assert read_manifest(store).version == 1
    allowed = rebuilt(swap_categories(small_catalog()), "--max-flipped", "50%")
    assert allowed.exit_code == 0
    assert check(store).problems == ()


def test_a_dry_run_reports_flips_and_changes_nothing(rebuilt, store):
    found = json.loads(rebuilt(swap_categories(small_catalog()), "--dry-run", "--json").stdout)
    assert found["relabelled"]["count"] == 20
    assert found["flips"]["probes"] == 50
    assert 15 <= found["flips"]["flipped"] <= 20
    assert f"{PATHS[0]} -> {PATHS[2]}" in "".join(found["flips"]["examples"])
    assert "nothing was changed" in rebuilt(small_catalog()[:5], "--dry-run").stdout
    assert read_manifest(store).version == 1
    assert check(store).problems == ()


@pytest.mark.parametrize("share", ["21", "-1%", "much", "101%", "nan"])
def test_an_invalid_share_is_a_usage_error(rebuilt, share):
    assert rebuilt(small_catalog(), "--max-removed", share).exit_code == 2


def test_a_known_item_does_not_vote_for_itself(store):
    """Its duplicates do not vote for it either. A changed label can affect only other items."""
    index = Index.open(store)
    rows = index.snapshot.rows
    paths = rows.column("category_path")
    paths[0] = PATHS[-1] if paths[0] != PATHS[-1] else PATHS[0]
    columns = {name: rows.column(name) for name in rows.table.column_names} | {"category_path": paths}
    changed = Index.from_rows(index.snapshot, index.encoder, Rows.from_columns(columns, rows.vectors))
    before, after = Classifier.from_index(index), Classifier.from_index(changed)
    found = flips(before, after, rows)
    assert found.probes == 50
    assert not any(example.startswith(f"{rows.column('title')[0]}:") for example in found.examples)
    assert flips(before, before, rows).flipped == 0


@pytest.mark.slow
def test_too_few_probes_give_no_flips(tmp_path):
    items = {item.id: item for item in small_catalog(4)}
    release.build(tmp_path / "s", items, "hashing")
    few = dict(list(items.items())[:12])
    with releasing(tmp_path / "s", few) as next_one:
        assert next_one.flips() is None
        with pytest.raises(ReleaseError):
            next_one.refuse_beyond(ReleaseLimits())
        next_one.refuse_beyond(ReleaseLimits(max_removed=0.4))


class FailingEncoder(HashingEncoder):
    """An encoder whose vectors `fail` spoils."""

    def __init__(self, fail):
        self.fail = fail

    def encode(self, texts, progress=None):
        return self.fail(super().encode(texts, progress))


def spoiled(value):
    """Return a function that sets the first vector to a value."""

    def fail(vectors):
        vectors[0] = value
        return vectors

    return fail


@pytest.mark.parametrize(
    "fail",
    [spoiled(np.nan), spoiled(np.inf), spoiled(0), spoiled(1), lambda made: made[:, :9], lambda made: made[1:]],
    ids=["nan", "infinite", "zero", "long", "narrow", "few"],
)
def test_an_encoder_that_fails_changes_nothing(tmp_path, monkeypatch, fail):
    path, items = tmp_path / "s", {item.id: item for item in small_catalog()}
    failing, new = FailingEncoder(fail), {"n": Item(id="n", title="new thing", category_path="New")}
    monkeypatch.setattr(release, "load_encoder", lambda *_: failing)
    with pytest.raises(EncoderError, match="expected vectors of unit length with 1024 dimensions"):
        release.build(path, items, "hashing")
    assert not path.exists()
    monkeypatch.undo()
    release.build(path, items, "hashing")
    monkeypatch.setattr(release, "encoder_for", lambda *_: failing)
    monkeypatch.setattr(maintenance, "encoder_for", lambda *_: failing)
    for change in (lambda: release.build(path, items | new), lambda: maintenance.apply(path, maintenance.Edit(new))):
        with pytest.raises(EncoderError, match="expected vectors of unit length"):
            change()
    assert read_manifest(path).version == 1
    snapshot = read_snapshot(path)
    index = Index.from_rows(snapshot, failing, snapshot.rows)
    with pytest.raises(EncoderError, match="expected vectors of unit length"):
        index.embed(["red shoe"])


class DyingEncoder(HashingEncoder):
    """An encoder that raises KeyboardInterrupt after a number of batches."""

    def __init__(self, batches):
        self.left, self.seen = batches, []

    def encode(self, texts, progress=None):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.seen += texts
        return super().encode(texts, progress)


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_a_killed_build_resumes_with_the_stored_vectors(tmp_path, monkeypatch, first):
    path, items = tmp_path / "s", {item.id: item for item in small_catalog()}
    if not first:
        release.build(path, dict(list(items.items())[:5]), "hashing")
    monkeypatch.setattr(embedded, "TEXTS_PER_FILE", 8)
    dying, going_on = DyingEncoder(2), DyingEncoder(100)
    monkeypatch.setattr(release, "load_encoder", lambda *_: dying)
    monkeypatch.setattr(release, "encoder_for", lambda *_: dying)
    with pytest.raises(KeyboardInterrupt):
        release.build(path, items, "hashing")
    torn = sorted((path / "embedded").rglob("*.npz"))[0]
    (torn.parent / "torn.npz").write_bytes(torn.read_bytes()[:-30])
    monkeypatch.setattr(release, "load_encoder", lambda *_: going_on)
    monkeypatch.setattr(release, "encoder_for", lambda *_: going_on)
    release.build(path, items, "hashing")
    texts = {item.words.text() for item in items.values()}
    assert len(dying.seen) == 16
    assert not set(dying.seen) & set(going_on.seen)
    assert set(dying.seen) | set(going_on.seen) == texts if first else len(going_on.seen) == len(texts) - 16 - 5
    assert not (path / "embedded").exists()
    rows = read_snapshot(path).rows
    np.testing.assert_array_equal(rows.vectors, HashingEncoder().encode(rows.texts()))


@pytest.mark.slow
def test_items_of_an_earlier_version_are_not_embedded_again(tmp_path):
    path, items = tmp_path / "s", small_catalog()
    whole, part = ({item.id: item for item in some} for some in (items, items[:30]))
    release.build(path, whole, "hashing")
    (held,) = (path / "items.lance" / "data").iterdir()
    assert release.build(path, part).embedded == 0
    back = release.build(path, whole)
    assert (back.added, back.embedded) == (20, 0)
    rows = read_snapshot(path).rows
    np.testing.assert_array_equal(rows.vectors, HashingEncoder().encode(rows.texts()))
    assert {path / name for name in read_snapshot(path, 1).data_files} == {held}


@pytest.mark.slow
def test_dry_runs_and_refused_builds_write_no_rows(rebuilt, store):
    before = sorted(path for path in (store / "items.lance").rglob("*"))
    rebuilt(swap_categories(small_catalog()), "--dry-run")
    rebuilt(swap_categories(small_catalog()))
    assert sorted(path for path in (store / "items.lance").rglob("*")) == before
