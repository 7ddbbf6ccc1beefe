"""Rejected rows, stored with their place and the reason so that no row is lost."""

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from shelfwise.indexer.errors import InputError

IN_MEMORY = "<memory>"
DEFAULT_REJECTS = Path("REJECTS.jsonl")
MAX_VALUE = 2_000  # characters of the offending value to store


@dataclass(frozen=True, slots=True)
class Reject:
    """One unusable row.

    `line` is the physical line on which the row starts (1 is the header), the row number in a Parquet file, or the
    position from 0 of a row in memory, whose `file` is IN_MEMORY. `column` is empty if the whole row is at fault.
    `value` is the offending value. `code` is the kind of fault, as in `ShelfwiseError`; `reason` describes it in words.
    """

    file: str
    line: int
    column: str
    value: str
    code: str
    reason: str

    @property
    def place(self) -> str:
        """Place of the row in words: its row number in memory, its line in a file."""
        return f"row {self.line}" if self.file == IN_MEMORY else f"line {self.line}"


class Rejects(Protocol):
    """Collects the rejects of one reading, and reports their number and the first one."""

    @property
    def count(self) -> int:
        """Number of rejects."""
        ...

    @property
    def first(self) -> Reject | None:
        """First reject (None if there is none)."""
        ...

    def add(self, reject: Reject) -> None:
        """Add one reject."""
        ...


class RejectList:
    """Rejects in memory."""

    def __init__(self) -> None:
        self.rows: list[Reject] = []

    @property
    def count(self) -> int:
        """Number of rejects."""
        return len(self.rows)

    @property
    def first(self) -> Reject | None:
        """First reject (None if there is none)."""
        return self.rows[0] if self.rows else None

    def add(self, reject: Reject) -> None:
        """Add one reject."""
        self.rows.append(replace(reject, value=reject.value[:MAX_VALUE]))


class RejectFile:
    """A JSONL file of rejects, created when the first one is added. Without rejects, none of an earlier run is left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.first: Reject | None = None
        self._out: TextIO | None = None

    def add(self, reject: Reject) -> None:
        """Write one reject. Raise InputError when the file cannot be created."""
        if self._out is None:
            try:
                self._out = self.path.open("w", encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise InputError(
                    "unwritable_rejects",
                    f"cannot write rejected rows to {self.path} ({error.strerror})",
                    "a file in a writable folder",
                    "name another file for rejected rows",
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
        elif error is None and self.path.is_file():
            self._forget_earlier()

    def _forget_earlier(self) -> None:
        """Remove the default file of an earlier run, or empty a file that was named: it has no rejects of this run."""
        with contextlib.suppress(OSError):
            if self.path != DEFAULT_REJECTS:
                self.path.write_text("")
            elif self.path.read_text("utf-8", "replace")[:MAX_VALUE].startswith('{"file": '):
                self.path.unlink()
