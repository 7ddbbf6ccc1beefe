"""The log of writes: what was put in and taken out through the service, in order, and whether the index has it.

A write is acknowledged when it is here, on the disk; `service.writer` brings it into the index.
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
WRITES_AT_ONCE = 1_000  # writes that go into the index together
ONE_WRITE = "SELECT * FROM writes WHERE number = ?"


@dataclass(frozen=True, slots=True)
class Write:
    """Something written: when, by whom, and `what` in words; the items put in and the ids taken out.

    `state` is waiting (to be indexed), done, refused (`note` says why, `code` is the kind of error) or undone; `before`
    are the items that it replaced or took out, `catalog` the ids of those that came with a catalog; `version` is the
    store's version that has it and `base` the last one that surely has not; `undoes` is the write that it takes back.
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
        """The write that a row of the table tells of."""
        lists = {name: tuple(orjson.loads(row[name])) for name in ("items", "removed", "before", "catalog")}
        items = {name: tuple(Item(**content) for content in lists[name]) for name in ("items", "before")}
        return cls(**{**dict(row), **lists, **items})

    @property
    def ids(self) -> list[str]:
        """All items that it touched."""
        return list(dict.fromkeys([*(item.id for item in self.items), *self.removed]))


class WriteLog:
    """The writes of one store. Safe to use from several threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def put(self, who: str, what: str, items: Sequence[Item] = (), removed: Sequence[str] = ()) -> int:
        """Take in a write; its number. From here on it is not lost. An item that is put in is the answer to the open
        review of the listing with its id."""
        with self._desk.changing() as database:
            return _append(database, who, what, items, removed)

    def waiting(self) -> list[Write]:
        """The first WRITES_AT_ONCE writes that the index does not have yet, in order."""
        query = f"SELECT * FROM writes WHERE state = ? ORDER BY number LIMIT {WRITES_AT_ONCE}"
        return [Write.from_row(row) for row in self._desk.rows(query, WAITING)]

    def waiting_numbers(self) -> set[int]:
        """All writes that the index does not have yet."""
        return {number for (number,) in self._desk.rows("SELECT number FROM writes WHERE state = ?", WAITING)}

    def awaits(self, id_: str) -> bool:
        """Whether something was written of an item that the index does not have yet."""
        query = "SELECT 1 FROM touched JOIN writes ON number = write WHERE id = ? AND state = ? LIMIT 1"
        return bool(self._desk.rows(query, id_, WAITING))

    def remember(self, before: Mapping[int, Sequence[Item]], catalog: Mapping[int, Sequence[str]], base: int) -> None:
        """What some writes will replace or take out of the store's version `base`, and which of it came with a
        catalog."""
        with self._desk.changing() as database:
            database.executemany(
                "UPDATE writes SET before = ?, catalog = ?, base = ? WHERE number = ?",
                [(to_json(items), to_json(catalog[number]), base, number) for number, items in before.items()],
            )

    def settle(self, numbers: Sequence[int], version: int) -> None:
        """Some writes are in the index. What they undo is undone, and what that one had undone is done again; reviews
        that were answered by it, or resolved since, are open."""
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
        """Mark a write as one that the index cannot take, and why. Reviews that were answered by it are open again."""
        with self._desk.changing() as database:
            database.execute(
                "UPDATE writes SET state = ?, note = ?, code = ? WHERE number = ?",
                (REFUSED, str(error), error.code, number),
            )
            reopen(database, number, number)

    def last(self, most: int = 50) -> list[Write]:
        """The last writes, the newest first."""
        return [
            Write.from_row(row) for row in self._desk.rows("SELECT * FROM writes ORDER BY number DESC LIMIT ?", most)
        ]

    def find(self, number: int) -> Write:
        """Raises QueryError where there is no such write."""
        return _only(self._desk.rows(ONE_WRITE, number), number)

    def undo(self, number: int, who: str) -> int:
        """Take in a write that gives all items of another one back what they were before it; its number.

        Raises QueryError where that one is not done, or where a later write touched one of its items.
        """
        with self._desk.changing() as database:
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

    def answer(self, id_: str, category_path: str, who: str, seen: str = "") -> int:
        """Take in the write that puts the listing of an open review into the index, in a category; the number of the
        write. Raises QueryError where it is not open, or says something else than what was `seen` of it."""
        with self._desk.changing() as database:
            review = find_open(database, id_)
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


def _only(rows: Sequence[sqlite3.Row], number: int) -> Write:
    if not rows:
        raise AbsentError("no_such_write", f"there is no write {number}", "the number of a write", "look at the writes")
    return Write.from_row(rows[0])


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
    close_answered(database, items, who, number)
    return number
