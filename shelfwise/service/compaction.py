"""Removes versions that nobody needs any more while the service runs, so that a store does not grow with each write."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shelfwise.indexer.errors import ShelfwiseError
from shelfwise.indexer.store.clearing import clear_versions
from shelfwise.indexer.store.manifest import Manifest, read_manifest
from shelfwise.service.reviews import ReviewQueue
from shelfwise.service.writes import WriteLog

KEEP_DAYS = 30  # default age of what is kept
KEPT_WRITES = 50  # newest versions made by writes, to go back to
VERSIONS_EACH = 50  # versions after which the next are removed
WAKE_SECONDS = 5.0  # between two looks at the number of versions
AGE_SECONDS = 3_600.0  # between two looks at their age
log = logging.getLogger("shelfwise")


@contextmanager
def compacting(path: Path, written: WriteLog, queue: ReviewQueue, keep_days: float) -> Iterator[None]:
    """Compact in the background while the block runs. See `Compaction`."""
    compaction = Compaction(path, written, queue, keep_days)
    compaction.start()
    try:
        yield
    finally:
        compaction.stop()


class Compaction:
    """A thread that removes versions and contents of the desk that are old.

    Versions made by the service's writes go when they are not among the newest KEPT_WRITES and the desk knows that they
    are done. All other versions, and the contents of writes and closed reviews, go after `keep_days` days. The current
    version and tagged ones always stay.
    """

    def __init__(self, path: Path, written: WriteLog, queue: ReviewQueue, keep_days: float) -> None:
        self._path, self._log, self._queue, self._keep_days = path, written, queue, keep_days
        self._ended, self._seen, self._age = threading.Event(), 0, AGE_SECONDS
        self._thread = threading.Thread(target=self._run, name="compaction", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current step."""
        self._ended.set()
        self._thread.join()

    def compact(self) -> list[int]:
        """Remove what is old, and return the numbers of the removed versions."""
        before = (datetime.now(UTC) - timedelta(days=self._keep_days)).isoformat(timespec="seconds")
        self._log.clear_contents(before)
        self._queue.clear_contents(before)
        newest, waiting = read_manifest(self._path).version, min(self._log.waiting_numbers(), default=None)

        def is_needless(manifest: Manifest) -> bool:
            last = manifest.change.last_write
            if last is None:
                return manifest.created < before
            return manifest.version <= newest - KEPT_WRITES and (waiting is None or last < waiting)

        return clear_versions(self._path, is_needless)

    def _run(self) -> None:
        while not self._ended.wait(WAKE_SECONDS):
            self._age += WAKE_SECONDS
            try:
                version = read_manifest(self._path).version
                if version < self._seen + VERSIONS_EACH and self._age < AGE_SECONDS:
                    continue
                if removed := self.compact():
                    log.info("removed %d versions that are no longer needed", len(removed))
                self._seen, self._age = version, 0.0
            except ShelfwiseError as error:  # busy, full or damaged: the store stays as it is
                log.warning("cannot compact the store, will retry: %s", error)
                self._age = 0.0
            except Exception:
                log.exception("cannot compact the store, will retry")
                self._age = 0.0
