"""Measure the consistency of a store's categories by the votes of its own items."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.model.fusion import K, category_weights, vote
from shelfwise.classifier.model.pipeline import SPARE_DUPLICATES, Classifier

EACH = 20  # items sampled from a category
ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Survey:
    """Figures on sampled items of each category, with their duplicates left out of search and vote.

    `found` has two counts by category path: the items whose category the vote of the other items finds, and the sampled
    items. `similarities` are the cosines of the sampled items to the nearest other item, if there is one.
    """

    version: int
    found: Mapping[str, tuple[int, int]]
    similarities: NDArray[np.float64]


def survey(classifier: Classifier) -> Survey:
    """Survey EACH items of each category; the sample is the same every time.

    Only the vote is used, since the head was trained on these items.
    """
    index, segments = classifier.index, classifier.index.segments
    keys, numbers = classifier.duplicate_keys, classifier.category_of_row
    alive = np.flatnonzero(segments.alive)
    order = alive[np.lexsort((keys[alive], numbers[alive]))]
    first = np.searchsorted(numbers[order], numbers[order])  # first position of each item's category
    rows = order[np.arange(len(order)) - first < EACH]
    settings = classifier.model.settings.mix.vote
    weights = category_weights(classifier.counts, classifier.known, settings)
    right, nearest = np.zeros(len(rows), bool), np.empty(len(rows))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        found = index.search(segments.vectors(part), K + SPARE_DUPLICATES).without_duplicates(keys, keys[part], K)
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
