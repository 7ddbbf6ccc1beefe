from dataclasses import replace

import numpy as np
import pytest
from conftest import small_catalog
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.classifier.changing import maintenance
from shelfwise.classifier.model import pipeline
from shelfwise.classifier.model.calibration import NEVER, stand_in_from
from shelfwise.classifier.model.decision import FAST, FULL
from shelfwise.classifier.model.pipeline import AUTO, TIERS, Classifier
from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.listings import Listing
from shelfwise.indexer.searching.index import Index

TITLES = (
    "red flip flop 7",
    "blaue 雨靴",
    "electric kettle",
    "quantum socket",
    "",
    "travel cup 300 ml",
    "耳机 经典",
    "boot",
)
ITEMS = [Item(str(i), title) for i, title in enumerate(TITLES)]


def with_threshold(classifier, fast_from):
    settings = replace(classifier.model.settings, fast_from=fast_from)
    return Classifier(classifier.index, replace(classifier.model, settings=settings))


def test_the_fast_tier_needs_no_vectors_and_gives_no_evidence(store, monkeypatch):
    classifier = Classifier.open(store)

    def refuse(*_):
        raise AssertionError("the fast tier searched")

    monkeypatch.setattr(Index, "search", refuse)
    monkeypatch.setattr(Index, "embed", lambda self, texts, progress=None: texts == [] or refuse())
    decisions = classifier.classify(ITEMS, tier=FAST)
    assert [said.category for said in decisions[:3]] == ["Sandals", "Boots", "Kettles"]
    assert {(said.tier, said.evidence) for said in decisions} == {(FAST, ())}
    assert decisions[TITLES.index("")].reason == "empty_text"
    assert not {"far_from_catalog", "head_and_vote_disagree"} & {said.reason for said in decisions}


@given(st.sampled_from((-1.0, 0.3, 0.6, 0.8, 0.95, NEVER)), st.lists(st.sampled_from(ITEMS), max_size=9))
def test_auto_is_fast_if_the_ngrams_are_confident_and_full_otherwise(built, fast_from, items):
    classifier = with_threshold(Classifier.open(built), fast_from)
    fast, full, auto = (classifier.classify(items, tier=tier) for tier in (FAST, FULL, AUTO))
    sure = classifier.score_ngrams(pipeline.ngram_counts([item.words for item in items])).probabilities.max(axis=1)
    for one, other, said, confidence in zip(fast, full, auto, sure, strict=True):
        assert said == (one if confidence >= fast_from else other)


@pytest.mark.parametrize("tier", TIERS)
def test_a_stream_gives_the_same_decisions_batch_by_batch(store, tier):
    classifier = with_threshold(Classifier.open(store), 0.7)
    listings = [Listing(1, item, {}) for item in ITEMS]
    streamed = list(classifier.stream((listings[i : i + 3] for i in range(0, len(listings), 3)), tier=tier))
    assert [len(batch) for batch, _ in streamed] == [3, 3, 2]
    found = [said for _, decisions in streamed for said in decisions]
    whole = classifier.classify(ITEMS, tier=tier)
    assert [(said.category_path, said.tier) for said in found] == [(said.category_path, said.tier) for said in whole]
    np.testing.assert_allclose([said.confidence for said in found], [said.confidence for said in whole], atol=1e-3)


def test_auto_finds_a_new_category_and_fast_reports_it_missing(run, store, tmp_path):
    new = {f"n{i}": Item(f"n{i}", f"flux capacitor {i}", category="Flux", category_path="Flux") for i in range(5)}
    maintenance.apply(store, maintenance.Edit(new))
    (tmp_path / "listings.csv").write_text("title\nflux capacitor large\n")
    for tier, found in ((FULL, True), (AUTO, True), (FAST, False)):
        shown = run("classify", "listings.csv", "--store", store, "--tier", tier)
        assert shown.exit_code == 0
        assert (",Flux,Flux," in shown.stdout) == found
        assert ("categories new to the model: 1;" in shown.stderr) == (tier == FAST)


def test_fast_decisions_stay_off_if_their_loss_cannot_be_measured(run, store, catalog_file):
    settings = Classifier.open(store).model.settings
    assert settings.fast_from == NEVER  # 50 rows cannot prove a loss below 0.3 points
    assert settings.held_out["auto_accuracy"] == settings.held_out["accuracy"]
    assert '"by_fast": 1.0' in run("evaluate", catalog_file, "--store", store, "--tier", FAST, "--json", "-").stdout
    assert '"by_fast": 0.0' in run("evaluate", catalog_file, "--store", store, "--tier", AUTO, "--json", "-").stdout


def outcomes(seed, n):
    """Return the confidence of n fast decisions, their correctness and that of full decisions.

    The two agree at high confidence and may differ at low confidence.
    """
    random = np.random.default_rng(seed)
    confidence = random.random(n)
    right = random.random(n) < 0.8
    differ = random.random(n) < 0.3 * (1 - confidence) ** 2
    return confidence, np.where(differ, random.random(n) < 0.4, right), right


def test_the_threshold_keeps_its_promise_on_new_rows():
    broken, found = 0, []
    for seed in range(100):
        confidence, correct, right = outcomes(seed, 4000)
        threshold = stand_in_from(confidence, correct, right, 0.01)
        confidence, correct, right = outcomes(1000 + seed, 40_000)
        taken = confidence >= threshold
        found.append(taken.mean())
        broken += (right & taken).sum() - (correct & taken).sum() > 0.01 * len(right)
    assert broken <= 10  # of 100, at a confidence level of 90 %
    assert 0.3 < np.mean(found) < 0.9


@given(st.integers(0, 1000), st.integers(0, 300))
def test_few_rows_give_no_threshold(seed, n):
    confidence, correct, right = outcomes(seed, n)
    assert stand_in_from(confidence, correct, right, 0.003) == NEVER


def test_auto_makes_no_fast_decisions_for_small_catalogs(store):
    decisions = Classifier.open(store).classify(small_catalog(), tier=AUTO)
    assert {said.tier for said in decisions} == {FULL}
