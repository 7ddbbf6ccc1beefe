"""The rows of a version laid out on disk to be mapped into memory, searched and shown without reading the table.

A replica holds nothing that the table does not hold. One that is missing or damaged is made again from the table.
"""

import mmap
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa

from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.engine import Engine, build_engine, read_engine, write_engine
from shelfwise.indexer.store.disk import REPLICAS, making, read_sealed, sum_files, verify_files, write_sealed
from shelfwise.indexer.store.snapshot import Snapshot
from shelfwise.indexer.store.table import RowIds
from shelfwise.indexer.types import Progress, Vectors

SPACE_BLOB = "space"
REPLICA_FACTS, ITEMS, VECTORS, ROW_IDS, ENGINE = (
    "replica.json",
    "items.arrow",
    "vectors.f32",
    "row_ids.npy",
    "engine.faiss",
)
PROJECTED_ROWS = 65_536  # rows that are projected at a time


@dataclass(frozen=True)
class Replica:
    """n rows in order of id: their texts `items`, LanceDB's numbers of them (n,), and unit `vectors` (n, d) in the
    space of a version, mapped from `memory`; and the `engine` to search them by, None for exact search.

    `data_files` are those of the table's files that it stands for.
    """

    items: pa.Table
    row_ids: RowIds
    vectors: Vectors
    memory: mmap.mmap
    engine: Engine | None
    data_files: frozenset[str]


def space_of(snapshot: Snapshot) -> Space:
    """The space of a version. Raises StoreError where it has none."""
    content = snapshot.blob(SPACE_BLOB)
    if content is None:
        raise StoreError("no_model", f"store {snapshot.path} has no space", "a store with a model", "train the store")
    return Space.from_bytes(content)


def new_replica_name() -> str:
    """A place for a replica, relative to the store; never the same twice, since readers may still hold an old one."""
    return f"{REPLICAS}/{uuid4().hex[:12]}"


def replica_of(snapshot: Snapshot, progress: Progress | None = None) -> Replica:
    """The replica of a version; made again where it is missing or damaged, in the store or, where that cannot be
    written, elsewhere for as long as it is used.

    Raises StoreError where the table is damaged, too.
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
            return open_replica(folder)  # what is mapped stays after the names are gone


def make_replica(
    folder: Path,
    numbered: tuple[Rows, RowIds],
    space: Space,
    data_files: Iterable[str],
    progress: Progress | None = None,
) -> None:
    """Lay out the rows and their numbers in `folder`, in one step; one that is there is replaced. Raises OSError."""
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
    """A replica, verified. Raises StoreError where it is missing or damaged."""
    try:
        facts = read_sealed(folder / REPLICA_FACTS, "it is made again")
        verify_files(folder, {name: (size, digest) for name, (size, digest) in facts["files"].items()})
        vectors, memory = _mapped(folder, facts["dimensions"])
        return Replica(
            items=pa.ipc.open_file(pa.memory_map(str(folder / ITEMS))).read_all(),
            row_ids=np.load(folder / ROW_IDS, allow_pickle=False),
            vectors=vectors,
            memory=memory,
            engine=read_engine(folder / ENGINE, **facts["engine"]) if facts["engine"] else None,
            data_files=frozenset(facts["data_files"]),
        )
    except OSError as error:
        raise StoreError(
            "unreadable_store_file",
            f"{folder} cannot be read ({error.strerror or error})",
            "a replica of the rows",
            "it is made again",
        ) from None


def _mapped(folder: Path, dimensions: int) -> tuple[Vectors, mmap.mmap]:
    with (folder / VECTORS).open("rb") as stream:
        memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(memory, np.float32).reshape(-1, dimensions), memory
