"""Training: held-out rows, and the settings chosen on them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from conftest import small_catalog
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.classifier.changing import release
from shelfwise.classifier.fitting import heldout
from shelfwise.classifier.fitting.heldout import (
    FOLDS,
    HELD_OUT_SHARE,
    MAX_HELD_OUT_SHARE,
    NEW_EXAMPLES,
    TRIED,
    choose_axes,
    fold_of,
    folds,
    held_out,
    rank_within,
    share_held_out,
    splits,
    tried,
)
from shelfwise.classifier.fitting.training import train
from shelfwise.classifier.labels import Labels
from shelfwise.classifier.model.model import Goals, Model, Settings
from shelfwise.indexer.encoding.kinds.hashing import HashingEncoder
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.item import Item, words_of
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.search import FaissSearcher
from shelfwise.indexer.store.snapshot import read_snapshot


def rows_of(items):
    items = sorted(items, key=lambda item: item.id)
    columns = {
        "id": [i.id for i in items],
        "title": [i.title for i in items],
        "brand": [i.brand for i in items],
        "attributes": [i.attributes for i in items],
        "description": [i.description for i in items],
        "category": [i.category for i in items],
        "category_path": [i.category_path for i in items],
        "twin_key": [words_of(i.title).twin_key() for i in items],
    }
    return Rows(pa.table(columns), HashingEncoder().encode([i.title for i in items]))


def evidence_of(rows, axes=0):
    labels = Labels.from_paths(rows.column("category_path"), rows.column("category"))
    return list(folds(rows, labels, splits(rows, labels), axes, "mlp"))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), min_size=1, max_size=80))
def test_duplicates_share_a_fold(rows):
    keys = np.array([words_of(str(title)).twin_key() for title, _ in rows], object)
    categories = np.array([category for _, category in rows], np.int64)
    fold = fold_of(keys, categories)
    assert set(fold) <= set(range(FOLDS))
    for key in set(keys):
        assert len(set(fold[keys == key])) == 1


def test_categories_are_spread_evenly_over_the_folds():
    keys = np.array([words_of(str(i)).twin_key() for i in range(100)], object)
    categories = np.arange(100) % 4
    for category in range(4):
        assert np.bincount(fold_of(keys, categories)[categories == category]).tolist() == [5] * FOLDS


def test_rank_within_counts_earlier_rows_of_the_same_value():
    assert rank_within(np.array([2, 0, 2, 2, 0])).tolist() == [0, 0, 1, 2, 1]


def test_a_duplicate_never_votes_for_its_row(monkeypatch):
    """Every title is in the catalog in five spellings. None may find another spelling of itself."""
    spellings = (str, str.upper, str.title, lambda t: t.replace(" ", "  "), lambda t: f"<b>{t}</b>")
    items = [
        replace(item, id=f"{item.id}-{i}", title=spell(item.title))
        for item in small_catalog()
        for i, spell in enumerate(spellings)
    ]
    rows = rows_of(items)
    searched = []

    class Spy(FaissSearcher):
        def __init__(self, vectors):
            searched.append(len(vectors))
            super().__init__(vectors)

    monkeypatch.setattr(heldout, "FaissSearcher", Spy)
    found = evidence_of(rows)
    assert len(found) == FOLDS
    assert searched[0] == len(rows) * 4 // 5
    keys, fold = rows.column("twin_key"), fold_of(rows.column("twin_key"), np.zeros(len(rows), np.int64))
    assert len(set(zip(keys, fold, strict=True))) == len(set(keys))
    for evidence in found:
        # Hashed n-grams give duplicates a similarity of 1, so a duplicate among the neighbours would be the best.
        assert evidence.closed.neighbors.best().max() < 0.999


def test_the_rehearsal_hides_categories_from_the_head_and_keeps_five_examples():
    rows = rows_of(small_catalog(20))
    labels = Labels.from_paths(rows.column("category_path"), rows.column("category"))
    hidden_once = np.zeros(len(labels), int)
    for fold in evidence_of(rows):
        for opened in fold.opened():
            hidden = ~opened.known
            hidden_once += hidden
            assert (opened.counts[hidden] == NEW_EXAMPLES).all()
            assert (opened.counts[~hidden] == fold.closed.counts[~hidden]).all()
            for opinion in opened.opinions.values():
                assert not opinion.shares[:, hidden].any()
                assert not opinion.known[hidden].any()
                np.testing.assert_allclose(opinion.shares.sum(axis=1), 1)
    assert (hidden_once == 1).all()
    (split,) = splits(rows, labels, 0.1)
    assert list(split.rehearsals) == list(range(FOLDS))


@pytest.mark.slow
def test_training_measures_its_settings_and_is_repeatable():
    rows = rows_of(small_catalog(20))
    first, second = train(rows, Goals()), train(rows, Goals())
    settings = first.model.settings
    assert settings.held_out["rows"] == len(rows)
    assert settings.held_out["accuracy"] > 0.8
    assert first.model.to_blobs() == second.model.to_blobs()
    blobs = first.model.to_blobs()
    assert Model.from_blobs(blobs["head"], blobs["settings"]).settings == settings


@pytest.mark.parametrize(
    "items",
    [
        [Item("1", "one shoe", category="S", category_path="S")],
        [Item(str(i), f"shoe {i}", category="S", category_path="S") for i in range(60)],
        [Item(str(i), f"thing {i}", category=str(i), category_path=str(i)) for i in range(60)],
        [Item(str(i), "the same title", category=str(i % 2), category_path=str(i % 2)) for i in range(60)],
    ],
    ids=["one row", "one category", "one row in each category", "all duplicates"],
)
def test_degenerate_catalogs_still_train_and_classify(items, tmp_path):
    from shelfwise.classifier.model.pipeline import Classifier

    release.build(tmp_path / "store", {item.id: item for item in items}, "hashing")
    classifier = Classifier.open(tmp_path / "store")
    assert all(decision.category for decision in classifier.classify(items[:3]))


def test_a_fine_tuned_encoder_is_tested_on_held_out_rows_only():
    rows = rows_of(small_catalog(60))
    labels = Labels.from_paths(rows.column("category_path"), rows.column("category"))
    (split,) = splits(rows, labels, 0.1)
    back = held_out(rows.column("twin_key"), 0.1)
    assert 0.03 < back.mean() < 0.2
    assert split.test.tolist() == np.flatnonzero(back).tolist()
    assert split.train.tolist() == np.flatnonzero(~back).tolist()
    spelled = np.array([words_of(t).twin_key() for t in ("Red  shoe", "red shoe", "RED SHOE")], object)
    for share in np.linspace(0, 1, 30):
        assert len(set(held_out(spelled, share))) == 1


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_small_catalogs_hold_out_more_and_learned_rows_are_never_held_out(n, later):
    share = share_held_out(n)
    assert HELD_OUT_SHARE <= share <= MAX_HELD_OUT_SHARE
    again = share_held_out(later, share)
    assert again <= share
    keys = np.array([words_of(str(i)).twin_key() for i in range(300)], object)
    back, asked = held_out(keys, share), tried(keys, share)
    assert not (back & asked).any()
    assert not (held_out(keys, again) & ~back).any()  # no row learned in the first run
    assert share == HELD_OUT_SHARE or asked.mean() == pytest.approx(TRIED * share, abs=0.04)


@pytest.mark.slow
def test_macro_f1_lifts_rare_categories():
    """Two categories look alike and one is rare. Accuracy favours the frequent one, macro-F1 counts both."""
    many = [Item(f"a{i}", f"thing {i}", category="A", category_path="A") for i in range(150)]
    few = [
        Item(f"b{i}", f"thing rare {i}" if i % 2 else f"thing {i + 900}", category="B", category_path="B")
        for i in range(20)
    ]
    rows = rows_of([*many, *few])
    plain, lifted = (train(rows, Goals(optimize=measure)).model.settings for measure in ("accuracy", "macro-f1"))
    assert plain.mix.balance == 0
    assert lifted.held_out["macro_f1"] >= plain.held_out["macro_f1"]


def test_each_level_gets_a_threshold_for_the_target_precision():
    items = small_catalog(40)
    rows = rows_of(items)
    settings = train(rows, Goals(target_precision=0.9)).model.settings
    assert len(settings.full.sure_from) == 2
    assert settings.goals.target_precision == 0.9


def test_a_store_too_small_to_measure_accepts_nothing():
    rows = rows_of(small_catalog(2))
    assert train(rows, Goals()).model.settings == Settings()


def test_a_store_without_a_model_is_an_error(tmp_path):
    release.build(tmp_path / "store", {item.id: item for item in small_catalog()}, "hashing")
    snapshot = read_snapshot(tmp_path / "store")
    assert snapshot.blob("no such blob") is None
    with pytest.raises(StoreError, match="train the store"):
        Model.from_blobs(None, None)


def test_a_principal_component_is_removed_if_the_vote_improves():
    """The first principal component either hides the categories or carries them."""
    random = np.random.default_rng(5)
    n, c = 240, 12
    meaning = random.normal(size=(c, 16))[np.arange(n) % c] + 0.5 * random.normal(size=(n, 16))
    paths = [str(i % c) for i in range(n)]
    table = pa.table({"category_path": paths, "twin_key": [words_of(str(i)).twin_key() for i in range(n)]})
    labels = Labels.from_paths(paths, paths)
    drowned = Rows(table, (meaning + 20 * random.normal(size=(n, 1)) * np.eye(16)[3]).astype(np.float32))
    assert choose_axes(drowned, labels, splits(drowned, labels)) == 1
    plain = Rows(table, meaning.astype(np.float32))
    assert choose_axes(plain, labels, splits(plain, labels)) == 0
    assert choose_axes(plain, labels, []) == 0


def test_a_space_round_trips_through_bytes_and_removes_its_components():
    vectors = HashingEncoder().encode([item.title for item in small_catalog()])
    space = Space.fit(vectors, axes=1)
    again = Space.from_bytes(space.to_bytes())
    projected = again.project(vectors)
    np.testing.assert_array_equal(projected, space.project(vectors))
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(projected @ space.axes[0], 0, atol=1e-5)
    assert Space.fit(vectors).axes.shape == (0, vectors.shape[1])


@pytest.mark.parametrize("axes", [0, 1])
def test_the_position_of_a_row_does_not_change_its_projection(axes):
    random = np.random.default_rng(2)
    one, others = random.normal(size=(1, 384)).astype(np.float32), random.normal(size=(37, 384)).astype(np.float32)
    space = Space.fit(others, axes)
    projected = space.project(one)
    for n in range(1, 12):
        np.testing.assert_array_equal(
            space.project(np.vstack([others[:n], np.repeat(one, n, axis=0)]))[n:], np.repeat(projected, n, axis=0)
        )
