"""The review queue: decisions that a person should check, the most valuable first."""

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
RESOLVED = "resolved"  # also a state: a later version accepts the listing
REVIEW_STATES = (OPEN, ACCEPTED, CORRECTED, SKIPPED, RESOLVED)
OPEN_MOST = 100_000  # open, or resolved, reviews; beyond it the least valuable are deleted
SETTLED = "done"  # state of an indexed write


@dataclass(frozen=True, slots=True)
class Review:
    """A decision that a person should check, with its listing.

    `times` is how often the listing was sent, `value` the value of an answer (see `value_of`), `state` one of
    REVIEW_STATES, and `category_path` the category of the answer, given by `who`.
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
        """Digest of the listing's text, to detect an answer to an earlier text."""
        return digest(self.listing.words.text())

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Self:
        """Create a review from a row of its table."""
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
        """Add decisions to the queue, and count listings that are in it already.

        A resolved review is open again. An answered or skipped one stays closed unless its listing has changed.
        """
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
        """Store new decisions on listings with open reviews. Resolve the reviews whose new decision is accept.

        Skip a decision if its review is closed, its listing has changed, or its version is older than the last write.
        """
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
        """Return reviews in one state, the most valuable first."""
        query = "SELECT * FROM reviews WHERE state = ? ORDER BY value DESC, id LIMIT ? OFFSET ?"
        return [Review.from_row(row) for row in self._desk.rows(query, state, most, offset)]

    def count(self) -> dict[str, int]:
        """Return the number of reviews in each state."""
        counts = dict.fromkeys(REVIEW_STATES, 0)
        found = self._desk.rows("SELECT state, COUNT(*) FROM reviews GROUP BY state")
        return counts | {row[0]: row[1] for row in found}

    def find(self, id_: str) -> Review:
        """Return the review of a listing. Raise AbsentError when there is none."""
        found = self._desk.rows("SELECT * FROM reviews WHERE id = ?", id_)
        if not found:
            raise AbsentError(
                "no_such_review",
                f"there is no review of a listing with id {id_!r}",
                "the id of a listing under review",
                "choose an open review",
            )
        return Review.from_row(found[0])

    def listings(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return the listings with an open review among some ids, by id."""
        query = "SELECT id, listing FROM reviews WHERE state = ? AND id IN (SELECT value FROM json_each(?))"
        return {id_: Item(**orjson.loads(listing)) for id_, listing in self._desk.rows(query, OPEN, to_json(ids))}

    def clear_contents(self, before: str) -> None:
        """Delete the texts of reviews closed before a time, in ISO format. Who, when and the answer stay."""
        lists = ("alternatives", "levels", "evidence", "prediction_set")
        emptied = ", ".join(f"'$.{name}', json('[]')" for name in lists)
        with self._desk.changing() as database:
            database.execute(
                f"UPDATE reviews SET listing = json_object('id', id, 'title', ''), "
                f"decision = json_set(decision, {emptied}) "
                "WHERE at < ? AND state NOT IN (?, ?) AND json_extract(listing, '$.title') != ''",
                (before, OPEN, RESOLVED),
            )

    def skip(self, id_: str, who: str) -> None:
        """Close a review without an answer. Raise QueryError when it is not open."""
        with self._desk.changing() as database:
            done = database.execute(
                "UPDATE reviews SET state = ?, who = ?, at = ? WHERE id = ? AND state = ?",
                (SKIPPED, who, now(), id_, OPEN),
            )
            if not done.rowcount:
                raise _not_open(id_)


def find_open(database: sqlite3.Connection, id_: str) -> Review:
    """Return the open review of a listing. Raise QueryError when there is none."""
    found = database.execute("SELECT * FROM reviews WHERE id = ? AND state = ?", (id_, OPEN)).fetchone()
    if not found:
        raise _not_open(id_)
    return Review.from_row(found)


def close_answered(database: sqlite3.Connection, items: Sequence[Item], who: str, number: int) -> None:
    """Close the open reviews of listings with the ids of some items: write `number`, which adds them, is the answer."""
    database.executemany(
        "UPDATE reviews SET state = IIF(json_extract(decision, '$.category_path') = ?1, ?2, ?3), category_path = ?1, "
        "who = ?4, write = ?5, at = ?6 WHERE id = ?7 AND state = ?8",
        [(item.category_path, ACCEPTED, CORRECTED, who, number, now(), item.id, OPEN) for item in items],
    )


def reopen(database: sqlite3.Connection, number: int, last: int) -> None:
    """Reopen the reviews answered by a write, or by a later one up to write `last` that repeated it."""
    database.execute(
        "UPDATE reviews SET state = ?1, category_path = '', who = '', write = NULL "
        "WHERE id IN (SELECT id FROM touched WHERE write = ?2) AND write BETWEEN ?2 AND ?3",
        (OPEN, number, last),
    )


def reopen_resolved(database: sqlite3.Connection, undone: int) -> None:
    """Reopen the reviews resolved since a write that is being undone."""
    database.execute(
        "UPDATE reviews SET state = ? WHERE state = ? AND json_extract(decision, '$.store_version') >= "
        "(SELECT version FROM writes WHERE number = ?)",
        (OPEN, RESOLVED, undone),
    )


def is_doubtful(decision: Decision) -> bool:
    """Return True if a person should check the decision: it is not accepted, and its listing has text."""
    return decision.decision != ACCEPT and decision.reason != "empty_text"


def doubt_of(decision: Decision) -> float:
    """Return the uncertainty of a decision: 1 minus the margin between its two most probable categories."""
    first, second = (*(said.probability for said in decision.alternatives[:2]), 0.0, 0.0)[:2]
    return 1 - (first - second)


def value_of(doubt: float, times: int) -> float:
    """Return the value of an answer: the uncertainty, multiplied by 1 + log2 of how often the listing was sent.

    The uncertainty is that of margin sampling (Scheffer et al., "Active Hidden Markov Models for Information
    Extraction", IDA 2001).
    """
    return doubt * (1 + log2(times))


def _keep_most(database: sqlite3.Connection, state: str) -> None:
    """Delete the least valuable reviews in a state beyond OPEN_MOST."""
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
        "choose another one; this one may have been closed",
    )
