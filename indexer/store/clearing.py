"""Remove versions of a store, and delete the files that no remaining version needs."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from shelfwise.indexer.store.disk import remove, sync_folder
from shelfwise.indexer.store.history import tags_of
from shelfwise.indexer.store.lance_manifest import manifest_name, newest_version
from shelfwise.indexer.store.manifest import Manifest, forget_version, read_manifest, versions_of
from shelfwise.indexer.store.names import BLOBS, ENCODERS, HINT, REPLICAS, RUNTIMES, VERSIONS, own_entries
from shelfwise.indexer.store.snapshot import writing


def clear_versions(path: Path, is_needless: Callable[[Manifest], bool]) -> list[int]:
    """Remove the versions that `is_needless` names, and return their numbers. No rows are moved.

    The current version and tagged ones stay. Raise StoreError if a version cannot be read: nothing is removed then.
    """
    with writing(path):
        tagged = set(tags_of(path).values())
        manifests = [read_manifest(path, version) for version in versions_of(path)]
        removed = [one.version for one in manifests[:-1] if one.version not in tagged and is_needless(one)]
        if removed:
            forget_versions(path, removed)
            clear(path, [one for one in manifests if one.version not in removed])
        return removed


def forget_versions(path: Path, versions: Iterable[int]) -> None:
    """Delete the manifests of versions, on disk before anything that they need is deleted."""
    for version in versions:
        forget_version(path, version)
    sync_folder(path / VERSIONS)


def clear(path: Path, manifests: Sequence[Manifest]) -> None:
    """Delete what none of these versions, all of the store, needs. What is not of the store stays."""
    tables = {f"{manifest.table}.lance" for manifest in manifests}
    blobs = {file for manifest in manifests for file in manifest.blobs.values()}
    encoders = {Path(manifest.encoder.folder).name for manifest in manifests}
    replicas = {Path(manifest.replica.folder).name for manifest in manifests}
    runtimes = {Path(manifest.encoder.runtime).name for manifest in manifests}
    places = {"": tables, BLOBS: blobs, ENCODERS: encoders, RUNTIMES: runtimes, REPLICAS: replicas}
    for place, needed in places.items():
        for found in own_entries(path, place):
            if found.name not in needed and (place or found.suffix == ".lance"):
                remove(found)
    files = {name for manifest in manifests for name in manifest.files}
    for table in tables:
        _clear_table(path, table, files)


def _clear_table(path: Path, table: str, needed: Collection[str]) -> None:
    """Delete files of a table that no version needs.

    The newest of LanceDB's own versions stays: the next one continues its numbers, so that row ids are unique.
    """
    newest = newest_version(path, table)
    needed = {*needed, f"{table}/_versions/{manifest_name(newest)}"}
    for folder in ("data", "_deletions", "_versions"):
        for found in own_entries(path, f"{table}/{folder}"):
            if f"{table}/{folder}/{found.name}" not in needed and found.name != HINT:
                remove(found)
    for found in own_entries(path, f"{table}/_transactions"):
        made_from = found.name.partition("-")[0]
        if made_from.isdecimal() and int(made_from) < newest - 1:
            remove(found)
