"""Turn the values of a row into text or JSON."""

import json
import math
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal

import orjson

from shelfwise.classifier.model.decision import Alternative, SimilarItem


def as_text(value: object) -> str:
    """Return a value as the text of a cell: lists and objects as JSON, None and NaN as ""."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float | Decimal) and _is_nan(value)):
        return ""
    if isinstance(value, bytes):
        return _decoded(value) or ""
    return as_json(value) if isinstance(value, bool | list | tuple | dict) else str(value)


def as_json(value: object) -> str:
    """Return a value as strict JSON: a Decimal as the number it is, NaN and infinity as null, dates as ISO text."""
    try:
        return _encode(value)
    except (TypeError, ValueError):  # a Decimal, a number that is not finite, or a key that is not text
        return _exact(value)


def parts_as_json(parts: tuple[object, ...]) -> str:
    """Return a field of a decision with several parts as compact JSON."""
    if not parts:
        return "[]"
    return orjson.dumps([_object(part) for part in parts]).decode()


def _object(part: object) -> object:
    """Return a part of a decision as an object: faster written out than by the names of its fields."""
    if isinstance(part, Alternative):
        return {"category_path": part.category_path, "probability": part.probability}
    if isinstance(part, SimilarItem):
        return {
            "id": part.id,
            "title": part.title,
            "brand": part.brand,
            "category_path": part.category_path,
            "similarity": part.similarity,
        }
    return part


def _exact(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_encode(str(key))}: {_exact(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_exact, value)) + "]"
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else "null"
    return "null" if isinstance(value, float) and not math.isfinite(value) else _encode(value)


def _plain(value: object) -> object:
    """Convert a value without a JSON form. Raise TypeError for a Decimal, which only `_exact` can write."""
    if isinstance(value, Alternative | SimilarItem):
        return _object(value)
    if isinstance(value, Decimal):
        raise TypeError
    if isinstance(value, bytes):
        return _decoded(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _is_nan(value: float | Decimal) -> bool:
    return value.is_nan() if isinstance(value, Decimal) else math.isnan(value)


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode
