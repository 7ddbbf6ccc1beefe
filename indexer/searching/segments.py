"""The rows of a version in segments that are searched as one: a replica, and the rows added since it was created."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.item import PATH_SEPARATOR
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.conditions import matching
from shelfwise.indexer.searching.engine import searcher_of
from shelfwise.indexer.searching.folding import folded
from shelfwise.indexer.searching.replica import Replica, ReplicaItems, open_items
from shelfwise.indexer.searching.search import FaissSearcher, Mask, Neighbors, Searcher, nearest
from shelfwise.indexer.store.disk import verify_files
from shelfwise.indexer.store.snapshot import Snapshot
from shelfwise.indexer.store.table import RowIds
from shelfwise.indexer.types import Vectors


@dataclass(frozen=True)
class View:
    """One kind of vectors of the n rows of a segment: unit `vectors` (n, d) and the search over them."""

    vectors: Vectors
    searcher: Searcher

    @classmethod
    def of_vectors(cls, vectors: Vectors) -> "View":
        """Return a view of vectors with exact search."""
        return cls(vectors, FaissSearcher(vectors))


@dataclass(frozen=True)
class Segment:
    """n rows sorted by id: their `texts`, and the `views` to search them by. Currently there is one view, of the texts.

    `alive` (n,) is true for the rows of the version, and false for rows that were removed or replaced since. `row_ids`
    (n,) are LanceDB's row ids, or None for rows outside a table. `places` (n,) are the positions of their ids among
    those of the segment that they were added to, None if unknown.
    """

    texts: pa.Table
    views: tuple[View, ...]
    alive: Mask
    row_ids: RowIds | None = None
    places: NDArray[np.int64] | None = None

    @classmethod
    def of_rows(cls, rows: Rows, space: Space | None, row_ids: RowIds | None = None) -> "Segment":
        """Return a segment of rows in memory, all alive, with exact search; without a view if `space` is None."""
        views = () if space is None else (View.of_vectors(space.project(rows.vectors)),)
        return cls(rows.table, views, np.ones(len(rows), bool), row_ids)

    @classmethod
    def of_items(cls, items: ReplicaItems) -> "Segment":
        """Return a segment of the texts of a replica, all alive, without a view."""
        return cls(items.texts, (), np.ones(len(items.texts), bool), items.row_ids)

    @classmethod
    def merged(cls, parts: Sequence["Segment"]) -> "Segment":
        """Return one segment, with exact search, of the rows of others, which are all alive and in a table."""
        if len(parts) == 1:
            return parts[0]
        texts = pa.concat_tables([part.texts for part in parts])
        order = np.argsort(np.array(texts["id"].to_pylist(), object), kind="stable")
        row_ids = np.concatenate([part.row_ids for part in parts if part.row_ids is not None])[order]
        places = np.concatenate([part.places for part in parts if part.places is not None])[order]
        kinds = zip(*(part.views for part in parts), strict=True)
        views = tuple(View.of_vectors(np.concatenate([view.vectors for view in kind])[order]) for kind in kinds)
        return cls(texts.take(pa.array(order)).combine_chunks(), views, np.ones(len(order), bool), row_ids, places)

    @classmethod
    def of_replica(cls, replica: Replica, device: str) -> "Segment":
        """Return a segment of a replica, all alive, searched with its engine, or on the GPU if `device` is cuda."""
        searcher = searcher_of(replica.vectors, replica.engine, replica.memory, device)
        views = (View(replica.vectors, searcher),)
        return replace(cls.of_items(replica.items), views=views)

    def __len__(self) -> int:
        return len(self.alive)

    def place_of(self, id_: str) -> int:
        """Return the position of an id, or the position to insert it at."""
        ids = self.texts["id"]
        return bisect_left(range(len(self)), id_, key=lambda row: ids[row].as_py())

    def row_of(self, id_: str) -> int | None:
        """Return the row of an item, or None if it is missing or not alive."""
        place = self.place_of(id_)
        there = place < len(self) and self.texts["id"][place].as_py() == id_ and self.alive[place]
        return place if there else None

    def without(self, ids: Sequence[str]) -> "Segment":
        """Return this segment with the rows of some items no longer alive."""
        gone = [row for row in map(self.row_of, ids) if row is not None]
        alive = self.alive.copy()
        alive[gone] = False
        return replace(self, alive=alive)

    def only(self, chosen: Mask) -> "Segment":
        """Return the rows where `chosen` (n,) is true as a segment of their own; itself if it is all of them."""
        if chosen.all():
            return self
        assert self.row_ids is not None
        views = tuple(View.of_vectors(view.vectors[chosen]) for view in self.views)
        places = None if self.places is None else self.places[chosen]
        return Segment(self.texts.filter(pa.array(chosen)), views, self.alive[chosen], self.row_ids[chosen], places)

    def added_to(self, first: "Segment") -> "Segment":
        """Return this segment with the places of its rows among those of `first`."""
        ids = self.texts["id"].to_pylist()
        return replace(self, places=np.array([first.place_of(id_) for id_ in ids], np.int64))


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of items: in or below `category`, of `brand`, and with `attributes` as a part of theirs.

    `category` is a node of the category tree. Brand and attributes match in any letter case, by Unicode case folding.
    Empty fields match all.
    """

    category: str = ""
    brand: str = ""
    attributes: str = ""


@dataclass(frozen=True)
class Segments:
    """One or more segments, the largest first. Row numbers continue from one segment to the next."""

    parts: tuple[Segment, ...]

    def __len__(self) -> int:
        return int(self.alive.sum())

    @cached_property
    def alive(self) -> Mask:
        """(n,) mask of the rows that the version has."""
        return np.concatenate([part.alive for part in self.parts])

    @cached_property
    def _row_ids(self) -> RowIds:
        found = [part.row_ids for part in self.parts]
        return np.concatenate([ids for ids in found if ids is not None])

    def fulfilling(self, condition: str) -> Mask:
        """Return a mask (n,) of the rows that fulfil an SQL condition. Raise QueryError when it is invalid."""
        return self.alive & matching([part.texts for part in self.parts], condition)

    def with_rows(self, rows: Rows, space: Space) -> "Segments":
        """Return these segments with rows inserted, which replace rows of the same ids. They are in no table."""
        added, ids = Rows.in_order(rows.table, rows.vectors), list(rows.row_of)
        return Segments((*(part.without(ids) for part in self.parts), Segment.of_rows(added, space)))

    def matching(self, wanted: Filter) -> Mask:
        """Return a mask (n,) of the rows that match a filter."""
        import pyarrow.compute as pc

        allowed = self.alive.copy()
        if wanted.category:
            paths, below = self.column("category_path"), wanted.category + PATH_SEPARATOR
            allowed &= _mask(pc.or_(pc.equal(paths, wanted.category), pc.starts_with(paths, below)))
        if wanted.brand:
            allowed &= _mask(pc.equal(folded(self.column("brand")), wanted.brand.casefold()))
        if wanted.attributes:
            allowed &= _mask(pc.match_substring(folded(self.column("attributes")), wanted.attributes.casefold()))
        return allowed

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None, view: int = 0) -> Neighbors:
        """Return the k nearest rows of m unit `queries` (m, d) in a view, among rows where `allowed` (n,) is true.

        Of equally near rows, the one with the lower id comes first.
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
        """Return one text column of all n rows, including rows that are not alive."""
        return pa.chunked_array([chunk for part in self.parts for chunk in part.texts.column(name).chunks], pa.string())

    def texts(self, names: Sequence[str], rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """Return the values of text columns for some rows, one tuple per row."""
        return list(zip(*(self.column(name).take(pa.array(rows)).to_pylist() for name in names), strict=True))

    def coded(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return one text column as indices (n,) into a list of its values, and that list."""
        encoded = self.column(name).dictionary_encode().unify_dictionaries()
        codes = np.concatenate([np.from_dlpack(chunk.indices) for chunk in encoded.chunks])  # to_numpy imports pandas
        return codes.astype(np.int64), encoded.chunk(0).dictionary.to_pylist()

    @property
    def rows(self) -> NDArray[np.int64]:
        """The numbers of all rows that the version has."""
        return np.flatnonzero(self.alive)

    def rows_of(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Return the rows of the items among `ids` that the version has, in their order."""
        return np.array([row for row in map(self.row_of, ids) if row is not None], np.int64)

    def values_among(self, name: str, values: Sequence[str]) -> set[str]:
        """Return the values among `values` that a text column has."""
        import pyarrow.compute as pc

        there = self.column(name).filter(pa.array(self.alive))
        return set(there.filter(pc.is_in(there, pa.array(values, pa.string()))).to_pylist())

    def row_of(self, id_: str) -> int | None:
        """Return the row of an item, or None if the version does not have it."""
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
        """LanceDB's row ids of the rows after the first segment."""
        return self._row_ids[len(self.parts[0]) :]

    def _placed(self) -> Iterator[tuple[int, Segment]]:
        """Yield each segment with the number of its first row."""
        start = 0
        for part in self.parts:
            yield start, part
            start += len(part)

    @cached_property
    def _order(self) -> NDArray[np.float64]:
        """(n + 1,) numbers that sort the rows by id. The last one is for NONE."""
        first, *others = self.parts
        ids = [id_ for part in others for id_ in part.texts["id"].to_pylist()]
        rank = np.empty(len(ids))
        rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(1, len(ids) + 1)
        known = [part.places if part.places is not None else part.added_to(first).places for part in others]
        between = np.concatenate([places for places in known if places is not None]) - 1 + rank / (len(ids) + 1)
        return np.concatenate((np.arange(len(first), dtype=np.float64), between, [np.inf]))


def segments_of(
    snapshot: Snapshot,
    base: Segment,
    data_files: Collection[str],
    space: Space | None,
    reuse: tuple[Snapshot, Segments] | None = None,
) -> Segments:
    """Return the segments of a version: `base`, the rows of its replica, and the rows added since.

    `data_files` are the files whose rows the replica has. If `space` is None, the added rows have no view. Rows of
    `reuse`, an open version with the same replica and its segments, are not read again. Raise StoreError when damaged.
    """
    replicated = base.row_ids
    assert replicated is not None  # a replica knows them
    if len(base) == snapshot.manifest.rows and set(data_files) == set(snapshot.data_files):
        # No file was added since the replica was created, and no row was removed: the table need not be opened.
        return Segments((replace(base, alive=np.ones(len(base), bool)),))
    there = snapshot.reader.row_ids()
    base = replace(base, alive=_is_among(replicated, there))
    if base.alive.sum() == len(there):
        return Segments((base,))
    known = dict.fromkeys(data_files) | (reuse[0].data_files if reuse else {})
    verify_files(snapshot.path, {name: sums for name, sums in snapshot.data_files.items() if name not in known})
    wanted, added = there[~_is_among(there, np.sort(replicated))], list[Segment]()
    if reuse and len(reuse[1].parts) > 1:
        earlier = reuse[1].parts[1]
        assert earlier.row_ids is not None
        added.append(earlier.only(_is_among(earlier.row_ids, wanted)))
        wanted = wanted[~_is_among(wanted, np.sort(earlier.row_ids))]
    if len(wanted):
        rows, row_ids = snapshot.reader.take(wanted)
        added.append(Segment.of_rows(rows, space, row_ids).added_to(base))
    return Segments((base, Segment.merged(added)))


def texts_of(snapshot: Snapshot) -> Segments:
    """Return the segments of a version without views, to look items up. Raise StoreError when it is damaged."""
    try:
        items = open_items(snapshot.path / snapshot.manifest.replica.folder)
    except StoreError:  # the replica is rebuilt when the store is opened to search it
        rows, row_ids = snapshot.numbered_rows
        return Segments((Segment.of_rows(rows, None, row_ids),))
    return segments_of(snapshot, Segment.of_items(items), items.data_files, None)


def _mask(found: pa.ChunkedArray) -> Mask:
    return np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in found.chunks])


def _is_among(row_ids: RowIds, ascending: RowIds) -> Mask:
    """Return a mask (n,) of the row ids that occur in `ascending`, sorted row ids."""
    places = np.minimum(np.searchsorted(ascending, row_ids), max(len(ascending) - 1, 0))
    return np.asarray(ascending[places] == row_ids) if len(ascending) else np.zeros(len(row_ids), bool)
