"""Options for reading rows, and what a store remembers of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shelfwise.indexer.reading.columns import Columns
from shelfwise.indexer.reading.files import FileOptions


@dataclass(frozen=True)
class ReadOptions:
    """How to read rows.

    `columns` are the source columns by field (see `named_columns`); those `remembered` count in a file that has them.
    `profile` is the name of a profile, "none" for no
    profile, and None for the one that is recognised. With `merge_spellings`, categories that differ only in case, width
    or blanks become one. `file` says how to open files.
    """

    columns: Columns = field(default_factory=dict)
    remembered: Columns = field(default_factory=dict)
    profile: str | None = None
    merge_spellings: bool = False
    file: FileOptions = field(default_factory=FileOptions)


@dataclass(frozen=True)
class ReadingMemory:
    """What a store remembers of the reading of its catalogs: the columns that a user named, and accepted findings."""

    columns: Columns = field(default_factory=dict)
    accepted: tuple[str, ...] = ()

    def options(self, options: ReadOptions) -> ReadOptions:
        """Return the options with the remembered columns."""
        return replace(options, remembered=self.columns)

    def after(self, columns: Columns, accepted: tuple[str, ...]) -> "ReadingMemory":
        """Return the memory after a build with the `columns` that a user named and further `accepted` findings."""
        return ReadingMemory({**self.columns, **columns}, tuple(sorted({*self.accepted, *accepted})))

    def to_bytes(self) -> bytes:
        """Return the memory as JSON."""
        return json.dumps({"columns": self.columns, "accepted": self.accepted}, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes | None) -> "ReadingMemory":
        """Return the memory in `content`; an empty one for None."""
        if content is None:
            return cls()
        found: Mapping[str, Any] = json.loads(content)
        return cls({name: tuple(columns) for name, columns in found["columns"].items()}, tuple(found["accepted"]))
