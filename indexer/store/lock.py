"""One writer at a time, and who it is."""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from shelfwise.indexer.errors import BusyError, StoreError
from shelfwise.indexer.store.manifest import LOCK

WRITER = ".writer.json"  # who holds the lock
QUEUE = ".queue"  # held by the writer whose turn is next, so that one that writes on and on lets others in
WAIT = 10.0  # seconds that a writer waits for the one before


def now() -> str:
    """The time, as a version remembers it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else writes to the store at `path` until the block ends.

    Raises BusyError where somebody does for WAIT seconds, and StoreError where the disk refuses.
    """
    lock, until = FileLock(path / LOCK), time.monotonic() + WAIT
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / LOCK).touch()  # by this a half-written store is known
        with FileLock(path / QUEUE, timeout=WAIT):
            held = lock.acquire(timeout=max(0.0, until - time.monotonic()))
        with held:
            (path / WRITER).write_text(json.dumps({"process": os.getpid(), "host": platform.node(), "since": now()}))
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
