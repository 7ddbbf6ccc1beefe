"""The space in which similarity is measured: vectors less the catalog's mean, at unit length.

Sentence encoders put all texts into a narrow cone (in multilingual-e5 unrelated titles have cosine 0.75 to
0.80). Taking off the mean spreads them out; see Mu and Viswanath, "All-but-the-Top", ICLR 2018.
"""

from dataclasses import dataclass

import numpy as np

from indexer.encoder import Vectors

# The mean of few rows says more about those rows than about the cone: it is taken off in part, n/(n + 20).
SHRINKAGE = 20


@dataclass(frozen=True)
class Space:
    """`center` (d,) float32 is what is taken off every vector."""

    center: Vectors

    @classmethod
    def fit(cls, vectors: Vectors) -> "Space":
        """The space of a catalog's vectors (n, d), as the encoder made them."""
        n = max(len(vectors), 1)
        mean = vectors.sum(axis=0, dtype=np.float64) / n
        return cls((mean * n / (n + SHRINKAGE)).astype(np.float32))

    def project(self, vectors: Vectors) -> Vectors:
        """(n, d) unit vectors of this space."""
        moved = vectors - self.center
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(length, 1e-12), np.float32)

    def to_bytes(self) -> bytes:
        """The centre as little-endian float32."""
        return self.center.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Space":
        """The inverse of `to_bytes`."""
        return cls(np.frombuffer(content, "<f4"))
