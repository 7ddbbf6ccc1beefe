"""Accept, review or unknown, with the reason and the evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Probabilities
from shelfwise.classifier.model.calibration import Calibration

DECIMALS = 4  # of probabilities and similarities that are shown
ACCEPT, REVIEW, UNKNOWN = "accept", "review", "unknown"
FULL, FAST = "full", "fast"  # tiers of decisions: by neighbours and head, or by n-grams alone

# Reason of a decision, and the decision that it leads to. The first that holds counts.
REASONS = {
    "empty_text": UNKNOWN,  # nothing to go by
    "far_from_catalog": UNKNOWN,  # nothing in the catalog is like it
    "new_category": REVIEW,  # the head has not been trained on the category: no measured precision
    "ok": ACCEPT,  # confidence at or above the threshold
    "sure_above": REVIEW,  # not sure of the category, but of the node in `sure_path`
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
    """What Shelfwise decides on one listing.

    `decision` is accept, review or unknown, `reason` one of REASONS. `category` is the leaf of
    `category_path`, the most probable category (also where the decision is unknown; empty for a listing
    without text), `confidence` its probability. `sure_path` is the deepest node of the category tree that is sure
    enough: the category itself where it is accepted, a node above where only that is, empty where nothing is.
    `alternatives` are the most probable categories, that one first; `levels` the most probable node of each level above
    the categories, from the top; `prediction_set` the paths among which the right one is with the stated coverage;
    `evidence` the most similar items; `tier` is full, or fast where n-grams alone decided, without evidence;
    `store_version` is the version of the store that made it.
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
    """What decides about m listings, each (m,).

    `confidence` of the most probable category, `sure_level` the deepest level above the categories with a node that is
    sure enough (-1 for none), and whether the text is empty, everything stored is far from it, the category is new to
    the head, and head and vote favour different categories.
    """

    confidence: NDArray[np.float64]
    sure_level: NDArray[np.int64]
    empty: NDArray[np.bool_]
    far: NDArray[np.bool_]
    new: NDArray[np.bool_]
    disagree: NDArray[np.bool_]


def reasons(signals: Signals, calibration: Calibration) -> list[str]:
    """The reason for each of m decisions."""
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
    """The categories of each listing (m, c) that may be named, with their shares: the k most probable, and all others
    of `at_least` so much; none of share 0 but the first. The most probable first, of equally probable ones the first
    in order."""
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
    """The most probable of the nodes (m, nodes) of each listing."""
    best = sums.argmax(axis=1)
    highest = np.round(sums[np.arange(len(sums)), best], DECIMALS)
    return [Alternative(paths[node], share) for node, share in zip(best.tolist(), highest.tolist(), strict=True)]
