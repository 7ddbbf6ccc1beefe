"""The desk of a store: a database of the writes and reviews made through the service, in a file next to the versions.

Table `writes` is the log of writes, and table `reviews` the queue of decisions to check. A change is on disk when its
transaction has ended.
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
from shelfwise.indexer.store.manifest import Manifest
from shelfwise.indexer.store.names import DESK
from shelfwise.indexer.store.pairing import PAIR, pair

LAYOUT = 4  # of the tables; earlier layouts in LAYOUT_STEPS are migrated to it

TABLES = f"""
{PAIR}
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

# SQL that migrates a layout to the next one.
LAYOUT_STEPS = {2: "ALTER TABLE writes ADD COLUMN code TEXT NOT NULL DEFAULT '';", 3: PAIR}


class Desk:
    """The database of one store. Safe to use from several threads."""

    def __init__(self, store: Path) -> None:
        """Open the database. Raise StoreError when it is damaged, of an unknown layout, not writable or in use."""
        self._store = store
        self._alone, self._held = threading.Lock(), FileLock(store / f"{DESK}.lock", timeout=0, thread_local=False)
        try:
            self._held.acquire()
        except Timeout:
            raise BusyError(
                "already_served",
                f"store {store} is served by another process",
                "one service per store",
                "stop the other service, or serve a copy of the store",
            ) from None
        except OSError as error:
            raise StoreError(
                "unwritable_store",
                f"cannot write to store {store} ({error.strerror or error})",
                "a writable disk with free space",
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
        """Set up the database, and migrate its tables to LAYOUT."""
        self._database.row_factory = sqlite3.Row
        for setting in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
            self._database.execute(f"PRAGMA {setting}")
        (layout,) = self._database.execute("PRAGMA user_version").fetchone()
        if layout == 0:
            self._database.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
        elif all(step in LAYOUT_STEPS for step in range(layout, LAYOUT)) and layout <= LAYOUT:
            for step in range(layout, LAYOUT):  # one transaction each: a kill leaves the earlier layout
                self._database.executescript(f"BEGIN; {LAYOUT_STEPS[step]} PRAGMA user_version = {step + 1}; COMMIT;")
        else:
            raise StoreError(
                "unknown_layout",
                f"{file} has layout {layout}",
                f"layout {LAYOUT} or an earlier one",
                "upgrade shelfwise",
            )

    def pair(self, manifest: Manifest) -> None:
        """Require that this is the desk of the store of `manifest`. Raise StoreError if it is of another one."""
        with self.changing() as database:
            pair(database, self._store, manifest)

    def add_function(self, function: Callable[..., float]) -> None:
        """Register a function of two values for use in SQL, by its name."""
        with self._alone:
            self._database.create_function(function.__name__, 2, function, deterministic=True)

    def close(self) -> None:
        """Close the database and release its lock."""
        with self._alone:
            self._database.close()
            self._held.release()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Run the block in one transaction, on disk when the block ends. Raise StoreError when the disk refuses it."""
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
                    "a writable disk with free space",
                    "check disk and permissions; nothing was changed",
                ) from None

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of a query. Raise StoreError when the database cannot be read."""
        with self._alone:
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise _damaged(Path(DESK), error) from None


def migrate_desk(store: Path) -> int | None:
    """Migrate the desk of a store to LAYOUT. Return its earlier layout (None if LAYOUT already, or without a desk).

    Raise StoreError when it cannot be read or written, and BusyError when a service has it open.
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
    """Return a listing, a decision, or a list of items or ids as JSON text for the tables."""
    return orjson.dumps(value).decode()


def _damaged(file: Path, error: sqlite3.Error) -> StoreError:
    return StoreError(
        "damaged_desk",
        f"cannot read {file} ({error})",
        "the database of writes and reviews",
        "check disk and permissions, or restore it from a backup",
    )
