"""Records of JSON lines and JSON documents."""

import io
from collections.abc import Iterator, Mapping, Sequence

from shelfwise.indexer.errors import InputError, listed
from shelfwise.indexer.reading.files import Content, Record, Records, Source, decodable
from shelfwise.indexer.reading.json_text import (
    Scanner,
    TooDeepError,
    TruncatedError,
    listed_values,
    value_of,
    values,
)
from shelfwise.indexer.reading.rejects import Reject


def lines(source: Source) -> Content:
    """Return the keys of the first objects, and the objects, one on each line.

    Objects that follow each other on a line are read, too. A line that is not JSON becomes a reject. Raise InputError
    if the first one is not JSON, or if there is only one, which holds columns.
    """
    texts = (text.strip() for text in source.sample.strip().split("\n"))
    found = [record for text in texts for record in _of_line(text, 0, source.name)]
    if isinstance(found[0], Reject) and found[0].code == "bad_json":
        raise _not_json(f"{source.name}: the first line is {found[0].reason}")
    return Content(_keys(found, source.name), lambda: _lines(source))


def document(source: Source, path: Sequence[str] | None) -> Content:
    """Return the keys of the first objects, and the objects, of an array, or of objects over several lines.

    With a `path`, read the array under these keys, one within the other. A record's line is its position, from 1. Raise
    InputError if the first object is not JSON, or holds columns instead of a record.
    """
    found: list[Record | Reject] = []
    try:
        texts = _texts(Scanner(io.StringIO(source.sample).read), path)
        found.extend(record_of(text, 0, source.name) for text in texts)
    except TruncatedError:  # the sample ends, or reading finds that the file does
        pass
    except ValueError as error:
        if not found:
            raise _not_json(f"{source.name}: the first object is not JSON: {error}") from None
    notices = [] if path is None else [f"read the list under {'.'.join(path)}"]
    return Content(_keys(found, source.name), lambda: _document(source, path), notices=notices)


def _keys(found: list[Record | Reject], name: str) -> list[str]:
    records = [record for record in found if isinstance(record, Record)]
    if len(found) == 1 and records and _holds_columns(records[0].values):
        raise InputError(
            "json_of_columns",
            f"{name} is an object of columns: {listed(records[0].values)}",
            "an object for each row",
            "write it by rows, in pandas with to_json(orient='records')",
        )
    return list(dict.fromkeys(key for record in records for key in record.values))


def _holds_columns(values: Mapping[str, object]) -> bool:
    """Return True if a record is a table by columns: each value is a list of all rows, or an object of them by number.

    Also True for a table with its `columns` and `data` apart, as pandas writes it with orient="split".
    """
    if values.keys() >= {"columns", "data"}:
        return all(isinstance(values[key], list) for key in ("columns", "data"))
    lists = {len(value) for value in values.values() if isinstance(value, list)}
    objects = {tuple(value) for value in values.values() if isinstance(value, dict)}
    of_lists = len(lists) == 1 and all(isinstance(value, list) for value in values.values())
    of_objects = len(objects) == 1 and all(isinstance(value, dict) for value in values.values())
    return len(values) > 1 and (of_lists or of_objects)


def _texts(scanner: Scanner, path: Sequence[str] | None) -> Iterator[str]:
    return values(scanner) if path is None else listed_values(scanner, path)


def _not_json(found: str) -> InputError:
    return InputError("bad_json", found, "JSON: one object on each line, or an array of objects", "export it again")


def _lines(source: Source) -> Records:
    with source.lines() as physical:
        for line in physical:
            text = line.strip().removeprefix("\ufeff")
            if text:
                yield from _of_line(text, physical.number, source.name)


def _of_line(text: str, line: int, name: str) -> Records:
    """Yield the record of a line, several if objects follow each other, or a reject."""
    try:
        yield record_of(text, line, name)
    except ValueError as error:
        yield from _glued(text, line, name) or [Reject(name, line, "", text, "bad_json", f"not JSON: {error}")]


def _glued(text: str, line: int, name: str) -> list[Record | Reject]:
    """Return the records of objects that follow each other on one line, or nothing if the line is something else."""
    try:
        texts = list(values(Scanner(io.StringIO(text).read)))
        return [record_of(one, line, name) for one in texts] if all(one[0] == "{" for one in texts) else []
    except ValueError:
        return []


def _document(source: Source, path: Sequence[str] | None) -> Records:
    with source.text() as text:
        scanner = Scanner(text.read)
        number = 0
        try:
            for number, element in enumerate(_texts(scanner, path), 1):
                yield record_of(element, number, source.name)
        except UnicodeError:
            raise
        except TruncatedError:
            raise InputError(
                "damaged_file",
                f"{source.name} ends too early, on line {scanner.line}, after {number} objects",
                "an intact file",
                "fetch it again",
            ) from None
        except ValueError as error:
            found = f"{source.name}: object {number or 1}, which ends on line {scanner.line}, is not JSON: {error}"
            raise _not_json(found) from None


def record_of(text: str, line: int, name: str) -> Record | Reject:
    """Return the record of a JSON text, or a reject if it is not a usable object. Raise ValueError for other text."""
    try:
        value = value_of(text)
    except TooDeepError as error:
        return Reject(name, line, "", text, "bad_json", str(error))
    if not isinstance(value, dict):
        return Reject(name, line, "", text, "bad_json", f"not an object but {_kind(value)}")
    record = Record(line, value)
    return record if _is_unicode(text) else decodable(record, name)


def _is_unicode(text: str) -> bool:
    """Return True if no value of a JSON text can have an incomplete character."""
    if "\\ud" in text or "\\uD" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return "a text" if isinstance(value, str) else "a number, true, false or null"
