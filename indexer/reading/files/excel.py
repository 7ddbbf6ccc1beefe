"""Spreadsheets: Excel workbooks (.xlsx, .xlsm, .xls) and OpenDocument (.ods). A sheet is held in memory."""

import datetime
import itertools
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, TypeVar

from shelfwise.indexer.errors import InputError, first_line, listed
from shelfwise.indexer.reading.compression import UNREADABLE
from shelfwise.indexer.reading.files import Content, Record, Records, Source
from shelfwise.indexer.reading.headers import distinct, one_line
from shelfwise.indexer.reading.layout import header_place
from shelfwise.indexer.reading.numbers import unfloated

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

SUFFIXES, IS_TEXT = (".xlsx", ".xlsm", ".xls", ".ods"), False
_ZIP, _OLE2 = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAGIC = (_ZIP, b"PK\x05\x06", _OLE2)  # a zip may also be empty

MAX_EXPANDED = 2 << 30  # bytes of a workbook after decompression
MAX_CELLS = 1 << 26  # of a sheet, from its first to its last: each takes 32 bytes
MAX_PREAMBLE = 20  # rows searched for the header
_MAX_COLUMNS = 16_384  # of a sheet
# Cells with a value (the others end in />), their places, and the numbers of rows.
_FILLED = re.compile(rb"<(?:\w+:)?c(?=[\s>])[^>]*(?<!/)>")
_PLACE = re.compile(rb"""\sr=["']\$?([A-Za-z]{1,3})\$?(\d{1,7})""")
_ROW = re.compile(rb"""<(?:\w+:)?row\s[^>]*?\br=["'](\d{1,7})""")
_BOOKS = {"xl/workbook.xml", "xl/workbook.bin"}
_DAMAGED_ZIP = (*UNREADABLE, zipfile.BadZipFile, RuntimeError, ValueError, LookupError, struct.error)

SheetRow = tuple[int, list[object]]  # number in the sheet, from 1, and values
T = TypeVar("T")


def recognises(text: str) -> bool:
    """Return False: the first bytes identify the format."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the header, and the rows below it, of a sheet.

    The sheet is `source.sheet`, by its name or its number from 1, or the first one with rows. The header is the first
    row with at least half as many cells as the widest one of the first rows. Raise InputError for a file that is no
    workbook, or is damaged, too large, or protected by a password, for an unknown sheet, and for an unusable header.
    """
    from python_calamine import CalamineWorkbook

    notices: list[str] = []
    with source.file() as file:
        _require_workbook(file, source.name)
        workbook = _called(lambda: CalamineWorkbook.from_filelike(file), source.name)
        sheet = _sheet(workbook, source, notices)
    rows = _rows(sheet, source.name)
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


def _require_workbook(file: IO[bytes], name: str) -> None:
    """Raise InputError for a zip that is no workbook, is damaged or is too large, and for an encrypted workbook."""
    start = file.read(len(_OLE2))
    if start == _OLE2 and "EncryptedPackage".encode("utf-16-le") in file.read():
        raise _protected(name)
    if start != _OLE2:
        try:
            with zipfile.ZipFile(file) as archive:
                _require_sheets(archive, name)
                damaged = archive.testzip()  # also finds parts that are longer than they say
                if damaged is None:
                    _require_size(archive, name)
        except _DAMAGED_ZIP as error:
            raise _damaged(name, first_line(error)) from None
        if damaged is not None:
            raise _damaged(name, f"its part {damaged} is not intact")
    file.seek(0)


def _require_sheets(archive: zipfile.ZipFile, name: str) -> None:
    parts = archive.namelist()
    kind = archive.open("mimetype").read(100) if "mimetype" in parts else b""
    if _BOOKS.isdisjoint(parts) and not kind.startswith(b"application/vnd.oasis.opendocument.spreadsheet"):
        raise InputError(
            "is_an_archive",
            f"{name} is a zip archive, not a workbook: it holds {listed(parts, 3) or 'nothing'}",
            "a workbook, or one file",
            "unpack it and name a file in it",
        )
    expanded = sum(part.file_size for part in archive.infolist())
    if expanded > MAX_EXPANDED:
        raise _too_large(name, f"{expanded >> 20:,} MiB of data", f"at most {MAX_EXPANDED >> 20:,} MiB")


def _require_size(archive: zipfile.ZipFile, name: str) -> None:
    """Raise InputError if a sheet of an Excel workbook has a cell so far from the first that the memory would fill."""
    for part in archive.namelist():
        if part.startswith("xl/worksheets/") and part.endswith(".xml"):
            with archive.open(part) as sheet:  # what the file says of its dimension may be wrong
                rows, columns = _extent(sheet)
            if rows * columns > MAX_CELLS:
                raise _too_large(name, f"a sheet of {rows:,} rows and {columns:,} columns", f"{MAX_CELLS:,} cells")


def _extent(sheet: IO[bytes]) -> tuple[int, int]:
    """Return the last row and the last column that have a value. Cells that are only formatted do not count."""
    rows = columns = last_row = unplaced = 0
    rest = b""
    while piece := sheet.read(1 << 20):
        text = rest + piece
        for cell in _FILLED.finditer(text):
            place = _PLACE.search(cell[0])
            if place:
                rows, columns = max(rows, int(place[2])), max(columns, _column(place[1].upper()))
            else:
                unplaced += 1
        last_row = max([last_row, *map(int, _ROW.findall(text))])
        rest = text[-200:]
    return max(rows, last_row if unplaced else 0), max(columns, min(unplaced, _MAX_COLUMNS))


def _column(letters: bytes) -> int:
    """Return the number of a column, from 1.

    >>> _column(b"AB")
    28
    """
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _called(call: Callable[[], T], name: str) -> T:
    """Return what a call of calamine returns. Raise InputError for whatever it raises."""
    from python_calamine import PasswordError

    try:
        return call()
    except PasswordError:
        raise _protected(name) from None
    except BaseException as error:  # a panic of Rust is no Exception
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise _damaged(name, str(error).partition("\n")[0]) from None
        raise


def _sheet(workbook: "CalamineWorkbook", source: Source, notices: list[str]) -> "CalamineSheet":
    """Return the sheet that was asked for, or the first one with rows."""
    from python_calamine import SheetTypeEnum

    names = [sheet.name for sheet in workbook.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
    asked = source.sheet
    if asked is not None:
        number = int(asked) - 1 if asked.isdecimal() and asked not in names else -1
        wanted = names[number] if 0 <= number < len(names) else asked
        if wanted not in names:
            raise InputError(
                "no_such_sheet", f"{source.name} has no sheet {asked!r}", listed(names), "name one of its sheets"
            )
        return _called(lambda: workbook.get_sheet_by_name(wanted), source.name)
    filled: list[CalamineSheet] = []
    for name in names:
        sheet = _called(partial(workbook.get_sheet_by_name, name), source.name)
        filled += [sheet] if sheet.height else []
    if not filled:
        raise InputError("empty_file", f"{source.name} has no rows", "a header line and rows", "name another file")
    if len(filled) > 1:
        others = listed(sheet.name for sheet in filled[1:])
        notices.append(f"read the sheet {filled[0].name}, not the others with rows: {others}")
    return filled[0]


def _rows(sheet: "CalamineSheet", name: str) -> Iterator[SheetRow]:
    """Yield the number and the values of each row that is not empty."""
    rows = iter(sheet.iter_rows())
    for number in itertools.count(1):
        row = _called(lambda: next(rows, None), name)
        if row is None:
            return
        values = [_plain(value) for value in row]
        if any(value is not None for value in values):
            yield number, values


def _plain(value: object) -> object:
    """Return a cell's value: None if it is empty, dates and times as text, whole numbers as ints."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, float):
        return unfloated(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, datetime.timedelta) else value


def _records(rows: Iterator[SheetRow], columns: list[str], unnamed: set[str]) -> Records:
    """Yield the records, without the empty cells below an empty header."""
    for number, values in rows:
        cells = zip(columns, values, strict=True)
        yield Record(number, {column: value for column, value in cells if value is not None or column not in unnamed})


def _protected(name: str) -> InputError:
    return InputError(
        "password_protected",
        f"{name} is protected by a password",
        "a workbook without a password",
        "save it without one",
    )


def _too_large(name: str, found: str, expected: str) -> InputError:
    return InputError("spreadsheet_too_large", f"{name} has {found}", expected, "save the sheet as CSV (UTF-8)")


def _damaged(name: str, reason: str) -> InputError:
    return InputError(
        "damaged_file", f"{name} cannot be read as a spreadsheet ({reason})", "an intact workbook", "save it again"
    )
