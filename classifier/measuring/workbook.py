"""Write listings with their decisions as an Excel workbook."""

import re
from collections.abc import Iterable, Sequence
from typing import IO, Any

from shelfwise.classifier.measuring.encoded import whole
from shelfwise.classifier.measuring.output import FlatWriter, Layout
from shelfwise.classifier.measuring.values import as_text
from shelfwise.classifier.model.decision import Decision
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.guard import told_apart
from shelfwise.indexer.reading.listings import Listing

MOST_SHEET_ROWS, MOST_SHEET_COLUMNS = 1_048_576, 16_384
LONGEST_CELL = 32_767  # UTF-16 units
EXACT_BELOW = 10**15  # Excel keeps 15 digits of a number: a longer one, such as a barcode, is written as text
NARROWEST, WIDEST = 12, 40  # widths of columns in characters
_no_xml = re.compile("[\ufffe\uffff]").sub  # XML has no form for these; the format escapes other controls


class WorkbookWriter(FlatWriter):
    """A writer of one sheet. Text stays text, whatever it begins with: no cell is a formula or a link."""

    def __init__(self, out: IO[bytes], layout: Layout, expected: Iterable[str] = ()) -> None:
        from xlsxwriter import Workbook

        super().__init__(layout.columns)
        if len(self.header) > MOST_SHEET_COLUMNS:
            raise _too_large(f"{len(self.header)} columns", f"at most {MOST_SHEET_COLUMNS} columns")
        self._book = Workbook(out, {"constant_memory": True})
        self._sheet = self._book.add_worksheet("decisions")
        self._row = self._cut = 0
        self._sheet.freeze_panes(1, 0)
        bold = self._book.add_format({"bold": True})
        for column, name in enumerate(self.header):
            self._sheet.set_column(column, column, min(max(len(name) + 2, NARROWEST), WIDEST))
            self._put_text(column, name, bold)

    def write(self, listings: Sequence[Listing], decisions: Sequence[Decision | None]) -> None:
        """Write one row per listing, in order. Raise InputError if the sheet is full."""
        for values, cells in self.rows(listings, decisions):
            self._row += 1
            if self._row == MOST_SHEET_ROWS:
                raise _too_large("more rows than a sheet has", f"at most {MOST_SHEET_ROWS - 1} rows and a header")
            for column, value in enumerate((*values, *cells)):
                self._put(column, value)

    def close(self) -> None:
        """Write the file, and note if cells were cut."""
        self._book.close()
        if self._cut:
            self.notices.append(
                f"cells cut to {LONGEST_CELL} characters, the most that Excel holds: {self._cut}; write CSV to keep all"
            )
        super().close()

    def _put(self, column: int, value: object) -> None:
        if isinstance(value, bool):
            self._sheet.write_boolean(self._row, column, value)
        elif isinstance(value, int | float) and abs(value) < EXACT_BELOW:
            self._sheet.write_number(self._row, column, value)
        elif text := as_text(value):
            self._put_text(column, text)

    def _put_text(self, column: int, text: str, style: Any = None) -> None:
        text = _no_xml(lambda found: f"\\u{ord(found[0]):04x}", whole(told_apart(text)))
        if 2 * len(text) > LONGEST_CELL and len(units := text.encode("utf-16-le")) > 2 * LONGEST_CELL:
            text = units[: 2 * LONGEST_CELL].decode("utf-16-le", "ignore")
            self._cut += 1
        # XlsxWriter would take such a text for XML. In parts it is a rich text, which shows controls as escapes.
        if text.startswith("<r>") and text.endswith("</r>"):
            self._sheet.write_rich_string(self._row, column, text[0], text[1], text[2:], *filter(None, [style]))
        else:
            self._sheet.write_string(self._row, column, text, style)


def _too_large(found: str, expected: str) -> InputError:
    return InputError("sheet_too_large", f"{found}, for an Excel output", expected, "write CSV")
