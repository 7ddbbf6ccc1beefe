"""Write listings with their decisions as CSV, TSV or JSONL."""

import csv
import json
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import TextIO

import orjson

from shelfwise.classifier.model.decision import Alternative, Decision, SimilarItem
from shelfwise.indexer.reading.catalog import Listing

DECISION_FIELDS = {  # field of a decision by output column
    "predicted_category": "category",
    "predicted_path": "category_path",
    "confidence": "confidence",
    "decision": "decision",
    "reason": "reason",
    "sure_path": "sure_path",
    "alternatives": "alternatives",
    "levels": "levels",
    "prediction_set": "prediction_set",
    "evidence": "evidence",
    "tier": "tier",
    "store_version": "store_version",
}
COLUMNS = tuple(DECISION_FIELDS)
_values = attrgetter(*DECISION_FIELDS.values())
# First characters of a cell that a spreadsheet reads as a formula (OWASP, "CSV Injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class DecisionWriter:
    """A writer of every column of the input, then COLUMNS.

    An input column with a name in COLUMNS gets the prefix "input_". In CSV and TSV, a text that a spreadsheet would run
    as a formula gets a leading apostrophe, unless `raw`.
    """

    def __init__(self, out: TextIO, fmt: str, columns: Sequence[str], delimiter: str = ",", raw: bool = False) -> None:
        """Start the output. `fmt` is jsonl for JSON Lines; any other value is a table with `delimiter`."""
        self._out, self._raw, self._columns = out, raw, columns
        self._table = None if fmt == "jsonl" else csv.writer(out, delimiter=delimiter, lineterminator="\n")
        if self._table:
            self._table.writerow([*(self._cell(_kept(column, columns)) for column in columns), *COLUMNS])

    def write(self, listings: Sequence[Listing], decisions: Sequence[Decision]) -> None:
        """Write one line per listing, in order."""
        for listing, decision in zip(listings, decisions, strict=True):
            if self._table is None:
                row = {_kept(column, listing.source): value for column, value in listing.source.items()}
                self._out.write(_JSON(row | dict(zip(COLUMNS, _values(decision), strict=True))) + "\n")
                continue
            self._table.writerow(map(self._cell, (*map(listing.source.get, self._columns), *_values(decision))))

    def _cell(self, value: object) -> str:
        text = _as_text(value)
        return text if self._raw else guarded(text)


def guarded(text: str) -> str:
    """Return a text, with a leading apostrophe if a spreadsheet would run it as a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not _is_number(text) else text


def _kept(column: str, columns: Collection[str]) -> str:
    return free_name(column, columns) if column in COLUMNS else column


def free_name(column: str, columns: Collection[str]) -> str:
    """Return the output name of an input column.

    The prefix "input_" is repeated until the name is neither in the input's `columns` nor in COLUMNS.
    """
    while column in columns or column in COLUMNS:
        column = f"input_{column}"
    return column


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, tuple):  # a field of a decision
        return orjson.dumps(value).decode() if value else "[]"
    return _JSON(value) if isinstance(value, list | dict) else str(value)


def _plain(value: object) -> object:
    """Convert a value without a JSON form: parts of a decision to dicts, dates and other input values to text."""
    if isinstance(value, Alternative | SimilarItem):
        return {field: getattr(value, field) for field in value.__slots__}
    return str(value)


_JSON = json.JSONEncoder(ensure_ascii=False, default=_plain).encode


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
