"""The rows of a version as segments, searched and shown as one: a replica, and what is fresh since it was made."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
class View:
    """One way of looking at the n rows of a segment: a search over their unit `vectors` (n, d)."""

    vectors: Vectors
    searcher: Searcher


@dataclass(frozen=True)
class Segment:
    """n rows in order of id: their `texts`, and the `views` by which they are searched, today one: of their texts.

    `alive` (n,) says which of them the version has: the others were removed or replaced since. `row_ids` (n,) are
    LanceDB's numbers, None for rows that are in no table.
    """

    texts: pa.Table
    views: tuple[View, ...]
    alive: Mask
    row_ids: RowIds | None = None

    @classmethod
    def of_rows(cls, rows: Rows, space: Space, row_ids: RowIds | None = None) -> "Segment":
        """Return rows in memory, all alive, searched exactly."""
        vectors = space.project(rows.vectors)
        return cls(rows.table, (View(vectors, FaissSearcher(vectors)),), np.ones(len(rows), bool), row_ids)

    @classmethod
    def of_replica(cls, replica: Replica, device: str) -> "Segment":
        """Return a replica, all alive, searched by its own engine or, where there is one, on the GPU."""
        searcher = searcher_of(replica.vectors, replica.engine, replica.memory, device)
        views = (View(replica.vectors, searcher),)
        return cls(replica.items, views, np.ones(len(replica.vectors), bool), replica.row_ids)

    def __len__(self) -> int:
        return len(self.alive)

    def place_of(self, id_: str) -> int:
        """Return the place of an id, where it is or would be."""
        ids = self.texts["id"]
        return bisect_left(range(len(self)), id_, key=lambda row: ids[row].as_py())

    def row_of(self, id_: str) -> int | None:
        """Return the row of an item, None where it is not here or not alive."""
        place = self.place_of(id_)
        there = place < len(self) and self.texts["id"][place].as_py() == id_ and self.alive[place]
        return place if there else None

    def without(self, ids: Sequence[str]) -> "Segment":
        """Return the same, where the rows of some items are not alive any more."""
        gone = [row for row in map(self.row_of, ids) if row is not None]
        alive = self.alive.copy()
        alive[gone] = False
        return replace(self, alive=alive)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items may be found: those in `category`, a node of the category tree, or below it, of the `brand` (in small
    or capital letters), and with `attributes` somewhere in theirs. What is empty lets all through."""

    category: str = ""
    brand: str = ""
    attributes: str = ""


@dataclass(frozen=True)
class Segments:
    """One segment or more, the largest first. Row numbers count through all of them."""

    parts: tuple[Segment, ...]

    def __len__(self) -> int:
        return int(self.alive.sum())

    @cached_property
    def alive(self) -> Mask:
        """(n,) which rows the version has."""
        return np.concatenate([part.alive for part in self.parts])

    @cached_property
    def _row_ids(self) -> RowIds:
        found = [part.row_ids for part in self.parts]
        return np.concatenate([ids for ids in found if ids is not None])

    def numbered(self, row_ids: RowIds) -> Mask:
        """Return which rows have one of some numbers of LanceDB's, (n,)."""
        return _is_among(self._row_ids, np.sort(row_ids))

    def with_rows(self, rows: Rows, space: Space) -> "Segments":
        """Return the same with rows inserted, or put in place of those with their ids. They are in no table."""
        added, ids = Rows.in_order(rows.table, rows.vectors), list(rows.row_of)
        return Segments((*(part.without(ids) for part in self.parts), Segment.of_rows(added, space)))

    def matching(self, wanted: Filter) -> Mask:
        """Return which rows a filter lets through, (n,)."""
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

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None, view: int = 0) -> Neighbors:
        """Return the k nearest rows of each of m unit `queries` (m, d) by a view, among those where `allowed` (n,) is
        true.

        Of equally near rows the one with the lower id comes first.
        """
        if not self.alive.all():
            allowed = self.alive if allowed is None else self.alive & allowed
        if len(self.parts) == 1:
            return self.parts[0].views[view].searcher.search(queries, k, allowed)
        rows, similarities = [], []
        for start, part in self._placed():
            mask = None if allowed is None else allowed[start : start + len(part)]
            found = part.views[view].searcher.search(queries, k, mask)
            rows.append(np.where(found.found, found.rows + start, found.rows))
            similarities.append(found.similarities)
        among = np.concatenate(rows, axis=1)
        return Neighbors(*nearest(np.concatenate(similarities, axis=1), among, k, self._order[among]))

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one text column of all n rows, also of those that are not alive."""
        return pa.chunked_array([chunk for part in self.parts for chunk in part.texts.column(name).chunks], pa.string())

    def texts(self, names: Sequence[str], rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """Return some columns of some rows."""
        return list(zip(*(self.column(name).take(pa.array(rows)).to_pylist() for name in names), strict=True))

    def coded(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return one text column as numbers (n,) into a list of its values."""
        encoded = self.column(name).dictionary_encode().unify_dictionaries()
        codes = np.concatenate([np.from_dlpack(chunk.indices) for chunk in encoded.chunks])  # to_numpy imports pandas
        return codes.astype(np.int64), encoded.chunk(0).dictionary.to_pylist()

    def row_of(self, id_: str) -> int | None:
        """Return the row of an item, None where the version does not have it."""
        for start, part in reversed(list(self._placed())):
            if (row := part.row_of(id_)) is not None:
                return start + row
        return None

    def vectors(self, rows: NDArray[np.int64], view: int = 0) -> Vectors:
        """Return the unit vectors (m, d) of m rows in a view."""
        found = np.empty((len(rows), self.parts[0].views[view].vectors.shape[1]), np.float32)
        for start, part in self._placed():
            here = (start <= rows) & (rows < start + len(part))
            found[here] = part.views[view].vectors[rows[here] - start]
        return found

    @property
    def fresh_row_ids(self) -> RowIds:
        """LanceDB's numbers of the rows behind the first segment."""
        return self._row_ids[len(self.parts[0]) :]

    def _placed(self) -> Iterator[tuple[int, Segment]]:
        """Yield each segment with the number of its first row."""
        start = 0
        for part in self.parts:
            yield start, part
            start += len(part)

    @cached_property
    def _order(self) -> NDArray[np.float64]:
        """(n + 1,) numbers in the order of the rows' ids; the last is for NONE."""
        first, *others = self.parts
        ids = [id_ for part in others for id_ in part.texts["id"].to_pylist()]
        rank = np.empty(len(ids))
        rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(1, len(ids) + 1)
        between = np.array([first.place_of(id_) for id_ in ids]) - 1 + rank / (len(ids) + 1)
        return np.concatenate((np.arange(len(first), dtype=np.float64), between, [np.inf]))


def segments_of(snapshot: Snapshot, space: Space, base: Segment, replica: Replica) -> Segments:
    """Return what a version has of a replica, laid out in `base`, and what it has besides. Raises StoreError."""
    if len(replica.row_ids) == snapshot.manifest.rows and replica.data_files == set(snapshot.data_files):
        # No file came since the replica was made, so rows could only have gone: the table is not even opened.
        return Segments((replace(base, alive=np.ones(len(base), bool)),))
    there = snapshot.reader.row_ids()
    base = replace(base, alive=_is_among(replica.row_ids, there))
    if base.alive.sum() == len(there):
        return Segments((base,))
    verify_files(
        snapshot.path, {name: sums for name, sums in snapshot.data_files.items() if name not in replica.data_files}
    )
    fresh, row_ids = snapshot.reader.take(there[~_is_among(there, np.sort(replica.row_ids))])
    return Segments((base, Segment.of_rows(fresh, space, row_ids)))


def _mask(found: pa.ChunkedArray) -> Mask:
    return np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in found.chunks])


def _is_among(row_ids: RowIds, ascending: RowIds) -> Mask:
    """Return whether each of the numbers (n,) is among others that ascend, (n,)."""
    places = np.minimum(np.searchsorted(ascending, row_ids), max(len(ascending) - 1, 0))
    return np.asarray(ascending[places] == row_ids) if len(ascending) else np.zeros(len(row_ids), bool)
