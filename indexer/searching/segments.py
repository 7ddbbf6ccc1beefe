"""The rows of a version as two layers, a replica and what is fresh since it was made, searched and shown as one."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.item import PATH_SEPARATOR
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.engine import searcher_of
from shelfwise.indexer.searching.replica import Replica
from shelfwise.indexer.searching.search import FaissSearcher, Mask, Neighbors, Searcher, nearest
from shelfwise.indexer.store.disk import verify_files
from shelfwise.indexer.store.snapshot import Snapshot
from shelfwise.indexer.store.table import RowIds
from shelfwise.indexer.types import Vectors


@dataclass(frozen=True)
class Layer:
    """Rows in order of id: their texts, and a search over their unit `vectors` (n, d)."""

    items: pa.Table
    vectors: Vectors
    searcher: Searcher

    @classmethod
    def of(cls, rows: Rows, space: Space) -> "Layer":
        """Rows in memory, searched exactly."""
        vectors = space.project(rows.vectors)
        return cls(rows.table, vectors, FaissSearcher(vectors))

    @classmethod
    def of_replica(cls, replica: Replica, device: str) -> "Layer":
        """A replica, searched by its own engine or, where there is one, on the GPU."""
        searcher = searcher_of(replica.vectors, replica.engine, replica.memory, device)
        return cls(replica.items, replica.vectors, searcher)

    def __len__(self) -> int:
        return int(self.items.num_rows)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items may be found: those in `category`, a node of the category tree, or below it, of the `brand` (in small
    or capital letters), and with `attributes` somewhere in theirs. What is empty lets all through."""

    category: str = ""
    brand: str = ""
    attributes: str = ""


@dataclass(frozen=True)
class Layers:
    """The rows of `base`, and behind them those of `fresh`, None for none. Row numbers count through both.

    `alive` (n,) says which of the n rows the version has: others of the base were removed or replaced since. `row_ids`
    (n,) are LanceDB's numbers, None for rows that are in no table.
    """

    base: Layer
    fresh: Layer | None
    alive: Mask
    row_ids: RowIds | None = None

    def __len__(self) -> int:
        return int(self.alive.sum())

    def numbered(self, row_ids: RowIds) -> Mask:
        """(n,) which rows have one of some numbers of LanceDB's."""
        assert self.row_ids is not None  # rows in memory are not filtered by SQL
        return _is_among(self.row_ids, np.sort(row_ids))

    def with_rows(self, rows: Rows, space: Space) -> "Layers":
        """The same with rows inserted, or put in place of those with their ids. They are in no table."""
        added = Layer.of(Rows.in_order(rows.table, rows.vectors), space)
        alive = self.alive.copy()
        for id_ in rows.row_of:
            if (row := self.row_of(id_)) is not None:
                alive[row] = False
        size = len(self.base)
        if self.fresh is not None:
            kept = np.flatnonzero(alive[size:])
            table = pa.concat_tables([self.fresh.items.take(pa.array(kept)), added.items])
            merged = Rows.in_order(table, np.concatenate((self.fresh.vectors[kept], added.vectors)))
            added = Layer(merged.table, merged.vectors, FaissSearcher(merged.vectors))
        return Layers(self.base, added, np.concatenate((alive[:size], np.ones(len(added), bool))))

    def matching(self, wanted: Filter) -> Mask:
        """(n,) which rows a filter lets through."""
        import pyarrow.compute as pc

        allowed = self.alive.copy()
        if wanted.category:
            paths, below = self.column("category_path"), wanted.category + PATH_SEPARATOR
            allowed &= _mask(pc.or_(pc.equal(paths, wanted.category), pc.starts_with(paths, below)))
        if wanted.brand:
            allowed &= _mask(pc.equal(pc.utf8_lower(self.column("brand")), wanted.brand.lower()))
        if wanted.attributes:
            allowed &= _mask(pc.match_substring(self.column("attributes"), wanted.attributes, ignore_case=True))
        return allowed

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None) -> Neighbors:
        """The k nearest rows of each of m unit `queries` (m, d), among those where `allowed` (n,) is true.

        Of equally near rows the one with the lower id comes first.
        """
        if not self.alive.all():
            allowed = self.alive if allowed is None else self.alive & allowed
        if self.fresh is None:
            return self.base.searcher.search(queries, k, allowed)
        size = len(self.base)
        older = self.base.searcher.search(queries, k, None if allowed is None else allowed[:size])
        newer = self.fresh.searcher.search(queries, k, None if allowed is None else allowed[size:])
        rows = np.concatenate((older.rows, np.where(newer.found, newer.rows + size, newer.rows)), axis=1)
        similarities = np.concatenate((older.similarities, newer.similarities), axis=1)
        return Neighbors(*nearest(similarities, rows, k, self._place[rows]))

    def column(self, name: str) -> pa.ChunkedArray:
        """One text column of all n rows, also of those that are not alive."""
        parts = [self.base.items] if self.fresh is None else [self.base.items, self.fresh.items]
        return pa.chunked_array([chunk for part in parts for chunk in part.column(name).chunks], pa.string())

    def texts(self, names: Sequence[str], rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """Some columns of some rows."""
        return list(zip(*(self.column(name).take(pa.array(rows)).to_pylist() for name in names), strict=True))

    def coded(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """One text column as numbers (n,) into a list of its values."""
        encoded = self.column(name).dictionary_encode().unify_dictionaries()
        codes = np.concatenate([np.from_dlpack(chunk.indices) for chunk in encoded.chunks])  # to_numpy imports pandas
        return codes.astype(np.int64), encoded.chunk(0).dictionary.to_pylist()

    def row_of(self, id_: str) -> int | None:
        """The row of an item, None where the version does not have it."""
        for offset, layer in ((len(self.base), self.fresh), (0, self.base)):
            place = bisect_of(layer, id_) if layer else 0
            if layer and place < len(layer) and layer.items["id"][place].as_py() == id_ and self.alive[offset + place]:
                return offset + place
        return None

    def vectors(self, rows: NDArray[np.int64]) -> Vectors:
        """(m, d) unit vectors of m rows."""
        size, found = len(self.base), np.empty((len(rows), self.base.vectors.shape[1]), np.float32)
        older = rows < size
        found[older] = self.base.vectors[rows[older]]
        if self.fresh is not None:
            found[~older] = self.fresh.vectors[rows[~older] - size]
        return found

    @property
    def fresh_row_ids(self) -> RowIds:
        """LanceDB's numbers of the fresh rows."""
        return np.empty(0, np.uint64) if self.row_ids is None else self.row_ids[len(self.base) :]

    @cached_property
    def _place(self) -> NDArray[np.float64]:
        """(n + 1,) numbers in the order of the rows' ids; the last is for NONE."""
        assert self.fresh is not None  # else the order is that of the rows
        between = [bisect_of(self.base, id_) - 0.5 for id_ in self.fresh.items["id"].to_pylist()]
        return np.concatenate((np.arange(len(self.base), dtype=np.float64), between, [np.inf]))


def _mask(found: pa.ChunkedArray) -> Mask:
    return np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in found.chunks])


def bisect_of(layer: Layer, id_: str) -> int:
    """The place of an id among those of a layer, where it is or would be."""
    ids = layer.items["id"]
    return bisect_left(range(len(layer)), id_, key=lambda row: ids[row].as_py())


def layers_of(snapshot: Snapshot, space: Space, base: Layer, replica: Replica) -> Layers:
    """What a version has of a replica, laid out in `base`, and what it has besides. Raises StoreError."""
    if len(replica.row_ids) == snapshot.manifest.rows and replica.data_files == set(snapshot.data_files):
        # No file came since the replica was made, so rows could only have gone: the table is not even opened.
        return Layers(base, None, np.ones(len(base), bool), replica.row_ids)
    there = snapshot.reader.row_ids()
    alive = _is_among(replica.row_ids, there)
    if alive.sum() == len(there):
        return Layers(base, None, alive, replica.row_ids)
    verify_files(
        snapshot.path, {name: sums for name, sums in snapshot.data_files.items() if name not in replica.data_files}
    )
    fresh, row_ids = snapshot.reader.take(there[~_is_among(there, np.sort(replica.row_ids))])
    alive = np.concatenate((alive, np.ones(len(fresh), bool)))
    return Layers(base, Layer.of(fresh, space), alive, np.concatenate((replica.row_ids, row_ids)))


def _is_among(row_ids: RowIds, ascending: RowIds) -> Mask:
    """(n,) whether each of the numbers (n,) is among others that ascend."""
    places = np.minimum(np.searchsorted(ascending, row_ids), max(len(ascending) - 1, 0))
    return np.asarray(ascending[places] == row_ids) if len(ascending) else np.zeros(len(row_ids), bool)
