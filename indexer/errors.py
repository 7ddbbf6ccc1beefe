"""Every failure that a user can mend.

Each message is one line that says what was found, what was expected and what to do. Anything else that
escapes from the library is a bug in it.
"""

from collections.abc import Iterable


class ShelfwiseError(Exception):
    """Base of all failures that a user can mend; `str(error)` is the line to show."""


class InputError(ShelfwiseError):
    """A catalog, listings or examples file that cannot be used, or an output that cannot be written."""


class EncoderError(ShelfwiseError):
    """An encoder that is unknown, not installed, not reachable or not the one a store was made with."""


class StoreError(ShelfwiseError):
    """A store that is missing, half written, damaged, of a newer format or held by another writer."""


class BusyError(StoreError):
    """A store that another writer holds: the same change can be made later."""


class ReleaseError(ShelfwiseError):
    """A catalog that would change a store more than is allowed without a word."""


class EngineError(ShelfwiseError):
    """A search engine or device that is not there, or installed twice."""


class QueryError(ShelfwiseError):
    """A query that the store cannot answer: k too large, an unknown id, a filter that is not valid."""


class AbsentError(QueryError):
    """A query about something that is not there."""


def listed(names: Iterable[str], limit: int = 20) -> str:
    """`names` joined for a message, at most `limit` of them, the rest counted."""
    names = list(names)
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def first_line(error: Exception, limit: int = 200) -> str:
    """The first line of what another library says, at most `limit` characters of it; the error's kind where it says
    nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:limit]
