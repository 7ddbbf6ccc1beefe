"""The result of a search, and exact search by cosine similarity: in numpy (the oracle), or with FAISS on CPU or GPU.

FAISS gives the same rows and the same float64 similarities as the oracle. It proposes candidates in float32 or float16,
which are scored again in float64. More candidates are fetched for a query whose last places could still change.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.errors import EngineError
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Vectors

Mask = NDArray[np.bool_]

NONE = -1  # row number of a place without a neighbour
# Similarities that agree to this many decimals count as equal. Float64 sums are rounded differently by each engine,
# and this must not decide between a row and its duplicate.
TIE_DECIMALS = 9
SPARE_CANDIDATES = 16  # candidates in addition to k in the first round
# A float32 dot product of unit vectors (d up to 4,096) differs from the float64 one by less than this.
FLOAT32_ERROR = 1e-5
# The same for vectors rounded to float16: a relative error of 1/2,048 for each, plus underflow of small values.
FLOAT16_ERROR = 1.1e-3
GPU_MAX_K = 2048
GPU_SHARE = 0.7  # of a GPU's free memory for vectors: search and encoder need some, too
BLOCK = 65_536  # rows searched at a time
RESCORE_BYTES = 1 << 27  # bytes of candidate vectors gathered at a time
ORACLE_BYTES = 1 << 27  # bytes of similarities computed at a time


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of m queries, nearest first. Of equally near rows, the lower row number comes first.

    `rows` (m, k) are int64 row numbers, NONE if fewer than k rows were found. `similarities` (m, k) are float64 cosines
    in [-1, 1], -inf at NONE.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """(m, k) mask of the places with a neighbour."""
        return np.asarray(self.rows != NONE)

    def best(self) -> NDArray[np.float64]:
        """Return the similarity of the nearest row (m,), -inf if there is none."""
        if self.similarities.shape[1] == 0:
            return np.full(len(self.rows), -np.inf)
        return self.similarities[:, 0]

    def without(self, own: NDArray[np.int64]) -> "Neighbors":
        """Return the (m, k - 1) nearest rows other than each query's `own` row (m,)."""
        order = np.argsort(self.rows == own[:, None], axis=1, kind="stable")[:, :-1]
        return Neighbors(
            np.take_along_axis(self.rows, order, axis=1), np.take_along_axis(self.similarities, order, axis=1)
        )

    def without_duplicates(self, keys: NDArray[np.object_], own: NDArray[np.object_], k: int) -> "Neighbors":
        """Return the (m, k) nearest rows whose key in `keys` (n,) differs from the query's `own` key (m,)."""
        duplicates = (keys[self.rows] == own[:, None]) & self.found
        order = np.argsort(duplicates, axis=1, kind="stable")[:, :k]
        gone = np.take_along_axis(duplicates, order, axis=1)
        rows, similarities = (np.take_along_axis(part, order, axis=1) for part in (self.rows, self.similarities))
        return Neighbors(np.where(gone, NONE, rows), np.where(gone, -np.inf, similarities))


def nearest(
    similarities: NDArray[np.float64],
    rows: NDArray[np.int64],
    k: int,
    places: NDArray[np.float64] | NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the k nearest of (m, j) candidates: their row numbers and similarities, with empty places last.

    Candidates of equal similarity are sorted by `places` (m, j), by default by row number.
    """
    similarities = np.round(similarities, TIE_DECIMALS)
    order = np.lexsort((rows if places is None else places, -similarities), axis=1)[:, :k]
    kept = np.take_along_axis(similarities, order, axis=1)
    chosen = np.take_along_axis(rows, order, axis=1)
    return np.where(np.isneginf(kept), NONE, chosen), kept


class Searcher(Protocol):
    """A search for the nearest rows among n unit vectors of d dimensions."""

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None) -> Neighbors:
        """Return the k nearest rows of each of m unit `queries` (m, d), among the rows where `allowed` (n,) is true.

        Of equally near rows, the lower row number comes first. If there are fewer than k rows, the remaining places
        have NONE and -inf.
        """
        ...


class ExactSearcher:
    """Exact search with numpy: every similarity in float64. It is slow, and the reference for the other searchers."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None) -> Neighbors:
        """See `Searcher.search`."""
        rows = np.arange(len(self._vectors)) if allowed is None else np.flatnonzero(allowed)
        among = self._vectors[rows].astype(np.float64)
        step = max(1, ORACLE_BYTES // (8 * max(len(rows), 1)))
        parts = [
            _padded(*nearest(part @ among.T, np.broadcast_to(rows, (len(part), len(rows))), k), k)
            for part in (queries[i : i + step].astype(np.float64) for i in range(0, len(queries), step))
        ]
        return _stacked(parts, k)


@dataclass(frozen=True)
class Copy:
    """A copy of vectors on a GPU, in a flat FAISS `index` whose similarities have an error of at most `error`."""

    index: Any
    error: float


def copy_on_gpu(vectors: Vectors) -> Copy | None:
    """Copy vectors (n, d) to one GPU, in float32 or, if that does not fit, in float16. Return None if neither fits."""
    import torch

    room = GPU_SHARE * torch.cuda.mem_get_info()[0]
    if vectors.nbytes / 2 > room:
        return None
    faiss = import_faiss()
    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = vectors.nbytes > room
    index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), vectors.shape[1], config)
    for start in range(0, len(vectors), BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))
    return Copy(index, FLOAT16_ERROR if config.useFloat16 else FLOAT32_ERROR)


class FaissSearcher:
    """Exact search with FAISS's inner product, over vectors in memory or a copy on a GPU."""

    def __init__(self, vectors: Vectors, copy: Copy | None = None) -> None:
        self._faiss = import_faiss()
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._copy = copy
        self._error = copy.error if copy else FLOAT32_ERROR

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None) -> Neighbors:
        """See `Searcher.search`. A filtered search never runs on a GPU, which would silently ignore the filter."""
        if self._copy and (allowed is not None or k + SPARE_CANDIDATES > GPU_MAX_K):
            return FaissSearcher(self._vectors).search(queries, k, allowed)
        among = None if allowed is None else np.flatnonzero(allowed)
        n = len(self._vectors) if among is None else len(among)
        queries = np.ascontiguousarray(queries, np.float32)
        rows, similarities = np.full((len(queries), k), NONE, np.int64), np.full((len(queries), k), -np.inf)
        open_, fetch = np.arange(len(queries)), min(k + SPARE_CANDIDATES, n)
        while len(open_) and fetch:
            if self._copy and fetch > GPU_MAX_K:
                exact = FaissSearcher(self._vectors).search(queries[open_], k)
                rows[open_], similarities[open_] = exact.rows, exact.similarities
                break
            candidates, floor = self._propose(queries[open_], fetch, among)
            found, scores = rescored(self._vectors, queries[open_], candidates, k)
            rows[open_, : found.shape[1]], similarities[open_, : found.shape[1]] = found, scores
            # Apart from rounding, a row that was not fetched is at most as similar as the last fetched one.
            unsure = scores[:, -1] <= floor + self._error
            open_, fetch = (open_[unsure], min(4 * fetch, n)) if fetch < n else (open_[:0], 0)
        return Neighbors(rows, similarities)

    def _propose(
        self, queries: Vectors, k: int, among: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return candidate rows (m, k), and the lowest proposed similarity of each query (m,)."""
        if self._copy:
            scores, rows = self._copy.index.search(queries, k)
            return rows, scores[:, -1].astype(np.float64)
        rows, scores = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        for start in range(0, len(self._vectors) if among is None else len(among), BLOCK):
            some = None if among is None else among[start : start + BLOCK]
            vectors = self._vectors[start : start + BLOCK] if some is None else self._vectors[some]
            new, places = self._faiss.knn(queries, vectors, min(k, len(vectors)), self._faiss.METRIC_INNER_PRODUCT)
            scores = np.concatenate((scores, new), axis=1)
            rows = np.concatenate((rows, places + start if some is None else some[places]), axis=1)
            if scores.shape[1] > k:
                best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
                scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
        return rows, scores.min(axis=1).astype(np.float64)


def rescored(
    vectors: Vectors, queries: Vectors, candidates: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the k nearest `candidates` (m, j), rows of `vectors` (n, d) or NONE, of m queries by float64 score."""
    scores = np.empty(candidates.shape)
    step = max(1, RESCORE_BYTES // (8 * vectors.shape[1] * max(candidates.shape[1], 1)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        chosen = vectors[candidates[part]].astype(np.float64)
        scores[part] = np.matmul(chosen, queries[part, :, None].astype(np.float64))[..., 0]
    scores[candidates == NONE] = -np.inf
    return nearest(scores, candidates, k)


def _padded(rows: NDArray[np.int64], similarities: NDArray[np.float64], k: int) -> Neighbors:
    missing = ((0, 0), (0, k - rows.shape[1]))
    return Neighbors(
        np.pad(rows, missing, constant_values=NONE), np.pad(similarities, missing, constant_values=-np.inf)
    )


def _stacked(parts: list[Neighbors], k: int) -> Neighbors:
    if not parts:
        return Neighbors(np.empty((0, k), np.int64), np.empty((0, k)))
    return Neighbors(np.concatenate([p.rows for p in parts]), np.concatenate([p.similarities for p in parts]))


def import_faiss() -> Any:
    """Import the faiss module and set its number of threads.

    Raise EngineError when it is missing, or when both of its packages are installed. Both write to the same folder, so
    it is not known which one is there.
    """
    installed = [name for name in ("faiss-cpu", "faiss-gpu") if _is_installed(name)]
    if len(installed) == 2:
        raise EngineError(
            "two_engines",
            "faiss-cpu and faiss-gpu are both installed and overwrite each other",
            "only one of them",
            "pip uninstall -y faiss-cpu faiss-gpu, then pip install 'shelfwise[cpu]' or 'shelfwise[gpu]'",
        )
    if not installed:
        raise EngineError(
            "no_engine",
            "faiss is not installed",
            "faiss-cpu or faiss-gpu",
            "pip install 'shelfwise[cpu]', or 'shelfwise[gpu]' for an NVIDIA GPU",
        )
    import faiss

    faiss.omp_set_num_threads(usable_threads())
    return faiss


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def resolve_engine(device: str) -> str:
    """Return the device FAISS searches on, cpu or cuda, for `device` auto, cpu or cuda.

    Raise EngineError when `device` is cuda and FAISS finds no GPU, or when FAISS cannot be imported for auto or cuda.
    """
    if device == "cpu":
        return device
    faiss = import_faiss()
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if gpus > 0:
        return "cuda"
    if device == "cuda":
        raise EngineError(
            "no_gpu",
            "device 'cuda', but faiss finds no GPU",
            "shelfwise[gpu] and an NVIDIA driver",
            "use device cpu or auto",
        )
    return "cpu"
