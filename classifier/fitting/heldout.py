"""Held-out rows: evidence of vote and head on rows that neither they nor the index have seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Labels, Numbers
from shelfwise.classifier.model.fusion import Evidence, K, VoteSettings, known_to, opinions_of, vote
from shelfwise.classifier.model.opinions import Features, Head, kinds
from shelfwise.indexer.encoding.lexical import ngram_counts
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.search import FaissSearcher, Neighbors

FOLDS = 5
ONE_FOLD_FROM = 5_000  # rows: one fold of a catalog this large is enough to choose a few settings
MAX_HELD_OUT = 4_000  # rows scored in one fold
AXES = (0, 1)  # numbers of principal components that may be removed from the space
AXES_GAIN = 0.005  # gain in vote accuracy for which a principal component is removed
# Rehearsals of new categories: each fifth of the categories is hidden from the head once, in one of the folds. Only
# NEW_EXAMPLES rows of each hidden category stay in the index.
REHEARSALS, NEW_EXAMPLES = FOLDS, 5
# Titles held out from all fine-tuning: settings are chosen and encoders are compared on them. They are a tenth of a
# catalog, and more of a small one, since a few dozen rows cannot distinguish a better encoder from a lucky one.
HELD_OUT_SHARE, HELD_OUT_ROWS, MAX_HELD_OUT_SHARE = 0.1, 400, 0.25
TRIED = 0.25  # of that share in addition: not trained on either; the end of fine-tuning is chosen on them


@dataclass(frozen=True)
class Fold:
    """One split of the catalog: the evidence for m held-out rows, and their right categories `truth` (m,).

    `rehearsals` simulate new categories on the same rows. Categories have the same numbers in all folds.
    """

    closed: Evidence
    truth: Numbers
    rehearsals: Sequence["Rehearsal"]

    def sharpened(self, temperatures: Mapping[str, float]) -> "Fold":
        """Return the fold with the trained opinions at other temperatures."""
        return replace(self, closed=self.closed.sharpened(temperatures))

    def opened(self) -> Iterator[Evidence]:
        """Yield the evidence of each rehearsal; no trained opinion knows the hidden categories."""
        for rehearsal in self.rehearsals:
            hidden = rehearsal.hidden
            yield replace(
                self.closed,
                neighbors=rehearsal.neighbors,
                labels=rehearsal.labels,
                counts=np.bincount(rehearsal.labels, minlength=len(hidden)),
                opinions={name: opinion.without(hidden) for name, opinion in self.closed.opinions.items()},
                known=self.closed.known & ~hidden,
            )


@dataclass(frozen=True)
class Rehearsal:
    """The neighbours of m held-out rows if the categories of the mask `hidden` (c,) have only a few rows in the index.

    `labels` are the categories of the rows left in the index.
    """

    hidden: NDArray[np.bool_]
    neighbors: Neighbors
    labels: Numbers


def rank_within(categories: Numbers) -> Numbers:
    """Return (n,) how many rows of the same category precede each row."""
    order = np.argsort(categories, kind="stable")
    starts = np.flatnonzero(np.diff(categories[order], prepend=-1))
    rank = np.empty(len(categories), np.int64)
    rank[order] = np.arange(len(categories)) - np.repeat(starts, np.diff(np.append(starts, len(categories))))
    return rank


def fold_of(duplicate_keys: NDArray[np.object_], categories: Numbers) -> Numbers:
    """Return the (n,) fold of every row, 0 to FOLDS - 1: categories spread evenly, duplicates in one fold."""
    _, first, group = np.unique(duplicate_keys, return_index=True, return_inverse=True)
    category = categories[first]  # groups are in the order of their hashed keys, not of the catalog
    return np.asarray(((rank_within(category) + category) % FOLDS)[group])


def share_held_out(n: int, before: float = 0.0) -> float:
    """Return the share of a catalog of n rows to hold out from fine-tuning.

    `before` is the share held out before, 0 if the encoder has not been fine-tuned. It is the upper limit: an encoder
    fine-tuned before has been trained on the other rows.
    """
    share = min(max(HELD_OUT_SHARE, HELD_OUT_ROWS / n), MAX_HELD_OUT_SHARE)
    return min(share, before) if before else share


def held_out(duplicate_keys: NDArray[np.object_], share: float) -> NDArray[np.bool_]:
    """Return the (n,) mask of held-out rows.

    It depends on each row's title alone, so adding or removing rows does not change the others. The rows of a smaller
    share are among those of a larger one.
    """
    return _place(duplicate_keys) < share


def tried(duplicate_keys: NDArray[np.object_], share: float) -> NDArray[np.bool_]:
    """Return the (n,) mask of rows on which the end of fine-tuning is chosen; none of them is held out."""
    place = _place(duplicate_keys)
    return np.asarray((share <= place) & (place < (1 + TRIED) * share))


def _place(duplicate_keys: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return (n,) numbers in [0, 1), spread evenly over titles and equal for duplicates."""
    return np.array([int(key[:8], 16) / 2**32 for key in duplicate_keys], np.float64)


@dataclass(frozen=True)
class Split:
    """Row numbers of one fold, and the fifths of the categories that its rehearsals hide."""

    train: Numbers
    test: Numbers
    rehearsals: range


def splits(rows: Rows, labels: Labels, share: float = 0.0) -> list[Split]:
    """Return the folds in which both vote and head can be tested; only the first for a large catalog.

    For a fine-tuned encoder there is one fold: the `share` of the rows held out from its fine-tuning.
    """
    numbers = labels.numbers(list(rows.column("category_path")))
    fold = fold_of(rows.column("twin_key"), numbers)
    masks = [fold == held for held in range(FOLDS if len(rows) < ONE_FOLD_FROM else 1)]
    if share:
        masks = [held_out(rows.column("twin_key"), share)]
    found = []
    for held, mask in enumerate(masks):
        train, test = np.flatnonzero(~mask), np.flatnonzero(mask)
        if len(test) > MAX_HELD_OUT:
            test = test[np.linspace(0, len(test) - 1, MAX_HELD_OUT).astype(np.int64)]
        if len(np.unique(numbers[train])) > 1 and len(test):
            found.append(Split(train, test, range(held, REHEARSALS, len(masks))))
    return found


def choose_axes(rows: Rows, labels: Labels, among: Sequence[Split]) -> int:
    """Return the fewest principal components to remove for a vote accuracy within AXES_GAIN of the best."""
    if not among:
        return AXES[0]
    numbers = labels.numbers(list(rows.column("category_path")))
    accuracy = {axes: np.concatenate([_voted(rows, numbers, split, axes) for split in among]).mean() for axes in AXES}
    return min(axes for axes in AXES if accuracy[axes] >= max(accuracy.values()) - AXES_GAIN)


def _voted(rows: Rows, numbers: Numbers, split: Split, axes: int) -> NDArray[np.bool_]:
    """Return a mask of the held-out rows that the plain vote has right."""
    space = Space.fit(rows.vectors[split.train], axes)
    found = FaissSearcher(space.project(rows.vectors[split.train])).search(space.project(rows.vectors[split.test]), K)
    shares = vote(found, numbers[split.train], np.ones(numbers.max() + 1), VoteSettings().temperature)
    return np.asarray(shares.argmax(axis=1) == numbers[split.test])


def folds(rows: Rows, labels: Labels, among: Sequence[Split], axes: int, kind: str) -> Iterator[Fold]:
    """Yield the evidence of each split, with a head of `kind` and a space without `axes` principal components."""
    numbers = labels.numbers(list(rows.column("category_path")))
    counts = ngram_counts(rows.words())
    for split in among:
        features = Features(Space.fit(rows.vectors[split.train], axes).project(rows.vectors), counts)
        yield _evidence(features, numbers, labels, split, kind)


def _evidence(features: Features, numbers: Numbers, labels: Labels, split: Split, kind: str) -> Fold:
    seen, asked, among = features[split.train], features[split.test], numbers[split.train]
    head = Head.fit(kind, seen, [labels.paths[i] for i in among])
    known = known_to(head, labels)
    closed = Evidence(
        neighbors=FaissSearcher(seen.vectors).search(asked.vectors, K),
        labels=among,
        counts=np.bincount(among, minlength=len(labels)),
        opinions=opinions_of(head, asked, labels, known, dict.fromkeys(kinds(), 1.0)),
        known=known,
    )
    rehearsals = []
    for turn in split.rehearsals:
        hidden = np.arange(len(labels)) % REHEARSALS == turn
        kept = ~hidden[among] | (rank_within(among) < NEW_EXAMPLES)
        found = FaissSearcher(seen.vectors[kept]).search(asked.vectors, K)
        rehearsals.append(Rehearsal(hidden, found, among[kept]))
    return Fold(closed, numbers[split.test], rehearsals)
