"""A store and its desk belong together: they have one id, and both know the last write that the other has seen.

The desk numbers the writes of the service. A manifest has the id of its store, and the number of the last write that
its version contains. The desk has the id, and the number of the write `since` which it knows what became of each.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.store.manifest import Manifest
from shelfwise.indexer.store.names import DESK

PAIR = "CREATE TABLE pair (store TEXT NOT NULL, since INTEGER NOT NULL);"  # one row, none before the first pairing
_LAST_WRITE = "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'writes'"
_INDEXED = (
    "SELECT COALESCE(MAX(number), 0) FROM writes WHERE state IN ('done', 'undone') AND number > ? AND version > base"
)


def pair(database: sqlite3.Connection, path: Path, manifest: Manifest) -> None:
    """Give a desk the id of its store if it has none. Raise StoreError if it belongs to another store or state."""
    if database.execute("SELECT 1 FROM pair").fetchone() is None:
        (last,) = database.execute(_LAST_WRITE).fetchone()
        if last == 0:  # a new desk, perhaps of an old store: the numbers of an earlier desk are not given again
            database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('writes', ?)", (manifest.written,))
        elif last < manifest.written:
            raise _earlier_desk(path, last, manifest)
        database.execute("INSERT INTO pair VALUES (?, ?)", (manifest.store, max(last, manifest.written)))
    require_pair(database, path, manifest)


def require_pair(database: sqlite3.Connection, path: Path, manifest: Manifest) -> None:
    """Raise StoreError if a desk belongs to another store, or to another state of it. One without an id fits any."""
    found = database.execute("SELECT store, since FROM pair").fetchone() if _has_pair(database) else None
    if found is None:
        return
    store, since = found
    if store != manifest.store:
        raise _other_desk(f"the desk {path / DESK} is of store {store}, and {path} is store {manifest.store}")
    (last,) = database.execute(_LAST_WRITE).fetchone()
    if last < manifest.written:
        raise _earlier_desk(path, last, manifest)
    (indexed,) = database.execute(_INDEXED, (since,)).fetchone()
    if indexed > manifest.written:
        ends = f"it ends with write {manifest.written}, the desk with write {indexed}"
        raise _other_desk(f"store {path} is earlier than its desk: {ends}")


def rename_pair(file: Path, store: str) -> None:
    """Give the desk in `file`, a copy, the id of its new store. A desk without an id gets it when it is served."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        if _has_pair(database):
            database.execute("UPDATE pair SET store = ?", (store,))


def _has_pair(database: sqlite3.Connection) -> bool:
    """Return False for a desk of an earlier layout."""
    return database.execute("SELECT 1 FROM sqlite_master WHERE name = 'pair'").fetchone() is not None


def _earlier_desk(path: Path, last: int, manifest: Manifest) -> StoreError:
    ends = f"it ends with write {last}, the store with write {manifest.written}"
    return _other_desk(f"the desk {path / DESK} is earlier than its store: {ends}")


def _other_desk(found: str) -> StoreError:
    return StoreError(
        "other_desk",
        found,
        "a store and a desk of the same time",
        f"restore both from one backup, or move {DESK} away (its reviews and undo are lost, no item is)",
    )
