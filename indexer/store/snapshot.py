"""The versions of a store on disk: read as snapshots, written as drafts.

A draft changes nothing that a reader sees until `commit` replaces the manifest: LanceDB keeps the table's
versions apart, and the manifest names the one that counts. A writer that dies leaves the version before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from shelfwise.indexer.encoding.encoder import fingerprint_of
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.item import RECIPE
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.store.disk import (
    BLOBS,
    EMBEDDED,
    ENCODERS,
    MANIFEST,
    VERSIONS,
    locked,
    move,
    now,
    put_blob,
    remove,
    sum_files,
    verify_files,
)
from shelfwise.indexer.store.manifest import (
    Change,
    EncoderIdentity,
    Manifest,
    ReplicaIdentity,
    is_half_written,
    read_manifest,
    write_manifest,
)
from shelfwise.indexer.store.table import TABLE, RowIds, TableReader, TableWriter, cleared_away, table_files

LIBRARIES = ("lancedb", "numpy", "scikit-learn", "sentence-transformers", "torch")


@dataclass(frozen=True)
class Snapshot:
    """One version of a store, whole and unchanging."""

    path: Path
    manifest: Manifest

    @cached_property
    def rows(self) -> Rows:
        """All that the table holds. Raises StoreError where a file of it is not as it was written."""
        return self.numbered_rows[0]

    @cached_property
    def numbered_rows(self) -> tuple[Rows, RowIds]:
        """The same with LanceDB's numbers."""
        verify_files(self.path, self.data_files)
        return self.reader.rows()

    @cached_property
    def reader(self) -> TableReader:
        """The table at this version, for what need not be read whole."""
        try:
            return TableReader(self.path, self.manifest.table, self.manifest.table_version)
        except StoreError:
            if read_manifest(self.path).table == self.manifest.table:
                raise
            raise cleared_away(self.path) from None

    @property
    def data_files(self) -> dict[str, tuple[int, str]]:
        """Those of the version's files that hold rows and vectors, with their sums."""
        folder = f"{self.manifest.table}.lance/data/"
        return {name: sums for name, sums in self.manifest.files.items() if name.startswith(folder)}

    def blob(self, name: str) -> bytes | None:
        """What was put under `name`, None where nothing was."""
        file = self.manifest.blobs.get(name)
        try:
            return (self.path / BLOBS / file).read_bytes() if file else None
        except FileNotFoundError:
            raise cleared_away(self.path) from None


def read_snapshot(path: Path, version: int | None = None, reuse: Manifest | None = None) -> Snapshot:
    """A version of a store, None for the one that counts. Its rows are read, and their files verified, when they are
    asked for; all other files are verified here, but for those of a version that is open already, `reuse`.

    Raises StoreError.
    """
    while True:
        snapshot = Snapshot(path, read_manifest(path, version))
        known = snapshot.data_files | (dict(reuse.files) if reuse else {})
        new = {name: sums for name, sums in snapshot.manifest.files.items() if known.get(name) != sums}
        try:
            verify_files(path, new)
            return snapshot
        except StoreError:  # it may have been cleared away while it was read
            if read_manifest(path, version) == snapshot.manifest:
                raise


class Draft:
    """The next version of a store, in the making: its `table` is written, and what is put beside it. See `writing`."""

    def __init__(self, path: Path, base: Snapshot | None) -> None:
        self.path, self.base = path, base
        self._blobs = dict(base.manifest.blobs) if base else {}
        self._replica: ReplicaIdentity | None = None
        self.table = (
            TableWriter(path, base.manifest.table, base.manifest.table_version) if base else TableWriter(path, TABLE)
        )

    def put_blob(self, name: str, content: bytes) -> None:
        """Keep `content` under `name` with this version."""
        self._blobs[name] = put_blob(self.path, name, content)

    def put_encoder(self, work: Path, fingerprint: str) -> str:
        """Move the model folder `work` into the store; its place there, relative to the store."""
        folder = f"{ENCODERS}/{fingerprint[:16]}"
        if (self.path / folder).exists() and fingerprint_of(self.path / folder) == fingerprint:
            remove(work)
        else:  # one that is there is damaged
            move(work, self.path / folder)
        return folder

    def put_replica(self, replica: ReplicaIdentity) -> None:
        """Have this version searched with a replica of its own: its model is fitted to all of its rows."""
        self._replica = replica

    def commit(self, change: Change, encoder: EncoderIdentity | None = None) -> Manifest:
        """Make this draft the version that counts, in one step; `encoder` is another one than before, or the first."""
        base = self.base.manifest if self.base else None
        replica = self._replica
        if base:
            encoder, replica = encoder or base.encoder, replica or base.replica
        assert encoder and replica  # a first version brings its own
        blobs = [f"{BLOBS}/{file}" for file in self._blobs.values()]
        table, table_version = self.table.name, self.table.version
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
            libraries={library: version(library) for library in LIBRARIES},
            blobs=self._blobs,
            files=sum_files(
                self.path,
                [*table_files(table, table_version), *blobs, *filter(None, [encoder.folder, encoder.runtime])],
                base.files if base else {},
            ),
        )
        write_manifest(self.path, manifest)
        return manifest


def base_of(draft: Draft) -> Snapshot:
    """The version that a draft of an existing store began with."""
    assert draft.base is not None  # `writing` without `create` raises where there is no store
    return draft.base


def may_become_store(path: Path) -> bool:
    """Whether there is no store at `path` yet but a place for one: nothing, an empty folder, or a half-written store.

    Raises StoreError where there is something else.
    """
    try:
        if (path / MANIFEST).exists():
            return False
        if path.exists() and not path.is_dir():
            raise StoreError("not_a_folder", f"{path} is a file", "a folder", "name a new or an empty folder")
        if (path / VERSIONS).exists() and not is_half_written(path):
            read_manifest(path)  # says that it is lost, and how to get it back
        if path.exists() and not is_half_written(path) and any(path.iterdir()):
            raise StoreError(
                "not_empty",
                f"{path} holds other files and is not a shelfwise store",
                "a store, or an empty folder",
                "name a new or an empty folder",
            )
    except OSError as error:
        raise StoreError(
            "unusable_folder", f"{path} cannot be a store ({error.strerror})", "a folder", "name another folder"
        ) from None
    return True


@contextmanager
def writing(path: Path, create: bool = False, reuse: Manifest | None = None) -> Iterator[Draft]:
    """The one draft of the store at `path`; other writers wait until the block ends, WAIT seconds at most.

    With `create`, a folder that is not there, is empty or is half written becomes a store at the first
    commit; if there is none, a folder made here goes away again, unless a next try can go on from what is in it.
    Files of a version that is open, `reuse`, are not verified again. Raises StoreError.
    """
    first = create and may_become_store(path)
    if not first:
        read_manifest(path)  # says what is wrong before anything is written there
    made = not path.exists()
    with locked(path):
        try:
            first = first and may_become_store(path)  # another may have been faster
            if first:
                remove(path / VERSIONS)  # of a first build that never ended
            yield Draft(path, None if first else read_snapshot(path, reuse=reuse))
        finally:
            if made and not (path / MANIFEST).exists() and not (path / EMBEDDED).exists():
                remove(path)
