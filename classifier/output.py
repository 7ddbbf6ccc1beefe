"""Decisions beside the listings that they are about, as CSV, TSV or JSONL."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import TextIO

from classifier.decision import Alternative, Decision, SimilarItem
from indexer.catalog import Listing

COLUMNS = (
    "predicted_category", "predicted_path", "confidence", "decision", "reason", "sure_path", "alternatives", "levels",
    "prediction_set", "evidence", "tier", "store_version",
)  # fmt: skip
# First characters with which a spreadsheet takes a cell for a formula (OWASP, "CSV Injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _as_dict(kind: type) -> Callable[[object], dict[str, object]]:
    """`dataclasses.asdict` for one kind of small ones: a fraction of its time, of which there are ten in a decision."""
    names = [field.name for field in fields(kind)]
    values = attrgetter(*names)
    return lambda one: dict(zip(names, values(one), strict=True))


_ALTERNATIVE, _SIMILAR = map(_as_dict, (Alternative, SimilarItem))
_JSON = json.JSONEncoder(ensure_ascii=False, default=str).encode


def as_columns(decision: Decision) -> dict[str, object]:
    """A decision by output column; alternatives, levels and evidence are lists of dictionaries."""
    return {
        "predicted_category": decision.category,
        "predicted_path": decision.category_path,
        "confidence": decision.confidence,
        "decision": decision.decision,
        "reason": decision.reason,
        "sure_path": decision.sure_path,
        "alternatives": [_ALTERNATIVE(alternative) for alternative in decision.alternatives],
        "levels": [_ALTERNATIVE(node) for node in decision.levels],
        "prediction_set": list(decision.prediction_set),
        "evidence": [_SIMILAR(item) for item in decision.evidence],
        "tier": decision.tier,
        "store_version": decision.store_version,
    }


class DecisionWriter:
    """Writes every column of the input, then COLUMNS.

    An input column that has the name of one of COLUMNS is kept as "input_" + name. In CSV and TSV a text
    that a spreadsheet would run as a formula gets an apostrophe before it, unless `raw`.
    """

    def __init__(self, out: TextIO, fmt: str, columns: Sequence[str], delimiter: str = ",", raw: bool = False) -> None:
        """`fmt` is jsonl for JSON lines; anything else is a table with `delimiter`."""
        self._out, self._raw, self._columns = out, raw, columns
        self._table = None if fmt == "jsonl" else csv.writer(out, delimiter=delimiter, lineterminator="\n")
        if self._table:
            self._table.writerow([*(self._guarded(_kept(column)) for column in columns), *COLUMNS])

    def write(self, listings: Sequence[Listing], decisions: Sequence[Decision]) -> None:
        """One line for each listing, in order."""
        for listing, decision in zip(listings, decisions, strict=True):
            said = as_columns(decision)
            if self._table is None:
                row = {_kept(column): value for column, value in listing.source.items()} | said
                self._out.write(_JSON(row) + "\n")
                continue
            own = map(listing.source.get, self._columns)
            self._table.writerow([self._guarded(_cell(value)) for value in (*own, *said.values())])

    def _guarded(self, text: str) -> str:
        return text if self._raw or not text.startswith(FORMULA_STARTS) or _is_number(text) else "'" + text


def _kept(column: str) -> str:
    return f"input_{column}" if column in COLUMNS else column


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return _JSON(value) if value else str(value)
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
