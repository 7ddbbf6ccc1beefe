"""Opinions that are trained: each module of this folder is one, and is found here by its name.

A module has DEFAULT_TEMPERATURE, DEFAULT_WEIGHT and the functions `fit` and `scores` of `OpinionKind`; see `ngrams.py`.
The vote of the neighbours is an opinion, too, but learns nothing: it speaks for what the others do not know.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Numbers
from shelfwise.indexer.encoding.lexical import Counts
from shelfwise.indexer.types import Vectors

Tensors = Mapping[str, NDArray[Any]]
Scores = NDArray[Any]  # (m, c), higher is likelier

FIT_SEED = 0


@dataclass(frozen=True)
class Features:
    """What opinions see of n texts: unit `vectors` (n, d) and n-gram `counts` (n, FEATURES)."""

    vectors: Vectors
    counts: Counts

    def __getitem__(self, rows: NDArray[np.int64]) -> "Features":
        """Those of some rows."""
        return Features(self.vectors[rows], self.counts[rows])


class OpinionKind(Protocol):
    """What a module of this folder has.

    DEFAULT_TEMPERATURE and DEFAULT_WEIGHT (among the trained opinions) serve a catalog too small to choose them on.
    """

    DEFAULT_TEMPERATURE: float
    DEFAULT_WEIGHT: float

    def fit(self, features: Features, numbers: Numbers, c: int, head: str) -> Tensors:
        """Return what is learned from n rows with category numbers (n,) of c; `head` is the kind of vector classifier
        that the user chose."""
        ...

    def scores(self, tensors: Tensors, features: Features, head: str) -> Scores:
        """Return (m, c) scores of m texts: their softmax at a temperature are the shares."""
        ...


@cache
def kinds() -> dict[str, OpinionKind]:
    """Return all kinds of opinions by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: cast(OpinionKind, import_module(f"{__name__}.{name}")) for name in names}


def default_temperatures() -> dict[str, float]:
    """Return the temperature of each opinion where none was chosen."""
    return {name: kind.DEFAULT_TEMPERATURE for name, kind in kinds().items()}


def default_weights() -> dict[str, float]:
    """Return the weight of each opinion where none was chosen."""
    return {name: kind.DEFAULT_WEIGHT for name, kind in kinds().items()}
