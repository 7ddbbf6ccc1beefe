"""The trained head: a linear classifier that sees the vector and the n-grams of a text."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classifier.voting import Probabilities
from indexer.encoder import Vectors
from indexer.lexical import Counts

PENALTY_C = 1.0  # inverse strength of the L2 penalty; see ARCHITECTURE.md for what others gave
TOLERANCE = 1e-2
SEED = 0  # LIBLINEAR visits the rows in random order


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
    """One-vs-rest support vector machines over the categories that it was trained on.

    `paths` in sorted order; `weights` (d + FEATURES, c), `bias` (c,) and `rarity` (FEATURES,), the inverse
    document frequency of the n-grams, float32.
    """

    paths: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    rarity: NDArray[np.float32]

    @classmethod
    def fit(cls, features: Features, paths: Sequence[str]) -> Self | None:
        """The head of n labelled rows; None where there are fewer than two categories.

        Squared hinge loss, by LIBLINEAR: Fan et al., JMLR 9 (2008).
        """
        from scipy import sparse
        from sklearn.svm import LinearSVC

        if len(set(paths)) < 2:
            return None
        rows_with = np.bincount(features.counts.indices, minlength=features.counts.shape[1])
        rarity = (np.log((1 + len(paths)) / (1 + rows_with)) + 1).astype(np.float32)
        seen = sparse.hstack([sparse.csr_array(features.vectors), _weighted(features.counts, rarity)]).tocsr()
        model = LinearSVC(C=PENALTY_C, tol=TOLERANCE, dual=True, random_state=SEED)
        with warnings.catch_warnings():  # a catalog may well have one row in each category
            warnings.filterwarnings("ignore", "The number of unique classes")
            warnings.filterwarnings("ignore", "Liblinear failed to converge")
            model.fit(seen, np.asarray(paths, dtype=object))
        weights, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps one row for two categories
            weights, bias = np.vstack((-weights, weights)), np.append(-bias, bias)
        return cls(tuple(model.classes_), weights.T.astype(np.float32, order="C"), bias.astype(np.float32), rarity)

    def probabilities(self, features: Features) -> Probabilities:
        """(m, c) softmax of the margins; they mean something only at the temperature that was fitted to them."""
        d = features.vectors.shape[1]
        margins = features.vectors @ self.weights[:d] + self.bias
        margins = np.asarray(margins + _weighted(features.counts, self.rarity) @ self.weights[d:], np.float64)
        shares = np.exp(margins - margins.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def to_bytes(self) -> bytes:
        """A safetensors file with the paths in its metadata."""
        from safetensors.numpy import save

        tensors = {"weights": self.weights, "bias": self.bias, "rarity": self.rarity}
        return bytes(save(tensors, metadata={"paths": json.dumps(self.paths, ensure_ascii=False)}))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of `to_bytes`."""
        from safetensors.numpy import load

        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        return cls(paths=tuple(json.loads(metadata["paths"])), **load(content))


def _weighted(counts: Counts, rarity: NDArray[np.float32]) -> Counts:
    """Counts times `rarity`, rows at unit length (as the vectors beside them)."""
    weighted = counts.copy()
    weighted.data = weighted.data * rarity[weighted.indices]
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    length = np.sqrt(np.bincount(row, weights=weighted.data.astype(np.float64) ** 2, minlength=counts.shape[0]))
    weighted.data = (weighted.data / np.maximum(length, 1e-12)[row]).astype(np.float32)
    return weighted
