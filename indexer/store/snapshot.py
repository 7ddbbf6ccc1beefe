"""The versions of a store on disk: read as snapshots, written as drafts.

Readers see no change of a draft until `commit` replaces the manifest. LanceDB keeps separate versions of the table, and
the manifest names the current one. If a writer dies, the previous version stays current.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from shelfwise.indexer.encoding.encoder import fingerprint_of
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.item import RECIPE
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.store.disk import locked, move, now, put_blob, remove, sum_files, verify_files
from shelfwise.indexer.store.lance_manifest import files_of_version
from shelfwise.indexer.store.manifest import (
    Change,
    EncoderIdentity,
    Manifest,
    ReplicaIdentity,
    is_half_written,
    read_manifest,
    write_manifest,
)
from shelfwise.indexer.store.names import BLOBS, EMBEDDED, ENCODERS, MANIFEST, TABLE, VERSIONS
from shelfwise.indexer.store.table import RowIds, TableReader, TableWriter, cleared_away

LIBRARIES = ("lancedb", "numpy", "scikit-learn", "sentence-transformers", "torch")


@dataclass(frozen=True)
class Snapshot:
    """One complete, immutable version of a store."""

    path: Path
    manifest: Manifest

    @cached_property
    def rows(self) -> Rows:
        """All rows of the table. Raise StoreError when one of its files is damaged."""
        return self.numbered_rows[0]

    @cached_property
    def numbered_rows(self) -> tuple[Rows, RowIds]:
        """All rows and their LanceDB row ids. Raise StoreError when a file of the table is damaged."""
        with self._or_cleared_away():
            verify_files(self.path, self.data_files)
            return self.reader.rows()

    @cached_property
    def reader(self) -> TableReader:
        """The table at this version, to read parts of it. Raise StoreError when it cannot be opened."""
        with self._or_cleared_away():
            return TableReader(self.path, self.manifest.table, self.manifest.table_version)

    @contextmanager
    def _or_cleared_away(self) -> Iterator[None]:
        """Say that this version was removed, or its rows moved, if that is why the block cannot read it."""
        try:
            yield
        except StoreError:
            if self._is_kept():
                raise
            raise cleared_away(self.path) from None

    def _is_kept(self) -> bool:
        try:
            return read_manifest(self.path, self.manifest.version) == self.manifest
        except StoreError:
            return False

    @property
    def data_files(self) -> dict[str, tuple[int, str]]:
        """The version's files with rows and vectors, each with its size and checksum."""
        folder = f"{self.manifest.table}.lance/data/"
        return {name: sums for name, sums in self.manifest.files.items() if name.startswith(folder)}

    def blob(self, name: str) -> bytes | None:
        """Return the content stored under `name`, or None if there is none."""
        file = self.manifest.blobs.get(name)
        try:
            return (self.path / BLOBS / file).read_bytes() if file else None
        except FileNotFoundError:
            raise cleared_away(self.path) from None


def read_snapshot(path: Path, version: int | None = None, reuse: Manifest | None = None) -> Snapshot:
    """Return a version of a store, by default the current one.

    Its rows are read, and their files verified, on first use. All other files are verified here, except files of
    `reuse`, a version that is already open. Raise StoreError when the version is missing or damaged.
    """
    while True:
        snapshot = Snapshot(path, read_manifest(path, version))
        known = snapshot.data_files | (dict(reuse.files) if reuse else {})
        new = {name: sums for name, sums in snapshot.manifest.files.items() if known.get(name) != sums}
        try:
            verify_files(path, new)
            return snapshot
        except StoreError:  # it may have been removed while it was read
            if read_manifest(path, version) == snapshot.manifest:
                raise


class Draft:
    """The next version of a store while it is written: its `table`, blobs, encoder and replica. See `writing`."""

    def __init__(self, path: Path, base: Snapshot | None) -> None:
        self.path, self.base = path, base
        self._blobs = dict(base.manifest.blobs) if base else {}
        self._replica: ReplicaIdentity | None = None
        self.table = (
            TableWriter(path, base.manifest.table, base.manifest.table_version) if base else TableWriter(path, TABLE)
        )

    def put_blob(self, name: str, content: bytes) -> None:
        """Store `content` under `name` in this version."""
        self._blobs[name] = put_blob(self.path, name, content)

    def put_encoder(self, work: Path, fingerprint: str) -> str:
        """Move the model folder `work` into the store and return its new path, relative to the store."""
        folder = f"{ENCODERS}/{fingerprint[:16]}"
        if (self.path / folder).exists() and fingerprint_of(self.path / folder) == fingerprint:
            remove(work)
        else:  # missing or damaged
            move(work, self.path / folder)
        return folder

    def put_replica(self, replica: ReplicaIdentity) -> None:
        """Set a new replica for this version, and mark its model as fitted to all rows of the version."""
        self._replica = replica

    def commit(self, change: Change, encoder: EncoderIdentity | None = None) -> Manifest:
        """Make this draft the current version, atomically. Pass `encoder` if it is the first or has changed."""
        base = self.base.manifest if self.base else None
        replica = self._replica
        if base:
            encoder, replica = encoder or base.encoder, replica or base.replica
        assert encoder and replica  # a first version sets both
        table, table_version = self.table.name, self.table.version
        needed = [
            *files_of_version(self.path, table, table_version),
            *(f"{BLOBS}/{file}" for file in self._blobs.values()),
            *filter(None, [encoder.folder, encoder.runtime]),
        ]
        manifest = Manifest(
            version=base.version + 1 if base else 1,
            change=change,
            unfitted=base.unfitted + change.rows if base and not self._replica else 0,
            table=table,
            table_version=table_version,
            rows=self.table.count(),
            encoder=encoder,
            recipe=base.recipe if base else RECIPE,
            created=now(),
            replica=replica,
            store=base.store if base else uuid4().hex[:12],
            written=change.last_write or (base.written if base else 0),
            libraries=_libraries(),
            blobs=self._blobs,
            files=sum_files(self.path, needed, base.files if base else {}),
        )
        write_manifest(self.path, manifest)
        return manifest


@cache
def _libraries() -> dict[str, str]:
    return {library: version(library) for library in LIBRARIES}


def base_of(draft: Draft) -> Snapshot:
    """Return the version that a draft of an existing store is based on."""
    assert draft.base is not None  # `writing` without `create` raises if there is no store
    return draft.base


def may_become_store(path: Path) -> bool:
    """Return True if a store can be created at `path`: it is missing, an empty folder or a half-written store.

    Return False if there is a store, and raise StoreError when there is something else.
    """
    try:
        if (path / MANIFEST).exists():
            return False
        if path.exists() and not path.is_dir():
            raise StoreError("not_a_folder", f"{path} is a file", "a folder", "choose a new or empty folder")
        if (path / VERSIONS).exists() and not is_half_written(path):
            read_manifest(path)  # raises an error that says how to restore the manifest
        if path.exists() and not is_half_written(path) and any(path.iterdir()):
            raise StoreError(
                "not_empty",
                f"{path} holds other files and is not a shelfwise store",
                "a store or an empty folder",
                "choose a new or empty folder",
            )
    except OSError as error:
        raise StoreError(
            "unusable_folder", f"{path} cannot be a store ({error.strerror})", "a folder", "choose another folder"
        ) from None
    return True


@contextmanager
def writing(path: Path, create: bool = False, reuse: Manifest | None = None) -> Iterator[Draft]:
    """Yield the only draft of the store at `path`. Other writers wait for the block to end, at most LOCK_SECONDS.

    With `create`, a missing, empty or half-written folder becomes a store at the first commit. Without a commit, a
    folder created here is deleted, unless it holds vectors that the next attempt can reuse. Files of `reuse`, a version
    that is already open, are not verified again. Raise StoreError, and BusyError when another writer holds the lock.
    """
    first = create and may_become_store(path)
    if not first:
        read_manifest(path)  # raises before anything is written there
    made = not path.exists()
    with locked(path):
        try:
            first = first and may_become_store(path)  # created by another process meanwhile
            if first:
                remove(path / VERSIONS)  # left by a first build that did not finish
            yield Draft(path, None if first else read_snapshot(path, reuse=reuse))
        finally:
            if made and not (path / MANIFEST).exists() and not (path / EMBEDDED).exists():
                remove(path)
