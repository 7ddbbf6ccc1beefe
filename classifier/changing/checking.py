"""Whether a store is intact: every file as it was written, every version complete and fit to be used."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfwise.classifier.model.model import HEAD_BLOB, SETTINGS_BLOB, Model
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.errors import ShelfwiseError, StoreError
from shelfwise.indexer.item import digest
from shelfwise.indexer.searching.replica import SPACE_BLOB, open_replica
from shelfwise.indexer.store.disk import locked, verify_files
from shelfwise.indexer.store.history import tags_of
from shelfwise.indexer.store.manifest import Manifest, read_manifest, versions_of
from shelfwise.indexer.store.names import foreign_names
from shelfwise.indexer.store.snapshot import Snapshot

UNIT_ERROR = 1e-3  # largest deviation of a stored vector's length from 1


@dataclass(frozen=True, slots=True)
class Checked:
    """The numbers of versions, files and rows checked, and the problems found, one line each.

    `foreign` are files and folders that are not of the store, relative to it. No command touches them.
    """

    versions: int
    files: int
    rows: int
    problems: tuple[str, ...]
    foreign: tuple[str, ...] = ()


def check(path: Path) -> Checked:
    """Check every version and file of the store at `path`, under its write lock.

    Raise StoreError if there is no readable store, and BusyError if another writer keeps the lock.
    """
    read_manifest(path)
    with locked(path):
        versions, problems = versions_of(path), list[str]()
        manifests, seen = list[Manifest](), dict[tuple[str, int, str], str]()
        try:
            lost = sorted(name for name, version in tags_of(path).items() if version not in versions)
            problems += [f"tag {name} refers to a missing version" for name in lost]
        except StoreError as error:
            problems.append(str(error))
        for version in versions:
            try:
                manifests.append(read_manifest(path, version))
            except StoreError as error:
                problems.append(str(error))
        for manifest in manifests:
            for name, sums in manifest.files.items():
                if (name, *sums) not in seen:
                    seen[name, *sums] = _damage(path, name, sums)
        problems += sorted({problem for problem in seen.values() if problem})
        for folder in sorted({manifest.replica.folder for manifest in manifests}):
            problems += _replica_problem(path / folder)
        rows = 0
        for manifest in manifests:
            if any(seen[name, *sums] for name, sums in manifest.files.items()):
                continue
            try:
                snapshot = Snapshot(path, manifest)
                rows += len(snapshot.rows)
                problems += [f"version {manifest.version}: {problem}" for problem in _problems(snapshot)]
            except (ShelfwiseError, ValueError, KeyError) as error:
                problems.append(f"version {manifest.version} cannot be opened: {error}")
        files = len({name for name, *_ in seen})
        return Checked(len(versions), files, rows, tuple(problems), tuple(foreign_names(path)))


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
