"""What people and shops did through the service, kept in the store: their writes, and the decisions to look through.

A write is acknowledged when it is here, on the disk; `service.writer` brings it into the index. SQLite holds it, in the
file DESK beside the store's versions.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
from filelock import FileLock, Timeout

from shelfwise.classifier.model.decision import ACCEPT, Decision
from shelfwise.indexer.errors import AbsentError, BusyError, QueryError, ShelfwiseError, StoreError
from shelfwise.indexer.item import Item
from shelfwise.indexer.store.disk import now
from shelfwise.service.records import (
    ACCEPTED,
    CORRECTED,
    DONE,
    OPEN,
    REFUSED,
    RESOLVED,
    REVIEW_STATES,
    SKIPPED,
    UNDONE,
    WAITING,
    Review,
    Write,
    doubt_of,
    to_json,
    value_of,
)

DESK = "desk.sqlite"  # in a store
LAYOUT = 3  # of the tables; one before it that is in STEPS is brought to it
AT_ONCE = 1_000  # writes that go into the index together
OPEN_MOST = 100_000  # reviews that are open, or resolved; beyond them the least valuable go

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
STEPS = {2: "ALTER TABLE writes ADD COLUMN code TEXT NOT NULL DEFAULT '';"}

ONE_WRITE = "SELECT * FROM writes WHERE number = ?"


class Desk:
    """Reviews and writes of one store. Safe to use from several threads."""

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
        self._database.create_function("value_of", 2, value_of, deterministic=True)
        (layout,) = self._database.execute("PRAGMA user_version").fetchone()
        if layout == 0:
            self._database.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
        elif all(step in STEPS for step in range(layout, LAYOUT)) and layout <= LAYOUT:
            for step in range(layout, LAYOUT):  # each is one transaction: a kill leaves the layout before it
                self._database.executescript(f"BEGIN; {STEPS[step]} PRAGMA user_version = {step + 1}; COMMIT;")
        else:
            raise StoreError(
                "unknown_layout",
                f"{file} has layout {layout}",
                f"layout {LAYOUT} or one before it",
                "upgrade shelfwise",
            )

    def close(self) -> None:
        """Write out what is in memory, and let go of the file."""
        with self._alone:
            self._database.close()
            self._held.release()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
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

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._alone:
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise _damaged(Path(DESK), error) from None

    # Writes

    def write(self, who: str, what: str, items: Sequence[Item] = (), removed: Sequence[str] = ()) -> int:
        """Take in a write; its number. From here on it is not lost. An item that is put in is the answer to the open
        review of the listing with its id."""
        with self._changing() as database:
            return _append(database, who, what, items, removed)

    def waiting(self) -> list[Write]:
        """The first AT_ONCE writes that the index does not have yet, in order."""
        query = f"SELECT * FROM writes WHERE state = ? ORDER BY number LIMIT {AT_ONCE}"
        return [Write.of(row) for row in self._rows(query, WAITING)]

    def waiting_numbers(self) -> set[int]:
        """All writes that the index does not have yet."""
        return {number for (number,) in self._rows("SELECT number FROM writes WHERE state = ?", WAITING)}

    def awaits(self, id_: str) -> bool:
        """Whether something was written of an item that the index does not have yet."""
        query = "SELECT 1 FROM touched JOIN writes ON number = write WHERE id = ? AND state = ? LIMIT 1"
        return bool(self._rows(query, id_, WAITING))

    def remember(self, before: Mapping[int, Sequence[Item]], catalog: Mapping[int, Sequence[str]], base: int) -> None:
        """What some writes will replace or take out of the store's version `base`, and which of it came with a
        catalog."""
        with self._changing() as database:
            database.executemany(
                "UPDATE writes SET before = ?, catalog = ?, base = ? WHERE number = ?",
                [(to_json(items), to_json(catalog[number]), base, number) for number, items in before.items()],
            )

    def settle(self, numbers: Sequence[int], version: int) -> None:
        """Some writes are in the index. What they undo is undone, and what that one had undone is done again; reviews
        that were answered by it, or resolved since, are open."""
        with self._changing() as database:
            for number in numbers:
                database.execute("UPDATE writes SET state = ?, version = ? WHERE number = ?", (DONE, version, number))
                (undone,) = database.execute("SELECT undoes FROM writes WHERE number = ?", (number,)).fetchone()
                if undone is None:
                    continue
                database.execute("UPDATE writes SET state = ? WHERE number = ?", (UNDONE, undone))
                database.execute(
                    "UPDATE writes SET state = ? WHERE number = (SELECT undoes FROM writes WHERE number = ?)",
                    (DONE, undone),
                )
                _reopen(database, undone, number - 1)
                database.execute(
                    "UPDATE reviews SET state = ? WHERE state = ? AND json_extract(decision, '$.store_version') >= "
                    "(SELECT version FROM writes WHERE number = ?)",
                    (OPEN, RESOLVED, undone),
                )

    def refuse(self, number: int, error: ShelfwiseError) -> None:
        """Mark a write as one that the index cannot take, and why. Reviews that were answered by it are open again."""
        with self._changing() as database:
            database.execute(
                "UPDATE writes SET state = ?, note = ?, code = ? WHERE number = ?",
                (REFUSED, str(error), error.code, number),
            )
            _reopen(database, number, number)

    def writes(self, most: int = 50) -> list[Write]:
        """The last writes, the newest first."""
        return [Write.of(row) for row in self._rows("SELECT * FROM writes ORDER BY number DESC LIMIT ?", most)]

    def find_write(self, number: int) -> Write:
        """Raises QueryError where there is no such write."""
        return _only(self._rows(ONE_WRITE, number), number)

    def undo(self, number: int, who: str) -> int:
        """Take in a write that gives all items of another one back what they were before it; its number.

        Raises QueryError where that one is not done, or where a later write touched one of its items.
        """
        with self._changing() as database:
            undone = _only(database.execute(ONE_WRITE, (number,)).fetchall(), number)
            if undone.state != DONE:
                raise QueryError(
                    "not_done", f"write {number} is {undone.state}", "a write that is done", "undo another one"
                )
            begun = database.execute("SELECT number FROM writes WHERE undoes = ? AND state = ?", (number, WAITING))
            if by := begun.fetchone():
                raise QueryError(
                    "undo_begun",
                    f"write {number} is being undone by write {by[0]}",
                    "a write that nobody undoes",
                    "wait for that one",
                )
            later = database.execute(
                "SELECT id, write FROM touched JOIN writes ON number = write WHERE write > ? AND state IN (?, ?) "
                "AND COALESCE(undoes, 0) <= ? AND id IN (SELECT id FROM touched WHERE write = ?) LIMIT 1",
                (number, DONE, WAITING, number, number),
            ).fetchone()
            if later:
                raise QueryError(
                    "changed_since",
                    f"write {later[1]} changed item {later[0]!r} after write {number}",
                    "items that nobody changed since",
                    "undo that one first",
                )
            there = {item.id for item in undone.before}
            gone = [id_ for id_ in undone.ids if id_ not in there]
            return _append(database, who, f"undo {number}: {undone.what}", undone.before, gone, undone)

    # Reviews

    def put_reviews(self, listings: Sequence[Item], decisions: Sequence[Decision]) -> None:
        """Take in decisions that a person should look at. A listing that came before counts again; one whose review is
        over stays so, unless the listing says something else now."""
        at = now()
        rows = [
            (listing.id, to_json(listing), to_json(said), doubt_of(said), value_of(doubt_of(said), 1), at, OPEN)
            for listing, said in zip(listings, decisions, strict=True)
        ]
        with self._changing() as database:
            database.executemany(
                "INSERT INTO reviews (id, listing, decision, doubt, times, value, at, state) "
                "VALUES (?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET listing = excluded.listing, "
                "decision = excluded.decision, doubt = excluded.doubt, times = times + 1, at = excluded.at, "
                "value = value_of(excluded.doubt, times + 1), state = 'open', category_path = '', who = '', "
                "write = NULL WHERE state IN ('open', 'resolved') OR listing != excluded.listing",
                rows,
            )
            _keep_most(database, OPEN)

    def renew_reviews(self, listings: Sequence[Item], decisions: Sequence[Decision]) -> None:
        """What is decided by now on listings whose reviews are open; those that are accepted are resolved. What a write
        or a listing has overtaken meanwhile is left out."""
        rows = [
            (
                to_json(said),
                doubt_of(said),
                RESOLVED if said.decision == ACCEPT else OPEN,
                listing.id,
                OPEN,
                to_json(listing),
                said.store_version,
                DONE,
            )
            for listing, said in zip(listings, decisions, strict=True)
        ]
        with self._changing() as database:
            database.executemany(
                "UPDATE reviews SET decision = ?1, doubt = ?2, value = value_of(?2, times), state = ?3 "
                "WHERE id = ?4 AND state = ?5 AND listing = ?6 AND ?7 >= "
                "COALESCE((SELECT version FROM writes WHERE state = ?8 ORDER BY number DESC LIMIT 1), 0)",
                rows,
            )
            _keep_most(database, RESOLVED)

    def reviews(self, state: str = OPEN, most: int = 50, offset: int = 0) -> list[Review]:
        """Reviews in one state, the most valuable first."""
        query = "SELECT * FROM reviews WHERE state = ? ORDER BY value DESC, id LIMIT ? OFFSET ?"
        return [Review.of(row) for row in self._rows(query, state, most, offset)]

    def count_reviews(self) -> dict[str, int]:
        """How many reviews are in each state."""
        counts = dict.fromkeys(REVIEW_STATES, 0)
        found = self._rows("SELECT state, COUNT(*) FROM reviews GROUP BY state")
        return counts | {row[0]: row[1] for row in found}

    def find_review(self, id_: str) -> Review:
        """The review of a listing. Raises QueryError where there is none."""
        found = self._rows("SELECT * FROM reviews WHERE id = ?", id_)
        if not found:
            raise AbsentError(
                "no_such_review",
                f"there is no review of a listing with id {id_!r}",
                "a listing under review",
                "look at the open reviews",
            )
        return Review.of(found[0])

    def find_listings(self, ids: Sequence[str]) -> dict[str, Item]:
        """Those of some listings whose reviews are open, by id."""
        query = "SELECT id, listing FROM reviews WHERE state = ? AND id IN (SELECT value FROM json_each(?))"
        return {id_: Item(**orjson.loads(listing)) for id_, listing in self._rows(query, OPEN, to_json(ids))}

    def skip(self, id_: str, who: str) -> None:
        """Close a review without an answer. Raises QueryError where it is not open."""
        with self._changing() as database:
            done = database.execute(
                "UPDATE reviews SET state = ?, who = ?, at = ? WHERE id = ? AND state = ?",
                (SKIPPED, who, now(), id_, OPEN),
            )
            if not done.rowcount:
                raise _not_open(id_)

    def answer(self, id_: str, category_path: str, who: str, seen: str = "") -> int:
        """Take in the write that puts the listing of an open review into the index, in a category; the number of the
        write. Raises QueryError where it is not open, or says something else than what was `seen` of it."""
        with self._changing() as database:
            found = database.execute("SELECT * FROM reviews WHERE id = ? AND state = ?", (id_, OPEN)).fetchone()
            if not found:
                raise _not_open(id_)
            review = Review.of(found)
            if seen not in ("", review.seen):
                raise QueryError(
                    "listing_changed",
                    f"listing {id_!r} was sent again and says something else now",
                    "the listing that was seen",
                    "look at it once more",
                )
            verb = "accept" if category_path == review.decision.category_path else "correct"
            moved = review.listing.moved(category_path)
            return _append(database, who, f"{verb} {id_}: {category_path}", [moved], ())


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


def _damaged(file: Path, error: sqlite3.Error) -> StoreError:
    return StoreError(
        "damaged_desk",
        f"cannot read {file} ({error})",
        "what was written and reviewed through the service",
        "check disk and permissions, or restore it from a backup",
    )


def _only(rows: Sequence[sqlite3.Row], number: int) -> Write:
    if not rows:
        raise AbsentError("no_such_write", f"there is no write {number}", "the number of a write", "look at the writes")
    return Write.of(rows[0])


def _append(
    database: sqlite3.Connection,
    who: str,
    what: str,
    items: Sequence[Item],
    removed: Sequence[str],
    undoes: Write | None = None,
) -> int:
    """The number of a write that is taken in. It answers reviews unless it takes back what did."""
    number = database.execute(
        "INSERT INTO writes (at, who, what, items, removed, undoes, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (now(), who, what, to_json(items), to_json(removed), undoes.number if undoes else None, WAITING),
    ).lastrowid
    assert number is not None
    ids = {*(item.id for item in items), *removed}
    database.executemany("INSERT INTO touched (id, write) VALUES (?, ?)", [(id_, number) for id_ in ids])
    if undoes and undoes.undoes is None:
        return number
    database.executemany(
        "UPDATE reviews SET state = IIF(json_extract(decision, '$.category_path') = ?1, ?2, ?3), category_path = ?1, "
        "who = ?4, write = ?5, at = ?6 WHERE id = ?7 AND state = ?8",
        [(item.category_path, ACCEPTED, CORRECTED, who, number, now(), item.id, OPEN) for item in items],
    )
    return number


def _reopen(database: sqlite3.Connection, number: int, last: int) -> None:
    """Have the reviews open that were answered by a write, or by one up to the `last` that did the same again."""
    database.execute(
        "UPDATE reviews SET state = ?1, category_path = '', who = '', write = NULL "
        "WHERE id IN (SELECT id FROM touched WHERE write = ?2) AND write BETWEEN ?2 AND ?3",
        (OPEN, number, last),
    )


def _keep_most(database: sqlite3.Connection, state: str) -> None:
    """Let the least valuable reviews in a state go that are more than OPEN_MOST."""
    database.execute(
        "DELETE FROM reviews WHERE id IN (SELECT id FROM reviews WHERE state = ? "
        f"ORDER BY value DESC, id LIMIT -1 OFFSET {OPEN_MOST})",
        (state,),
    )


def _not_open(id_: str) -> QueryError:
    return QueryError(
        "no_open_review",
        f"there is no open review of a listing with id {id_!r}",
        "an open review",
        "look at the open reviews: somebody may have closed it",
    )
