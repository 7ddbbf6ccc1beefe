"""The log of writes: items added and removed through the service, in order, with the state of each write.

A write is acknowledged when it is in the log, on disk. `service.writer` applies it to the index.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import orjson

from shelfwise.indexer.errors import AbsentError, QueryError, ShelfwiseError
from shelfwise.indexer.item import Item
from shelfwise.indexer.store.disk import now
from shelfwise.service.desk import Desk, to_json
from shelfwise.service.reviews import close_answered, find_open, reopen, reopen_resolved

WAITING, DONE, REFUSED, UNDONE = "waiting", "done", "refused", "undone"  # states of a write
WRITES_AT_ONCE = 1_000  # writes per batch
ONE_WRITE = "SELECT * FROM writes WHERE number = ?"


@dataclass(frozen=True, slots=True)
class Write:
    """A change of the store: the time, the author, a description (`what`), the items added and the ids removed.

    `state` is waiting (to be indexed), done, refused (`note` says why, `code` is the kind of error) or undone. `before`
    has the items that it replaced or removed, `catalog` the ids of those that came from a catalog. `version` is the
    store version that contains it, `base` the last one that surely does not. `undoes` is the write that it undoes.
    """

    number: int
    at: str
    who: str
    what: str
    items: tuple[Item, ...]
    removed: tuple[str, ...]
    undoes: int | None
    state: str
    before: tuple[Item, ...]
    catalog: tuple[str, ...]
    base: int | None
    version: int | None
    note: str
    code: str

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Self:
        """Create a write from a row of its table."""
        lists = {name: tuple(orjson.loads(row[name])) for name in ("items", "removed", "before", "catalog")}
        items = {name: tuple(Item(**content) for content in lists[name]) for name in ("items", "before")}
        return cls(**{**dict(row), **lists, **items})

    @property
    def ids(self) -> list[str]:
        """The ids of all items that the write adds, replaces or removes."""
        return list(dict.fromkeys([*(item.id for item in self.items), *self.removed]))


class WriteLog:
    """The writes of one store. Safe to use from several threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def put(self, who: str, what: str, items: Sequence[Item] = (), removed: Sequence[str] = ()) -> int:
        """Add a write to the log, safely on disk, and return its number.

        An added item answers the open review of the listing with its id.
        """
        with self._desk.changing() as database:
            return _append(database, who, what, items, removed)

    def waiting(self) -> list[Write]:
        """Return the first WRITES_AT_ONCE waiting writes, in order."""
        query = f"SELECT * FROM writes WHERE state = ? ORDER BY number LIMIT {WRITES_AT_ONCE}"
        return [Write.from_row(row) for row in self._desk.rows(query, WAITING)]

    def waiting_numbers(self) -> set[int]:
        """Return the numbers of all waiting writes."""
        return {number for (number,) in self._desk.rows("SELECT number FROM writes WHERE state = ?", WAITING)}

    def awaits(self, id_: str) -> bool:
        """Return True if a waiting write adds, replaces or removes an item."""
        query = "SELECT 1 FROM touched JOIN writes ON number = write WHERE id = ? AND state = ? LIMIT 1"
        return bool(self._desk.rows(query, id_, WAITING))

    def remember(self, before: Mapping[int, Sequence[Item]], catalog: Mapping[int, Sequence[str]], base: int) -> None:
        """Record the items that some writes will replace or remove in store version `base`, by write.

        `catalog` has the ids of those that came from a catalog.
        """
        with self._desk.changing() as database:
            database.executemany(
                "UPDATE writes SET before = ?, catalog = ?, base = ? WHERE number = ?",
                [(to_json(items), to_json(catalog[number]), base, number) for number, items in before.items()],
            )

    def settle(self, numbers: Sequence[int], version: int) -> None:
        """Mark writes as indexed in `version`, and a write that one of them undoes as undone.

        If the undone write was itself an undo, the write it had undone is done again. Reopen the reviews that
        the undone write answered, and those resolved since.
        """
        with self._desk.changing() as database:
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
                reopen(database, undone, number - 1)
                reopen_resolved(database, undone)

    def refuse(self, number: int, error: ShelfwiseError) -> None:
        """Mark a write as refused because of an error. Reopen the reviews that it answered."""
        with self._desk.changing() as database:
            database.execute(
                "UPDATE writes SET state = ?, note = ?, code = ? WHERE number = ?",
                (REFUSED, str(error), error.code, number),
            )
            reopen(database, number, number)

    def clear_contents(self, before: str) -> None:
        """Delete the items of settled writes from before a time, in ISO format. Who, when and what stay."""
        with self._desk.changing() as database:
            numbers = "SELECT number FROM writes WHERE at < ?1 AND state != ?2 AND (items != '[]' OR removed != '[]')"
            database.execute(f"DELETE FROM touched WHERE write IN ({numbers})", (before, WAITING))
            database.execute(
                "UPDATE writes SET items = '[]', removed = '[]', before = '[]', catalog = '[]' "
                f"WHERE number IN ({numbers})",
                (before, WAITING),
            )

    def last(self, most: int = 50) -> list[Write]:
        """Return the last writes, the newest first."""
        return [
            Write.from_row(row) for row in self._desk.rows("SELECT * FROM writes ORDER BY number DESC LIMIT ?", most)
        ]

    def find(self, number: int) -> Write:
        """Return a write by its number. Raise AbsentError when there is none."""
        return _only(self._desk.rows(ONE_WRITE, number), number)

    def undo(self, number: int, who: str) -> int:
        """Add a write that restores all items of write `number` to their content before it. Return its number.

        Raise QueryError when write `number` is not done or is being undone, or a later write changed one of its items.
        """
        with self._desk.changing() as database:
            undone = _only(database.execute(ONE_WRITE, (number,)).fetchall(), number)
            if undone.state != DONE:
                raise QueryError(
                    "not_done", f"write {number} is {undone.state}", "a write that is done", "choose another write"
                )
            if not undone.ids:
                raise QueryError(
                    "contents_deleted",
                    f"the items of write {number} are no longer kept",
                    "a newer write",
                    "add the items again, or restore a backup",
                )
            begun = database.execute("SELECT number FROM writes WHERE undoes = ? AND state = ?", (number, WAITING))
            if by := begun.fetchone():
                raise QueryError(
                    "undo_begun",
                    f"write {number} is being undone by write {by[0]}",
                    "a write that is not being undone",
                    "wait until that is done",
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
                    "items unchanged since that write",
                    "undo the later write first",
                )
            there = {item.id for item in undone.before}
            gone = [id_ for id_ in undone.ids if id_ not in there]
            return _append(database, who, f"undo {number}: {undone.what}", undone.before, gone, undone)

    def answer(self, id_: str, category_path: str, who: str, seen: str = "") -> int:
        """Add the write that answers an open review: its listing becomes an item of a category. Return its number.

        Raise QueryError when the review is not open, or the listing's text is not the one `seen` stands for.
        """
        with self._desk.changing() as database:
            review = find_open(database, id_)
            if seen not in ("", review.seen):
                raise QueryError(
                    "listing_changed",
                    f"listing {id_!r} was sent again with other text",
                    "the text that was reviewed",
                    "review the listing again",
                )
            verb = "accept" if category_path == review.decision.category_path else "correct"
            moved = review.listing.moved(category_path)
            return _append(database, who, f"{verb} {id_}: {category_path}", [moved], ())


def _only(rows: Sequence[sqlite3.Row], number: int) -> Write:
    if not rows:
        raise AbsentError("no_such_write", f"there is no write {number}", "the number of a write", "list the writes")
    return Write.from_row(rows[0])


def _append(
    database: sqlite3.Connection,
    who: str,
    what: str,
    items: Sequence[Item],
    removed: Sequence[str],
    undoes: Write | None = None,
) -> int:
    """Add a write and return its number. It answers reviews, unless it undoes a write that is not itself an undo."""
    number = database.execute(
        "INSERT INTO writes (at, who, what, items, removed, undoes, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (now(), who, what, to_json(items), to_json(removed), undoes.number if undoes else None, WAITING),
    ).lastrowid
    assert number is not None
    ids = {*(item.id for item in items), *removed}
    database.executemany("INSERT INTO touched (id, write) VALUES (?, ?)", [(id_, number) for id_ in ids])
    if undoes and undoes.undoes is None:
        return number
    close_answered(database, items, who, number)
    return number
