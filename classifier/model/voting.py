"""Neighbours to class shares: the prior-corrected vote."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Numbers, Probabilities
from shelfwise.indexer.searching.search import Neighbors

K = 32  # neighbours that vote


@dataclass(frozen=True, slots=True)
class VoteSettings:
    """How much a neighbour of category c counts: exp(similarity / `temperature`) · weight(c).

    `temperature` > 0: the smaller, the more the nearest decide. `prior_exponent` g in [0, 1] and
    `new_exponent` b in [-1, 1] make up for the number of rows n(c) that a category has in the index:
    weight(c) is n(c)^-g, and for a category that the head does not know yet also (typical n / n(c))^b,
    since its few examples stand for the many that it will have. A large b finds more of the new category's
    listings and takes more from the others.
    """

    temperature: float = 0.05
    prior_exponent: float = 0.25
    new_exponent: float = 0.5


def category_weights(counts: Numbers, known: NDArray[np.bool_], settings: VoteSettings) -> NDArray[np.float64]:
    """(c,) weight of every category from its rows in the index (c,) and whether the head knows it (c,).

    The typical number of rows is the median over the known categories.
    """
    rows = np.maximum(counts, 1).astype(np.float64)
    weights = rows**-settings.prior_exponent
    if known.any() and not known.all():
        few = np.maximum(np.median(rows[known]) / rows, 1.0)
        weights = np.where(known, weights, weights * few**settings.new_exponent)
    return weights


def vote(neighbors: Neighbors, labels: Numbers, weights: NDArray[np.float64], temperature: float) -> Probabilities:
    """(m, c) shares of the categories among the neighbours of m queries; each row sums to 1.

    `labels` (n,) is the category of every row of the index, `weights` (c,) is what `category_weights`
    gives. A query without any neighbour gets zeros.
    """
    m, c = len(neighbors.rows), len(weights)
    found = neighbors.found
    category = np.where(found, labels[neighbors.rows], 0)
    similarities = np.where(found, neighbors.similarities, -1.0)
    behind = similarities - similarities.max(axis=1, initial=-1.0, keepdims=True)
    share = np.where(found, np.exp(behind / temperature) * weights[category], 0.0)
    cell = np.arange(m)[:, None] * c + category
    shares = np.bincount(cell.ravel(), weights=share.ravel(), minlength=m * c)
    return renormalised(shares.astype(np.float64).reshape(m, c))


def renormalised(shares: Probabilities) -> Probabilities:
    """Rows divided by their sums; rows of zeros stay."""
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=np.zeros_like(shares), where=total > 0))
