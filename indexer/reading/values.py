"""Texts of cells: of numbers, dates, and of the objects and lists that JSON, Parquet and XML files hold."""

import ast
import contextlib
import datetime
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeGuard
from uuid import UUID

from shelfwise.indexer.reading.categories import NAME_KEYS, marked_list
from shelfwise.indexer.reading.numbers import unfloated

_KEYS, _VALUES = ("key", "name", "k"), ("value", "values", "v")  # of an object that is one attribute


def value_in(values: Mapping[str, object], column: str) -> object:
    """Return the value of a column (None if absent); brand.name is the key `name` of the object in `brand`."""
    if column in values or "." not in column:
        return values.get(column)
    outer, _, inner = column.partition(".")
    found = values.get(outer)
    return value_in(found, inner) if isinstance(found, Mapping) else None


def text_of(value: object) -> str:
    """Return a cell as text: "" for None and NaN, objects as "key: value; ...", lists joined by commas.

    Whole floats lose their ".0", because spreadsheets and data frames turn whole numbers into floats. Raise TypeError
    for values without a text form: bytes that are not UTF-8, functions, files.

    >>> text_of({"size": 42.0, "colours": ["red", "blue"]}), text_of([{"key": "size", "value": 42}])
    ('size: 42; colours: red, blue', 'size: 42')
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping):
        pair = _pair(value)
        return pair or "; ".join(f"{key}: {text}" for key, entry in value.items() if (text := text_of(entry)))
    if isinstance(value, list | tuple):
        return _joined(value)
    if isinstance(value, int | datetime.date | datetime.time | datetime.timedelta | UUID):
        return "" if type(value).__name__ == "NaTType" else str(value)
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, bytes):
        return _decoded(value)
    if hasattr(value, "tolist"):  # numpy's
        return text_of(value.tolist())
    if type(value).__name__ in ("NAType", "NaTType"):
        return ""
    raise TypeError(f"a value of type {type(value).__name__}")


def name_text(value: object) -> str:
    """Return a cell as the name of a thing: the name of an object, else its text."""
    named = _name_in(value) if isinstance(value, Mapping) else None
    return text_of(value) if named is None else named


def is_nameless(value: object) -> TypeGuard[Mapping[object, object]]:
    """Return True for an object that has keys, but none with its name, such as {"en": "Mug", "de": "Tasse"}."""
    return isinstance(value, Mapping) and bool(value) and _name_in(value) is None


def _name_in(value: Mapping[object, object]) -> str | None:
    return next((str(value[key]) for key in NAME_KEYS if isinstance(value.get(key), str)), None)


def category_text(value: object) -> str:
    """Return a cell as the text of one or more categories; see `categories.marked_list`."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return name_text(value)
    if isinstance(value, str):
        value = _list_in(value)
    return marked_list(value) if isinstance(value, list | tuple) else text_of(value)


def _list_in(text: str) -> object:
    """Return the list that a text is in JSON or Python, as a column of lists has in CSV; else the text."""
    if not (text[:1] == "[" and text.rstrip()[-1:] == "]"):
        return text
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found: object = read(text)
            return found
    return text


def _joined(values: Sequence[object]) -> str:
    """Return the entries of a list: attributes joined by semicolons, other values by commas."""
    pairs = [_pair(entry) for entry in values]
    if pairs and all(pair is not None for pair in pairs):
        return "; ".join(filter(None, pairs))
    return ", ".join(text for entry in values if (text := text_of(entry)))


def _pair(entry: object) -> str | None:
    """Return an attribute "key: value" from an object or pair, None for anything else; "" if it has no value."""
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str):
        key, value = entry
    elif isinstance(entry, Mapping):
        keys = [next((name for name in names if name in entry), None) for names in (_KEYS, _VALUES)]
        if keys[0] is None or keys[1] is None or len(entry) > 2:
            return None
        key, value = (entry[name] for name in keys if name is not None)
    else:
        return None
    text = text_of(value)
    return f"{text_of(key).strip()}: {text.strip()}" if text else ""


def _number(value: float | Decimal) -> str:
    if value != value:
        return ""
    return str(unfloated(value) if isinstance(value, float) else value)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise TypeError("bytes that are not UTF-8 text") from None
