"""The engine for large catalogs: it finds nearly all rows that exact search finds, at a multiple of its rate.

Rows are grouped into cells. The cells nearest to a query are scanned with vectors of four bits for every two dimensions
(inverted file with product quantization, in registers: Jegou et al., "Product Quantization for Nearest Neighbor
Search", 2011; Andre et al., "Cache locality is not enough", 2015). The resulting candidates are scored again with the
original vectors. The number of scanned cells (nprobe) is tuned on the catalog.
"""

from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.searching.search import (
    NONE,
    FaissSearcher,
    Mask,
    Neighbors,
    Searcher,
    copy_on_gpu,
    import_faiss,
    nearest,
)
from shelfwise.indexer.types import Progress, Vectors

EXACT, APPROXIMATE = "exact", "ivf-pq-fastscan"
APPROXIMATE_FROM = 20_000  # rows: with more, exact search takes over a fifth of the encoding time
RECALL_K, RECALL = 32, 0.99  # share of the RECALL_K nearest rows to find
SURE = 2  # standard errors by which the measured recall must exceed RECALL
ENGINE_PROBES = 500  # rows used as queries to measure recall
CELL = 125  # average rows in a cell: with fewer, the blocks of 32 rows that are scanned together are less full
SAMPLED_EVERY = 7  # step between the rows used to train cells and quantizer
FEWEST_CELLS = 1 / 32  # least share of cells to scan: new queries may be farther from the rows than those of the tuning
STEP = 4  # nprobe grows by a fourth from one trial to the next
MOST_CELLS = 1 / 2  # greatest share of cells to scan: vectors that need more have no useful cells
PROPOSED = (4, 8)  # candidates for each requested neighbour, tried in this order; at least RECALL_K are requested
SPARE_FOUND = 8  # candidates sorted in addition to the requested ones, in case of duplicates
FEWEST_ALLOWED = 0.2  # share of rows that pass a filter: with fewer, exact search is used
QUERIES_AT_A_TIME = 1_024
LARGE = 1 << 27  # bytes of vectors: fewer stay in memory, since mapping their pages again takes time
ADDED_ROWS = 65_536  # rows added at a time


@dataclass(frozen=True)
class Engine:
    """An approximate engine: `index` has cells of quantized rows, and a query scans the nearest `cells` (nprobe).

    `proposed` is the number of candidates for each requested neighbour. `recall` is the share of the RECALL_K nearest
    rows that it finds, measured on its own rows.
    """

    index: Any
    cells: int
    proposed: int
    recall: float


def build_engine(vectors: Vectors, progress: Progress | None = None) -> Engine | None:
    """Build the engine of unit vectors (n, d). Return None if exact search is better: for few rows, or low recall."""
    n, d = vectors.shape
    if n < APPROXIMATE_FROM:
        return None
    index = import_faiss().index_factory(d, layout(n, d), import_faiss().METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # avoids FAISS's warning on stderr: the number of points is chosen here
    index.train(typical(vectors))
    for start in range(0, n, ADDED_ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + ADDED_ROWS]))
        if progress:
            progress("index", min(start + ADDED_ROWS, n), n)
    return _tuned(index, vectors)


def layout(n: int, d: int) -> str:
    """Return the engine's FAISS factory string for n vectors of d dimensions."""
    return f"IVF{cells_for(n)},PQ{d // 2 if d % 2 == 0 else d}x4fs"


def cells_for(n: int) -> int:
    """Return the number of cells for n vectors."""
    return max(1, n // CELL)


def typical(vectors: Vectors) -> Vectors:
    """Return an evenly spread sample of vectors (n, d) to train cells and quantizer on."""
    return np.ascontiguousarray(vectors[::SAMPLED_EVERY])


def _tuned(index: Any, vectors: Vectors) -> Engine | None:
    """Return the engine with the fewest scanned cells, then candidates, that reach RECALL; None if there is none."""
    cells = cells_for(len(vectors))
    probes = spread(len(vectors))
    exact = FaissSearcher(vectors).search(vectors[probes], RECALL_K + 1).without(probes)
    through = max(1, round(FEWEST_CELLS * cells))
    while through <= MOST_CELLS * cells:
        for proposed in PROPOSED:
            searcher = EngineSearcher(vectors, Engine(index, through, proposed, 0.0), None)
            found = searcher.search(vectors[probes], RECALL_K + 1)
            recalls = recalls_of(found.without(probes).rows, exact.rows)
            if recalls.mean() - SURE * recalls.std() / len(recalls) ** 0.5 >= RECALL:
                return Engine(index, through, proposed, float(recalls.mean()))
        through += -(-through // STEP)
    return None


def spread(rows: int) -> NDArray[np.int64]:
    """Return ENGINE_PROBES evenly spread row numbers below `rows`."""
    return np.linspace(0, rows - 1, ENGINE_PROBES).astype(np.int64)


def recalled(engine: Engine | None) -> tuple[str, float]:
    """Return the name and recall of an engine. None stands for exact search."""
    return (EXACT, 1.0) if engine is None else (APPROXIMATE, engine.recall)


def recalls_of(found: NDArray[np.int64], exact: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of each query's `exact` rows (m, k) that are among its `found` rows (m, k), as (m,)."""
    return np.asarray((found[:, :, None] == exact[:, None, :]).any(axis=1).mean(axis=1))


def write_engine(engine: Engine, file: Path) -> dict[str, float]:
    """Write an engine's index to a file and return its other fields. Raise OSError when it cannot be written."""
    try:
        import_faiss().write_index(engine.index, str(file))
    except RuntimeError as error:  # its message is FAISS's own, several lines long
        raise OSError(f"{file.name} cannot be written; the disk may be full") from error
    return {"cells": engine.cells, "proposed": engine.proposed, "recall": engine.recall}


def read_engine(file: Path, cells: float, proposed: float, recall: float) -> Engine:
    """Read an engine written by `write_engine`, whose other fields are `cells`, `proposed` and `recall`."""
    return Engine(import_faiss().read_index(str(file)), int(cells), int(proposed), recall)


class EngineSearcher:
    """Approximate search over unit vectors (n, d). It releases the pages of large vectors, in `memory`, after use."""

    def __init__(self, vectors: Vectors, engine: Engine, memory: mmap | None) -> None:
        self._vectors, self._engine = vectors, engine
        self._memory = memory if vectors.nbytes > LARGE else None
        self._faiss, self._exact = import_faiss(), FaissSearcher(vectors)

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None) -> Neighbors:
        """See `Searcher.search`. A few of the nearest rows may be missing, replaced by the next ones."""
        n, fetch = len(self._vectors), self._engine.proposed * max(RECALL_K, k)
        left = n if allowed is None else int(allowed.sum())
        if left < max(FEWEST_ALLOWED * n, fetch):
            return self._released(self._exact.search(queries, k, allowed))
        rows, similarities = np.full((len(queries), k), NONE, np.int64), np.full((len(queries), k), -np.inf)
        for start in range(0, len(queries), QUERIES_AT_A_TIME):
            part = slice(start, start + QUERIES_AT_A_TIME)
            some = np.ascontiguousarray(queries[part], np.float32)
            found = self._released(Neighbors(*self._nearest(some, fetch, k, allowed)))
            short = ~found.found.all(axis=1)
            if short.any():  # the scanned cells have too few rows
                exact = self._released(self._exact.search(some[short], k, allowed))
                found.rows[short], found.similarities[short] = exact.rows, exact.similarities
            rows[part], similarities[part] = found.rows, found.similarities
        return Neighbors(rows, similarities)

    def _nearest(
        self, queries: Vectors, fetch: int, k: int, allowed: Mask | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the k nearest rows, scored in float32, of `fetch` candidates found by quantized vectors."""
        parameters = self._faiss.SearchParametersIVF(nprobe=self._engine.cells)
        if allowed is not None:
            parameters.sel = self._faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        rows = self._engine.index.search(queries, fetch, params=parameters)[1]
        scores, pointer = np.empty(rows.shape, np.float32), self._faiss.swig_ptr
        self._faiss.fvec_inner_products_by_idx(
            pointer(scores),
            pointer(queries),
            pointer(self._vectors),
            pointer(rows),
            self._vectors.shape[1],
            *rows.shape,
        )
        scores[rows == NONE] = -np.inf
        many = min(k + SPARE_FOUND, fetch)
        best = np.argpartition(-scores, many - 1, axis=1)[:, :many]
        scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
        return nearest(scores.astype(np.float64), rows, k)

    def _released(self, found: Neighbors) -> Neighbors:
        """Return `found` after releasing the memory pages that were read for it. The system may keep them cached."""
        if self._memory is not None:
            self._memory.madvise(MADV_DONTNEED)
        return found


def searcher_of(vectors: Vectors, engine: Engine | None, memory: mmap | None, device: str) -> Searcher:
    """Return the search over a replica: exact on a GPU if `device` is cuda and the vectors fit there.

    Otherwise it uses the engine, or is exact if there is no engine.
    """
    copy = copy_on_gpu(vectors) if device == "cuda" else None
    if copy or engine is None:
        return FaissSearcher(vectors, copy)
    return EngineSearcher(vectors, engine, memory)
