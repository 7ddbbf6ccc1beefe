"""Turn records into items: match columns to fields, reject unusable rows, find repeated ids."""

import datetime
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from shelfwise.indexer.errors import InputError, first_line, listed
from shelfwise.indexer.item import (
    FIELDS,
    ID,
    IMAGE,
    KEPT,
    TEXT,
    Item,
    clean,
    derived_id,
    joined_path,
    leaf_of,
    names_of,
    normal_path,
)
from shelfwise.indexer.reading.files import Record, RecordFile, open_records
from shelfwise.indexer.reading.rejects import IN_MEMORY, Reject, Rejects

AS_WRITTEN = names_of(ID, TEXT, IMAGE, KEPT)  # fields stored as the shop wrote them
# Control characters, and lone surrogates, which no encoding can write. None of them is printable.
_UNUSABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Listing:
    """A row to classify: its item, its line and all columns of the input, unchanged."""

    line: int
    item: Item
    source: dict[str, object]


@dataclass
class Catalog:
    """Items of one or more files by id, and counts of the rows read.

    `conflicting` counts rows that repeat an id with other content (the last row wins), `repeated` rows that repeat an
    id with the same content.
    """

    items: dict[str, Item] = field(default_factory=dict)
    rows: int = 0
    rejected: int = 0
    repeated: int = 0
    conflicting: int = 0
    notices: list[str] = field(default_factory=list)

    def take(self, rows: Iterable[Listing | Reject], name: str, rejects: Rejects) -> None:
        """Add the rows of a source called `name`; unusable rows go to `rejects`.

        Raise InputError when the source has no rows, or when the catalog still has no item afterwards.
        """
        before = self.rows
        for row in rows:
            self.rows += 1
            if isinstance(row, Reject):
                rejects.add(row)
                self.rejected += 1
                continue
            earlier = self.items.pop(row.item.id, None)
            self.repeated += earlier == row.item
            self.conflicting += earlier is not None and earlier != row.item
            self.items[row.item.id] = row.item
        _require_rows(name, self.rows - before, rejects, usable=bool(self.items))


@dataclass(frozen=True)
class ReadOptions:
    """How to read rows: columns by field (see `named_columns`), and a file's encoding and format."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoding: str | None = None
    format: str | None = None


def named_columns(columns: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Check which columns give each field, and return the columns of each field as a tuple.

    Raise InputError for an unknown field, for a missing column name, or for several columns of a field other than
    attributes.

    >>> named_columns({"title": "name", "attributes": ["gender", "colour"]})
    {'title': ('name',), 'attributes': ('gender', 'colour')}
    """
    named: dict[str, tuple[str, ...]] = {}
    for name, source in columns.items():
        found = (source,) if isinstance(source, str) else tuple(source)
        if name not in FIELDS:
            raise InputError(
                "unknown_field", f"columns for {name!r}", f"one of {', '.join(FIELDS)}", "name one of these fields"
            )
        if not found or not all(isinstance(column, str) and column for column in found):
            raise InputError(
                "bad_columns", f"columns {found!r} for {name!r}", "the name of a column", "name a column of the input"
            )
        if len(found) > 1 and not FIELDS[name].joined:
            raise InputError(
                "bad_columns",
                f"columns {found!r} for {name!r}",
                "one column, since this field cannot be joined",
                "name one column",
            )
        named[name] = found
    return named


def match_columns(
    found: list[str], overrides: Mapping[str, tuple[str, ...]], labelled: bool, name: str
) -> dict[str, tuple[str, ...]]:
    """Return the columns of a file that give each field.

    `overrides` come first, then known headers, the most usual first. Raise InputError when a column named in
    `overrides` is missing, or when no column gives the title or (for a `labelled` file) the category.
    """
    absent = [column for columns in overrides.values() for column in columns if column not in found]
    if absent:
        raise InputError(
            "no_such_column", f"{name} has no column {listed(absent)}", listed(found), "name one of its columns"
        )
    plain = {re.sub(r"[\s_\-]", "", unicodedata.normalize("NFKC", c)).casefold(): c for c in reversed(found)}
    mapping = dict(overrides)
    for field_name, declared in FIELDS.items():
        match = next((plain[header] for header in declared.headers if header in plain), None)
        if field_name not in mapping and match is not None:
            mapping[field_name] = (match,)
    if "title" not in mapping:
        raise InputError(
            "no_title_column",
            f"{name} has no title column, it has {listed(found)}",
            "a column such as title, name or 标题",
            "name the column with the titles",
        )
    if labelled and "category" not in mapping and "category_path" not in mapping:
        raise InputError(
            "no_category_column",
            f"{name} has no category column, it has {listed(found)}",
            "a column such as category_path, category or 类目",
            "name the column with the categories",
        )
    return mapping


def read_catalog(paths: Iterable[str | Path], rejects: Rejects, options: ReadOptions | None = None) -> Catalog:
    """Return a catalog with all usable rows of labelled files.

    Unusable rows go to `rejects`. Raise InputError for a file that cannot be read or has no rows, or when no row of the
    files read so far is usable.
    """
    options = options or ReadOptions()
    catalog = Catalog()
    for path in paths:
        with open_records(path, encoding=options.encoding, fmt=options.format) as source:
            catalog.notices += [f"{source.name}: {notice}" for notice in source.notices]
            catalog.take(_items(source, options, labelled=True), source.name, rejects)
    return catalog


def catalog_of(
    rows: Iterable[Mapping[str, object]], rejects: Rejects, columns: Mapping[str, tuple[str, ...]]
) -> Catalog:
    """Return a catalog with all usable labelled rows in memory, each a mapping from column to value.

    Unusable rows go to `rejects`. Raise InputError when there are no rows or no row is usable.
    """
    catalog = Catalog()
    catalog.take(items_in(rows, columns, labelled=True), "the data", rejects)
    return catalog


def items_in(
    rows: Iterable[Mapping[str, object]], columns: Mapping[str, tuple[str, ...]], labelled: bool
) -> Iterator[Listing | Reject]:
    """Yield the item of each row in memory, or a reject with the reason. A row's line is its position, from 0."""
    mappings: dict[tuple[str, ...], Mapping[str, tuple[str, ...]]] = {}
    for place, values in enumerate(rows):
        keys = tuple(values)
        try:
            if keys not in mappings:
                mappings[keys] = match_columns(list(keys), columns, labelled, "the row")
        except InputError as error:
            yield Reject(IN_MEMORY, place, "", ", ".join(keys), error.code, error.found)
            continue
        yield _row(Record(place, dict(values)), mappings[keys], labelled, IN_MEMORY)


def read_listings(
    source: RecordFile, rejects: Rejects, options: ReadOptions, batch: int, labelled: bool = False
) -> Iterator[list[Listing]]:
    """Yield the rows of an opened file in order, in batches of at most `batch`.

    A title may be empty unless the rows are `labelled`; the decision then says so. Unusable rows go to `rejects`. Raise
    InputError for a file without any usable row.
    """
    return batched(_items(source, options, labelled), source.name, rejects, batch)


def batched(rows: Iterable[Listing | Reject], name: str, rejects: Rejects, size: int) -> Iterator[list[Listing]]:
    """Yield the usable rows of a source called `name` in batches of at most `size`.

    Unusable rows go to `rejects`. Raise InputError when there are no rows or no row is usable.
    """
    batch: list[Listing] = []
    seen = 0
    for row in rows:
        seen += 1
        if isinstance(row, Reject):
            rejects.add(row)
            continue
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
    _require_rows(name, seen, rejects, usable=seen > rejects.count)


def _require_rows(name: str, rows: int, rejects: Rejects, usable: bool) -> None:
    if rows == 0:
        raise InputError("no_rows", f"{name} has no rows", "at least one row", "add rows to it")
    if not usable and rejects.first is not None:
        first = rejects.first
        raise InputError(
            "no_usable_row",
            f"{name} has no usable row: all {rejects.count} were rejected, the first in {first.place} ({first.reason})",
            "at least one usable row",
            "correct the rows",
        )


def _items(source: RecordFile, options: ReadOptions, labelled: bool) -> Iterator[Listing | Reject]:
    mapping = match_columns(source.columns, options.columns, labelled, source.name)
    for record in source.records():
        if isinstance(record, Reject):
            yield record
            continue
        yield _row(record, mapping, labelled, source.name)


def _row(record: Record, mapping: Mapping[str, tuple[str, ...]], labelled: bool, name: str) -> Listing | Reject:
    values: dict[str, str] = {}
    for field_name, columns in mapping.items():
        try:
            values[field_name] = _joined(record.values, columns)
        except (TypeError, ValueError, RecursionError) as error:
            reason = first_line(error) if isinstance(error, TypeError) else "a value too large or too deeply nested"
            return Reject(name, record.line, "+".join(columns), "", "unusable_value", reason)
    item = _item(values, labelled)
    if isinstance(item, _Fault):
        column = "+".join(mapping.get(item.field, (item.field,)))
        return Reject(name, record.line, column, values.get(item.field, ""), item.code, item.reason)
    return Listing(record.line, item, record.values)


def _joined(found: Mapping[str, object], columns: tuple[str, ...]) -> str:
    if len(columns) == 1:
        value = found.get(columns[0])
        return value if isinstance(value, str) else _as_text(value)
    parts = ((column, _as_text(found.get(column))) for column in columns)
    return "; ".join(f"{column}: {value}" for column, value in parts if value)


def _as_text(value: object) -> str:
    """Return a cell as text: objects as "key: value; ...", lists joined by commas, None and NaN as "".

    Raise TypeError for values without a text form: bytes, functions, files.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_as_text(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(entry) for entry in value)
    if isinstance(value, int | datetime.date | datetime.time | datetime.timedelta | UUID):
        return "" if type(value).__name__ == "NaTType" else str(value)
    if isinstance(value, float | Decimal):
        return "" if value != value else str(value)
    if hasattr(value, "tolist"):  # numpy's
        return _as_text(value.tolist())
    if type(value).__name__ in ("NAType", "NaTType"):
        return ""
    raise TypeError(f"a value of type {type(value).__name__}")


class _Fault(NamedTuple):
    """The fault that makes a row unusable: its field, its error code, and the reason in words."""

    field: str
    code: str
    reason: str


def item_of(values: Mapping[str, str], labelled: bool) -> Item:
    """Return the item of `values` by field, with the checks of a file's rows. Raise InputError if one fails."""
    item = _item(values, labelled)
    if isinstance(item, _Fault):
        raise InputError(item.code, f"{item.field}: {item.reason}", "a usable value", "correct the field")
    return item


def _item(values: Mapping[str, str], labelled: bool) -> Item | _Fault:
    """Return the item of `values` by field, or the first fault that makes it unusable."""
    for name, value in values.items():
        limit = FIELDS[name].longest
        if len(value) > limit:
            return _Fault(name, "too_long", f"{len(value)} characters, more than the limit of {limit}")
        if not value.isprintable() and (found := _UNUSABLE.search(value)):
            if found[0] < "\ud800":
                return _Fault(name, "control_character", f"control character U+{ord(found[0]):04X}")
            return _Fault(name, "invalid_character", f"incomplete character U+{ord(found[0]):04X}")
    said = {name: values.get(name, "").strip() for name in AS_WRITTEN}
    path, category = normal_path(values.get("category_path", "")), clean(values.get("category", ""))
    if not path:
        path, category = joined_path(category), ""
    item = Item(**said, category=category or leaf_of(path), category_path=path)
    if labelled and not _has_title(item):
        return _Fault("title", "empty_title", "empty title")
    if labelled and not path:
        return _Fault("category" if "category" in values else "category_path", "empty_category", "empty category")
    return item if item.id else replace(item, id=derived_id(item))


def _has_title(item: Item) -> bool:
    """Return True if the title has words. Most titles pass a quick check and need no cleaning."""
    plain = "<" not in item.title and "&" not in item.title and any(map(str.isalnum, item.title))
    return plain or bool(item.words.title)
