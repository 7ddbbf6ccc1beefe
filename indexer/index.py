"""A store opened for reading: its rows, the encoder that made them, and a search over their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from indexer.encoder import Encoder, Progress, SentenceEncoder, Vectors, load_encoder, resolve_device
from indexer.errors import EncoderError, QueryError, StoreError
from indexer.manifest import EncoderIdentity, Manifest, read_manifest
from indexer.neighbors import Neighbors
from indexer.search import FaissSearcher, resolve_engine
from indexer.space import Space
from indexer.store import Snapshot, read_snapshot
from indexer.text import RECIPE

SPACE_BLOB = "space"


def identity_of(encoder: Encoder, folder: str = "", kept_back: float = 0.0) -> EncoderIdentity:
    """What a store remembers of its encoder; `folder` is its place in the store if it was fine-tuned there, and
    `kept_back` the share of the items that was kept back for judging it."""
    return EncoderIdentity(encoder.name, encoder.fingerprint, encoder.dimensions, folder, kept_back)


def encoder_for(store: Path, manifest: Manifest, device: str = "auto") -> Encoder:
    """The encoder that a store was made with. Raises EncoderError or StoreError where it is another now."""
    identity, recipe = manifest.encoder, manifest.recipe
    if recipe != RECIPE:
        raise StoreError(
            f"the store was made with text recipe {recipe!r}, this shelfwise has {RECIPE!r}: "
            "build it again in a new folder"
        )
    if identity.folder:
        encoder: Encoder = SentenceEncoder(identity.name, store / identity.folder, resolve_device(device))
    else:
        encoder = load_encoder(identity.name, device)
    if identity_of(encoder, identity.folder, identity.kept_back) != identity:
        raise EncoderError(
            f"encoder {identity.name} is not the one that the store was made with (its weights differ): put the former "
            "one back, or build the store again in a new folder"
        )
    return encoder


@dataclass(frozen=True)
class Index:
    """One version of a store, ready to search."""

    snapshot: Snapshot
    encoder: Encoder
    space: Space
    searcher: FaissSearcher

    @classmethod
    def open(cls, path: Path, device: str = "auto") -> Self:
        """The store at `path` with encoder and search on `device` (auto, cpu or cuda). Raises ShelfwiseError."""
        snapshot = read_snapshot(path)
        return cls.of(snapshot, encoder_for(path, snapshot.manifest, device), resolve_engine(device))

    @classmethod
    def of(cls, snapshot: Snapshot, encoder: Encoder, engine: str = "cpu", space: Space | None = None) -> Self:
        """A version that has been read, with its encoder. Raises StoreError.

        `engine` is as `resolve_engine` gives it, `space` another than the version has.
        """
        content = snapshot.blob(SPACE_BLOB)
        if space is None and content is None:
            raise StoreError(f"store {snapshot.path} lacks its space: run shelfwise train --store {snapshot.path}")
        space = space or Space.from_bytes(content or b"")
        return cls(snapshot, encoder, space, FaissSearcher(space.project(snapshot.rows.vectors), engine))

    def current(self) -> Self:
        """The version of the store that counts by now, itself while that is this one; the encoder is loaded again only
        where the store has another.

        Raises ShelfwiseError.
        """
        path, held = self.snapshot.path, self.snapshot.manifest
        if read_manifest(path).version == held.version:
            return self
        snapshot = read_snapshot(path)
        same = snapshot.manifest.encoder == held.encoder
        encoder = self.encoder if same else encoder_for(path, snapshot.manifest, self.searcher.device)
        return type(self).of(snapshot, encoder, self.searcher.device)

    def __len__(self) -> int:
        return len(self.snapshot.rows)

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """(n, d) unit vectors in the store's space."""
        return self.space.project(self.encoder.encode(texts, progress))

    def vector_of(self, id_: str) -> Vectors:
        """(1, d) unit vector of a stored item, in the store's space. Raises QueryError."""
        row = self.snapshot.rows.row_of.get(id_)
        if row is None:
            raise QueryError(f"the store has no item with id {id_!r}: look ids up with shelfwise similar TEXT")
        return self.space.project(self.snapshot.rows.vectors[[row]])

    def search(self, vectors: Vectors, k: int, where: str | None = None, without: str | None = None) -> Neighbors:
        """The k nearest items of each vector (m, d).

        `where` is an SQL condition on the items' columns, `without` the id of an item to leave out. Fewer
        than k places are filled where fewer items are left.
        """
        allowed = None if where is None else self.snapshot.select(where)
        if without is not None:
            allowed = np.ones(len(self), bool) if allowed is None else allowed
            allowed[self.snapshot.rows.row_of[without]] = False
        return self.searcher.search(vectors, k, allowed)

    def require_k(self, k: int, option: str) -> int:
        """`k`, checked. Raises QueryError where the store holds fewer items."""
        if k > len(self):
            raise QueryError(
                f"{option} {k} is more than the {len(self)} items of the store: use {option} {len(self)} or less"
            )
        return k
