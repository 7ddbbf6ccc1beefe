"""Errors a user can fix: `ShelfwiseError` is public, its subclasses are internal."""

from collections.abc import Iterable
from typing import Self


class ShelfwiseError(Exception):
    """An error a user can fix, as data.

    `code` names the kind of error and stays the same in later versions; docs/errors.md lists all codes. `found` says
    what was found, `expected` what was expected, and `fix` what to do. `str(error)` is one line with all three.

    >>> error = ShelfwiseError("unknown_tier", "tier 'turbo'", "one of full, auto, fast", "choose one of them")
    >>> error.code
    'unknown_tier'
    >>> print(error)
    tier 'turbo': expected one of full, auto, fast; choose one of them
    """

    def __init__(self, code: str, found: str, expected: str, fix: str) -> None:
        super().__init__(code, found, expected, fix)
        self.code = code
        self.found, self.expected, self.fix = map(one_line, (found, expected, fix))

    def __str__(self) -> str:
        return f"{self.found}: expected {self.expected}; {self.fix}"

    def at(self, place: str) -> Self:
        """Return a copy of the error that names its `place`: a line of a file or an entry of a list.

        >>> str(ShelfwiseError("empty_title", "an empty title", "some words", "name the item").at("line 3"))
        'line 3: an empty title: expected some words; name the item'
        """
        return type(self)(self.code, f"{place}: {self.found}", self.expected, self.fix)


class InputError(ShelfwiseError):
    """A catalog, listing or argument that cannot be used, or an output that cannot be written."""


class EncoderError(ShelfwiseError):
    """An encoder that is unknown, not installed, not reachable, or different from the store's encoder."""


class StoreError(ShelfwiseError):
    """A store that is missing, incomplete, damaged, of another format, or locked by another writer."""


class BusyError(StoreError):
    """A store locked by another writer. The same change can be retried later."""


class ReleaseError(ShelfwiseError):
    """A catalog that would change a store more than allowed."""


class EngineError(ShelfwiseError):
    """A search engine or device that is missing, or installed twice."""


class QueryError(ShelfwiseError):
    """A query that the store cannot answer: k too large, an unknown id, an invalid filter."""


class AbsentError(QueryError):
    """A query about something that does not exist."""


def one_line(text: str) -> str:
    """Return `text` on one line: if it has several lines, strip them and join them with spaces.

    >>> one_line("first\\n  second")
    'first second'
    """
    return " ".join(line.strip() for line in text.splitlines()) if len(text.splitlines()) > 1 else text


def listed(names: Iterable[str], limit: int = 20) -> str:
    """Join at most `limit` names for a message, and count the remaining ones.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    names = list(names)
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def first_line(error: Exception, limit: int = 200) -> str:
    """Return the first line of a library's error message, cut to `limit` characters.

    Return the name of the exception's type if the message is empty.

    >>> first_line(ValueError("bad shape\\nmore"))
    'bad shape'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:limit]
