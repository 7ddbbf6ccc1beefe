"""File formats: each module of this folder is one, and is found here by its name.

A module has SUFFIXES, MAGIC and IS_TEXT, and the functions `recognises` and `opened` of `Format`; see `tsv.py`. Nothing
here knows what a column means. A record that cannot be read comes out as a `Reject` in its place, so that
one bad row never costs its neighbours.
"""

import io
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Protocol, cast

from shelfwise.indexer.reading.rejects import Reject

# Lone surrogates are how undecodable bytes come through (Python's "surrogateescape").
UNDECODED = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it stands in the file: the line where it starts, and its values by column."""

    line: int
    values: dict[str, object]


Records = Iterator[Record | Reject]


class Lines:
    """Physical lines with their numbers; lines can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = iter(lines)
        self._back: list[str] = []
        self.number = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._lines)
        self.number += 1
        return line

    def give_back(self, lines: list[str]) -> None:
        """Return lines, to be read again."""
        self._back.extend(reversed(lines))
        self.number -= len(lines)


@dataclass(frozen=True)
class Source:
    """A file to read: its `name` for people, its `path` (None for standard input), and its bytes from the start, gzip
    undone; for a text format also its `encoding`, and the text that it starts with."""

    name: str
    path: Path | None
    stream: IO[bytes]
    encoding: str = ""
    sample: str = ""

    @contextmanager
    def lines(self) -> Iterator[Lines]:
        """Yield the lines of the text, once."""
        errors = "strict" if "16" in self.encoding or "32" in self.encoding else "surrogateescape"
        with io.TextIOWrapper(self.stream, encoding=self.encoding, errors=errors, newline="") as text:
            yield Lines(text)


@dataclass(frozen=True)
class Content:
    """What a file holds: the names of its `columns`, and its `records` in order, once; and of a table the delimiter."""

    columns: list[str]
    records: Callable[[], Records]
    delimiter: str = ","


class Format(Protocol):
    """What a module of this folder has.

    SUFFIXES are the ends of file names in small letters, the dot included; MAGIC the first bytes of every such file,
    empty where there are none; IS_TEXT says whether it is text, to be decoded.
    """

    SUFFIXES: tuple[str, ...]
    MAGIC: bytes
    IS_TEXT: bool

    def recognises(self, text: str) -> bool:
        """Return whether a text that begins so is in this format, where neither name nor first bytes tell."""
        ...

    def opened(self, source: Source) -> Content:
        """Read as much as it takes to know the columns. Raises InputError for a file that cannot be used."""
        ...


def names() -> list[str]:
    """Return the names of all formats, in order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@cache
def formats() -> dict[str, Format]:
    """Return all formats by name."""
    return {name: cast(Format, import_module(f"{__name__}.{name}")) for name in names()}


def decodable(record: Record, name: str) -> Record | Reject:
    """Return a record of the file `name`, or a reject where some of its bytes are no characters."""
    for column, value in record.values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if not text.isascii() and (found := UNDECODED.search(text)):
            code = ord(found[0])
            what = f"invalid byte 0x{code - 0xDC00:02X} in this encoding" if code >= 0xDC80 else "half a character"
            return Reject(name, record.line, column, text, "invalid_character", what)
    return record
