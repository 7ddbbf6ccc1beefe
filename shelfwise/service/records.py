"""What is kept of writes and of decisions to look through."""

import sqlite3
from dataclasses import dataclass
from math import log2
from typing import Any, Self

import orjson

from shelfwise.classifier.model.decision import ACCEPT, Alternative, Decision, SimilarItem
from shelfwise.indexer.item import Item
from shelfwise.indexer.text import digest

WAITING, DONE, REFUSED, UNDONE = "waiting", "done", "refused", "undone"  # states of a write
OPEN, ACCEPTED, CORRECTED, SKIPPED = "open", "accepted", "corrected", "skipped"  # states of a review
RESOLVED = "resolved"  # another: a later version accepts it, nobody has to look
REVIEW_STATES = (OPEN, ACCEPTED, CORRECTED, SKIPPED, RESOLVED)


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
    def of(cls, row: sqlite3.Row) -> Self:
        """The write that a row of the table tells of."""
        lists = {name: tuple(orjson.loads(row[name])) for name in ("items", "removed", "before", "catalog")}
        items = {name: tuple(Item(**content) for content in lists[name]) for name in ("items", "before")}
        return cls(**{**dict(row), **lists, **items})

    @property
    def ids(self) -> list[str]:
        """All items that it touched."""
        return list(dict.fromkeys([*(item.id for item in self.items), *self.removed]))


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
    def of(cls, row: sqlite3.Row) -> Self:
        """The review that a row of the table tells of."""
        decision = orjson.loads(row["decision"])
        for name, kind in (("alternatives", Alternative), ("levels", Alternative), ("evidence", SimilarItem)):
            decision[name] = tuple(kind(**content) for content in decision[name])
        decision["prediction_set"] = tuple(decision["prediction_set"])
        names = ("times", "value", "at", "state", "category_path", "who")
        return cls(Item(**orjson.loads(row["listing"])), Decision(**decision), **{name: row[name] for name in names})


def to_json(value: Any) -> str:
    """A listing, a decision, or a list of items or ids, as the tables have them."""
    return orjson.dumps(value).decode()


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
