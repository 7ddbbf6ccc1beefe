"""The space in which similarity is measured: vectors minus their common part, at unit length.

Sentence encoders put all texts into a narrow cone (in multilingual-e5 unrelated titles have cosine 0.75 to 0.80). In a
catalog of two languages, the first principal component is their language. Subtracting the mean, and that component
where it pays, leaves the differences between items. Source: Mu and Viswanath, "All-but-the-Top", ICLR 2018.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from shelfwise.indexer.types import Vectors

# The mean of few rows depends more on those rows than on the cone: subtract only n/(n + 20) of it.
SHRINKAGE = 20


@dataclass(frozen=True)
class Space:
    """Center (d,) and unit principal components `axes` (a, d), float32, that are removed from each vector."""

    center: Vectors
    axes: Vectors

    @classmethod
    def fit(cls, vectors: Vectors, axes: int = 0) -> Self:
        """Return the space of a catalog's encoder vectors (n, d), without their first `axes` principal components."""
        n = max(len(vectors), 1)
        center = vectors.sum(axis=0, dtype=np.float64) / n * n / (n + SHRINKAGE)
        return cls(center.astype(np.float32), _principal_components(vectors - center.astype(np.float32), axes))

    def project(self, vectors: Vectors) -> Vectors:
        """Return the (n, d) unit vectors of this space for encoder vectors (n, d)."""
        moved = vectors - self.center
        for axis in self.axes:  # row by row: a matrix product may round equal rows differently
            moved -= (moved * axis).sum(axis=1, keepdims=True) * axis
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(length, 1e-12), np.float32)

    def to_bytes(self) -> bytes:
        """Return the space as the content of a safetensors file."""
        from safetensors.numpy import save

        return bytes(save({"center": self.center, "axes": self.axes}))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return the space that `to_bytes` wrote."""
        from safetensors.numpy import load

        return cls(**load(content))


def _principal_components(moved: Vectors, axes: int) -> Vectors:
    """Return the first `axes` principal components of centered vectors (n, d), as (axes, d) unit vectors."""
    from scipy.linalg import eigh

    d = moved.shape[1]
    if not axes:
        return np.empty((0, d), np.float32)
    components = eigh((moved.T @ moved).astype(np.float64), subset_by_index=[d - axes, d - 1])[1]
    return np.ascontiguousarray(components.T, np.float32)
