"""A temporary file with the columns of a catalog that may give fields, so that the input is read once."""

import marshal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from shelfwise.indexer.reading.rejects import Reject

ROWS = 4096  # rows of a batch


@dataclass
class Batch:
    """Some rows: their `lines`, their texts by column, and the `rejects` among them by position."""

    lines: list[int] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    rejects: dict[int, Reject] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str]) -> "Batch":
        """Return an empty batch with these columns."""
        return cls([], {name: [] for name in names})

    def add(self, line: int, texts: Sequence[str]) -> None:
        """Add a row with the texts of all columns."""
        self.lines.append(line)
        for column, text in zip(self.columns.values(), texts, strict=True):
            column.append(text)

    def reject(self, reject: Reject) -> None:
        """Add a rejected row."""
        self.rejects[len(self.lines)] = reject
        self.add(reject.line, [""] * len(self.columns))

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, Sequence[str]] | Reject]:
        """Yield the line and the texts of some columns ("" where absent) of each row in order, or its reject."""
        empty = [""] * len(self.lines)
        texts = zip(*(self.columns.get(name, empty) for name in names), strict=True) if names else iter(empty)
        for place, row in enumerate(texts):
            yield self.rejects[place] if place in self.rejects else (self.lines[place], row)


class Spool:
    """Batches of rows on disk. The file has no name and is gone when it is closed.

    The format is `marshal`: only the process that wrote the file reads it, so that neither versions nor trust matter,
    and it holds any str, also one that no encoding can write.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="shelfwise-")  # noqa: SIM115  # closed by `close`
        self._sizes: list[int] = []  # bytes of each batch

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def add(self, batch: Batch) -> None:
        """Append a batch."""
        rejects = [
            (place, (one.file, one.line, one.column, one.value, one.code, one.reason))
            for place, one in batch.rejects.items()
        ]
        content = marshal.dumps((batch.lines, batch.columns, rejects))
        self._file.write(content)
        self._sizes.append(len(content))

    def read(self) -> Iterator[Batch]:
        """Yield all batches in order."""
        self._file.seek(0)
        for size in self._sizes:
            lines, columns, rejects = marshal.loads(self._file.read(size))
            yield Batch(lines, columns, dict(map(_reject, rejects)))


def _reject(entry: tuple[int, tuple[str, int, str, str, str, str]]) -> tuple[int, Reject]:
    place, (file, line, column, value, code, reason) = entry
    return place, Reject(file, line, column, value, code, reason)
