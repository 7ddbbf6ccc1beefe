"""Preview of a new category: the items it would take, the nearest categories, and how many examples get it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Numbers
from shelfwise.classifier.model.fusion import K
from shelfwise.classifier.model.opinions import Features
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.encoding.lexical import ngram_counts
from shelfwise.indexer.item import Item
from shelfwise.indexer.store.sync import embed_changes, find_changes
from shelfwise.indexer.types import Vectors

AROUND = 50  # stored items checked near each example
MOVES_SHOWN = 20  # items, and listings, that would move
NEAR = 5  # nearest categories shown


@dataclass(frozen=True, slots=True)
class Move:
    """An item or listing that would move, with its present category."""

    id: str
    title: str
    category_path: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """The effect of inserting `examples` of a category into a store.

    `found` counts the examples that would get the category from the rest of the store. `near` are the categories of
    their neighbours with the mean share of the vote, the largest first. Of `looked` stored items near the examples,
    `taken_items` would move to the category; no item votes for itself. Of `pending` listings, `taken_listings` would
    move. `items` and `listings` show some of each. The examples themselves count in none of these.
    """

    category_path: str
    is_new: bool
    examples: int
    found: int
    near: tuple[tuple[str, float], ...]
    looked: int
    taken_items: int
    items: tuple[Move, ...]
    pending: int
    taken_listings: int
    listings: tuple[Move, ...]


def propose(classifier: Classifier, examples: Sequence[Item], pending: Sequence[Item] = ()) -> Proposal:
    """Return the effect of `examples`, all of one category, on a store and on `pending` listings.

    An example may be a stored item or a pending listing: it then moves to the category.
    """
    path = examples[0].category_path
    changes = find_changes({}, {item.id: item for item in examples})
    rows, _ = embed_changes(None, changes, classifier.index.encoder)
    index = classifier.index
    after = replace(classifier, index=replace(index, segments=index.segments.with_rows(rows, index.space)))
    vectors = index.space.project(rows.vectors)
    features = Features(vectors, ngram_counts(rows.words()))
    found = after.judge_without_duplicates(features, rows.column("twin_key"))
    shares = classifier.judge_without_duplicates(features, rows.column("twin_key")).mixed.vote.mean(axis=0)
    near = np.argsort(-shares, kind="stable")[:NEAR]
    given = {item.id for item in examples}
    items, looked = _taken_items(classifier, after, vectors, path, given)
    pending = [listing for listing in pending if listing.id not in given]
    listings = _taken_listings(classifier, after, pending, path)
    return Proposal(
        category_path=path,
        is_new=path not in classifier.labels.number_of,
        examples=len(rows),
        found=sum(said == path for said in _said(after, found.probabilities)),
        near=tuple((classifier.labels.paths[i], float(shares[i])) for i in near if shares[i] > 0),
        looked=looked,
        taken_items=len(items),
        items=tuple(items[:MOVES_SHOWN]),
        pending=len(pending),
        taken_listings=len(listings),
        listings=tuple(listings[:MOVES_SHOWN]),
    )


def _taken_items(
    before: Classifier, after: Classifier, vectors: Vectors, path: str, given: Collection[str]
) -> tuple[list[Move], int]:
    """Return the stored items near the examples that would move to their category, and the number of items checked.

    Items with ids in `given` are left out.
    """
    segments = before.index.segments
    nearest = before.index.search(vectors, min(AROUND, len(before.index)))
    theirs = [row for row in map(segments.row_of, given) if row is not None]
    rows: Numbers = np.setdiff1d(nearest.rows[nearest.found], np.array(theirs, np.int64))
    if not len(rows):
        return [], 0
    items = before.index.items_at(rows)
    features = Features(segments.vectors(rows), ngram_counts([item.words for item in items]))
    keys = np.array([item.words.twin_key() for item in items], dtype=object)
    now, then = (_said(one, one.judge_without_duplicates(features, keys).probabilities) for one in (before, after))
    taken = [
        Move(item.id, item.title, item.category_path)
        for item, was, will in zip(items, now, then, strict=True)
        if was != path and will == path
    ]
    return taken, len(rows)


def _taken_listings(before: Classifier, after: Classifier, pending: Sequence[Item], path: str) -> list[Move]:
    if not pending:
        return []
    vectors = before.index.embed([item.words.text() for item in pending])
    features = Features(vectors, ngram_counts([item.words for item in pending]))
    now, then = (_said(one, one.score(features, K).probabilities) for one in (before, after))
    return [
        Move(item.id, item.title, was)
        for item, was, will in zip(pending, now, then, strict=True)
        if was != path and will == path
    ]


def _said(classifier: Classifier, probabilities: NDArray[np.float64]) -> list[str]:
    return [classifier.labels.paths[best] for best in probabilities.argmax(axis=1)]
