"""Open workbooks (.xlsx, .xlsm, .xls, .ods), and refuse those that are damaged, protected or would fill the memory."""

import datetime
import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, NamedTuple, TypeVar
from xml.parsers import expat

from shelfwise.indexer.errors import InputError, first_line, listed
from shelfwise.indexer.reading.compression import UNREADABLE
from shelfwise.indexer.reading.numbers import unfloated

ZIP, OLE2 = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
EMPTY_ZIP = b"PK\x05\x06"
MAX_EXPANDED = 2 << 30  # bytes of a workbook after decompression
MAX_CELLS = 1 << 26  # of a sheet, from its first to its last: each takes 32 bytes
_MAX_ROWS, _MAX_COLUMNS = 1 << 20, 1 << 14  # of a sheet
# Cells with a value (the others end in />), their places, and the numbers of rows.
_FILLED = re.compile(rb"<(?:\w+:)?c(?=[\s>])[^>]*(?<!/)>")
_PLACE = re.compile(rb"""\sr=["']\$?([A-Za-z]{1,3})\$?(\d{1,7})""")
_ROW = re.compile(rb"""<(?:\w+:)?row\s[^>]*?\br=["'](\d{1,7})""")
_BOOK, _BINARY_BOOK = "xl/workbook.xml", "xl/workbook.bin"
_ODS, _ODS_CONTENT = b"application/vnd.oasis.opendocument.spreadsheet", "content.xml"
_DAMAGED = (*UNREADABLE, zipfile.BadZipFile, RuntimeError, ValueError, LookupError, struct.error, expat.ExpatError)

Called = TypeVar("Called")


class Sheet(NamedTuple):
    """A sheet: its name, numbers of rows and columns, if it is hidden, and a function that yields each row's values."""

    name: str
    height: int
    width: int
    hidden: bool
    rows: Callable[[], Iterator[list[object]]]


class Workbook(NamedTuple):
    """A workbook: the names of its sheets with cells, and a function that reads one of them."""

    names: list[str]
    sheet: Callable[[str], Sheet]


def open_workbook(file: IO[bytes], name: str) -> Workbook:
    """Return the workbook in a seekable file that begins as one; `name` is the file's for users.

    Values are as Python has them: None for empty cells and errors, dates and times as text, whole numbers as ints.
    Raise InputError for any other file, and for a workbook that is damaged, protected by a password, or too large.
    """
    if file.read(len(OLE2)) == OLE2:
        file.seek(0)
        return _old_workbook(file.read(), name)
    try:
        with zipfile.ZipFile(file) as archive:
            _require_sheets(archive, name)
            damaged = archive.testzip()  # also finds parts that are longer than they say
            if damaged is None:
                _require_size(archive, name)
    except _DAMAGED as error:
        raise _damaged(name, first_line(error)) from None
    if damaged is not None:
        raise _damaged(name, f"its part {damaged} is not intact")
    file.seek(0)
    return _workbook(file, name)


def _workbook(file: IO[bytes], name: str) -> Workbook:
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    book = _called(lambda: CalamineWorkbook.from_filelike(file), name)

    def rows(sheet: Any) -> Iterator[list[object]]:
        found = iter(sheet.iter_rows())
        while (row := _called(lambda: next(found, None), name)) is not None:
            yield list(map(_plain, row))

    def sheet(one: str) -> Sheet:
        found = _called(lambda: book.get_sheet_by_name(one), name)
        return Sheet(one, found.height, found.width, one not in visible, partial(rows, found))

    sheets = [one for one in book.sheets_metadata if one.typ == SheetTypeEnum.WorkSheet]
    visible = {one.name for one in sheets if one.visible == SheetVisibleEnum.Visible}
    return Workbook([one.name for one in sheets], sheet)


def _old_workbook(content: bytes, name: str) -> Workbook:
    """Return the workbook in an .xls file. xlrd keeps the cells that are there, not the area around them."""
    import xlrd

    if "EncryptedPackage".encode("utf-16-le") in content:  # a newer workbook with a password
        raise _protected(name)
    try:
        book = xlrd.open_workbook(file_contents=content, logfile=io.StringIO(), on_demand=True, ragged_rows=True)
    except xlrd.XLRDError as error:
        raise _protected(name) if "encrypted" in str(error) else _damaged(name, first_line(error)) from None
    except Exception as error:  # what xlrd raises for a damaged file depends on the place of the damage
        raise _damaged(name, first_line(error)) from None

    def value_of(cell: Any) -> object:
        if cell.ctype == xlrd.XL_CELL_DATE:
            return _moment(cell.value, book.datemode)
        if cell.ctype == xlrd.XL_CELL_BOOLEAN:
            return bool(cell.value)
        return None if cell.ctype == xlrd.XL_CELL_ERROR else _plain(cell.value)

    def rows(sheet: Any) -> Iterator[list[object]]:
        for number in range(sheet.nrows):
            row: list[object] = list(map(value_of, sheet.row(number)))
            yield row + [None] * (sheet.ncols - len(row))

    def sheet(one: str) -> Sheet:
        try:
            found = book.sheet_by_name(one)
        except Exception as error:
            raise _damaged(name, first_line(error)) from None
        return Sheet(one, found.nrows, found.ncols, found.visibility != 0, partial(rows, found))

    return Workbook(book.sheet_names(), sheet)


def _moment(number: float, datemode: int) -> object:
    """Return a date or time of an .xls file as text; the number itself if it is none."""
    import xlrd

    try:
        found = xlrd.xldate_as_datetime(number, datemode)
    except (xlrd.XLDateError, ValueError, OverflowError):
        return unfloated(number)
    if number < 1:
        return found.time().isoformat()
    return _plain(found.date() if number.is_integer() else found)


def _called(call: Callable[[], Called], name: str) -> Called:
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


def _plain(value: object) -> object:
    """Return a cell's value: None if it is empty, dates and times as text, whole numbers as ints."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, float):
        return unfloated(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, datetime.timedelta) else value


def _require_sheets(archive: zipfile.ZipFile, name: str) -> None:
    parts = archive.namelist()
    kind = archive.open("mimetype").read(100) if "mimetype" in parts else b""
    if _BINARY_BOOK in parts:
        raise InputError(
            "binary_workbook", f"{name} is a binary workbook (.xlsb)", "a workbook as .xlsx", "save it as .xlsx"
        )
    if _BOOK not in parts and not kind.startswith(_ODS):
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
    """Raise InputError if a sheet has a cell so far from the first that the memory would fill."""
    for part in archive.namelist():
        if part == _ODS_CONTENT or (part.startswith("xl/worksheets/") and part.endswith(".xml")):
            with archive.open(part) as sheet:  # what the file says of its dimension may be wrong
                rows, columns = _extent_of_ods(sheet) if part == _ODS_CONTENT else _extent(sheet)
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


def _extent_of_ods(content: IO[bytes]) -> tuple[int, int]:
    """Return the last row and the last column that have a value in any sheet, with their repetitions."""
    counter = _Repetitions()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = counter.start, counter.end
    parser.ParseFile(content)
    return counter.extent


class _Repetitions:
    """Counts the rows and columns of the sheets in an OpenDocument file. Empty ones at the end do not count."""

    def __init__(self) -> None:
        self.extent = 0, 0
        self._row = self._column = self._filled = 0

    def start(self, element: str, attributes: dict[str, str]) -> None:
        name = element.rpartition(":")[2]
        if name == "table":
            self._row = 0
        elif name == "table-row":
            self._column = self._filled = 0
        elif name in ("table-cell", "covered-table-cell"):
            self._column += _repeated(attributes, "columns", _MAX_COLUMNS)
            if any(key.endswith(("value-type", "formula")) for key in attributes):
                self._filled = self._column
        elif name == "p" and self._column:
            self._filled = self._column
        if name == "table-row":
            self._repeated = _repeated(attributes, "rows", _MAX_ROWS)

    def end(self, element: str) -> None:
        if element.rpartition(":")[2] == "table-row":
            self._row += self._repeated
            if self._filled:
                self.extent = max(self.extent[0], self._row), max(self.extent[1], self._filled)


def _repeated(attributes: dict[str, str], what: str, most: int) -> int:
    times = next((value for key, value in attributes.items() if key.endswith(f"number-{what}-repeated")), "1")
    return min(int(times), most) if times.isdecimal() else 1


def _column(letters: bytes) -> int:
    """Return the number of a column, from 1.

    >>> _column(b"AB")
    28
    """
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


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
