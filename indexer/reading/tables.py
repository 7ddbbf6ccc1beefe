"""Tables of delimited text: name the columns, and check each row against the header."""

import io
from collections import Counter
from collections.abc import Iterator

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.delimited import Cells, read_cells
from shelfwise.indexer.reading.files import UNDECODED, Content, Record, Records, Source, decodable
from shelfwise.indexer.reading.headers import distinct, one_line
from shelfwise.indexer.reading.layout import DELIMITERS, LAST_DELIMITER, TableLayout, find_layout, is_separator_line
from shelfwise.indexer.reading.rejects import Reject


def open_table(source: Source, delimiters: str = DELIMITERS + LAST_DELIMITER) -> Content:
    """Return the columns of the header, and the rows, of a table with one of these delimiters.

    Raise InputError when the header is unreadable.
    """
    layout = find_layout(source.sample, delimiters)
    if layout is None:
        raise InputError(
            "no_header",
            f"{source.name}: no readable header line",
            "column names such as id,title,category",
            "add a header line",
        )
    columns, notices = _columns(layout)
    table = _Table(source.name, layout, columns)

    def records() -> Records:
        with source.lines() as lines:
            try:
                yield from table.records(read_cells(lines, layout.delimiter, source.name, layout.spaced))
            finally:
                notices.extend(table.remarks())

    return Content(columns, records, layout.delimiter, notices)


def _columns(layout: TableLayout) -> tuple[list[str], list[str]]:
    """Return a distinct name for each cell of the header, and notices about what was changed or skipped."""
    notices = []
    if layout.above:
        lines = f"lines {layout.above[0]} to {layout.above[-1]}" if layout.above[1:] else f"line {layout.above[0]}"
        notices.append(f"{lines} skipped: text above the header, which is on line {layout.line}")
    if layout.spaced:
        notices.append("blanks before the quotes around fields are left out")
    names = [UNDECODED.sub("\ufffd", one_line(cell)) for cell in layout.header]
    if any(UNDECODED.search(cell) for cell in layout.header):
        notices.append("the header has characters that are invalid in this encoding: name the encoding of the file")
    columns, remark = distinct(names)
    return columns, [*notices, remark] if remark else notices


class _Table:
    """Turn the cells of a table into records, and collect remarks about rows."""

    def __init__(self, name: str, layout: TableLayout, columns: list[str]) -> None:
        self._name = name
        self._layout = layout
        self._columns = columns
        self._header = [one_line(cell) for cell in layout.header]
        # First cells of a row that may be a header, or a line that names the delimiter.
        self._suspects = {*layout.header, *self._header}
        if layout.separated:
            self._suspects |= {word + after for word in ("sep=", "SEP=") for after in ("", layout.delimiter)}
        self._remarks: dict[str, str] = {}  # the first of each kind
        self._count: Counter[str] = Counter()

    def records(self, rows: Iterator[Cells | Reject]) -> Records:
        """Yield a record, or a reject, for each row below the header."""
        columns, width, suspects = self._columns, len(self._columns), self._suspects
        for row in rows:
            if not isinstance(row, Reject) and row[0] == self._layout.line:
                break
        for row in rows:
            if isinstance(row, Reject):
                yield row
                continue
            line, cells, valid = row
            if not valid:
                self._look_for_rows(line, cells)
            if len(cells) != width or cells[0] in suspects:
                checked = self._checked(line, cells)
                if isinstance(checked, Reject):
                    yield checked
                if not isinstance(checked, list):
                    continue
                cells = checked
            record = Record(line, dict(zip(columns, cells, strict=True)))
            yield record if valid else decodable(record, self._name)

    def remarks(self) -> Iterator[str]:
        """Yield the first remark of each kind, and how many more there are."""
        for kind, remark in self._remarks.items():
            more = self._count[kind] - 1
            yield f"{remark} ({more} more like this)" if more else remark

    def _remark(self, kind: str, text: str) -> None:
        self._remarks.setdefault(kind, text)
        self._count[kind] += 1

    def _checked(self, line: int, cells: list[str]) -> list[str] | Reject | None:
        """Return the cells without empty ones beyond the header, a reject, or None for a row to skip."""
        width = len(self._columns)
        last = max((place for place, cell in enumerate(cells, 1) if cell.strip()), default=0)
        cells = cells[: max(width, last)]
        if self._layout.separated and is_separator_line(cells, self._layout.delimiter):
            return None
        folded = [one_line(cell) for cell in cells]
        value = self._layout.delimiter.join(cells)
        if folded == self._header:
            self._remark("header", f"line {line} repeats the header: skipped")
            return None
        full = [cell for cell in folded if cell]
        names = set(full)
        if 2 * len(names) > len(self._header) and len(names) == len(full) > 1 and names <= set(self._header):
            reason = "names of columns in another order than in the header: files were joined"
            return Reject(self._name, line, "", value, "repeated_header", reason)
        if len(cells) != width:
            reason = f"{len(cells)} fields where the header has {width}"
            return Reject(self._name, line, "", value, "wrong_field_count", reason)
        return cells

    def _look_for_rows(self, line: int, cells: list[str]) -> None:
        """Remark on a quoted field with several lines that look like rows: a quote may be missing."""
        delimiters = len(self._columns) - 1
        for cell in cells:
            if delimiters and ("\n" in cell or "\r" in cell):
                lines = io.StringIO(cell, newline="")
                rows = sum(text.count(self._layout.delimiter) == delimiters for text in lines)
                if rows > 1:
                    what = f"a quoted field holds {rows} lines that look like rows; check for a missing quote"
                    self._remark("quotes", f"line {line}: {what}")
