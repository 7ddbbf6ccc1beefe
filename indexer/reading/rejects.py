"""Rows that could not be used, kept with their place and the reason so that nothing is lost."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from shelfwise.indexer.errors import InputError

IN_MEMORY = "<memory>"
MAX_VALUE = 2_000  # characters of the offending value that are kept


@dataclass(frozen=True, slots=True)
class Reject:
    """One unusable row.

    `line` is the physical line on which the row starts (1 is the header), the row number in a Parquet file, or the
    position from 0 of a row in memory, whose `file` is IN_MEMORY. `column` is empty where the row as a whole is at
    fault; `value` is what was found there; `code` is the kind of fault, as in `ShelfwiseError`, and `reason` says it in
    words.
    """

    file: str
    line: int
    column: str
    value: str
    code: str
    reason: str

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"row {self.line}" if self.file == IN_MEMORY else f"line {self.line}"


class Rejects(Protocol):
    """Takes the rejects of one reading: how many there were, and the first."""

    @property
    def count(self) -> int:
        """How many there were."""
        ...

    @property
    def first(self) -> Reject | None:
        """The first of them."""
        ...

    def add(self, reject: Reject) -> None:
        """Take one reject."""
        ...


class RejectList:
    """Rejects in memory."""

    def __init__(self) -> None:
        self.rows: list[Reject] = []

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.rows)

    @property
    def first(self) -> Reject | None:
        """The first of them."""
        return self.rows[0] if self.rows else None

    def add(self, reject: Reject) -> None:
        """Keep one reject."""
        self.rows.append(replace(reject, value=reject.value[:MAX_VALUE]))


class RejectFile:
    """A JSONL file of rejects that is created with the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.first: Reject | None = None
        self._out: TextIO | None = None

    def add(self, reject: Reject) -> None:
        """Write one reject. Raises InputError where the file cannot be written."""
        if self._out is None:
            try:
                self._out = self.path.open("w", encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise InputError(
                    "unwritable_rejects",
                    f"cannot write rejected rows to {self.path} ({error.strerror})",
                    "a file in a folder that is writable",
                    "name another file for them",
                ) from None
            self.first = reject
        self.count += 1
        row = asdict(reject) | {"value": reject.value[:MAX_VALUE]}
        self._out.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._out is not None:
            self._out.close()
