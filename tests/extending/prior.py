"""An opinion: the share of items in each category, the same for every listing.

Copy it to `classifier/model/opinions/`: every build then fits it, calibrates it and chooses its weight.
"""

import numpy as np

from shelfwise.classifier.labels import Numbers
from shelfwise.classifier.model.opinions import Features, RawScores, Tensors

DEFAULT_TEMPERATURE, DEFAULT_WEIGHT = 1.0, 0.0


def fit(features: Features, numbers: Numbers, c: int, head: str) -> Tensors:
    """Return the logarithm of each category's share of the rows, (c,)."""
    return {"shares": np.log(np.bincount(numbers, minlength=c) / len(numbers)).astype(np.float32)}


def scores(tensors: Tensors, features: Features, head: str) -> RawScores:
    """Return the fitted logarithms for each of m texts, (m, c)."""
    return np.tile(tensors["shares"], (features.counts.shape[0], 1))
