"""JSON lines: one object per line."""

import json

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.files import Content, Record, Records, Source, decodable
from shelfwise.indexer.reading.rejects import Reject

SUFFIXES, MAGIC, IS_TEXT = (".jsonl", ".ndjson", ".json"), b"", True
COLUMN_LINES = 100  # lines searched for columns


def recognises(text: str) -> bool:
    """Return True if the text begins with an object."""
    return text.lstrip()[:1] == "{"


def opened(source: Source) -> Content:
    """Return the keys of the first objects, in order of appearance, and the objects. Raise InputError for an array."""
    if source.sample.lstrip()[:1] == "[":
        raise InputError(
            "json_array",
            f"{source.name} is one JSON array",
            "JSONL, one object per line",
            "write one object on each line",
        )
    columns: dict[str, None] = {}
    for line in source.sample.splitlines()[:COLUMN_LINES]:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            columns |= dict.fromkeys(value)
    return Content(list(columns), lambda: _records(source))


def _records(source: Source) -> Records:
    with source.lines() as lines:
        for line in lines:
            text = line.strip().removeprefix("\ufeff")
            if text:
                yield _record(text, lines.number, source.name)


def _record(text: str, line: int, name: str) -> Record | Reject:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Reject(name, line, "", text, "bad_json", f"not valid JSON: {error}")
    if not isinstance(value, dict):
        reason = f"a JSON {type(value).__name__} where an object was expected"
        return Reject(name, line, "", text, "bad_json", reason)
    try:
        return decodable(Record(line, value), name)
    except RecursionError:
        return Reject(name, line, "", text, "bad_json", "a value too deeply nested")
