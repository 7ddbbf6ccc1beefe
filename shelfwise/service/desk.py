"""The desk of a store: the database of what people and shops did through the service, in a file beside the versions.

`writes` has the log of what they wrote, `reviews` the queue of decisions to look through. What is changed here is on
the disk when the change has ended.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from shelfwise.indexer.errors import BusyError, StoreError

DESK = "desk.sqlite"  # in a store
LAYOUT = 3  # of the tables; one before it that is in LAYOUT_STEPS is brought to it

TABLES = """
CREATE TABLE writes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    items TEXT NOT NULL, removed TEXT NOT NULL, undoes INTEGER,
    state TEXT NOT NULL, before TEXT NOT NULL DEFAULT '[]',
    catalog TEXT NOT NULL DEFAULT '[]', base INTEGER, version INTEGER, note TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT ''
);
CREATE INDEX writes_by_state ON writes (state, number);
CREATE TABLE touched (id TEXT NOT NULL, write INTEGER NOT NULL, PRIMARY KEY (id, write)) WITHOUT ROWID;
CREATE TABLE reviews (
    id TEXT PRIMARY KEY, listing TEXT NOT NULL, decision TEXT NOT NULL, doubt REAL NOT NULL, times INTEGER NOT NULL,
    value REAL NOT NULL, at TEXT NOT NULL, state TEXT NOT NULL, category_path TEXT NOT NULL DEFAULT '',
    who TEXT NOT NULL DEFAULT '', write INTEGER
);
CREATE INDEX reviews_by_value ON reviews (state, value DESC, id);
"""

# What makes the tables of a layout those of the next one.
LAYOUT_STEPS = {2: "ALTER TABLE writes ADD COLUMN code TEXT NOT NULL DEFAULT '';"}


class Desk:
    """The database of one store. Safe to use from several threads."""

    def __init__(self, store: Path) -> None:
        """Raises StoreError where the file cannot be opened or is of another layout, or another process has it."""
        self._alone, self._held = threading.Lock(), FileLock(store / f"{DESK}.lock", timeout=0, thread_local=False)
        try:
            self._held.acquire()
        except Timeout:
            raise BusyError(
                "already_served",
                f"store {store} is served by another process",
                "one service for a store",
                "end that one, or serve a copy",
            ) from None
        except OSError as error:
            raise StoreError(
                "unwritable_store",
                f"cannot write to store {store} ({error.strerror or error})",
                "a disk with room that can be written",
                "check disk and permissions",
            ) from None
        try:
            self._database = sqlite3.connect(store / DESK, check_same_thread=False, isolation_level=None)
            try:
                self._prepare(store / DESK)
            except BaseException:
                self._database.close()
                raise
        except BaseException as error:
            self._held.release()
            if isinstance(error, sqlite3.Error):
                raise _damaged(store / DESK, error) from None
            raise

    def _prepare(self, file: Path) -> None:
        """Set the database up, and bring its tables to LAYOUT."""
        self._database.row_factory = sqlite3.Row
        for setting in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
            self._database.execute(f"PRAGMA {setting}")
        (layout,) = self._database.execute("PRAGMA user_version").fetchone()
        if layout == 0:
            self._database.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
        elif all(step in LAYOUT_STEPS for step in range(layout, LAYOUT)) and layout <= LAYOUT:
            for step in range(layout, LAYOUT):  # each is one transaction: a kill leaves the layout before it
                self._database.executescript(f"BEGIN; {LAYOUT_STEPS[step]} PRAGMA user_version = {step + 1}; COMMIT;")
        else:
            raise StoreError(
                "unknown_layout",
                f"{file} has layout {layout}",
                f"layout {LAYOUT} or one before it",
                "upgrade shelfwise",
            )

    def add_function(self, function: Callable[..., float]) -> None:
        """Have queries know a function of two values by its name."""
        with self._alone:
            self._database.create_function(function.__name__, 2, function, deterministic=True)

    def close(self) -> None:
        """Write out what is in memory, and let go of the file."""
        with self._alone:
            self._database.close()
            self._held.release()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on the disk when the block has ended. Raises StoreError where the disk refuses."""
        with self._alone:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    yield self._database
                except BaseException:
                    self._database.execute("ROLLBACK")
                    raise
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreError(
                    "unwritable_store",
                    f"cannot write to {DESK} of the store ({error})",
                    "a disk with room that can be written",
                    "check disk and permissions: nothing was changed",
                ) from None

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of a query. Raises StoreError where the disk refuses."""
        with self._alone:
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise _damaged(Path(DESK), error) from None


def migrate_desk(store: Path) -> int | None:
    """Bring the desk of a store to LAYOUT and return the layout it had; None where it had LAYOUT, or there is no desk.

    Raises StoreError where it cannot be written, and BusyError where a service has it.
    """
    if not (store / DESK).exists():
        return None
    try:
        with closing(sqlite3.connect(store / DESK)) as database:
            (layout,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise _damaged(store / DESK, error) from None
    if layout == LAYOUT:
        return None
    Desk(store).close()
    return int(layout)


def to_json(value: Any) -> str:
    """A listing, a decision, or a list of items or ids, as the tables have them."""
    return orjson.dumps(value).decode()


def _damaged(file: Path, error: sqlite3.Error) -> StoreError:
    return StoreError(
        "damaged_desk",
        f"cannot read {file} ({error})",
        "what was written and reviewed through the service",
        "check disk and permissions, or restore it from a backup",
    )
