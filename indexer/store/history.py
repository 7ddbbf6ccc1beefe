"""The versions of a store: listing, naming, going back to and clearing away."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import numpy as np

from shelfwise import __version__
from shelfwise.indexer.embedded import forget_embedded
from shelfwise.indexer.engine import recalled
from shelfwise.indexer.errors import QueryError, StoreError
from shelfwise.indexer.lock import now
from shelfwise.indexer.manifest import (
    Manifest,
    forget_version,
    keep_manifest,
    no_version,
    read_manifest,
    read_sealed,
    sum_files,
    verify_files,
    versions_of,
    write_manifest,
    write_sealed,
)
from shelfwise.indexer.replica import REPLICAS, SPACE_BLOB, make_replica, new_replica_name, open_replica, space_of
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.runtime import RUNTIMES
from shelfwise.indexer.store import BLOBS, ENCODERS, Snapshot, base_of, read_snapshot, writing
from shelfwise.indexer.table import TABLE, TableWriter, table_files

TAGS = "tags.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """A version and the names that were given to it."""

    manifest: Manifest
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cleared:
    """What `compact` did: the versions left and taken away, and the bytes of the store before and after."""

    kept: tuple[int, ...]
    removed: tuple[int, ...]
    bytes_before: int
    bytes_after: int


def history(path: Path) -> list[Entry]:
    """The versions of the store at `path`, the one that counts last. Raises StoreError."""
    entries = []
    versions, tags = versions_of(path), tags_of(path)
    for version in versions:
        try:
            manifest = read_manifest(path, version)
        except StoreError:
            if version in versions_of(path):  # else it was cleared away meanwhile
                raise
            continue
        entries.append(Entry(manifest, tuple(name for name, tagged in tags.items() if tagged == version)))
    return entries


def tags_of(path: Path) -> dict[str, int]:
    """Which version each tag names. Raises StoreError."""
    try:
        content = read_sealed(path / TAGS, "delete it: the names of versions are lost, and nothing else")
        return dict(content["tags"])
    except FileNotFoundError:
        return {}


def resolve_version(path: Path, named: str) -> int:
    """The number of a version that is named by its number or a tag. Raises QueryError, StoreError."""
    tags, there = tags_of(path), versions_of(path)
    version = int(named) if named.isdecimal() and len(named) < 10 else tags.get(named)
    if version is None:
        raise no_tag(named, tags)
    if version not in there:
        raise no_version(path, version, there)
    return version


def no_tag(name: str, tags: Collection[str]) -> QueryError:
    """Return the error of a tag that the store does not have, beside the `tags` it has."""
    there = f"one of its tags ({', '.join(sorted(tags))})" if tags else "a version: it has no tags"
    return QueryError("no_such_tag", f"the store has no tag {name!r}", there, "name a tag or a version that it has")


def tag(path: Path, name: str, named: str | None) -> int | None:
    """Let `name` stand for a version, which `compact` then keeps; None takes the name away. The version's number.

    Raises QueryError for a name that is a number or that is not there to be taken away.
    """
    if not name.strip() or name.isdecimal():
        raise QueryError("bad_tag", f"tag {name!r}", "a word that is not a number", "take one such as before-sale")
    with writing(path):
        tags = tags_of(path)
        version = None if named is None else resolve_version(path, named)
        if version is None and tags.pop(name, None) is None:
            raise no_tag(name, tags)
        write_sealed(path / TAGS, {"tags": tags if version is None else tags | {name: version}})
        return version


def rollback(path: Path, named: str) -> Manifest:
    """Make what an earlier version held the newest version: rows, vectors, encoder and model. Nothing is lost by it.

    Raises QueryError for a version that is not there or that counts already.
    """
    with writing(path) as draft:
        version, last = resolve_version(path, named), base_of(draft).manifest
        if version == last.version:
            raise QueryError(
                "current_version",
                f"version {version} is the newest already",
                "an earlier version",
                "name another version: nothing was changed",
            )
        target = read_manifest(path, version)
        verify_files(path, target.files)
        change = replace(target.change, command=f"rollback to {version}", added=0, updated=0, removed=0)
        manifest = replace(target, version=last.version + 1, change=change, created=now(), written_by=__version__)
        write_manifest(path, manifest)
        return manifest


def compact(path: Path, keep: int) -> Cleared:
    """Keep the last `keep` versions and the tagged ones, and clear away the rest and what killed writers left.

    The rows of the versions that stay are written to a new table, whose files are few and hold nothing else. Each of
    them is whole in the old table until it is whole in the new one.
    """
    with writing(path) as draft:
        base_of(draft)
        before, there, tags = _bytes(path), versions_of(path), tags_of(path)
        kept = sorted(set(there[-keep:]) | (set(tags.values()) & set(there)))
        # A reader may still know an old name.
        manifests = _with_replica(path, _copied(path, kept, f"{TABLE}-{uuid4().hex[:12]}"))
        for manifest in manifests:
            keep_manifest(path, manifest)
        write_manifest(path, manifests[-1])
        for version in set(there) - set(kept):
            forget_version(path, version)
        _clear(path, manifests)
        return Cleared(tuple(kept), tuple(sorted(set(there) - set(kept))), before, _bytes(path))


def _copied(path: Path, kept: list[int], table: str) -> list[Manifest]:
    """The manifests of versions whose rows were written to a new table, each by what it changes of the one before."""
    target, copied, before = TableWriter(path, table), list[tuple[Manifest, int]](), None
    for version in kept:
        snapshot = read_snapshot(path, version)
        if before is None or before.vectors.shape[1] != snapshot.rows.vectors.shape[1]:
            target.replace_all(snapshot.rows)
        else:
            target.delete(sorted(before.row_of.keys() - snapshot.rows.row_of.keys()))
            target.upsert(_changed(before, snapshot.rows))
        copied.append((snapshot.manifest, target.version))
        before = snapshot.rows
    manifests, known = list[Manifest](), dict(copied[-1][0].files)
    for manifest, table_version in copied:
        blobs = [f"{BLOBS}/{file}" for file in manifest.blobs.values()]
        folders = filter(None, [manifest.encoder.folder, manifest.encoder.runtime])
        files = sum_files(path, [*table_files(table, table_version), *blobs, *folders], dict(manifest.files) | known)
        manifests.append(replace(manifest, table=table, table_version=table_version, files=files))
        known = known | files
    return manifests


def _with_replica(path: Path, manifests: list[Manifest]) -> list[Manifest]:
    """The manifests with a replica of the newest version for all that share its space; the others get one when it is
    asked for."""
    snapshot, folder = Snapshot(path, manifests[-1]), new_replica_name()
    make_replica(path / folder, snapshot.numbered_rows, space_of(snapshot), snapshot.data_files)
    engine, recall = recalled(open_replica(path / folder).engine)
    made = replace(snapshot.manifest.replica, folder=folder, engine=engine, recall=recall)
    space = snapshot.manifest.blobs[SPACE_BLOB]
    return [
        replace(
            each, replica=made if each.blobs[SPACE_BLOB] == space else replace(each.replica, folder=new_replica_name())
        )
        for each in manifests
    ]


def _changed(before: Rows, after: Rows) -> Rows:
    """Those of the rows `after` that are not the same in `before`."""
    place = np.array([before.row_of.get(id_, -1) for id_ in after.row_of], np.int64)
    same = place >= 0
    for name in after.table.column_names:
        was, now_is = before.column(name), after.column(name)
        same[same] = was[place[same]] == now_is[same]
    same[same] = (before.vectors[place[same]] == after.vectors[same]).all(axis=1)
    return Rows(after.table.take(np.flatnonzero(~same)), after.vectors[~same])


def _clear(path: Path, manifests: list[Manifest]) -> None:
    """Delete tables, blobs and encoders that none of the versions has, and what builds have begun."""
    forget_embedded(path)
    for begun in (ENCODERS, RUNTIMES):
        shutil.rmtree(path / f"{begun}.new", ignore_errors=True)
    tables = {f"{manifest.table}.lance" for manifest in manifests}
    blobs = {file for manifest in manifests for file in manifest.blobs.values()}
    encoders = {Path(manifest.encoder.folder).name for manifest in manifests}
    replicas = {Path(manifest.replica.folder).name for manifest in manifests}
    runtimes = {Path(manifest.encoder.runtime).name for manifest in manifests}
    places = {"": tables, BLOBS: blobs, ENCODERS: encoders, RUNTIMES: runtimes, REPLICAS: replicas}
    for place, needed in ((path / name, needed) for name, needed in places.items()):
        for found in sorted(place.glob(f"{TABLE}*.lance" if place == path else "*")):
            if found.name not in needed:
                shutil.rmtree(found) if found.is_dir() else found.unlink()


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
