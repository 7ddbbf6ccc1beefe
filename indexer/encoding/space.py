"""The space in which similarity is measured: vectors less what the whole catalog has in common, at unit length.

Sentence encoders put all texts into a narrow cone (in multilingual-e5 unrelated titles have cosine 0.75 to 0.80), and
in a catalog of two languages the direction in which texts differ most is their language. Taking off the mean, and that
direction where it pays, leaves what tells items apart: Mu and Viswanath, "All-but-the-Top", ICLR 2018.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from shelfwise.indexer.types import Vectors

# The mean of few rows says more about those rows than about the cone: it is taken off in part, n/(n + 20).
SHRINKAGE = 20


@dataclass(frozen=True)
class Space:
    """`center` (d,) and the unit `axes` (a, d) are what is taken off every vector, float32."""

    center: Vectors
    axes: Vectors

    @classmethod
    def fit(cls, vectors: Vectors, axes: int = 0) -> Self:
        """The space of a catalog's vectors (n, d), as the encoder made them, less their `axes` widest directions."""
        n = max(len(vectors), 1)
        center = vectors.sum(axis=0, dtype=np.float64) / n * n / (n + SHRINKAGE)
        return cls(center.astype(np.float32), _widest(vectors - center.astype(np.float32), axes))

    def project(self, vectors: Vectors) -> Vectors:
        """(n, d) unit vectors of this space."""
        moved = vectors - self.center
        for axis in self.axes:  # row by row: a matrix product rounds equal rows differently by where they stand
            moved -= (moved * axis).sum(axis=1, keepdims=True) * axis
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(length, 1e-12), np.float32)

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        from safetensors.numpy import save

        return bytes(save({"center": self.center, "axes": self.axes}))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of `to_bytes`."""
        from safetensors.numpy import load

        return cls(**load(content))


def _widest(moved: Vectors, axes: int) -> Vectors:
    """(axes, d) unit directions in which (n, d) vectors differ most."""
    from scipy.linalg import eigh

    d = moved.shape[1]
    if not axes:
        return np.empty((0, d), np.float32)
    directions = eigh((moved.T @ moved).astype(np.float64), subset_by_index=[d - axes, d - 1])[1]
    return np.ascontiguousarray(directions.T, np.float32)
