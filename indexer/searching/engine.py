"""The engine for large catalogs: it finds nearly all of what exact search finds, at a multiple of its rate.

Rows are put into cells, and the cells nearest to a query are gone through with vectors of four bits for every two
dimensions (inverted file with product quantization, in registers: Jegou et al., "Product Quantization for Nearest
Neighbor Search", 2011; Andre et al., "Cache locality is not enough", 2015). What that proposes is scored again from the
vectors themselves. How many cells are gone through is found out on the catalog.
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
APPROXIMATE_FROM = 20_000  # rows: from here on exact search would take more than a fifth of the time of encoding
RECALL_K, RECALL = 32, 0.99  # of the so many nearest rows that share is to be found
SURE = 2  # standard errors by which the share found for some rows is to be above it
ENGINE_PROBES = 500  # rows that are searched for to find that out
CELL = 125  # rows in a cell on average: fewer would fill the blocks of 32 less in which they are gone through
SAMPLED_EVERY = 7  # of the rows each so-many-th is one of those from which cells and quantizer are learned
FEWEST_CELLS = 1 / 32  # of all are gone through for a query: new ones may be farther from the rows than these are
STEP = 4  # by its fourth part the number of cells grows that is tried next
MOST_CELLS = 1 / 2  # of all: beyond it the vectors have no cells worth the name
PROPOSED = (4, 8)  # candidates for each neighbour that is asked for, of which there are RECALL_K at least
SPARE_FOUND = 8  # of them are put in order beyond those that are asked for, in case of twins
FEWEST_ALLOWED = 0.2  # share of the rows that a filter lets through: below it all of those are searched
QUERIES_AT_A_TIME = 1_024  # queries at a time
LARGE = 1 << 27  # bytes of vectors: fewer stay in memory, since having them mapped again takes time
ADDED_ROWS = 65_536  # rows that are added at a time


@dataclass(frozen=True)
class Engine:
    """Cells of quantized rows, `index`, of which so many are gone through for a query, for `proposed` candidates for
    each neighbour that is asked for.

    `recall` is the share of the RECALL_K nearest rows that it finds, measured on rows that it holds.
    """

    index: Any
    cells: int
    proposed: int
    recall: float


def build_engine(vectors: Vectors, progress: Progress | None = None) -> Engine | None:
    """The engine of unit vectors (n, d); None where exact search is better: for few rows, or rows of which cells and
    quantizer make too little."""
    n, d = vectors.shape
    if n < APPROXIMATE_FROM:
        return None
    index = import_faiss().index_factory(d, layout(n, d), import_faiss().METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # its warning goes to stderr; how many are enough is decided here
    index.train(typical(vectors))
    for start in range(0, n, ADDED_ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + ADDED_ROWS]))
        if progress:
            progress("index", min(start + ADDED_ROWS, n), n)
    return _tuned(index, vectors)


def layout(n: int, d: int) -> str:
    """The engine for n vectors of d dimensions, in FAISS's notation."""
    return f"IVF{cells_for(n)},PQ{d // 2 if d % 2 == 0 else d}x4fs"


def cells_for(n: int) -> int:
    """The number of cells for n vectors."""
    return max(1, n // CELL)


def typical(vectors: Vectors) -> Vectors:
    """Some of the vectors (n, d), evenly spread, from which cells and quantizer are learned."""
    return np.ascontiguousarray(vectors[::SAMPLED_EVERY])


def _tuned(index: Any, vectors: Vectors) -> Engine | None:
    """The engine with as few cells as recall allows, and as few candidates with these."""
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
    """PROBES of so many rows, evenly spread."""
    return np.linspace(0, rows - 1, ENGINE_PROBES).astype(np.int64)


def recalled(engine: Engine | None) -> tuple[str, float]:
    """Name and recall of an engine; None is exact search."""
    return (EXACT, 1.0) if engine is None else (APPROXIMATE, engine.recall)


def recalls_of(found: NDArray[np.int64], exact: NDArray[np.int64]) -> NDArray[np.float64]:
    """(m,) the share of each query's rows (m, k) of exact search that is among the rows (m, k) found."""
    return np.asarray((found[:, :, None] == exact[:, None, :]).any(axis=1).mean(axis=1))


def write_engine(engine: Engine, file: Path) -> dict[str, float]:
    """Write an engine to a file, but for what is returned: its other fields. Raises OSError."""
    try:
        import_faiss().write_index(engine.index, str(file))
    except RuntimeError as error:  # FAISS's own words, some lines of them
        raise OSError(f"{file.name} cannot be written: is the disk full?") from error
    return {"cells": engine.cells, "proposed": engine.proposed, "recall": engine.recall}


def read_engine(file: Path, cells: float, proposed: float, recall: float) -> Engine:
    """The inverse of `write_engine`."""
    return Engine(import_faiss().read_index(str(file)), int(cells), int(proposed), recall)


class EngineSearcher:
    """An engine over unit vectors (n, d); `memory` in which large ones lie is given back after every search."""

    def __init__(self, vectors: Vectors, engine: Engine, memory: mmap | None) -> None:
        self._vectors, self._engine = vectors, engine
        self._memory = memory if vectors.nbytes > LARGE else None
        self._faiss, self._exact = import_faiss(), FaissSearcher(vectors)

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None) -> Neighbors:
        """See `Searcher.search`, but for this: a few of the nearest rows are not found, and the next ones are there
        instead."""
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
            if short.any():  # the cells gone through held too few
                exact = self._released(self._exact.search(some[short], k, allowed))
                found.rows[short], found.similarities[short] = exact.rows, exact.similarities
            rows[part], similarities[part] = found.rows, found.similarities
        return Neighbors(rows, similarities)

    def _nearest(
        self, queries: Vectors, fetch: int, k: int, allowed: Mask | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The k nearest, in float32, of `fetch` candidates by quantized vectors."""
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
        """`found`, with the pages that were read for it given back to the system, which may keep them."""
        if self._memory is not None:
            self._memory.madvise(MADV_DONTNEED)
        return found


def searcher_of(vectors: Vectors, engine: Engine | None, memory: mmap | None, device: str) -> Searcher:
    """The search over a replica: an exact one on the GPU where `device` is cuda and the vectors fit, else its engine's
    or, where it has none, an exact one."""
    copy = copy_on_gpu(vectors) if device == "cuda" else None
    if copy or engine is None:
        return FaissSearcher(vectors, copy)
    return EngineSearcher(vectors, engine, memory)
