"""Listings with their decisions: the columns of an output, and its text formats (see `writers` for all)."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from types import SimpleNamespace, TracebackType
from typing import IO, Any, Self

from shelfwise.classifier.measuring.encoded import EncodedText
from shelfwise.classifier.measuring.values import as_json, as_text, parts_as_json
from shelfwise.classifier.model.decision import Decision
from shelfwise.indexer.errors import listed
from shelfwise.indexer.reading.guard import COLUMNS, guarded, has_results, told_apart
from shelfwise.indexer.reading.listings import Listing

# Field of a decision by output column; most have the same name.
DECISION_FIELDS = dict(zip(COLUMNS, COLUMNS, strict=True)) | {
    "predicted_category": "category",
    "predicted_path": "category_path",
}
_values = attrgetter(*DECISION_FIELDS.values())
_NO_VALUES = (None,) * len(COLUMNS)

Cell = str | float | None  # of a result column


@dataclass(frozen=True)
class Layout:
    """What an output looks like.

    `columns` are those of the input. `format` is csv, tsv, jsonl, parquet or xlsx. `delimiter` and `raw` (no guards
    against formulas) are for CSV and TSV, `encoding` is for these and JSONL. `types` has the Arrow types of input
    columns that a Parquet output keeps; its other input columns are text.
    """

    columns: Sequence[str]
    format: str = "csv"
    delimiter: str = ","
    raw: bool = False
    encoding: str = "utf-8"
    types: Mapping[str, Any] | None = None


class DecisionWriter(ABC):
    """A writer of every column of the input, then COLUMNS. Use it as a context manager.

    An input column with a name in COLUMNS gets the prefix "input_". If the input is an output itself, its COLUMNS are
    replaced. `notices` are remarks for the user, complete when the writer is closed.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []

    @abstractmethod
    def write(self, listings: Sequence[Listing], decisions: Sequence[Decision | None]) -> None:
        """Write one row per listing, in order. The result columns of a row without a decision are empty."""

    @abstractmethod
    def close(self) -> None:
        """Complete the output and the notices. The stream stays open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(Exception):  # the rows so far become a readable file, if that is possible
            self.close()


class FlatWriter(DecisionWriter):
    """A writer of a table, which has the same columns in each row."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__()
        self.names = kept_names(tuple(columns))
        self._known, self._late = frozenset(columns), dict[str, None]()

    @property
    def header(self) -> list[str]:
        """Names of all columns."""
        return [*self.names.values(), *COLUMNS]

    def rows(
        self, listings: Sequence[Listing], decisions: Sequence[Decision | None]
    ) -> Iterator[tuple[list[object], Sequence[Cell]]]:
        """Yield the input values and the result cells of each row."""
        columns = list(self.names)
        for listing, decision in zip(listings, decisions, strict=True):
            yield list(map(listing.source.get, columns)), result_cells(decision)
        if late := set[str]().union(*(listing.source for listing in listings)) - self._known:
            self._late |= dict.fromkeys(sorted(late))

    def close(self) -> None:
        """Note the columns that came too late for the table."""
        if self._late:
            self.notices.append(
                f"columns that appear first in later rows are not in the table: {listed(self._late)}; write JSONL to "
                "keep them"
            )


class TextTableWriter(FlatWriter):
    """A writer of CSV or TSV. A text that a spreadsheet would run as a formula gets an apostrophe, unless `raw`."""

    def __init__(self, out: IO[bytes], layout: Layout, expected: Iterable[str] = ()) -> None:
        super().__init__(layout.columns)
        self._text = EncodedText(out, layout.encoding, expected=expected)
        self._guard: Callable[[str], str] = told_apart if layout.raw else guarded
        self._delimiter = layout.delimiter
        self._text.write(_as_table([list(map(self._guard, self.header))], layout.delimiter))

    def write(self, listings: Sequence[Listing], decisions: Sequence[Decision | None]) -> None:
        """Write one line per listing, in order."""
        guard = self._guard
        rows: list[list[Cell]] = [
            [
                *[guard(value if isinstance(value, str) else as_text(value)) for value in values],
                *[guard(cell) if isinstance(cell, str) else cell for cell in cells],
            ]
            for values, cells in self.rows(listings, decisions)
        ]
        self._text.write(_as_table(rows, self._delimiter))

    def close(self) -> None:
        """Complete the output and the notices."""
        self._text.close()
        self.notices += self._text.notices
        super().close()


def _as_table(rows: list[list[Cell]], delimiter: str) -> str:
    """Return rows as CSV with the line end "\n"."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    text = out.getvalue()
    if "\r" not in text:
        return text
    # RFC 4180 quotes "\r", too. The csv module does so only if it ends lines, which is slower.
    lines = list[str]()
    csv.writer(SimpleNamespace(write=lines.append), delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return "".join(f"{line[:-2]}\n" for line in lines)


class JsonLinesWriter(DecisionWriter):
    """A writer of JSONL: one object per line, with the keys of its row."""

    def __init__(self, out: IO[bytes], layout: Layout, expected: Iterable[str] = ()) -> None:
        super().__init__()
        self._text = EncodedText(out, layout.encoding, json=True)

    def write(self, listings: Sequence[Listing], decisions: Sequence[Decision | None]) -> None:
        """Write one line per listing, in order."""
        lines = []
        for listing, decision in zip(listings, decisions, strict=True):
            names = kept_names(tuple(listing.source))
            row = {names[column]: value for column, value in listing.source.items() if column in names}
            values = _values(decision) if decision else _NO_VALUES
            lines.append(as_json(row | dict(zip(COLUMNS, values, strict=True))) + "\n")
        self._text.write("".join(lines))

    def close(self) -> None:
        """Complete the output."""
        self._text.close()


def result_cells(decision: Decision | None) -> Sequence[Cell]:
    """Return the values of COLUMNS: parts as JSON; None for each if there is no decision."""
    if decision is None:
        return _NO_VALUES
    return [parts_as_json(value) if isinstance(value, tuple) else value for value in _values(decision)]


@lru_cache
def kept_names(columns: tuple[str, ...]) -> dict[str, str]:
    """Return the output name of each input column that is kept: all but the results of an earlier output.

    >>> kept_names(("title", "reason"))
    {'title': 'title', 'reason': 'input_reason'}
    """
    if has_results(columns):
        return {column: column for column in columns if column not in COLUMNS}
    return {column: free_name(column, columns) if column in COLUMNS else column for column in columns}


def free_name(column: str, columns: Collection[str]) -> str:
    """Return the output name of an input column.

    The prefix "input_" is repeated until the name is neither in the input's `columns` nor in COLUMNS.
    """
    while column in columns or column in COLUMNS:
        column = f"input_{column}"
    return column
