"""Listings and catalogs as rows, from texts, dicts, Items, DataFrames and files."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from shelfwise.arguments import path, wrong_type
from shelfwise.indexer.errors import InputError, listed
from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.catalog import (
    Catalog,
    Listing,
    ReadOptions,
    batched,
    catalog_of,
    items_in,
    match_columns,
    named_columns,
    read_catalog,
    read_listings,
)
from shelfwise.indexer.reading.files import open_records, require_encoding
from shelfwise.indexer.reading.rejects import Reject, RejectList

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, object]


class Frame(Protocol):
    """The part of a pandas DataFrame used here."""

    @property
    def columns(self) -> Any:
        """The column names."""
        ...

    @property
    def iloc(self) -> Any:
        """The cells by position."""
        ...


WHOLE_FLOATS = 2**53  # floats are exact for whole numbers below this


def is_frame(value: object) -> bool:
    """Return True if a value is a pandas DataFrame. pandas is not imported for this."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def options_of(columns: object, encoding: object) -> ReadOptions:
    """Check the options for reading rows: source column (several for attributes) by field, and file encoding."""
    if columns is not None and not isinstance(columns, Mapping):
        raise wrong_type("columns", columns, "a dict from field to column")
    for name, source in (columns or {}).items():
        if not isinstance(source, str | list | tuple):
            raise wrong_type(f"columns[{name!r}]", source, "a str or a list of str")
    if encoding is not None:
        if not isinstance(encoding, str):
            raise wrong_type("encoding", encoding, "a str")
        require_encoding(encoding)
    return ReadOptions(named_columns(columns or {}), encoding)


def files_in(source: object) -> list[str] | None:
    """Return the paths in a source that is one file or a list of files. Return None if it holds rows."""
    if isinstance(source, str | os.PathLike):
        return [str(path("the catalog", source))]
    if isinstance(source, list | tuple) and source and all(isinstance(one, str | os.PathLike) for one in source):
        return [str(path("the catalog", one)) for one in source]
    return None


def read_labelled(source: object, options: ReadOptions) -> tuple[Catalog, tuple[Reject, ...]]:
    """Return the items of labelled files or rows, and the rejects. Raise InputError if no row is usable."""
    rejects, files = RejectList(), files_in(source)
    if files is None:
        rows = rows_of(source, "the catalog", options, labelled=True)
        return catalog_of(rows, rejects, options.columns), tuple(rejects.rows)
    return read_catalog(files, rejects, options), tuple(rejects.rows)


def labelled_batches(source: object, options: ReadOptions, rejects: RejectList, size: int) -> Iterator[list[Listing]]:
    """Yield the usable rows of labelled files or rows in batches of at most `size`. Add the rest to `rejects`."""
    files = files_in(source)
    if files is None:
        rows = items_in(rows_of(source, "labelled", options, labelled=True), options.columns, labelled=True)
        yield from batched(rows, "labelled", rejects, size)
        return
    for file in files:
        with open_records(file, encoding=options.encoding) as records:
            yield from read_listings(records, rejects, options, size, labelled=True)


def read_items(listings: object, options: ReadOptions) -> tuple[list[Item], bool]:
    """Return the items to classify, and True if `listings` is one listing. Raise InputError for an unusable one."""
    single = isinstance(listings, str | Mapping | Item)
    items = []
    rows = rows_of([listings] if single else listings, "listings", options, labelled=False)
    for row in items_in(rows, options.columns, labelled=False):
        if isinstance(row, Reject):
            found = f"listings[{row.line}]: {row.column or 'the listing'}: {row.reason}"
            raise InputError(row.code, found, "a usable listing", "correct it, or leave it out")
        items.append(row.item)
    return items, single


def rows_of(source: object, name: str, options: ReadOptions, labelled: bool) -> Iterator[Row]:
    """Yield each row of a DataFrame, or of an iterable of dicts and Items, as a mapping from column to value.

    Unless `labelled`, a row may also be a str, its title. Raise InputError for other types, and for a DataFrame that
    lacks a required column.
    """
    if is_frame(source):
        frame = cast(Frame, source)
        match_columns([str(column) for column in frame.columns], options.columns, labelled, name)
        yield from _frame_rows(frame, name)
        return
    texts = not labelled
    kinds = "dicts or Items" if not texts else "str, dicts or Items"
    if isinstance(source, Mapping | Item):
        source = [source]
    if isinstance(source, str | bytes) or not isinstance(source, Iterable):
        raise wrong_type(name, source, f"{'a str, ' if texts else ''}a DataFrame, or an iterable of {kinds}")
    for place, row in enumerate(source):
        if isinstance(row, Item):
            _require_texts(row, f"{name}[{place}]")
            yield asdict(row)
        elif isinstance(row, Mapping):
            if not all(isinstance(key, str) for key in row):
                raise wrong_type(f"{name}[{place}]", row, "a dict with str keys")
            yield row
        elif texts and isinstance(row, str):
            yield {"title": row}
        else:
            raise wrong_type(f"{name}[{place}]", row, kinds)


def _require_texts(item: Item, name: str) -> None:
    for field, value in asdict(item).items():
        if not isinstance(value, str):
            raise wrong_type(f"{name}.{field}", value, "a str")


def _frame_rows(frame: Frame, name: str) -> Iterator[Row]:
    columns = [str(column) for column in frame.columns]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        found = f"{name} has the column {listed(twice)} more than once"
        raise InputError("repeated_column", found, "each column name once", "rename one of them")
    values = [_plain(frame.iloc[:, place]) for place in range(len(columns))]
    for row in zip(*values, strict=True):
        yield dict(zip(columns, row, strict=True))


def _plain(column: "pd.Series[Any]") -> list[object]:
    """Return the values of a column as Python objects, None if missing. Floats become int if all are whole."""
    missing = column.isna().tolist()
    if column.dtype.kind != "f":
        return [None if gone else value for value, gone in zip(column.tolist(), missing, strict=True)]
    numbers = column.dropna().to_numpy(np.float64)
    whole = bool((np.floor(numbers) == numbers).all() and (abs(numbers) < WHOLE_FLOATS).all())
    made = iter(numbers.tolist())
    return [None if gone else int(next(made)) if whole else next(made) for gone in missing]
