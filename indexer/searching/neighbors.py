"""What a search returns, and what can be done to it without an engine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NONE = -1  # row number of a place that no neighbour fills
# Similarities that agree to this many decimals are equal: the rounding of float64 sums, which differs from
# engine to engine, must not decide between a row and its twin.
DECIMALS = 9


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of m queries, nearest first; of equally near rows the lower one comes first.

    `rows` (m, k) int64 row numbers, NONE where there were fewer than k; `similarities` (m, k) float64
    cosines in [-1, 1], -inf at NONE.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """(m, k) mask of the places that a neighbour fills."""
        return np.asarray(self.rows != NONE)

    def best(self) -> NDArray[np.float64]:
        """(m,) similarity of the nearest row, -inf where there is none."""
        if self.similarities.shape[1] == 0:
            return np.full(len(self.rows), -np.inf)
        return self.similarities[:, 0]

    def without(self, own: NDArray[np.int64]) -> "Neighbors":
        """The (m, k - 1) nearest but for each query's `own` row (m,)."""
        order = np.argsort(self.rows == own[:, None], axis=1, kind="stable")[:, :-1]
        return Neighbors(
            np.take_along_axis(self.rows, order, axis=1), np.take_along_axis(self.similarities, order, axis=1)
        )

    def without_twins(self, keys: NDArray[np.object_], own: NDArray[np.object_], k: int) -> "Neighbors":
        """The (m, k) nearest whose key, one of `keys` (n,) by row, is not each query's `own` (m,)."""
        twins = (keys[self.rows] == own[:, None]) & self.found
        order = np.argsort(twins, axis=1, kind="stable")[:, :k]
        gone = np.take_along_axis(twins, order, axis=1)
        rows, similarities = (np.take_along_axis(part, order, axis=1) for part in (self.rows, self.similarities))
        return Neighbors(np.where(gone, NONE, rows), np.where(gone, -np.inf, similarities))


def nearest(
    similarities: NDArray[np.float64],
    rows: NDArray[np.int64],
    k: int,
    places: NDArray[np.float64] | NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest of (m, j) candidates by similarity, then by `places` (m, j), by default their row numbers; places
    without a candidate last."""
    similarities = np.round(similarities, DECIMALS)
    order = np.lexsort((rows if places is None else places, -similarities), axis=1)[:, :k]
    kept = np.take_along_axis(similarities, order, axis=1)
    chosen = np.take_along_axis(rows, order, axis=1)
    return np.where(np.isneginf(kept), NONE, chosen), kept
