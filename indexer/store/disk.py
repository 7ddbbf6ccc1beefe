"""The folder of a store: file names, locks, crash-safe writes and checksums.

The content of a file is written and read by the module that owns it, or by LanceDB, OpenVINO and FAISS. This module
supplies the path, and computes and verifies the checksums.
"""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any
from uuid import uuid4

from filelock import FileLock, Timeout

from shelfwise.indexer.errors import BusyError, StoreError
from shelfwise.indexer.store.names import BLOBS, HINT, LOCK, QUEUE, WRITER, require_plain

COPIED_BYTES = 1 << 20  # at a time
REBUILD = "open the store to rebuild it"  # fix for a damaged replica
LOCK_SECONDS = 10.0  # seconds a writer waits for the lock


def now() -> str:
    """Return the current UTC time in ISO format, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of the store at `path` until the block ends.

    Raise BusyError when another writer holds it for LOCK_SECONDS seconds, and StoreError when the disk cannot be
    written or the store has a file that could lead out of it.
    """
    require_plain(path)
    lock, until = FileLock(path / LOCK), time.monotonic() + LOCK_SECONDS
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / LOCK).touch()  # marks a half-written store
        with FileLock(path / QUEUE, timeout=LOCK_SECONDS):
            held = lock.acquire(timeout=max(0.0, until - time.monotonic()))
        with held:
            said = {"process": os.getpid(), "host": platform.node(), "since": now()}
            (path / WRITER).write_text(json.dumps(said))
            try:
                yield
            finally:
                (path / WRITER).unlink(missing_ok=True)
    except Timeout:
        raise BusyError(
            "store_busy",
            f"store {path} is being written by {_writer(path)}",
            "no other writer",
            "try again when that process is done",
        ) from None
    except BrokenPipeError:  # the reader of our output is gone: not a store error
        raise
    except OSError as error:
        raise StoreError(
            "unwritable_store",
            f"cannot write the store {path} ({error.strerror or error})",
            "a writable disk with free space",
            "check the disk and its permissions (nothing was changed)",
        ) from None


@contextmanager
def unchanging(path: Path) -> Iterator[None]:
    """Hold the write lock as `locked` does, but not on a disk that cannot be written: it has no writer."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(path))
        except StoreError as error:
            if error.code != "unwritable_store":
                raise
        yield


def _writer(path: Path) -> str:
    """Describe the process that holds the lock of a store, if it is known."""
    try:
        found = json.loads((path / WRITER).read_text())
        return f"process {found['process']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `file` when the block ends. It is deleted if the block raises."""
    work = file.with_name(f"{file.name}.new")
    try:
        yield work
        work.replace(file)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces `folder` when the block ends. It is deleted if the block raises."""
    work = folder.with_name(f"{folder.name}.{uuid4().hex[:12]}.new")
    work.mkdir(parents=True)
    try:
        yield work
        move(work, folder)
    finally:
        remove(work, *folder.parent.glob(f"{folder.name}.*.old"))


def move(work: Path, folder: Path) -> None:
    """Move the folder `work` to `folder` and delete the previous content of `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f"{folder.name}.{uuid4().hex[:12]}.old")
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    sync_folder(folder.parent)
    remove(old)


def remove(*places: Path) -> None:
    """Delete files and folders. Skip missing places, and entries of a folder that cannot be deleted."""
    for place in places:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)


def put_blob(store: Path, name: str, content: bytes) -> str:
    """Store `content` and return its file name in BLOBS, which includes a hash of the content."""
    folder = store / BLOBS
    folder.mkdir(exist_ok=True)
    file = f"{name}.{hashlib.sha256(content).hexdigest()[:16]}"
    if not (folder / file).exists() or (folder / file).read_bytes() != content:
        with replacing(folder / file) as work:
            work.write_bytes(content)
    return file


def require_room(store: Path, needed: int) -> None:
    """Raise StoreError if the disk of a store has fewer than `needed` free bytes."""
    free = shutil.disk_usage(next(folder for folder in (store, *store.absolute().parents) if folder.exists())).free
    if free < needed:
        raise StoreError(
            "no_room",
            f"the disk of store {store} has {free / 1e6:,.1f} MB free",
            f"at least {needed / 1e6:,.1f} MB",
            "free some space, or compact the store (nothing was changed)",
        )


def vector_bytes(rows: int, dimensions: int) -> int:
    """Return the bytes of the vectors of some rows, by far the largest part of a store."""
    return rows * dimensions * 4  # float32


def bytes_of(store: Path) -> int:
    """Return the total size of the files of a store in bytes."""
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())


def _seal(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_sealed(file: Path, content: Mapping[str, object]) -> None:
    """Write a JSON object and its checksum to a file, atomically and crash-safe."""
    content = dict(json.loads(json.dumps(content)))
    with replacing(file) as work, work.open("w", encoding="utf-8") as out:
        json.dump(content | {"seal": _seal(content)}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    sync_folder(file.parent)


def copied(source: IO[bytes], target: Path) -> tuple[int, str]:
    """Write what a stream holds to a new file, flush it to disk, and return its size and SHA-256."""
    total, size = hashlib.sha256(), 0
    with target.open("wb") as out:
        while piece := source.read(COPIED_BYTES):
            total.update(piece)
            size += len(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return size, total.hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that the names of its files survive a crash."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read_sealed(file: Path, todo: str) -> dict[str, Any]:
    """Read the JSON object of a file written by `write_sealed`.

    Raise FileNotFoundError when the file is missing, and StoreError with the fix `todo` when it is damaged or
    unreadable.
    """
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        seal = content.pop("seal")
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(file) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise damaged(file, todo) from None
    except OSError as error:
        raise _unreadable(file, error, todo) from None
    if seal != _seal(content):
        raise damaged(file, todo)
    return content


def damaged(file: Path, todo: str) -> StoreError:
    """Return the error for a damaged `file` of a store; `todo` is the fix."""
    return StoreError("damaged_store", f"file {file} of the store is damaged", "a file that matches its checksum", todo)


def _unreadable(file: Path, error: OSError, todo: str) -> StoreError:
    return StoreError(
        "unreadable_store_file", f"file {file} of the store cannot be read ({error.strerror})", "a readable file", todo
    )


def how_to_restore(store: Path) -> str:
    """Return the fix for a damaged store."""
    return f"restore the folder from a backup, or delete {store} and build it again"


def sum_files(store: Path, places: Sequence[str], known: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """Return (bytes, SHA-256) by name for every file at or below `places` in the store.

    These files are written once and never changed. A checksum in `known` is therefore reused for a file of the same
    name and size. Every other file is flushed to disk first, and the folders above it, so that its content and its name
    survive a crash.
    """
    sums: dict[str, tuple[int, str]] = {}
    for path in sorted(path for place in places for path in (store / place, *(store / place).rglob("*"))):
        name = path.relative_to(store).as_posix()
        if not path.is_file() or path.name == HINT:
            continue
        size = path.stat().st_size
        before = known.get(name)
        sums[name] = before if before and before[0] == size else (size, _sum(path, sync=True))
    for folder in {parent for name in sums.keys() - known.keys() for parent in PurePosixPath(name).parents}:
        sync_folder(store / folder)
    return sums


def verify_files(store: Path, files: Mapping[str, tuple[int, str]]) -> None:
    """Raise StoreError for the first of `files` that is missing, unreadable or damaged."""
    for name, (size, digest) in files.items():
        path = store / name
        try:
            intact = path.stat().st_size == size and _sum(path) == digest
        except OSError as error:
            raise _unreadable(path, error, how_to_restore(store)) from None
        if not intact:
            raise damaged(path, how_to_restore(store))


def _sum(path: Path, sync: bool = False) -> str:
    with path.open("rb") as stream:
        if sync:
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()
