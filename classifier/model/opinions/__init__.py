"""Trained opinions: each module of this folder is one and is found by its name.

A module has DEFAULT_TEMPERATURE, DEFAULT_WEIGHT and the functions `fit` and `scores` of `OpinionKind`; see `ngrams.py`.
The kNN vote is also an opinion but is not trained. It covers categories that the others do not know.
"""

import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Numbers, Probabilities
from shelfwise.indexer.encoding.lexical import Counts
from shelfwise.indexer.errors import StoreError, listed
from shelfwise.indexer.types import Vectors

Tensors = Mapping[str, NDArray[Any]]
RawScores = NDArray[Any]  # (m, c), higher is more likely

FIT_SEED = 0


@dataclass(frozen=True)
class Features:
    """The input of opinions for n texts: unit `vectors` (n, d) and n-gram `counts` (n, FEATURES)."""

    vectors: Vectors
    counts: Counts

    def __getitem__(self, rows: NDArray[np.int64]) -> "Features":
        """Return the features of some rows."""
        return Features(self.vectors[rows], self.counts[rows])


class OpinionKind(Protocol):
    """The interface of a module of this folder.

    DEFAULT_TEMPERATURE and DEFAULT_WEIGHT (among the trained opinions) serve a catalog too small to choose them on.
    """

    DEFAULT_TEMPERATURE: float
    DEFAULT_WEIGHT: float

    def fit(self, features: Features, numbers: Numbers, c: int, head: str) -> Tensors:
        """Return the tensors fitted to n rows with category numbers (n,) of c categories.

        `head` is the kind of vector classifier that the user chose.
        """
        ...

    def scores(self, tensors: Tensors, features: Features, head: str) -> RawScores:
        """Return (m, c) scores of m texts. Their softmax at a temperature gives the shares."""
        ...


@cache
def kinds() -> dict[str, OpinionKind]:
    """Return all kinds of opinions by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: cast(OpinionKind, import_module(f"{__name__}.{name}")) for name in names}


def default_temperatures() -> dict[str, float]:
    """Return the default temperature of each opinion."""
    return {name: kind.DEFAULT_TEMPERATURE for name, kind in kinds().items()}


def default_weights() -> dict[str, float]:
    """Return the default weight of each opinion."""
    return {name: kind.DEFAULT_WEIGHT for name, kind in kinds().items()}


@dataclass(frozen=True)
class Head:
    """Opinions over `paths`, the c categories that they were trained on, in sorted order.

    `learned` has the tensors of each opinion by its name; `kind` is the kind of vector classifier. The opinions are
    separate because a fine-tuned encoder knows its training rows too well. One classifier on vectors and n-grams would
    nearly ignore the n-grams.
    """

    kind: str
    paths: tuple[str, ...]
    learned: Mapping[str, Tensors]

    @classmethod
    def fit(cls, kind: str, features: Features, paths: Sequence[str]) -> Self | None:
        """Fit a head to n labelled rows; return None if there are fewer than two categories."""
        if len(set(paths)) < 2:
            return None
        categories, numbers = np.unique(np.asarray(paths, dtype=object), return_inverse=True)
        learned = {name: one.fit(features, numbers, len(categories), kind) for name, one in kinds().items()}
        return cls(kind, tuple(categories), learned)

    def shares(self, name: str, features: Features, temperature: float = 1.0) -> Probabilities:
        """Return the (m, c) softmax of an opinion's scores; it is meaningful at the opinion's fitted temperature."""
        return _softmax(kinds()[name].scores(self.learned[name], features, self.kind), temperature)

    def to_bytes(self) -> bytes:
        """Return a safetensors file with kind and paths in its metadata."""
        from safetensors.numpy import save

        tensors = {f"{name}.{part}": array for name, parts in self.learned.items() for part, array in parts.items()}
        described = json.dumps({"kind": self.kind, "paths": self.paths}, ensure_ascii=False)
        return bytes(save(tensors, metadata={"head": described}))  # one entry: the order of several would vary

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Load a head from `to_bytes`. Raise StoreError if an opinion of it is not installed."""
        from safetensors.numpy import load

        size = int.from_bytes(content[:8], "little")
        described = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["head"])
        learned: dict[str, dict[str, RawScores]] = {}
        for full, array in load(content).items():
            name, _, part = full.partition(".")
            learned.setdefault(name, {})[part] = array
        if absent := learned.keys() - kinds().keys():
            raise StoreError(
                "unknown_opinion",
                f"the model of the store uses opinions that are not installed ({listed(sorted(absent))})",
                f"only installed opinions ({', '.join(kinds())})",
                "install the missing opinions, or train the store again",
            )
        return cls(described["kind"], tuple(described["paths"]), learned)


def _softmax(scores: RawScores, temperature: float) -> Probabilities:
    shares = (scores - scores.max(axis=1, keepdims=True)).astype(np.float64)
    shares /= temperature
    np.exp(shares, out=shares)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(shares)
