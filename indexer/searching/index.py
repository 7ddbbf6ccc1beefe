"""A store opened for reading: its rows, its encoder, and a search over its vectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.encoding.encoder import Encoder, unit_vectors
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.errors import AbsentError, QueryError, StoreError
from shelfwise.indexer.item import FIELDS, Item
from shelfwise.indexer.rows import CATALOG, Rows
from shelfwise.indexer.searching.replica import Replica, replica_of, space_of
from shelfwise.indexer.searching.search import Neighbors, resolve_engine
from shelfwise.indexer.searching.segments import Filter, Segment, Segments, segments_of
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.store.snapshot import Snapshot, read_snapshot
from shelfwise.indexer.store.store_encoder import encoder_for
from shelfwise.indexer.types import Progress, Vectors


@dataclass(frozen=True)
class Index:
    """One version of a store, ready to search. Its rows are in `segments`, the first of them from `replica`."""

    snapshot: Snapshot
    encoder: Encoder
    space: Space
    segments: Segments
    replica: Replica | None = None
    device: str = "cpu"

    @classmethod
    def open(cls, path: Path, device: str = "auto", progress: Progress | None = None) -> Self:
        """Open the store at `path` with encoder and search on `device` (auto, cpu or cuda). Raise ShelfwiseError."""
        snapshot = read_snapshot(path)
        encoder, engine = encoder_for(path, snapshot.manifest, device), resolve_engine(device)
        return _latest(snapshot, lambda latest: cls._read(latest, encoder, engine, progress=progress))

    @classmethod
    def from_rows(cls, snapshot: Snapshot, encoder: Encoder, rows: Rows, space: Space | None = None) -> Self:
        """Return an index over rows in memory, stored or candidate rows, in `space` or else the version's space."""
        space = space or space_of(snapshot)
        return cls(snapshot, encoder, space, Segments((Segment.of_rows(rows, space),)))

    def refreshed(self) -> Self:
        """Return an index of the store's current version, or this index if it is current.

        The encoder is loaded, and the replica opened, only if the store has another one. Raise ShelfwiseError when the
        version cannot be opened.
        """
        path, manifest = self.snapshot.path, self.snapshot.manifest
        if read_manifest(path) == manifest:  # `compact` keeps the version number but moves the rows
            return self
        snapshot = read_snapshot(path, reuse=manifest)
        same = snapshot.manifest.encoder == manifest.encoder
        encoder = self.encoder if same else encoder_for(path, snapshot.manifest, self.device)
        return _latest(snapshot, lambda latest: self._read(latest, encoder, self.device, reuse=self))

    @classmethod
    def _read(
        cls,
        snapshot: Snapshot,
        encoder: Encoder,
        device: str,
        reuse: Self | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Return an index of a version, sharing space and segment with an open `reuse` of the same replica."""
        manifest = snapshot.manifest
        if reuse is not None and reuse.replica is not None and reuse.snapshot.manifest.replica == manifest.replica:
            space, replica, base = reuse.space, reuse.replica, reuse.segments.parts[0]
        else:
            space, replica = space_of(snapshot), replica_of(snapshot, progress)
            base = Segment.of_replica(replica, device)
        before = (reuse.snapshot, reuse.segments) if reuse is not None and base is reuse.segments.parts[0] else None
        segments = segments_of(snapshot, base, replica.items.data_files, space, before)
        return cls(snapshot, encoder, space, segments, replica, device)

    def __len__(self) -> int:
        return len(self.segments)

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Return the unit vectors (n, d) of texts in the store's space."""
        return self.space.project(unit_vectors(self.encoder, texts, progress))

    def vector_of(self, id_: str) -> Vectors:
        """Return the unit vector (1, d) of an item in the store's space. Raise QueryError when the id is unknown."""
        return self.segments.vectors(np.array([self._row_of(id_)]))

    def search(
        self, vectors: Vectors, k: int, where: str | Filter | None = None, without: str | None = None
    ) -> Neighbors:
        """Return the k nearest items of each vector (m, d), as row numbers in `segments`.

        `where` is an SQL condition on the columns of the items, or a filter. `without` is the id of an item to leave
        out. If fewer than k items are left, fewer places are filled. Raise QueryError when the condition is invalid or
        the id is unknown.
        """
        allowed = None
        if isinstance(where, Filter):
            allowed = self.segments.matching(where)
        elif where is not None:
            allowed = self.segments.fulfilling(where)
        if without is not None:
            allowed = self.segments.alive.copy() if allowed is None else allowed
            allowed[self._row_of(without)] = False
        return self.segments.search(vectors, k, allowed)

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return the stored items among `ids`, complete, by id."""
        return {item.id: item for item in self.items_at(self.segments.rows_of(ids))}

    def items_at(self, rows: NDArray[np.int64]) -> list[Item]:
        """Return the complete items of some rows."""
        return [Item(*texts) for texts in self.segments.texts(tuple(FIELDS), rows)]

    def of_catalog(self, ids: Sequence[str]) -> set[str]:
        """Return the ids of stored items that came with a catalog rather than as an addition to it."""
        found = self.segments.texts(("id", "origin"), self.segments.rows_of(ids))
        return {id_ for id_, origin in found if origin == CATALOG}

    def has(self, id_: str) -> bool:
        """Return True if an item is stored."""
        return self.segments.row_of(id_) is not None

    def item(self, id_: str) -> Item:
        """Return one item, complete. Raise QueryError when the id is unknown."""
        self._row_of(id_)
        return self.items([id_])[id_]

    def require_k(self, k: int, name: str) -> int:
        """Return `k`, named `name` in the error. Raise QueryError when the store has fewer than k items."""
        if k > len(self):
            raise QueryError(
                "k_too_large",
                f"{name} {k}, more than the {len(self)} items of the store",
                f"at most {len(self)}",
                "request fewer",
            )
        return k

    def _row_of(self, id_: str) -> int:
        row = self.segments.row_of(id_)
        if row is None:
            raise AbsentError(
                "no_such_item",
                f"the store has no item with id {id_!r}",
                "the id of a stored item",
                "search for the item",
            )
        return row


Read = TypeVar("Read")


def _latest(snapshot: Snapshot, read: Callable[[Snapshot], Read]) -> Read:
    """Read the newest version. If it is removed meanwhile, read the version that is then the newest."""
    while True:
        try:
            return read(snapshot)
        except StoreError:
            if read_manifest(snapshot.path) == snapshot.manifest:
                raise
            snapshot = read_snapshot(snapshot.path, reuse=snapshot.manifest)
