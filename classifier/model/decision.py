"""Decisions: accept, review or unknown, with the reason and the evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Probabilities
from shelfwise.classifier.model.calibration import Calibration

DECIMALS = 4  # of the probabilities and similarities in a decision
ACCEPT, REVIEW, UNKNOWN = "accept", "review", "unknown"
FULL, FAST = "full", "fast"  # tiers: neighbours and head, or n-grams alone

# The decision of each reason. The first reason that applies counts.
REASONS = {
    "empty_text": UNKNOWN,  # the listing has no text
    "far_from_catalog": UNKNOWN,  # no item of the catalog is similar
    "new_category": REVIEW,  # the head was not trained on the category, so its precision is not measured
    "ok": ACCEPT,  # confidence at or above the threshold
    "sure_above": REVIEW,  # only the node in `sure_path` is sure, not the category
    "head_and_vote_disagree": REVIEW,
    "low_confidence": REVIEW,
}


@dataclass(frozen=True, slots=True)
class Alternative:
    """A category and its probability in [0, 1]."""

    category_path: str
    probability: float


@dataclass(frozen=True, slots=True)
class SimilarItem:
    """A stored item and its cosine similarity in [-1, 1]."""

    id: str
    title: str
    brand: str
    category_path: str
    similarity: float


@dataclass(frozen=True, slots=True, repr=False)
class Decision:
    """The decision of Shelfwise on one listing.

    `decision` is accept, review or unknown, `reason` one of REASONS. `category_path` is the most probable category,
    `category` its leaf, `confidence` its probability. Both are set even if the decision is unknown, but are empty for a
    listing without text. `sure_path` is the deepest node of the category tree that is sure enough. It is the category
    if that is accepted, else a sure node above it, else empty. `alternatives` are the most probable categories, the
    best first. `levels` has the most probable node of each level above the categories, from the top. `prediction_set`
    has the paths that contain the right one with the stated coverage. `evidence` has the most similar items. `tier` is
    full, or fast if n-grams alone decided, without evidence. `store_version` is the version of the store that decided.
    """

    category: str
    category_path: str
    confidence: float
    decision: str
    reason: str
    sure_path: str
    alternatives: tuple[Alternative, ...]
    levels: tuple[Alternative, ...]
    prediction_set: tuple[str, ...]
    evidence: tuple[SimilarItem, ...]
    tier: str
    store_version: int

    def __repr__(self) -> str:
        return (
            f"<Decision {self.category_path or 'no category'}: {self.confidence:.4f}, {self.decision} ({self.reason})>"
        )


@dataclass(frozen=True)
class Signals:
    """The values that decide on m listings, each (m,).

    `confidence` is the probability of the most probable category. `sure_level` is the deepest level above the
    categories with a sure enough node (-1 if there is none). `empty`: the listing has no text. `far`: all stored items
    are far from it. `new`: the category is new to the head. `disagree`: head and vote favour different categories.
    """

    confidence: NDArray[np.float64]
    sure_level: NDArray[np.int64]
    empty: NDArray[np.bool_]
    far: NDArray[np.bool_]
    new: NDArray[np.bool_]
    disagree: NDArray[np.bool_]


def reasons(signals: Signals, calibration: Calibration) -> list[str]:
    """Return the reason for each of m decisions."""
    holds = {
        "empty_text": signals.empty,
        "far_from_catalog": signals.far,
        "new_category": signals.new,
        "ok": signals.confidence >= calibration.accept_from,
        "sure_above": signals.sure_level >= 0,
        "head_and_vote_disagree": signals.disagree,
        "low_confidence": np.ones(len(signals.confidence), bool),
    }
    first = np.argmax(np.stack([holds[name] for name in REASONS]), axis=0)
    names = tuple(REASONS)
    return [names[i] for i in first]


def ranked(probabilities: Probabilities, k: int, at_least: float) -> Iterator[tuple[list[int], list[float]]]:
    """Yield the categories to name for each listing of (m, c) and their shares, the most probable first.

    They are the k most probable categories and all others with a share of `at_least` or more. Categories with share 0
    are left out unless all are 0. Equally probable categories keep their order.
    """
    m, c = probabilities.shape
    kth = np.partition(probabilities, c - min(k, c), axis=1)[:, c - min(k, c)]
    positive = np.minimum(probabilities.max(axis=1), np.nextafter(0, 1))
    least = np.maximum(np.minimum(kth, at_least), positive)
    row, category = np.nonzero(probabilities >= least[:, None])
    share = probabilities[row, category]
    order = np.lexsort((category, -share, row))
    categories, shares = category[order].tolist(), np.round(share[order], DECIMALS).tolist()
    for start, end in pairwise(np.searchsorted(row, np.arange(m + 1)).tolist()):
        yield categories[start:end], shares[start:end]


def nodes(paths: Sequence[str], sums: Probabilities) -> list[Alternative]:
    """Return the most probable node of each listing, from its `sums` (m, nodes)."""
    best = sums.argmax(axis=1)
    highest = np.round(sums[np.arange(len(sums)), best], DECIMALS)
    return [Alternative(paths[node], share) for node, share in zip(best.tolist(), highest.tolist(), strict=True)]
