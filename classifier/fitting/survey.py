"""How well the categories of a store hold together: what its own items say of each other."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.model.fusion import K, category_weights, vote
from shelfwise.classifier.model.pipeline import SPARE_TWINS, Classifier

EACH = 20  # items of a category that are looked at
ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Survey:
    """Of each category, by path, how many of its items were looked at, and how many of these get it by the vote of the
    others (`found`); and the cosine `similarities` of all of them to the nearest other item. Twins do not count."""

    version: int
    found: Mapping[str, tuple[int, int]]
    similarities: NDArray[np.float64]


def survey(classifier: Classifier) -> Survey:
    """Look at EACH items of each category, which are the same ones at the next look.

    The vote alone is asked: the head has learned these very items.
    """
    index, segments = classifier.index, classifier.index.segments
    keys, numbers = classifier.twin_keys, classifier.category_of_row
    alive = np.flatnonzero(segments.alive)
    order = alive[np.lexsort((keys[alive], numbers[alive]))]
    first = np.searchsorted(numbers[order], numbers[order])  # place of each one's category among them
    rows = order[np.arange(len(order)) - first < EACH]
    settings = classifier.model.settings.mix.vote
    weights = category_weights(classifier.counts, classifier.known, settings)
    right, nearest = np.zeros(len(rows), bool), np.empty(len(rows))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        found = index.search(segments.vectors(part), K + SPARE_TWINS).without_twins(keys, keys[part], K)
        said = vote(found, numbers, weights, settings.temperature).argmax(axis=1)
        right[start : start + ROWS_AT_ONCE] = said == numbers[part]
        nearest[start : start + ROWS_AT_ONCE] = found.best()
    looked = np.bincount(numbers[rows], minlength=len(classifier.labels))
    good = np.bincount(numbers[rows], weights=right, minlength=len(classifier.labels)).astype(np.int64)
    return Survey(
        index.snapshot.manifest.version,
        dict(zip(classifier.labels.paths, zip(good.tolist(), looked.tolist(), strict=True), strict=True)),
        nearest[np.isfinite(nearest)],
    )
