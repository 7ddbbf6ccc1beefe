"""The trained head: multinomial logistic regression on the vectors."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classifier.voting import Probabilities
from indexer.encoder import Vectors

# Inverse strength of the L2 penalty. Vectors have unit length, so the weights must grow large.
PENALTY_C = 20.0
MAX_ITERATIONS = 200


@dataclass(frozen=True)
class Head:
    """A softmax over the categories that it was trained on.

    `paths` in sorted order; `weights` (c, d) and `bias` (c,) float32.
    """

    paths: tuple[str, ...]
    weights: Vectors
    bias: NDArray[np.float32]

    @classmethod
    def fit(cls, vectors: Vectors, paths: Sequence[str]) -> Self | None:
        """The head of n labelled vectors (n, d); None where there are fewer than two categories."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if len(set(paths)) < 2:
            return None
        model = LogisticRegression(C=PENALTY_C, max_iter=MAX_ITERATIONS, tol=1e-3)
        with warnings.catch_warnings():
            # MAX_ITERATIONS is a budget, and a catalog may well have one row in each category.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "The number of unique classes")
            model.fit(vectors, np.asarray(paths, dtype=object))
        weights, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps one row for two categories
            weights, bias = np.vstack((0 * weights, weights)), np.append(0, bias)
        return cls(tuple(model.classes_), weights.astype(np.float32), bias.astype(np.float32))

    def probabilities(self, vectors: Vectors) -> Probabilities:
        """(m, c) probabilities of the head's own categories for m vectors (m, d)."""
        scores = (vectors @ self.weights.T + self.bias).astype(np.float64)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))

    def to_bytes(self) -> bytes:
        """A safetensors file with the paths in its metadata."""
        from safetensors.numpy import save

        tensors = {"weights": np.ascontiguousarray(self.weights), "bias": np.ascontiguousarray(self.bias)}
        return bytes(save(tensors, metadata={"paths": json.dumps(self.paths, ensure_ascii=False)}))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of `to_bytes`."""
        from safetensors.numpy import load

        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        tensors = load(content)
        return cls(tuple(json.loads(metadata["paths"])), tensors["weights"], tensors["bias"])
