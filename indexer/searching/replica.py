"""The rows of a version in files that can be memory-mapped, searched and shown without reading the table.

A replica contains only data of the table. If it is missing or damaged, it is rebuilt from the table.
"""

import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa

from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.rows import Rows, with_text_columns
from shelfwise.indexer.searching.engine import Engine, build_engine, read_engine, write_engine
from shelfwise.indexer.store.disk import REBUILD, damaged, making, read_sealed, sum_files, verify_files, write_sealed
from shelfwise.indexer.store.names import REPLICA_FACTS, REPLICAS
from shelfwise.indexer.store.snapshot import Snapshot
from shelfwise.indexer.store.table import RowIds
from shelfwise.indexer.types import Progress, Vectors

SPACE_BLOB = "space"
ITEMS, VECTORS, ROW_IDS, ENGINE = "items.arrow", "vectors.f32", "row_ids.npy", "engine.faiss"
PROJECTED_ROWS = 65_536  # rows projected at a time


@dataclass(frozen=True)
class ReplicaItems:
    """n rows sorted by item id: their `texts`, and their LanceDB `row_ids` (n,).

    `data_files` are the files of the table that they come from.
    """

    texts: pa.Table
    row_ids: RowIds
    data_files: frozenset[str]


@dataclass(frozen=True)
class Replica:
    """n rows sorted by item id: their `items`, and their unit `vectors` (n, d).

    The vectors are in the space of a version, and memory-mapped from `memory`. `engine` searches them, or None for
    exact search.
    """

    items: ReplicaItems
    vectors: Vectors
    memory: mmap.mmap
    engine: Engine | None


def space_of(snapshot: Snapshot) -> Space:
    """Return the space of a version. Raise StoreError when it has none."""
    content = snapshot.blob(SPACE_BLOB)
    if content is None:
        raise StoreError("no_model", f"store {snapshot.path} has no model", "a store with a model", "train the store")
    return Space.from_bytes(content)


def new_replica_name() -> str:
    """Return a new path for a replica, relative to the store. It is unique, since readers may still use an old one."""
    return f"{REPLICAS}/{uuid4().hex[:12]}"


def replica_of(snapshot: Snapshot, progress: Progress | None = None) -> Replica:
    """Return the replica of a version.

    If it is missing or damaged, it is rebuilt in the store or, if the store cannot be written, in a temporary place for
    as long as it is used. Raise StoreError when the table is damaged, too.
    """
    identity = snapshot.manifest.replica
    try:
        return open_replica(snapshot.path / identity.folder)
    except StoreError:
        pass
    space, numbered = space_of(snapshot), snapshot.numbered_rows
    folder = snapshot.path / identity.folder
    try:
        make_replica(folder, numbered, space, snapshot.data_files, progress)
        return open_replica(folder)
    except (OSError, StoreError):
        with tempfile.TemporaryDirectory() as elsewhere:
            folder = Path(elsewhere) / "replica"
            make_replica(folder, numbered, space, snapshot.data_files, progress)
            return open_replica(folder)  # mapped files stay readable after they are deleted


def make_replica(
    folder: Path,
    numbered: tuple[Rows, RowIds],
    space: Space,
    data_files: Iterable[str],
    progress: Progress | None = None,
) -> None:
    """Write rows and their row ids as a replica to `folder`, replacing it at once. Raise OSError when that fails."""
    rows, row_ids = numbered
    with making(folder) as work:
        with pa.OSFile(str(work / ITEMS), "wb") as out, pa.ipc.new_file(out, rows.table.schema) as writer:
            writer.write_table(rows.table)
        np.save(work / ROW_IDS, row_ids)
        with (work / VECTORS).open("wb") as out:
            for start in range(0, len(rows), PROJECTED_ROWS):
                out.write(space.project(rows.vectors[start : start + PROJECTED_ROWS]).data)
        engine = build_engine(_mapped(work, rows.vectors.shape[1])[0], progress)
        facts = {
            "dimensions": rows.vectors.shape[1],
            "data_files": sorted(data_files),
            "engine": write_engine(engine, work / ENGINE) if engine else None,
            "files": sum_files(work, [ITEMS, ROW_IDS, VECTORS, ENGINE], {}),
        }
        write_sealed(work / REPLICA_FACTS, facts)


def open_replica(folder: Path) -> Replica:
    """Open and verify a replica. Raise StoreError when it is missing or damaged."""
    with _reading(folder):
        facts = read_sealed(folder / REPLICA_FACTS, REBUILD)
        items = _items_of(folder, facts)
        _verify(folder, facts, [VECTORS, ENGINE])
        vectors, memory = _mapped(folder, facts["dimensions"])
        engine = read_engine(folder / ENGINE, **facts["engine"]) if facts["engine"] else None
        if len(vectors) != len(items.texts):
            raise ValueError("other numbers of rows")
        return Replica(items, vectors, memory, engine)


def open_items(folder: Path) -> ReplicaItems:
    """Open and verify the items of a replica, without its vectors. Raise StoreError when it is missing or damaged."""
    with _reading(folder):
        return _items_of(folder, read_sealed(folder / REPLICA_FACTS, REBUILD))


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Raise StoreError if the block cannot read a replica."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            "unreadable_store_file",
            f"{folder} cannot be read ({error.strerror or error})",
            "a replica of the rows",
            REBUILD,
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, MemoryError, RuntimeError):
        raise damaged(folder / REPLICA_FACTS, REBUILD) from None


def _items_of(folder: Path, facts: dict[str, Any]) -> ReplicaItems:
    _verify(folder, facts, [ITEMS, ROW_IDS])
    texts = with_text_columns(pa.ipc.open_file(pa.memory_map(str(folder / ITEMS))).read_all())
    row_ids = np.load(folder / ROW_IDS, allow_pickle=False)
    if row_ids.shape != (len(texts),) or row_ids.dtype != np.uint64:
        raise ValueError("other numbers of rows")
    return ReplicaItems(texts, row_ids, frozenset(facts["data_files"]))


def _verify(folder: Path, facts: dict[str, Any], names: Sequence[str]) -> None:
    """Verify some of a replica's files. Raise an error if it names others, or if they are damaged."""
    files = {name: (size, digest) for name, (size, digest) in facts["files"].items()}
    if not files.keys() <= {ITEMS, ROW_IDS, VECTORS, ENGINE}:
        raise ValueError("other files")
    verify_files(folder, {name: files[name] for name in names if name in files})


def _mapped(folder: Path, dimensions: int) -> tuple[Vectors, mmap.mmap]:
    with (folder / VECTORS).open("rb") as stream:
        memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(memory, np.float32).reshape(-1, dimensions), memory
