"""Spreadsheets: Excel workbooks (.xlsx, .xlsm, .xls) and OpenDocument (.ods). A sheet is held in memory."""

import itertools
from collections.abc import Iterator
from functools import partial

from shelfwise.indexer.errors import InputError, listed
from shelfwise.indexer.reading.files import Content, Record, Records, Source
from shelfwise.indexer.reading.headers import distinct, one_line
from shelfwise.indexer.reading.layout import header_place
from shelfwise.indexer.reading.workbooks import EMPTY_ZIP, OLE2, ZIP, Sheet, Workbook, open_workbook

SUFFIXES, MAGIC, IS_TEXT = (".xlsx", ".xlsm", ".xls", ".ods"), (ZIP, EMPTY_ZIP, OLE2), False
MAX_PREAMBLE = 20  # rows searched for the header

SheetRow = tuple[int, list[object]]  # number in the sheet, from 1, and values


def recognises(text: str) -> bool:
    """Return False: the first bytes identify the format."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the header, and the rows below it, of a sheet.

    The sheet is `source.sheet`, by its name or its number from 1, or the first visible one that may be a table. The
    header is found as in a table. Raise the errors of `open_workbook`, and InputError for an unknown sheet or one
    without rows.
    """
    notices: list[str] = []
    with source.file() as file:
        sheet = _sheet(open_workbook(file, source.name), source, notices)
    rows = _rows(sheet)
    first = list(itertools.islice(rows, MAX_PREAMBLE))
    if not first:
        raise InputError("empty_file", f"{source.name} has no rows", "a header line and rows", "name another file")
    place = header_place([["" if value is None else str(value) for value in values] for _, values in first])
    if place:
        notices.append(f"skipped what is above the header, which is row {first[place][0]}")
    header = [one_line("" if value is None else str(value)) for value in first[place][1]]
    columns, remark = distinct(header)
    notices += [remark] if remark else []
    unnamed = {column for column, cell in zip(columns, header, strict=True) if not cell}
    below = itertools.chain(first[place + 1 :], rows)
    records = partial(_records, below, columns, unnamed)
    return Content([column for column in columns if column not in unnamed], records, notices=notices)


def _sheet(workbook: Workbook, source: Source, notices: list[str]) -> Sheet:
    """Return the sheet that was asked for, or the first visible one with two columns, or the first one with rows."""
    names, asked = workbook.names, source.sheet
    if asked is not None:
        number = int(asked) - 1 if asked.isdecimal() and asked not in names else -1
        wanted = names[number] if 0 <= number < len(names) else asked
        if wanted not in names:
            raise InputError(
                "no_such_sheet", f"{source.name} has no sheet {asked!r}", listed(names), "name one of its sheets"
            )
        return workbook.sheet(wanted)
    filled = [sheet for sheet in map(workbook.sheet, names) if sheet.height]
    if not filled:
        raise InputError("empty_file", f"{source.name} has no rows", "a header line and rows", "name another file")
    tables = (sheet for sheet in filled if sheet.width > 1 and not sheet.hidden)
    found = next(tables, filled[0])
    if len(filled) > 1:
        others = listed(sheet.name for sheet in filled if sheet is not found)
        notices.append(f"read the sheet {found.name}, not the others with rows: {others}")
    return found


def _rows(sheet: Sheet) -> Iterator[SheetRow]:
    """Yield the number and the values of each row that is not empty."""
    for number, values in enumerate(sheet.rows(), 1):
        if any(value is not None for value in values):
            yield number, values


def _records(rows: Iterator[SheetRow], columns: list[str], unnamed: set[str]) -> Records:
    """Yield the records, without the empty cells below an empty header."""
    for number, values in rows:
        cells = zip(columns, values, strict=True)
        yield Record(number, {column: value for column, value in cells if value is not None or column not in unnamed})
