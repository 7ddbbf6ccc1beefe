"""Explanations of decisions, proposals of new categories, and the survey of how consistent categories are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.classifier.changing.proposal import propose
from shelfwise.classifier.fitting.survey import survey
from shelfwise.classifier.model.explanation import explain
from shelfwise.classifier.model.opinions import Features
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.encoding.lexical import FEATURES, ngram_counts, placed_ngrams
from shelfwise.indexer.item import Item, Words, clean

NEW = "Home > Kitchen > Air Fryers"


@pytest.fixture
def classifier(store):
    return Classifier.open(store)


def fryers(many: int) -> list[Item]:
    titles = [f"air fryer {i} litre" for i in range(3, 3 + many)]
    return [Item(f"f{i}", title, category="Air Fryers", category_path=NEW) for i, title in enumerate(titles)]


@given(st.text(max_size=40))
def test_placed_ngrams_match_the_counts_and_lie_in_the_text(text):
    text = clean(text).lower()
    placed = list(placed_ngrams(text))
    counts = ngram_counts([Words(text, "")])
    assert {place for place, _, _ in placed} == set(counts.indices.tolist())
    assert all(0 <= start <= end <= len(text) and place < FEATURES for place, start, end in placed)


@given(st.text(max_size=60), st.lists(st.text(max_size=30), max_size=3))
def test_the_pieces_add_up_to_the_title(title, others):
    title, others = clean(title), [clean(other) for other in others]
    assert "".join(piece.text for piece in explain(title, None, "", others)).lower() == title.lower()
    assert not any(piece.strong for piece in explain(title, None, "", others))


def test_words_typical_of_a_category_are_strong(classifier):
    pieces = explain("large rain boot 999", classifier.model.head, "Fashion > Shoes > Boots", ["blue rain boot"])
    strong = {piece.text for piece in pieces if piece.strong}
    assert "boot" in strong and "999" not in strong
    assert {piece.text for piece in pieces if piece.shared} == {"rain", "boot"}
    listed = explain("boot, rain, mug", None, "", ["cap, boot, mug"])
    assert [piece.text for piece in listed if piece.shared] == ["boot", "mug"]
    chinese = explain("新款蓝牙耳机", classifier.model.head, "Electronics > Audio > Headphones", ["蓝牙耳机 105"])
    assert "".join(piece.text for piece in chinese if piece.shared) == "蓝牙耳机"


def test_a_proposal_predicts_an_insertion_and_changes_nothing(classifier, store):
    from shelfwise.classifier.changing import maintenance

    before = len(classifier.index)
    pending = [Item("p1", "air fryer 12 litre"), Item("p2", "blue rain boot")]
    proposal = propose(classifier, fryers(5), pending)
    assert (proposal.is_new, proposal.examples, proposal.found) == (True, 5, 5)
    assert (proposal.pending, [one.id for one in proposal.listings]) == (2, ["p1"])
    assert sum(share for _, share in proposal.near) <= 1 + 1e-9
    assert len(classifier.index) == len(Classifier.open(store).index) == before
    maintenance.apply(store, maintenance.Edit({item.id: item for item in fryers(5)}))
    decided = Classifier.open(store).classify(pending)
    assert [said.category_path == NEW for said in decided] == [True, False]


def test_a_proposal_counts_added_rows_and_replaces_existing_ids(classifier, store):
    from shelfwise.classifier.changing import maintenance

    maintenance.apply(store, maintenance.Edit({item.id: item for item in fryers(2)}))
    proposal = propose(classifier.refreshed(), [replace(fryers(1)[0], title="air fryer 99"), *fryers(4)[2:]])
    assert (proposal.is_new, proposal.examples) == (False, 3)


def test_a_survey_classifies_items_by_the_vote_of_their_neighbours(classifier):
    segments, labels = classifier.index.segments, classifier.labels
    keys = np.array(segments.column("twin_key").to_pylist(), dtype=object)
    vectors = segments.vectors(np.arange(50))
    words = [Words(title, "") for title in segments.column("title").to_pylist()]
    scores = classifier.judge_without_duplicates(Features(vectors, ngram_counts(words)), keys)
    right = scores.mixed.vote.argmax(axis=1) == classifier.category_of_row
    counted = np.bincount(classifier.category_of_row[right], minlength=len(labels)).tolist()
    found = survey(classifier)
    assert found.found == dict(zip(labels.paths, [(many, 10) for many in counted], strict=True))
    assert np.isfinite(found.similarities).all() and len(found.similarities) == 50
