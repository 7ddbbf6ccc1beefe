"""What touches the folder of a store: names, locks, writes that survive a crash, and checksums.

What a file holds is written and read by the module that owns it, LanceDB, OpenVINO and FAISS among them: into a place
that this module gives, and under the checksums that it makes and verifies.
"""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from shelfwise.indexer.errors import BusyError, StoreError

# Names in the folder of a store.
MANIFEST, VERSIONS, TAGS = "manifest.json", "versions", "tags.json"
BLOBS, REPLICAS, ENCODERS, RUNTIMES = "blobs", "replicas", "encoders", "runtimes"
EMBEDDED = "embedded"  # vectors that a build has made before it is done
TUNING = "tuning.json"
LOCK = ".lock"
WRITER = ".writer.json"  # who holds the lock
QUEUE = ".queue"  # held by the writer whose turn is next, so that one that writes on and on lets others in
LOCK_SECONDS = 10.0  # seconds that a writer waits for the one before


def now() -> str:
    """Return the time, as a version and a writer remember it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else writes to the store at `path` until the block ends.

    Raises BusyError where somebody does for LOCK_SECONDS seconds, and StoreError where the disk refuses.
    """
    lock, until = FileLock(path / LOCK), time.monotonic() + LOCK_SECONDS
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / LOCK).touch()  # by this a half-written store is known
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
            "try again when it is done",
        ) from None
    except BrokenPipeError:  # nobody reads what is said meanwhile: that is not the store's
        raise
    except OSError as error:
        raise StoreError(
            "unwritable_store",
            f"cannot write the store {path} ({error.strerror or error})",
            "a disk with room that can be written",
            "check disk and permissions: nothing was changed",
        ) from None


def _writer(path: Path) -> str:
    """Who holds the lock of a store, as far as can be told."""
    try:
        found = json.loads((path / WRITER).read_text())
        return f"process {found['process']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield the file to write instead of `file`, whose place it takes when the block ends; else it is deleted."""
    work = file.with_name(f"{file.name}.new")
    try:
        yield work
        work.replace(file)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which takes the place of `folder` when the block ends; else it is deleted."""
    work = folder.with_name(f"{folder.name}.{uuid4().hex[:12]}.new")
    work.mkdir(parents=True)
    try:
        yield work
        move(work, folder)
    finally:
        remove(work, *folder.parent.glob(f"{folder.name}.*.old"))


def move(work: Path, folder: Path) -> None:
    """Move the folder `work` to the place of `folder`; one that is there goes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f"{folder.name}.{uuid4().hex[:12]}.old")
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    remove(old)


def remove(*places: Path) -> None:
    """Delete files, and folders with what can be deleted of them; what is not there need not be deleted."""
    for place in places:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)


def put_blob(store: Path, name: str, content: bytes) -> str:
    """Keep `content` in the store, and return its file below BLOBS: it is named by the content."""
    folder = store / BLOBS
    folder.mkdir(exist_ok=True)
    file = f"{name}.{hashlib.sha256(content).hexdigest()[:16]}"
    if not (folder / file).exists() or (folder / file).read_bytes() != content:
        with replacing(folder / file) as work:
            work.write_bytes(content)
    return file


def bytes_of(store: Path) -> int:
    """Return how many bytes the files of a store have."""
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())


def _seal(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_sealed(file: Path, content: Mapping[str, object]) -> None:
    """Write a JSON object and its checksum to a file, in one step that survives a crash."""
    content = dict(json.loads(json.dumps(content)))
    with replacing(file) as work, work.open("w", encoding="utf-8") as out:
        json.dump(content | {"seal": _seal(content)}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make the names of its files survive a crash."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read_sealed(file: Path, todo: str) -> dict[str, Any]:
    """The inverse of `write_sealed`.

    Raises FileNotFoundError, and StoreError where the file is damaged: `todo` says what to do then.
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
    """Return the error of a `file` of a store that is not as it was written; `todo` says what to do."""
    return StoreError("damaged_store", f"{file} of the store is damaged", "the file as it was written", todo)


def _unreadable(file: Path, error: OSError, todo: str) -> StoreError:
    return StoreError(
        "unreadable_store_file", f"{file} of the store cannot be read ({error.strerror})", "a readable file", todo
    )


def how_to_restore(store: Path) -> str:
    """Return what to do about a store that is damaged."""
    return f"restore the folder from a backup, or delete {store} and build it again"


def sum_files(store: Path, places: Sequence[str], known: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """[bytes, SHA-256] of every file that is, or is below, one of `places` in the store.

    All of them are written once and never changed, so digests in `known` are taken over for files of the
    same name and size. The others are brought to the disk first, so that what is summed survives a crash.
    """
    sums: dict[str, tuple[int, str]] = {}
    for path in sorted(path for place in places for path in (store / place, *(store / place).rglob("*"))):
        name = path.relative_to(store).as_posix()
        if not path.is_file() or path.name == "latest_version_hint.json":  # a hint that LanceDB rewrites
            continue
        size = path.stat().st_size
        before = known.get(name)
        sums[name] = before if before and before[0] == size else (size, _sum(path, sync=True))
    for folder in {(store / name).parent for name in sums.keys() - known.keys()}:
        sync_folder(folder)
    return sums


def verify_files(store: Path, files: Mapping[str, tuple[int, str]]) -> None:
    """Raises StoreError for the first of `files` that is missing or not as it was written."""
    for name, (size, digest) in files.items():
        path = store / name
        try:
            whole = path.stat().st_size == size and _sum(path) == digest
        except OSError as error:
            raise _unreadable(path, error, how_to_restore(store)) from None
        if not whole:
            raise damaged(path, how_to_restore(store))


def _sum(path: Path, sync: bool = False) -> str:
    with path.open("rb") as stream:
        if sync:
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()
