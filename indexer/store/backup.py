"""Backups: versions of a store, each with the desk of its time, in a folder that holds each content once.

A folder of backups has `contents/`, files named by their SHA-256, and `backups/`, one sealed file for each version that
was backed up. It says which contents lie where in a store, so that any backup is complete without the others.
"""

import re
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from shelfwise.indexer.errors import QueryError, StoreError, listed
from shelfwise.indexer.store.disk import (
    REBUILD,
    copied,
    damaged,
    now,
    read_sealed,
    remove,
    require_room,
    sync_folder,
    unchanging,
    write_sealed,
)
from shelfwise.indexer.store.history import tags_of
from shelfwise.indexer.store.manifest import Manifest, read_manifest
from shelfwise.indexer.store.migration import migrate
from shelfwise.indexer.store.names import DESK, MANIFEST, REPLICA_FACTS, TAGS, TUNING, VERSIONS, is_inside
from shelfwise.indexer.store.pairing import rename_pair
from shelfwise.indexer.types import Progress

BACKUPS, CONTENTS = "backups", "contents"
ATTEMPTS = 3  # to copy a version that `compact` moves meanwhile
OTHER = "restore another version"
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was made or restored: the store's version, its files and bytes, and how many files were copied."""

    version: int
    created: str
    files: int
    bytes: int
    copied: int
    copied_bytes: int


class _Folder:
    """A folder of backups. `copied` and `copied_bytes` count what was added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copied = self.copied_bytes = 0

    def create(self) -> None:
        """Make the folder. Raise StoreError if it is something else."""
        with _errors(self.path):
            ours = (self.path / BACKUPS).is_dir() and (self.path / CONTENTS).is_dir()
            if self.path.exists() and not ours and (not self.path.is_dir() or any(self.path.iterdir())):
                raise _not_empty(self.path, "a folder of backups or an empty folder")
            for name in (BACKUPS, CONTENTS):
                (self.path / name).mkdir(parents=True, exist_ok=True)

    def content(self, digest: str) -> Path:
        """Return the path of a content."""
        return self.path / CONTENTS / digest[:2] / digest

    def put(self, source: IO[bytes]) -> tuple[int, str]:
        """Add what a stream holds, and return its size and SHA-256."""
        work = self.path / CONTENTS / f"{uuid4().hex}.new"
        with _errors(self.path):
            try:
                sums = copied(source, work)
                place = self.content(sums[1])
                place.parent.mkdir(exist_ok=True)
                work.replace(place)
            finally:
                remove(work)
            sync_folder(place.parent)
        self.copied += 1
        self.copied_bytes += sums[0]
        return sums

    def versions(self) -> list[int]:
        """Return the versions that can be restored, in ascending order."""
        names = (file.stem for file in (self.path / BACKUPS).glob("*.json"))
        return sorted(int(name) for name in names if name.isdecimal())

    def store(self) -> str:
        """Return the id of the store whose backups these are, "" if it is unknown."""
        for version in reversed(self.versions()):
            with suppress(StoreError, OSError, KeyError, TypeError):  # damaged, or of an earlier format
                return str(read_sealed(self.file_of(version), OTHER)["manifest"]["store"])
        return ""

    def file_of(self, version: int) -> Path:
        """Return the path of the file that describes a backup."""
        return self.path / BACKUPS / f"{version:06}.json"


def back_up(store: Path, target: Path, progress: Progress | None = None) -> BackedUp:
    """Add the current version of a store, and its desk, to a folder of backups. Only new contents are copied.

    Writers wait only while the desk is copied. Raise StoreError if a file of the store is damaged, or if the folder
    holds something else.
    """
    folder, own = _Folder(target), read_manifest(store).store
    folder.create()
    if (there := folder.store()) not in ("", own):
        raise StoreError(
            "other_backups",
            f"{target} has backups of store {there}, and {store} is store {own}",
            "backups of the same store (a restored store is a new one)",
            "choose a new or empty folder",
        )
    for attempt in range(1, ATTEMPTS + 1):
        with unchanging(store):
            manifest, tags = read_manifest(store), tags_of(store)
            desk = _desk_in(folder, store / DESK)
        try:
            files = _copied(folder, store, manifest, progress)
        except FileNotFoundError as error:
            if attempt == ATTEMPTS or read_manifest(store) == manifest:
                raise damaged(Path(str(error.filename)), "restore the store from an earlier backup") from None
            continue
        break
    created = now()
    content = {
        "created": created,
        "manifest": asdict(manifest),
        "tags": sorted(name for name, version in tags.items() if version == manifest.version),
        "files": files | desk,
    }
    with _errors(target):
        write_sealed(folder.file_of(manifest.version), content)
    return _result(manifest.version, created, files | desk, folder)


def _copied(folder: _Folder, store: Path, manifest: Manifest, progress: Progress | None) -> dict[str, tuple[int, str]]:
    """Copy the files of a version that the folder does not have, and return all of them with size and SHA-256."""
    files = dict(manifest.files)
    beside = [TUNING, f"{manifest.replica.folder}/{REPLICA_FACTS}"]
    if (store / beside[1]).exists():  # else it is made again from the rows
        files |= _files_of_replica(store, manifest.replica.folder)
    missing = {name: sums for name, sums in files.items() if not folder.content(sums[1]).exists()}
    require_room(folder.path, sum(size for size, _ in missing.values()))
    for number, (name, sums) in enumerate(sorted(missing.items()), 1):
        with (store / name).open("rb") as source:
            if folder.put(source) != tuple(sums):
                raise damaged(store / name, "restore the store from an earlier backup")
        if progress:
            progress("backup", number, len(missing))
    for name in beside:
        if (store / name).exists():
            with (store / name).open("rb") as source:
                files[name] = folder.put(source)
    return files


def _files_of_replica(store: Path, folder: str) -> dict[str, tuple[int, str]]:
    file = store / folder / REPLICA_FACTS
    try:
        found = read_sealed(file, REBUILD)["files"]
        files = {f"{folder}/{name}": (int(size), str(digest)) for name, (size, digest) in found.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise damaged(file, REBUILD) from None
    if not all(map(is_inside, files)):
        raise damaged(file, REBUILD)
    return files


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Raise StoreError for a disk that cannot be written at `path`."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            "unwritable_folder",
            f"cannot write {path} ({error.strerror or error})",
            "a folder on a writable disk with free space",
            "check the disk and its permissions",
        ) from None


def _desk_in(folder: _Folder, file: Path) -> dict[str, tuple[int, str]]:
    """Copy a desk as it is at one moment, also while the service writes to it."""
    if not file.exists():
        return {}
    with _errors(folder.path), tempfile.TemporaryDirectory(dir=folder.path) as work:
        copy = Path(work) / DESK
        try:
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            raise StoreError(
                "damaged_desk", f"{file} cannot be copied ({error})", "an intact desk", "restore an earlier backup"
            ) from None
        with copy.open("rb") as content:
            return {DESK: folder.put(content)}


def restore(source: Path, store: Path, at: int | None = None, progress: Progress | None = None) -> BackedUp:
    """Make a store from a backup: of version `at`, by default of the newest one.

    Raise StoreError if the backup is damaged, or if `store` is not an empty or missing folder, and QueryError if there
    is no backup of this version.
    """
    folder = _Folder(source)
    there = folder.versions()
    if not there:
        raise StoreError("no_backup", f"no backup in {source}", "a folder of backups", "name another folder")
    version = there[-1] if at is None else at
    if version not in there:
        raise QueryError(
            "no_such_backup",
            f"{source} has no backup of version {version}",
            f"one of {listed(map(str, there))}",
            "name one of these versions",
        )
    if store.exists() and (not store.is_dir() or any(store.iterdir())):
        raise _not_empty(store, "a new or empty folder")
    file = folder.file_of(version)
    content = read_sealed(file, OTHER)
    files, created, tags = _checked(content, file)
    require_room(store, sum(size for size, _ in files.values()))
    with _errors(store), _made(store):
        for number, (name, sums) in enumerate(sorted(files.items()), 1):
            _put_back(folder.content(sums[1]), store / name, sums)
            if progress:
                progress("restore", number, len(files))
        _sync_folders(store)
        manifest = _renamed(store, content["manifest"])
        write_sealed(store / VERSIONS / f"{version:06}.json", manifest)
        if tags:
            write_sealed(store / TAGS, {"tags": dict.fromkeys(tags, version)})
        write_sealed(store / MANIFEST, manifest)
        migrate(store)
        if read_manifest(store).version != version:
            raise damaged(file, OTHER)
    return _result(version, created, files, folder)


def _checked(content: Mapping[str, Any], file: Path) -> tuple[dict[str, tuple[int, str]], str, list[str]]:
    """Return the files of a backup, when it was made, and its tags. Raise StoreError if it is not one of ours."""
    try:
        files = {name: (int(size), digest) for name, (size, digest) in content["files"].items()}
        if all(is_inside(name) and _DIGEST.fullmatch(digest) for name, (_, digest) in files.items()):
            return files, str(content["created"]), [str(name) for name in content["tags"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise damaged(file, OTHER)


def _renamed(store: Path, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the manifest of a restored store. It goes its own way from here, so it and its desk get a new id."""
    if "store" not in manifest:  # of an earlier format
        return manifest
    id_ = uuid4().hex[:12]
    if (store / DESK).exists():
        rename_pair(store / DESK, id_)
    return {**manifest, "store": id_}


def _put_back(source: Path, place: Path, sums: tuple[int, str]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_file():
        raise damaged(source, OTHER)
    with source.open("rb") as content:
        if copied(content, place) != sums:
            raise damaged(source, OTHER)


@contextmanager
def _made(store: Path) -> Iterator[None]:
    """Delete what was written to a new store if the block raises."""
    there = store.exists()
    store.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        remove(*(store.iterdir() if there else [store]))
        raise


def _sync_folders(store: Path) -> None:
    (store / VERSIONS).mkdir(exist_ok=True)
    for folder in (store, *(path for path in store.rglob("*") if path.is_dir())):
        sync_folder(folder)


def _not_empty(path: Path, expected: str) -> StoreError:
    return StoreError("not_empty", f"{path} holds other files", expected, "choose a new or empty folder")


def _result(version: int, created: str, files: Mapping[str, tuple[int, str]], folder: _Folder) -> BackedUp:
    size = sum(size for size, _ in files.values())
    return BackedUp(version, created, len(files), size, folder.copied, folder.copied_bytes)
