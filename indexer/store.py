"""The rows and their vectors on disk: one LanceDB table, read as a snapshot, written as a draft.

A draft changes nothing that a reader sees until `commit` replaces the manifest: LanceDB keeps the table's
versions apart, and the manifest names the one that counts. A writer that dies leaves the version before.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.encoder import Vectors, fingerprint_of
from indexer.errors import QueryError, StoreError
from indexer.lock import locked, now
from indexer.manifest import (
    FILE,
    VERSIONS,
    Change,
    EncoderIdentity,
    Manifest,
    is_half_written,
    read_manifest,
    sum_files,
    verify_files,
    write_manifest,
)
from indexer.text import Words, compose, words_of

TABLE, BLOBS, ENCODERS = "items", "blobs", "encoders"
EMBEDDED = "embedded"  # vectors that a build has made before it is done
TEXT_COLUMNS = (
    "id", "title", "description", "brand", "attributes", "category", "category_path", "text_digest", "twin_key",
)  # fmt: skip
LIBRARIES = ("shelfwise", "lancedb", "numpy", "scikit-learn", "sentence-transformers", "torch")
DELETE_BATCH = 1000  # ids in one SQL list


@dataclass(frozen=True)
class Rows:
    """n rows with their vectors, in order of id whatever order they were written in.

    `table` has TEXT_COLUMNS; `vectors` is (n, d) float32, as the encoder made them. Equal catalogs give
    equal rows.
    """

    table: pa.Table
    vectors: Vectors

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[str]], vectors: Vectors) -> Self:
        """Rows from TEXT_COLUMNS, each of n values, and their vectors (n, d)."""
        texts = [pa.array(columns[name], pa.string()) for name in TEXT_COLUMNS]
        return cls(pa.Table.from_arrays(texts, schema=pa.schema(_text_fields())), vectors)

    @classmethod
    def in_order(cls, table: pa.Table, vectors: Vectors) -> Self:
        """Rows in any order, brought into that of their ids."""
        placed = table.append_column("place", pa.array(np.arange(len(vectors)))).sort_by("id").combine_chunks()
        return cls(placed.drop_columns("place"), vectors[placed.column("place").to_numpy()])

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> NDArray[np.object_]:
        """One text column, (n,) Python strings."""
        return np.array(self.table.column(name).to_pylist(), dtype=object)

    def texts(self) -> list[str]:
        """The string of every row that its vector was made from."""
        return list(map(compose, *self._said()))

    def words(self) -> list[Words]:
        """The words of every row; see `Item.words`."""
        return list(map(words_of, *self._said()))

    def _said(self) -> list[NDArray[np.object_]]:
        return [self.column(name) for name in ("title", "brand", "attributes", "description")]

    def digest(self) -> str:
        """64 hexadecimal digits that stand for what the rows say, vectors aside (SHA-256)."""
        total = hashlib.sha256()
        for name in sorted(self.table.column_names):
            total.update("\0".join([name, *self.table.column(name).to_pylist()]).encode())
        return total.hexdigest()

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row number of every id."""
        return {id_: row for row, id_ in enumerate(self.column("id"))}


@dataclass(frozen=True)
class Snapshot:
    """One version of a store, whole and unchanging."""

    path: Path
    manifest: Manifest
    rows: Rows

    def blob(self, name: str) -> bytes | None:
        """What was put under `name`, None where nothing was."""
        file = self.manifest.blobs.get(name)
        try:
            return (self.path / BLOBS / file).read_bytes() if file else None
        except FileNotFoundError:
            raise self._gone() from None

    def select(self, where: str) -> NDArray[np.bool_]:
        """(n,) mask of the rows for which the SQL condition `where` holds. Raises QueryError."""
        try:
            table = open_table(self.path, self.manifest)
        except (ValueError, RuntimeError, OSError):
            raise self._gone() from None
        try:
            found = table.search().where(where).select(["id"]).limit(max(len(self.rows), 1)).to_arrow()
        except (ValueError, RuntimeError, OSError) as error:
            if "Not found" in str(error):
                raise self._gone() from None
            reason = str(error).splitlines()[0].partition("Invalid input, ")[2] or str(error).splitlines()[0]
            raise QueryError(
                f"the filter {where!r} is not valid: {reason[:200]}; expected SQL such as \"brand = 'X'\" on "
                f"{', '.join(TEXT_COLUMNS[:7])}"
            ) from None
        mask = np.zeros(len(self.rows), bool)
        mask[[self.rows.row_of[id_] for id_ in found.column("id").to_pylist()]] = True
        return mask

    def _gone(self) -> StoreError:
        return StoreError(
            f"version {self.manifest.version} of store {self.path} was cleared away: open the store again"
        )


def read_snapshot(path: Path, version: int | None = None) -> Snapshot:
    """A version of a store, None for the one that counts, checked against its checksums. Raises StoreError."""
    while True:
        manifest = read_manifest(path, version)
        try:
            verify_files(path, manifest.files)
            return snapshot_of(path, manifest)
        except StoreError:  # it may have been cleared away while it was read
            if read_manifest(path, version) == manifest:
                raise


def snapshot_of(path: Path, manifest: Manifest) -> Snapshot:
    """A version whose files have been verified. Raises StoreError."""
    with _lance_errors(path):
        return Snapshot(path, manifest, _rows(open_table(path, manifest)))


def open_table(path: Path, manifest: Manifest) -> Any:
    """The LanceDB table of a version, to be read."""
    table = _connect(path).open_table(manifest.table)
    table.checkout(manifest.table_version)
    return table


def _rows(table: Any) -> Rows:
    content = table.to_arrow().sort_by("id").combine_chunks()
    vectors = content.column("vector").combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return Rows(content.select(list(TEXT_COLUMNS)), flat.reshape(len(vectors), vectors.type.list_size))


class TableWriter:
    """A LanceDB table in a store, being written. Each change is a version of its own, seen by its number alone."""

    def __init__(self, path: Path, name: str, start: int | None = None) -> None:
        """Go on from the version `start`, even where a dead writer had gone further; None begins a new table."""
        self.name = name
        self._path, self._start, self._empty = path, start, start is None
        self._table: Any = None

    @property
    def version(self) -> int:
        """LanceDB's number of what was written last."""
        return int(self._open(0).version)

    def count(self) -> int:
        """Rows that are there now."""
        return int(self._open(0).count_rows())

    def rows(self) -> Rows:
        """All rows that are there now."""
        with _lance_errors(self._path):
            return _rows(self._open(0))

    def upsert(self, rows: Rows) -> None:
        """Insert rows, or replace those with the same id."""
        if not len(rows):
            return
        with _lance_errors(self._path):
            table = self._open(rows.vectors.shape[1])
            if self._empty:
                table.add(_with_vectors(rows))
                self._empty = False
            else:
                merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(_with_vectors(rows))

    def replace_all(self, rows: Rows) -> None:
        """Have these rows and no others."""
        with _lance_errors(self._path):
            self._open(rows.vectors.shape[1]).add(_with_vectors(rows), mode="overwrite")
            self._empty = False

    def delete(self, ids: Sequence[str]) -> None:
        """Delete the rows with these ids."""
        for start in range(0, len(ids), DELETE_BATCH):
            quoted = ", ".join("'" + id_.replace("'", "''") + "'" for id_ in ids[start : start + DELETE_BATCH])
            with _lance_errors(self._path):
                self._open(0).delete(f"id IN ({quoted})")

    def _open(self, dimensions: int) -> Any:
        if self._table is None and self._start is None:
            shutil.rmtree(self._path / f"{self.name}.lance", ignore_errors=True)
            self._table = _connect(self._path).create_table(self.name, schema=_schema(dimensions))
        elif self._table is None:
            self._table = _connect(self._path).open_table(self.name)
            if self._table.version != self._start:
                self._table.restore(self._start)
        return self._table


class Draft:
    """The next version of a store, in the making: its `table` is written, and what is put beside it. See `writing`."""

    def __init__(self, path: Path, base: Snapshot | None) -> None:
        self.path, self.base = path, base
        self._blobs = dict(base.manifest.blobs) if base else {}
        self.table = (
            TableWriter(path, base.manifest.table, base.manifest.table_version) if base else TableWriter(path, TABLE)
        )

    def put_blob(self, name: str, content: bytes) -> None:
        """Keep `content` under `name` with this version."""
        folder = self.path / BLOBS
        folder.mkdir(exist_ok=True)
        file = f"{name}.{hashlib.sha256(content).hexdigest()[:16]}"
        if not (folder / file).exists() or (folder / file).read_bytes() != content:
            work = folder / (file + ".new")
            work.write_bytes(content)
            work.replace(folder / file)
        self._blobs[name] = file

    def put_encoder(self, work: Path, fingerprint: str) -> str:
        """Move the model folder `work` into the store; its place there, relative to the store."""
        folder = f"{ENCODERS}/{fingerprint[:16]}"
        if (self.path / folder).exists() and fingerprint_of(self.path / folder) == fingerprint:
            shutil.rmtree(work)
        else:
            shutil.rmtree(self.path / folder, ignore_errors=True)  # a damaged one
            (self.path / ENCODERS).mkdir(exist_ok=True)
            work.replace(self.path / folder)
        return folder

    def commit(self, encoder: EncoderIdentity, recipe: str, change: Change) -> Manifest:
        """Make this draft the version that counts, in one step."""
        base = self.base.manifest if self.base else None
        blobs = [f"{BLOBS}/{file}" for file in self._blobs.values()]
        manifest = Manifest(
            version=base.version + 1 if base else 1,
            change=change,
            table=self.table.name,
            table_version=self.table.version,
            rows=self.table.count(),
            encoder=encoder,
            recipe=recipe,
            created=now(),
            libraries={library: version(library) for library in LIBRARIES},
            blobs=self._blobs,
            files=sum_files(
                self.path,
                [f"{self.table.name}.lance", *blobs, *filter(None, [encoder.folder])],
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
        if (path / FILE).exists():
            return False
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file: name a new or an empty folder for the store")
        if (path / VERSIONS).exists() and not is_half_written(path):
            read_manifest(path)  # says that it is lost, and how to get it back
        if path.exists() and not is_half_written(path) and any(path.iterdir()):
            raise StoreError(f"{path} holds other files and is not a shelfwise store: name a new or an empty folder")
    except OSError as error:
        raise StoreError(f"{path} cannot be a store ({error.strerror}): name another folder") from None
    return True


@contextmanager
def writing(path: Path, create: bool = False) -> Iterator[Draft]:
    """The one draft of the store at `path`; other writers wait until the block ends, WAIT seconds at most.

    With `create`, a folder that is not there, is empty or is half written becomes a store at the first
    commit; if there is none, a folder made here goes away again, unless a next try can go on from what is in it. Raises
    StoreError.
    """
    first = create and may_become_store(path)
    if not first:
        read_manifest(path)  # says what is wrong before anything is written there
    made = not path.exists()
    with locked(path):
        try:
            first = first and may_become_store(path)  # another may have been faster
            if first:
                shutil.rmtree(path / VERSIONS, ignore_errors=True)  # of a first build that never ended
            yield Draft(path, None if first else read_snapshot(path))
        finally:
            if made and not (path / FILE).exists() and not (path / EMBEDDED).exists():
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _lance_errors(path: Path) -> Iterator[None]:
    """LanceDB's own failures (a full disk, a file that went away) as StoreError."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0].removeprefix("lance error: ").partition(", /")[0]
        raise StoreError(f"store {path} cannot be read or written: {reason}; nothing was changed") from None


def _text_fields() -> list[pa.Field]:
    return [pa.field(name, pa.string(), nullable=False) for name in TEXT_COLUMNS]


def _schema(dimensions: int) -> pa.Schema:
    return pa.schema([*_text_fields(), pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False)])


def _with_vectors(rows: Rows) -> pa.Table:
    """Rows as they are stored."""
    dimensions = rows.vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(rows.vectors, np.float32).ravel())
    columns = [*rows.table.select(TEXT_COLUMNS).columns, pa.FixedSizeListArray.from_arrays(flat, dimensions)]
    return pa.Table.from_arrays(columns, schema=_schema(dimensions))


def _connect(path: Path) -> Any:
    import lancedb

    return lancedb.connect(path)
