"""An opinion: how many items each category has, whatever the listing says.

Copied to `classifier/model/opinions/`, it is fitted, calibrated and given a weight by every build.
"""

import numpy as np

from shelfwise.classifier.labels import Numbers
from shelfwise.classifier.model.opinions import Features, RawScores, Tensors

DEFAULT_TEMPERATURE, DEFAULT_WEIGHT = 1.0, 0.0


def fit(features: Features, numbers: Numbers, c: int, head: str) -> Tensors:
    """Return the logarithm of each category's share of the rows, (c,)."""
    return {"shares": np.log(np.bincount(numbers, minlength=c) / len(numbers)).astype(np.float32)}


def scores(tensors: Tensors, features: Features, head: str) -> RawScores:
    """Return the same for each of m texts, (m, c)."""
    return np.tile(tensors["shares"], (features.counts.shape[0], 1))
