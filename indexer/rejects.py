"""Rows that could not be used, kept with their place and the reason so that nothing is lost."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from shelfwise.indexer.errors import InputError

MAX_VALUE = 2_000  # characters of the offending value that are kept


@dataclass(frozen=True, slots=True)
class Reject:
    """One unusable row.

    `line` is the physical line on which the row starts (1 is the header), or the row number in a Parquet
    file; `column` is empty where the row as a whole is at fault; `value` is what was found there.
    """

    file: str
    line: int
    column: str
    value: str
    reason: str


class RejectFile:
    """A JSONL file of rejects that comes into being with the first of them."""

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
                    f"cannot write rejected rows to {self.path} ({error.strerror}): name another file with --rejects"
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
