"""Listings and catalogs as rows, from texts, dicts, Items, DataFrames and files."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, cast

from shelfwise.arguments import flag, path, text, whole, wrong_type
from shelfwise.indexer.errors import InputError, listed
from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.catalog import Catalog, catalog_of, read_catalog
from shelfwise.indexer.reading.columns import named_columns
from shelfwise.indexer.reading.files import FileOptions, open_records, require_encoding
from shelfwise.indexer.reading.listings import Listing, ListingReader
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.profiles import require_profile
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


def is_frame(value: object) -> bool:
    """Return True if a value is a pandas DataFrame. pandas is not imported for this."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def options_of(
    columns: object = None,
    encoding: object = None,
    profile: object = None,
    sheet: object = None,
    merge_spellings: object = False,
) -> ReadOptions:
    """Check the options for reading rows.

    These are the source column (or several) by field, the encoding of files, the name of a profile ("none" for no
    profile), the sheet of a spreadsheet by name or number, and whether to merge spellings of categories.
    """
    if columns is not None and not isinstance(columns, Mapping):
        raise wrong_type("columns", columns, "a dict from field to column")
    for name, source in (columns or {}).items():
        if not isinstance(source, str | list | tuple):
            raise wrong_type(f"columns[{name!r}]", source, "a str or a list of str")
    if encoding is not None:
        if not isinstance(encoding, str):
            raise wrong_type("encoding", encoding, "a str")
        require_encoding(encoding)
    chosen = None if profile is None else text("profile", profile)
    if chosen is not None:
        require_profile(chosen)
    page = None if sheet is None else str(whole("sheet", sheet, 1)) if isinstance(sheet, int) else text("sheet", sheet)
    merge = flag("merge_spellings", merge_spellings)
    file = FileOptions(encoding, sheet=page)
    return ReadOptions(named_columns(columns or {}), profile=chosen, merge_spellings=merge, file=file)


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
        read = catalog_of(rows_of(source, "the catalog", labelled=True), rejects, options)
    else:
        read = read_catalog(files, rejects, options)
    return read, tuple(rejects.rows)


def labelled_batches(source: object, options: ReadOptions, rejects: RejectList, size: int) -> Iterator[list[Listing]]:
    """Yield the usable rows of labelled files or rows in batches of at most `size`. Add the rest to `rejects`."""
    files = files_in(source)
    if files is None:
        rows = rows_of(source, "labelled", labelled=True)
        yield from ListingReader.of_rows(rows, "labelled", options, labelled=True).batches(rejects, size)
        return
    for file in files:
        with open_records(file, options=options.file) as records:
            yield from ListingReader.of_file(records, options, labelled=True).batches(rejects, size)


def read_items(listings: object, options: ReadOptions) -> tuple[list[Item], bool]:
    """Return the items to classify, and True if `listings` is one listing. Raise InputError for an unusable one."""
    single = isinstance(listings, str | Mapping | Item)
    items: list[Item] = []
    rows = list(rows_of([listings] if single else listings, "listings", labelled=False))
    if not rows:
        return items, single
    for row in ListingReader.of_rows(rows, "listings", options).rows():
        if isinstance(row, Reject):
            found = f"listings[{row.line}]: {row.column or 'the listing'}: {row.reason}"
            raise InputError(row.code, found, "a usable listing", "correct it, or leave it out")
        if row.item is not None:  # rows in memory are never variants
            items.append(row.item)
    return items, single


def rows_of(source: object, name: str, labelled: bool) -> Iterator[Row]:
    """Yield each row of a DataFrame, or of an iterable of dicts and Items, as a mapping from column to value.

    Unless `labelled`, a row may also be a str, its title. Raise InputError for other types.
    """
    if is_frame(source):
        frame = cast(Frame, source)
        if not len(frame.columns):
            found = f"{name} is a DataFrame without columns"
            raise InputError("no_title_column", found, "a column such as title, name or 标题", "add a column of titles")
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
    values = [_present(frame.iloc[:, place]) for place in range(len(columns))]
    for row in zip(*values, strict=True):
        yield dict(zip(columns, row, strict=True))


def _present(column: "pd.Series[Any]") -> list[object]:
    """Return the values of a column as Python objects, None if missing."""
    return [None if gone else value for value, gone in zip(column.tolist(), column.isna(), strict=True)]
