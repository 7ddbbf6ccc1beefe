"""Whether a store is intact: every file as it was written, every version complete and fit to be used."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfwise.classifier.model.model import HEAD_BLOB, SETTINGS_BLOB, Model
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.errors import ShelfwiseError, StoreError
from shelfwise.indexer.item import digest
from shelfwise.indexer.searching.replica import SPACE_BLOB, open_replica
from shelfwise.indexer.store.disk import read_sealed, unchanging, verify_files
from shelfwise.indexer.store.history import tags_of
from shelfwise.indexer.store.manifest import Manifest, read_manifest, versions_of
from shelfwise.indexer.store.names import DESK, TUNING, foreign_names
from shelfwise.indexer.store.pairing import require_pair
from shelfwise.indexer.store.snapshot import Snapshot

MOST_LINES = 5  # problems of a desk to report
UNIT_ERROR = 1e-3  # largest deviation of a stored vector's length from 1


@dataclass(frozen=True, slots=True)
class Checked:
    """The numbers of versions, files and rows checked, and the problems found, one line each.

    `foreign` are files and folders that are not of the store, relative to it; no command touches them. `unchecked` says
    what could not be checked, and why.
    """

    versions: int
    files: int
    rows: int
    problems: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


def check(path: Path) -> Checked:
    """Check every version and file of the store at `path`, its desk, tags and tuning, under its write lock.

    A disk that cannot be written has no writer, and needs no lock. Raise StoreError if there is no readable store, and
    BusyError if another writer keeps the lock.
    """
    read_manifest(path)
    with unchanging(path):
        return _checked(path)


def _checked(path: Path) -> Checked:
    versions = versions_of(path)
    manifests, problems = list[Manifest](), _problems_beside(path, versions)
    for version in versions:
        try:
            manifests.append(read_manifest(path, version))
        except StoreError as error:
            problems.append(str(error))
    files = {(name, *sums) for manifest in manifests for name, sums in manifest.files.items()}
    damage = {(name, size, sha): _damage(path, name, (size, sha)) for name, size, sha in sorted(files)}
    problems += sorted({problem for problem in damage.values() if problem})
    replicas = sorted({manifest.replica.folder for manifest in manifests})
    for folder in replicas:
        problems += _replica_problem(path / folder)
    rows, unchecked = 0, [f"replica {name}: not made yet" for name in replicas if not (path / name).exists()]
    for manifest in manifests:
        if any(damage[name, *sums] for name, sums in manifest.files.items()):
            unchecked.append(f"the rows of version {manifest.version}: a file of it is damaged")
            continue
        try:
            snapshot = Snapshot(path, manifest)
            rows += len(snapshot.rows)
            problems += [f"version {manifest.version}: {problem}" for problem in _problems(snapshot)]
        except (ShelfwiseError, ValueError, KeyError) as error:
            problems.append(f"version {manifest.version} cannot be opened: {error}")
    names = {name for name, *_ in files}
    return Checked(len(versions), len(names), rows, tuple(problems), tuple(foreign_names(path)), tuple(unchecked))


def _problems_beside(path: Path, versions: Sequence[int]) -> list[str]:
    """Return the problems of what is beside the versions: tags, tuning and desk."""
    problems = list[str]()
    try:
        lost = sorted(name for name, version in tags_of(path).items() if version not in versions)
        problems += [f"tag {name} refers to a missing version" for name in lost]
    except StoreError as error:
        problems.append(str(error))
    try:
        read_sealed(path / TUNING, "delete it, and tune the store again")
    except FileNotFoundError:
        pass
    except StoreError as error:
        problems.append(str(error))
    if (path / DESK).exists():
        problems += _desk_problems(path / DESK)
    return problems


def _desk_problems(file: Path) -> list[str]:
    """Return what SQLite finds wrong in a desk. It is opened for reading only."""
    # A database in WAL mode needs a writable folder, unless nothing can change it and nothing waits in its log.
    may_change = os.access(file.parent, os.W_OK) or file.with_name(f"{DESK}-wal").exists()
    options = "mode=ro" if may_change else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?{options}", uri=True)) as database:
            found = [line for (line,) in database.execute("PRAGMA integrity_check")]
            if found == ["ok"]:
                require_pair(database, file.parent, read_manifest(file.parent))
    except sqlite3.Error as error:
        found = [str(error)]
    except StoreError as error:
        return [str(error)]
    return [] if found == ["ok"] else [f"{file.name}: {line}" for line in found[:MOST_LINES]]


def _replica_problem(folder: Path) -> list[str]:
    """Return the problem of a replica, if any. A missing replica is fine: it is created when needed."""
    try:
        if folder.exists():
            open_replica(folder)
    except StoreError as error:
        return [str(error)]
    return []


def _damage(path: Path, name: str, sums: tuple[int, str]) -> str:
    """Return the damage of a file; empty if it is as written."""
    try:
        verify_files(path, {name: sums})
    except StoreError as error:
        return str(error)
    return ""


def _problems(snapshot: Snapshot) -> Iterator[str]:
    """Yield the problems of a version whose files are as written."""
    rows, manifest = snapshot.rows, snapshot.manifest
    if len(rows) != manifest.rows:
        yield f"{len(rows)} rows, but {manifest.rows} were written"
    if len(rows.row_of) != len(rows) or "" in rows.row_of:
        yield "ids are missing or not unique"
    if rows.vectors.shape != (len(rows), manifest.encoder.dimensions):
        yield f"vectors of shape {rows.vectors.shape} for {len(rows)} rows of {manifest.encoder.dimensions} dimensions"
    elif not (abs(np.linalg.norm(rows.vectors, axis=1) - 1) <= UNIT_ERROR).all():  # NaN fails, too
        yield "vectors are not of unit length"
    if any(digest(text) != stored for text, stored in zip(rows.texts(), rows.column("text_digest"), strict=True)):
        yield "texts differ from the embedded ones"
    if any(not path or not name for path, name in zip(*map(rows.column, ("category_path", "category")), strict=True)):
        yield "rows without a category"
    space = snapshot.blob(SPACE_BLOB)
    if space is None:
        yield "the model has no vector space"
    elif Space.from_bytes(space).center.shape != (manifest.encoder.dimensions,):
        yield "the model and the vectors have different dimensions"
    Model.from_blobs(snapshot.blob(HEAD_BLOB), snapshot.blob(SETTINGS_BLOB))
