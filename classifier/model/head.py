"""The trained head, in two halves: one sees the vector of a text, the other its n-grams."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Probabilities
from shelfwise.classifier.model.dense import KINDS, SEED, Scores, Tensors, linear_scores, linear_tensors
from shelfwise.indexer.encoding.lexical import Counts, rarity_of, weighted
from shelfwise.indexer.types import Vectors

LEXICAL_C = 1.0  # inverse strength of the L2 penalty; see ARCHITECTURE.md for what others gave
TOLERANCE = 1e-2


@dataclass(frozen=True)
class Features:
    """What the head sees of n texts: unit `vectors` (n, d) and n-gram `counts` (n, FEATURES)."""

    vectors: Vectors
    counts: Counts

    def __getitem__(self, rows: NDArray[np.int64]) -> "Features":
        """Those of some rows."""
        return Features(self.vectors[rows], self.counts[rows])


@dataclass(frozen=True)
class Head:
    """Two classifiers over `paths`, the c categories that they were trained on, in sorted order.

    `dense` is of one of `dense.KINDS`, named by `kind`; `lexical` has weights (FEATURES, c), bias (c,) and
    rarity (FEATURES,) of one-vs-rest support vector machines on n-grams. Apart, because an encoder that was fine-tuned
    knows the rows that it learned from too well: one classifier on both would hardly listen to the n-grams.
    """

    kind: str
    paths: tuple[str, ...]
    dense: Tensors
    lexical: Tensors

    @classmethod
    def fit(cls, kind: str, features: Features, paths: Sequence[str]) -> Self | None:
        """The head of n labelled rows; None where there are fewer than two categories.

        The lexical half by LIBLINEAR, squared hinge: Fan et al., JMLR 9 (2008).
        """
        from sklearn.svm import LinearSVC

        if len(set(paths)) < 2:
            return None
        categories, numbers = np.unique(np.asarray(paths, dtype=object), return_inverse=True)
        rarity = rarity_of(features.counts)
        machines = LinearSVC(C=LEXICAL_C, tol=TOLERANCE, dual=True, random_state=SEED)
        return cls(
            kind=kind,
            paths=tuple(categories),
            dense=KINDS[kind].fit(features.vectors, numbers, len(categories)),
            lexical={**linear_tensors(machines, weighted(features.counts, rarity), numbers), "rarity": rarity},
        )

    def dense_shares(self, vectors: Vectors, temperature: float = 1.0) -> Probabilities:
        """(m, c) softmax of the dense half's scores: it means something at the temperature that was fitted to it."""
        return _softmax(KINDS[self.kind].scores(self.dense, vectors), temperature)

    def lexical_shares(self, counts: Counts, temperature: float = 1.0) -> Probabilities:
        """(m, c) the same of the lexical half."""
        grams = weighted(counts, self.lexical["rarity"])
        # By column, so that the weights of an n-gram, in a table larger than the caches, are read once for all texts.
        return _softmax(linear_scores(self.lexical, grams.tocsc()), temperature)

    def to_bytes(self) -> bytes:
        """A safetensors file with kind and paths in its metadata."""
        from safetensors.numpy import save

        tensors = {f"dense.{name}": array for name, array in self.dense.items()}
        tensors |= {f"lexical.{name}": array for name, array in self.lexical.items()}
        described = json.dumps({"kind": self.kind, "paths": self.paths}, ensure_ascii=False)
        return bytes(save(tensors, metadata={"head": described}))  # of several entries the order would vary

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of `to_bytes`."""
        from safetensors.numpy import load

        size = int.from_bytes(content[:8], "little")
        described = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["head"])
        halves: dict[str, dict[str, NDArray[np.float32]]] = {"dense": {}, "lexical": {}}
        for name, array in load(content).items():
            half, _, rest = name.partition(".")
            halves[half][rest] = array
        return cls(described["kind"], tuple(described["paths"]), **halves)


def _softmax(scores: Scores, temperature: float) -> Probabilities:
    shares = (scores - scores.max(axis=1, keepdims=True)).astype(np.float64)
    shares /= temperature
    np.exp(shares, out=shares)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(shares)
