"""What `classify` adds to a table, and reading takes off again: result columns, and guards against formulas."""

import re
from collections.abc import Iterable

# Columns that `classify` adds to those of its input, in order.
COLUMNS = (
    "predicted_category",
    "predicted_path",
    "confidence",
    "decision",
    "reason",
    "sure_path",
    "alternatives",
    "levels",
    "prediction_set",
    "evidence",
    "tier",
    "store_version",
)

GUARDED = ("csv", "tsv", "excel")  # formats whose texts may have guards
# First characters of a cell that a spreadsheet reads as a formula (OWASP, "CSV Injection"), also full-width and small.
_SIGNS = "=+\\-@＝＋－＠﹦﹢﹣﹫\t\r\n"
# Characters that show nothing: white space, controls, and what Unicode calls default ignorable.
_UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff"
)
# Apostrophes in front count as guards, so that one more can be told from those of the text.
_risky = re.compile(f"'*[{_UNSEEN}]*[{_SIGNS}]").match
_number = re.compile(r" *[+-]?[.,]?[0-9][0-9.,]*(?:[eE][+-]?[0-9]+)?%? *").fullmatch


def has_results(columns: Iterable[str]) -> bool:
    """Return True if the columns are those of an output of `classify`: all of COLUMNS are among them."""
    return frozenset(COLUMNS).issubset(columns)


def guarded(text: str) -> str:
    """Return a text, with a leading apostrophe if a spreadsheet would run it as a formula. Numbers stay.

    >>> guarded("=1+1"), guarded("'=1+1"), guarded("-5"), guarded("red mug")
    ("'=1+1", "''=1+1", '-5', 'red mug')
    """
    return f"'{text}" if _risky(text) and not _number(text) else text


def told_apart(text: str) -> str:
    """Return a text that is written without guards, with one more apostrophe if reading would take one off.

    >>> told_apart("=1+1"), told_apart("'=1+1")
    ('=1+1', "''=1+1")
    """
    return text if unguarded(text) == text else f"'{text}"


def unguarded(text: str) -> str:
    """Return the text that `guarded` or `told_apart` was given.

    >>> unguarded("'=1+1"), unguarded("''=1+1"), unguarded("'red' mug")
    ('=1+1', "'=1+1", "'red' mug")
    """
    return text[1:] if text[:1] == "'" and _risky(text) and not _number(text[1:]) else text
