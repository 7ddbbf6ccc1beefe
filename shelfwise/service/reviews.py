"""The queue of reviews: doubtful decisions that a person should look at, where an answer is worth most first."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Self

import orjson

from shelfwise.classifier.model.decision import ACCEPT, Alternative, Decision, SimilarItem
from shelfwise.indexer.errors import AbsentError, QueryError
from shelfwise.indexer.item import Item, digest
from shelfwise.indexer.store.disk import now
from shelfwise.service.desk import Desk, to_json

OPEN, ACCEPTED, CORRECTED, SKIPPED = "open", "accepted", "corrected", "skipped"  # states of a review
RESOLVED = "resolved"  # another: a later version accepts it, nobody has to look
REVIEW_STATES = (OPEN, ACCEPTED, CORRECTED, SKIPPED, RESOLVED)
OPEN_MOST = 100_000  # reviews that are open, or resolved; beyond them the least valuable go
SETTLED = "done"  # state of a write that the index has


@dataclass(frozen=True, slots=True)
class Review:
    """A decision that a person should look at, with its listing.

    `times` is how often the listing came, `value` what an answer is worth (see `value_of`), `state` one of
    REVIEW_STATES; `category_path` what a person said.
    """

    listing: Item
    decision: Decision
    times: int
    value: float
    at: str
    state: str
    category_path: str
    who: str

    @property
    def seen(self) -> str:
        """What stands for the words of the listing: an answer is to the one that somebody saw."""
        return digest(self.listing.words.text())

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Self:
        """The review that a row of the table tells of."""
        decision = orjson.loads(row["decision"])
        for name, kind in (("alternatives", Alternative), ("levels", Alternative), ("evidence", SimilarItem)):
            decision[name] = tuple(kind(**content) for content in decision[name])
        decision["prediction_set"] = tuple(decision["prediction_set"])
        names = ("times", "value", "at", "state", "category_path", "who")
        return cls(Item(**orjson.loads(row["listing"])), Decision(**decision), **{name: row[name] for name in names})


class ReviewQueue:
    """The reviews of one store. Safe to use from several threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.add_function(value_of)

    def put(self, listings: Sequence[Item], decisions: Sequence[Decision]) -> None:
        """Take in decisions that a person should look at. A listing that came before counts again; one whose review is
        over stays so, unless the listing says something else now."""
        at = now()
        rows = [
            (listing.id, to_json(listing), to_json(said), doubt_of(said), value_of(doubt_of(said), 1), at, OPEN)
            for listing, said in zip(listings, decisions, strict=True)
        ]
        with self._desk.changing() as database:
            database.executemany(
                "INSERT INTO reviews (id, listing, decision, doubt, times, value, at, state) "
                "VALUES (?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET listing = excluded.listing, "
                "decision = excluded.decision, doubt = excluded.doubt, times = times + 1, at = excluded.at, "
                "value = value_of(excluded.doubt, times + 1), state = 'open', category_path = '', who = '', "
                "write = NULL WHERE state IN ('open', 'resolved') OR listing != excluded.listing",
                rows,
            )
            _keep_most(database, OPEN)

    def renew(self, listings: Sequence[Item], decisions: Sequence[Decision]) -> None:
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
                SETTLED,
            )
            for listing, said in zip(listings, decisions, strict=True)
        ]
        with self._desk.changing() as database:
            database.executemany(
                "UPDATE reviews SET decision = ?1, doubt = ?2, value = value_of(?2, times), state = ?3 "
                "WHERE id = ?4 AND state = ?5 AND listing = ?6 AND ?7 >= "
                "COALESCE((SELECT version FROM writes WHERE state = ?8 ORDER BY number DESC LIMIT 1), 0)",
                rows,
            )
            _keep_most(database, RESOLVED)

    def ranked(self, state: str = OPEN, most: int = 50, offset: int = 0) -> list[Review]:
        """Reviews in one state, the most valuable first."""
        query = "SELECT * FROM reviews WHERE state = ? ORDER BY value DESC, id LIMIT ? OFFSET ?"
        return [Review.from_row(row) for row in self._desk.rows(query, state, most, offset)]

    def count(self) -> dict[str, int]:
        """How many reviews are in each state."""
        counts = dict.fromkeys(REVIEW_STATES, 0)
        found = self._desk.rows("SELECT state, COUNT(*) FROM reviews GROUP BY state")
        return counts | {row[0]: row[1] for row in found}

    def find(self, id_: str) -> Review:
        """The review of a listing. Raises QueryError where there is none."""
        found = self._desk.rows("SELECT * FROM reviews WHERE id = ?", id_)
        if not found:
            raise AbsentError(
                "no_such_review",
                f"there is no review of a listing with id {id_!r}",
                "a listing under review",
                "look at the open reviews",
            )
        return Review.from_row(found[0])

    def listings(self, ids: Sequence[str]) -> dict[str, Item]:
        """Those of some listings whose reviews are open, by id."""
        query = "SELECT id, listing FROM reviews WHERE state = ? AND id IN (SELECT value FROM json_each(?))"
        return {id_: Item(**orjson.loads(listing)) for id_, listing in self._desk.rows(query, OPEN, to_json(ids))}

    def skip(self, id_: str, who: str) -> None:
        """Close a review without an answer. Raises QueryError where it is not open."""
        with self._desk.changing() as database:
            done = database.execute(
                "UPDATE reviews SET state = ?, who = ?, at = ? WHERE id = ? AND state = ?",
                (SKIPPED, who, now(), id_, OPEN),
            )
            if not done.rowcount:
                raise _not_open(id_)


def find_open(database: sqlite3.Connection, id_: str) -> Review:
    """Return the open review of a listing. Raises QueryError where there is none."""
    found = database.execute("SELECT * FROM reviews WHERE id = ? AND state = ?", (id_, OPEN)).fetchone()
    if not found:
        raise _not_open(id_)
    return Review.from_row(found)


def close_answered(database: sqlite3.Connection, items: Sequence[Item], who: str, number: int) -> None:
    """Close the open reviews of listings with the ids of some items: the write `number`, which puts these in, answers
    them."""
    database.executemany(
        "UPDATE reviews SET state = IIF(json_extract(decision, '$.category_path') = ?1, ?2, ?3), category_path = ?1, "
        "who = ?4, write = ?5, at = ?6 WHERE id = ?7 AND state = ?8",
        [(item.category_path, ACCEPTED, CORRECTED, who, number, now(), item.id, OPEN) for item in items],
    )


def reopen(database: sqlite3.Connection, number: int, last: int) -> None:
    """Have the reviews open that were answered by a write, or by one up to the `last` that did the same again."""
    database.execute(
        "UPDATE reviews SET state = ?1, category_path = '', who = '', write = NULL "
        "WHERE id IN (SELECT id FROM touched WHERE write = ?2) AND write BETWEEN ?2 AND ?3",
        (OPEN, number, last),
    )


def reopen_resolved(database: sqlite3.Connection, undone: int) -> None:
    """Have the reviews open that were resolved since a write which is undone."""
    database.execute(
        "UPDATE reviews SET state = ? WHERE state = ? AND json_extract(decision, '$.store_version') >= "
        "(SELECT version FROM writes WHERE number = ?)",
        (OPEN, RESOLVED, undone),
    )


def is_doubtful(decision: Decision) -> bool:
    """Whether a person should look at it: it is not accepted, and there is something to look at."""
    return decision.decision != ACCEPT and decision.reason != "empty_text"


def doubt_of(decision: Decision) -> float:
    """The margin by which the first category leads the second, taken from 1."""
    first, second = (*(said.probability for said in decision.alternatives[:2]), 0.0, 0.0)[:2]
    return 1 - (first - second)


def value_of(doubt: float, times: int) -> float:
    """What an answer is worth: the doubt (margin sampling: Scheffer et al., "Active Hidden Markov Models for
    Information Extraction", IDA 2001), times 1 + log2 of how often the listing came."""
    return doubt * (1 + log2(times))


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
