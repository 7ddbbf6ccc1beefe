"""Held-out rows: what vote and head say of rows that neither they nor the index have seen."""

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
ONE_FOLD_FROM = 5_000  # rows: a fifth of so many is enough to choose a handful of settings
MAX_HELD_OUT = 4_000  # rows of one fold that are scored
AXES = (0, 1)  # widest directions that the space may be without
AXES_GAIN = 0.005  # accuracy of the vote that a direction must be worth to go
# The rehearsals of new categories: each fifth of the categories is hidden from the head once, in one fold or another,
# and only so many of their rows stay in the index.
REHEARSALS, NEW_EXAMPLES = FOLDS, 5
# Titles that no fine-tuning learns from: settings are chosen and encoders are compared on them. A tenth of a catalog,
# and more of a small one, since a few dozen rows cannot tell a better encoder from a lucky one.
KEPT_BACK, KEPT_BACK_ROWS, MOST_KEPT_BACK = 0.1, 400, 0.25
TRIED = 0.25  # of that share again: not learned from either, and where fine-tuning ends is chosen on them


@dataclass(frozen=True)
class Fold:
    """One split of the catalog: what speaks for m held-out rows, their right categories `truth` (m,), and what
    rehearsals with new categories find. Categories are numbered alike in all folds."""

    closed: Evidence
    truth: Numbers
    rehearsals: Sequence["Rehearsal"]

    def sharpened(self, temperatures: Mapping[str, float]) -> "Fold":
        """Return the same with the trained opinions at other temperatures."""
        return replace(self, closed=self.closed.sharpened(temperatures))

    def opened(self) -> Iterator[Evidence]:
        """Yield the evidence of each rehearsal in turn: no opinion is asked for what is hidden from it."""
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
    """What m held-out rows find where the categories of the mask `hidden` (c,) have a few rows alone in the index:
    `labels` are those of the rows that are left there."""

    hidden: NDArray[np.bool_]
    neighbors: Neighbors
    labels: Numbers


def rank_within(categories: Numbers) -> Numbers:
    """(n,) how many rows of the same category come before each row."""
    order = np.argsort(categories, kind="stable")
    starts = np.flatnonzero(np.diff(categories[order], prepend=-1))
    rank = np.empty(len(categories), np.int64)
    rank[order] = np.arange(len(categories)) - np.repeat(starts, np.diff(np.append(starts, len(categories))))
    return rank


def fold_of(twin_keys: NDArray[np.object_], categories: Numbers) -> Numbers:
    """(n,) fold of every row, 0 to FOLDS - 1: each category spread evenly, twins in one fold."""
    _, first, group = np.unique(twin_keys, return_index=True, return_inverse=True)
    category = categories[first]  # groups come in order of their key, which is a hash: no order of the catalog's
    return np.asarray(((rank_within(category) + category) % FOLDS)[group])


def share_kept_back(n: int, before: float = 0.0) -> float:
    """The share of a catalog of n rows that a fine-tuning keeps back: at most the share `before`, where the encoder has
    been fine-tuned already and so has learned the rest (0 where it has not)."""
    share = min(max(KEPT_BACK, KEPT_BACK_ROWS / n), MOST_KEPT_BACK)
    return min(share, before) if before else share


def kept_back(twin_keys: NDArray[np.object_], share: float) -> NDArray[np.bool_]:
    """(n,) mask of the rows that were kept back. Which they are depends on their titles alone, and those of a smaller
    share are among those of a larger one, so rows that come and go change nothing about the others."""
    return _place(twin_keys) < share


def tried(twin_keys: NDArray[np.object_], share: float) -> NDArray[np.bool_]:
    """(n,) mask of the rows, none of them kept back, on which it is chosen where a fine-tuning ends."""
    place = _place(twin_keys)
    return np.asarray((share <= place) & (place < (1 + TRIED) * share))


def _place(twin_keys: NDArray[np.object_]) -> NDArray[np.float64]:
    """(n,) numbers in [0, 1), spread evenly over titles and the same for twins."""
    return np.array([int(key[:8], 16) / 2**32 for key in twin_keys], np.float64)


@dataclass(frozen=True)
class Split:
    """Row numbers of one fold, and which of the fifths of the categories its rehearsals hide."""

    train: Numbers
    test: Numbers
    rehearsals: range


def splits(rows: Rows, labels: Labels, share: float = 0.0) -> list[Split]:
    """The folds in which vote and head can both be tried; of a large catalog only the first.

    For an encoder that was fine-tuned there is one: the `share` of the rows that was kept back from it.
    """
    numbers = labels.numbers(list(rows.column("category_path")))
    fold = fold_of(rows.column("twin_key"), numbers)
    masks = [fold == held for held in range(FOLDS if len(rows) < ONE_FOLD_FROM else 1)]
    if share:
        masks = [kept_back(rows.column("twin_key"), share)]
    found = []
    for held, mask in enumerate(masks):
        train, test = np.flatnonzero(~mask), np.flatnonzero(mask)
        if len(test) > MAX_HELD_OUT:
            test = test[np.linspace(0, len(test) - 1, MAX_HELD_OUT).astype(np.int64)]
        if len(np.unique(numbers[train])) > 1 and len(test):
            found.append(Split(train, test, range(held, REHEARSALS, len(masks))))
    return found


def choose_axes(rows: Rows, labels: Labels, among: Sequence[Split]) -> int:
    """How many widest directions the space should be without: the fewest within AXES_GAIN of the best vote."""
    if not among:
        return AXES[0]
    numbers = labels.numbers(list(rows.column("category_path")))
    accuracy = {axes: np.concatenate([_voted(rows, numbers, split, axes) for split in among]).mean() for axes in AXES}
    return min(axes for axes in AXES if accuracy[axes] >= max(accuracy.values()) - AXES_GAIN)


def _voted(rows: Rows, numbers: Numbers, split: Split, axes: int) -> NDArray[np.bool_]:
    """Whether the plain vote is right for each held-out row."""
    space = Space.fit(rows.vectors[split.train], axes)
    found = FaissSearcher(space.project(rows.vectors[split.train])).search(space.project(rows.vectors[split.test]), K)
    shares = vote(found, numbers[split.train], np.ones(numbers.max() + 1), VoteSettings().temperature)
    return np.asarray(shares.argmax(axis=1) == numbers[split.test])


def folds(rows: Rows, labels: Labels, among: Sequence[Split], axes: int, kind: str) -> Iterator[Fold]:
    """The evidence of each split in turn, with a head of this kind."""
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
