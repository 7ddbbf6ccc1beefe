"""Remove versions, and write the rows of the remaining ones to one table and one replica."""

from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import numpy as np

from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.engine import recalled
from shelfwise.indexer.searching.replica import SPACE_BLOB, make_replica, new_replica_name, open_replica, space_of
from shelfwise.indexer.store.clearing import clear, forget_versions
from shelfwise.indexer.store.disk import bytes_of, remove, require_room, sum_files, vector_bytes
from shelfwise.indexer.store.embedded import forget_embedded
from shelfwise.indexer.store.history import tags_of
from shelfwise.indexer.store.lance_manifest import files_of_version
from shelfwise.indexer.store.manifest import Manifest, keep_manifest, versions_of, write_manifest
from shelfwise.indexer.store.names import BLOBS, ENCODERS, RUNTIMES, TABLE
from shelfwise.indexer.store.snapshot import Snapshot, base_of, read_snapshot, writing
from shelfwise.indexer.store.table import TableWriter


@dataclass(frozen=True, slots=True)
class Cleared:
    """The result of `compact`: the kept and removed versions, and the size of the store in bytes before and after."""

    kept: tuple[int, ...]
    removed: tuple[int, ...]
    bytes_before: int
    bytes_after: int


def compact(path: Path, keep: int) -> Cleared:
    """Keep the last `keep` versions and the tagged ones. Remove all others and the leftovers of killed writers.

    The rows of the kept versions are written to a new table, with few files and no other rows. Each version stays
    complete in the old table until it is complete in the new one.
    """
    with writing(path) as draft:
        newest = base_of(draft).manifest
        require_room(path, 2 * vector_bytes(newest.rows, newest.encoder.dimensions))  # of the table and the replica
        before, there, tags = bytes_of(path), versions_of(path), tags_of(path)
        kept = sorted(set(there[-keep:]) | (set(tags.values()) & set(there)))
        # A new name, because a reader may still use the old one.
        manifests = _with_replica(path, _copied(path, kept, f"{TABLE}-{uuid4().hex[:12]}"))
        for manifest in manifests:
            keep_manifest(path, manifest)
        write_manifest(path, manifests[-1])
        forget_versions(path, set(there) - set(kept))
        forget_embedded(path)
        remove(path / f"{ENCODERS}.new", path / f"{RUNTIMES}.new")
        clear(path, manifests)
        return Cleared(tuple(kept), tuple(sorted(set(there) - set(kept))), before, bytes_of(path))


def _copied(path: Path, kept: list[int], table: str) -> list[Manifest]:
    """Write the rows of versions to a new table, each as a change of the one before, and return their manifests."""
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
        files = sum_files(
            path, [*files_of_version(path, table, table_version), *blobs, *folders], dict(manifest.files) | known
        )
        manifests.append(replace(manifest, table=table, table_version=table_version, files=files))
        known = known | files
    return manifests


def _with_replica(path: Path, manifests: list[Manifest]) -> list[Manifest]:
    """Return the manifests with a new replica of the newest version, for all versions in its space.

    A version in another space gets the name of a replica that is built on first use.
    """
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
    """Return the rows of `after` that are new or differ from `before`."""
    place = np.array([before.row_of.get(id_, -1) for id_ in after.row_of], np.int64)
    same = place >= 0
    for name in after.table.column_names:
        was, now_is = before.column(name), after.column(name)
        same[same] = was[place[same]] == now_is[same]
    same[same] = (before.vectors[place[same]] == after.vectors[same]).all(axis=1)
    return Rows(after.table.take(np.flatnonzero(~same)), after.vectors[~same])
