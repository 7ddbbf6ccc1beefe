"""Parquet files."""

import itertools
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from shelfwise.indexer.errors import InputError, first_line
from shelfwise.indexer.reading.files import Content, Record, Records, Source
from shelfwise.indexer.reading.headers import distinct
from shelfwise.indexer.reading.numbers import unfloated

SUFFIXES, MAGIC, IS_TEXT = (".parquet", ".pq"), (b"PAR1",), False
BATCH = 1024  # rows read at a time
_BUFFER = 1 << 18  # bytes read at a time for each column


def recognises(text: str) -> bool:
    """Return False: the first bytes identify the format."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the schema, and the rows. Raise InputError for an unreadable file.

    Values are as Python has them, with a few changes: whole numbers in a column of floats are ints, NaN is None, a map
    is a dict, and bytes in UTF-8, infinity, and dates beyond the year 9999 are text.
    """
    from pyarrow import parquet

    files = ExitStack()  # stays open until all rows are read
    with _readable(source.name), _system_memory():
        file = parquet.ParquetFile(files.enter_context(source.file()), buffer_size=_BUFFER, pre_buffer=False)
        columns, remark = distinct(file.schema_arrow.names)
    notices = [remark] if remark else []
    return Content(columns, lambda: _records(file, files, columns, source.name, notices), notices=notices)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what Arrow raises for a damaged file depends on the place of the damage
        raise InputError(
            "bad_parquet",
            f"{name}: not a readable Parquet file ({first_line(error)})",
            "an intact Parquet file",
            "export it again",
        ) from None


@contextmanager
def _system_memory() -> Iterator[None]:
    """Let files opened meanwhile take their memory from the system, which keeps less of it back than Arrow's pool."""
    import pyarrow

    usual = pyarrow.default_memory_pool()
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    try:
        yield
    finally:
        pyarrow.set_memory_pool(usual)


def _records(file: Any, files: ExitStack, names: list[str], name: str, notices: list[str]) -> Records:
    numbers = itertools.count(1)
    with files:
        batches = file.iter_batches(BATCH)
        while True:
            with _readable(name):
                batch = next(batches, None)
                if batch is None:
                    return
                columns = [_values(*column, notices) for column in zip(names, batch.columns, strict=True)]
            for row in zip(*columns, strict=True):
                yield Record(next(numbers), dict(zip(names, row, strict=True)))


def _values(name: str, column: Any, notices: list[str]) -> list[object]:
    """Return the values of a column, None for each if it cannot be read."""
    from pyarrow import types

    try:
        values = _python_values(column)
    except Exception as error:  # a type that neither Python nor Arrow can turn into text
        notice = f"column {name} cannot be read and is left empty ({first_line(error)})"
        notices += [] if notice in notices else [notice]
        return [None] * len(column)
    if any(check(column.type) for check in (types.is_string, types.is_integer, types.is_boolean)):
        return values
    return [_plain(value) for value in values]


def _python_values(column: Any) -> list[object]:
    try:
        values: list[object] = column.to_pylist()
    except (ArithmeticError, ValueError):  # a date that Python does not have, or text that is not UTF-8
        return [_plain(value) for value in column.cast(_safe_type(column.type)).to_pylist()]
    return values


def _safe_type(kind: Any) -> Any:
    """Return an Arrow type whose values Python always has: dates and times as text, and text as bytes."""
    import pyarrow
    from pyarrow import types

    if types.is_temporal(kind):
        return pyarrow.string()
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pyarrow.large_binary()
    if types.is_dictionary(kind):
        return _safe_type(kind.value_type)
    if types.is_map(kind):
        return pyarrow.map_(_safe_type(kind.key_type), _safe_type(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pyarrow.large_list(_safe_type(kind.value_type))
    if types.is_struct(kind):
        return pyarrow.struct([(field.name, _safe_type(field.type)) for field in kind])
    return kind


def _plain(value: object) -> object:
    """Return a value as JSON would have it, as far as possible."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        return unfloated(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, list):
        if value and isinstance(value[0], tuple):  # a map
            return {str(_plain(key)): _plain(entry) for key, entry in value}
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value
