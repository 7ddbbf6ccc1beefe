"""Find the delimiter and the header of a table in the beginning of its text."""

import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shelfwise.indexer.reading.delimited import read_cells
from shelfwise.indexer.reading.profiles import header_of
from shelfwise.indexer.reading.rejects import Reject

USUAL_DELIMITERS = ",;\t|"
DELIMITERS = USUAL_DELIMITERS + "^~\x01\x02\x1e\x1f§¦¬"
LAST_DELIMITER = ":"  # times and notes have it: used if nothing else fits
SAMPLE_ROWS = 100
LINES_OF_NAMES = 8  # lines at the top, one of which may be the header of a known export
SHARE_ON_FIRST_LINE = 0.5  # share of rows that must fit a header on the first line
SHARE_BELOW_TEXT = 0.8  # share of rows that must fit a header below other lines
NAMED_BELOW_TEXT = 0.75  # share of columns that must have a name in a header below other lines
# A spreadsheet's line that names the delimiter. Another delimiter after it was added when the table was saved again.
SEPARATOR_LINE = re.compile(r'"?sep=(?P<named>[^"\w \r\n])"?(?:(?P<added>[,;\t|])(?P=added)*)?[ \r\n]*$', re.I | re.M)


@dataclass(frozen=True)
class TableLayout:
    """Delimiter of a table, its `header` (cells without empty ones at the end), and the header's first line.

    `above` has the lines of other text above the header. `separated` is True if the first line names the delimiter, and
    `spaced` if blanks stand before the quotes around fields.
    """

    delimiter: str
    header: list[str]
    line: int
    above: list[int]
    separated: bool
    spaced: bool


class _Row(NamedTuple):
    """A record of the sample: its line, its cells (none if it is damaged), and their number up to the last full one."""

    line: int
    cells: list[str]
    width: int


class _Guess(NamedTuple):
    """Rows read with a delimiter, the place of the header, and the share of the rows below that fit it."""

    delimiter: str
    rows: list[_Row]
    place: int
    share: float

    @property
    def score(self) -> float:
        """Share of the rows that fit, less for few columns: those fit by chance."""
        return self.share * (1 - 1 / self.rows[self.place].width)

    @property
    def header(self) -> _Row:
        return self.rows[self.place]

    def explains(self, line: int) -> bool:
        """Return True if the row on a line fits the header."""
        return any(row.line == line and _fits(row, self.header) for row in self.rows)


def find_layout(sample: str, delimiters: str = DELIMITERS + LAST_DELIMITER) -> TableLayout | None:
    """Return the layout of a text that begins with `sample`, or None if it has no readable header.

    A first line such as `sep=;` overrides `delimiters`. The header is the first line, unless most rows do not fit it
    and nearly all fit a line of names further down.
    """
    named = SEPARATOR_LINE.match(sample)
    if named:
        delimiters = named["added"] or named["named"]
    absent = next((one for one in delimiters if one not in sample), "")  # reads each line as one field
    found = {one: _rows_and_spacing(sample, one, bool(named)) for one in delimiters if one in sample or one == absent}
    tables = {one: rows for one, (rows, _) in found.items()}
    if not all(tables.values()):
        return None
    guess = _best(tables)
    if guess is None:
        if not all(rows[0].cells for rows in tables.values()):
            return None
        guess = _widest(tables) or _single_column(tables)
    guess = guess._replace(place=_last_line_of_names(guess.rows, guess.place))
    header = guess.header
    below = guess.rows[guess.place + 1 :]
    width = max([header.width, *(row.width for row in below if _fits(row, header))])
    above = [row.line for row in guess.rows[: guess.place]]
    spaced = found[guess.delimiter][1]
    return TableLayout(guess.delimiter, header.cells[:width], header.line, above, named is not None, spaced)


def header_place(rows: Sequence[list[str]]) -> int:
    """Return the place of the header among the first rows of a sheet, by the rules of `find_layout`."""
    made = [_row(place, cells) for place, cells in enumerate(rows)]
    guess = _guess("", made)
    return _last_line_of_names(made, guess.place if guess else 0)


def is_separator_line(cells: Sequence[str], delimiter: str) -> bool:
    """Return True for the cells of a line such as `sep=;`."""
    return SEPARATOR_LINE.match(delimiter.join(cells)) is not None


def _rows_and_spacing(sample: str, delimiter: str, skip_first: bool) -> tuple[list[_Row], bool]:
    """Return the first rows of a sample, and whether blanks stand before the quotes around fields.

    Such a quote is text to RFC 4180. It encloses a field if no row is damaged by reading it so.
    """
    rows = _rows(sample, delimiter, skip_first)
    opened = sum(map(_opens_after_blank, rows))
    if opened:
        spaced = _rows(sample, delimiter, skip_first, spaced=True)
        sound = _damaged(spaced) <= _damaged(rows) and _last_line(spaced) >= _last_line(rows)
        if sound and sum(map(_opens_after_blank, spaced)) < opened:
            return spaced, True
    return rows, False


def _damaged(rows: Sequence[_Row]) -> int:
    return sum(not row.cells for row in rows)


def _last_line(rows: Sequence[_Row]) -> int:
    return rows[-1].line + sum(cell.count("\n") for cell in rows[-1].cells) if rows else 0


def _opens_after_blank(row: _Row) -> bool:
    return any(cell[:1] == " " and cell.lstrip(" ")[:1] == '"' for cell in row.cells)


def _rows(sample: str, delimiter: str, skip_first: bool, spaced: bool = False) -> list[_Row]:
    """Return the first rows of a sample, without padded blank lines at the top."""
    rows: list[_Row] = []
    cells_of_rows = read_cells(io.StringIO(sample, newline=""), delimiter, "", spaced)
    for row in itertools.islice(cells_of_rows, int(skip_first), SAMPLE_ROWS):
        if not isinstance(row, Reject):
            rows.append(_row(*row[:2]))
        elif row.code == "open_quote" and rows:
            break  # the sample may end within a long record
        else:
            rows.append(_Row(row.line, [], 0))
    return list(itertools.dropwhile(lambda row: row.cells and not row.width, rows))


def _row(line: int, cells: list[str]) -> _Row:
    return _Row(line, cells, max((place for place, cell in enumerate(cells, 1) if cell.strip()), default=0))


def _last_line_of_names(rows: Sequence[_Row], place: int) -> int:
    """Return the place of the header: some exports have several lines of names."""
    known = header_of([row.cells for row in rows[:LINES_OF_NAMES]])
    return max(place, known[0]) if known else place


def _fits(row: _Row, header: _Row) -> bool:
    """Return True if a row has as many fields as the header. Empty ones at the end of either do not count."""
    return header.width <= len(row.cells) and row.width <= len(header.cells)


def _best(tables: dict[str, list[_Row]]) -> _Guess | None:
    """Return the guess that explains most rows, or None if no delimiter separates most rows."""
    guesses = [guess for one, rows in tables.items() if (guess := _guess(one, rows))]
    usual = [guess for guess in guesses if guess.delimiter != LAST_DELIMITER]
    first = max((g for g in usual if g.place == 0), key=lambda g: g.score, default=None)
    below = max((g for g in usual if g.place and g.delimiter in USUAL_DELIMITERS), key=lambda g: g.score, default=None)
    if first is None:
        return below or next((guess for guess in guesses if guess.place == 0), None)
    # A title with a comma, above prices with a comma: the real header does not fit the title.
    if below and below.share > first.share and below.header.width >= first.header.width:
        return first if first.explains(below.header.line) else below
    return first


def _guess(delimiter: str, rows: list[_Row]) -> _Guess | None:
    """Return the first row of names that the rows below fit, or None."""
    for place, header in enumerate(rows):
        if not header.cells:
            return None
        below = rows[place + 1 :]
        share = sum(_fits(row, header) for row in below) / len(below) if below else 1.0
        if header.width < 2 or share < SHARE_ON_FIRST_LINE:
            continue
        if place == 0:
            padded = header.width < len(header.cells)  # such as `Date;2026-03-01;;;`
            if not padded or (_are_names(header, share=1) and _is_wide(header, below)):
                return _Guess(delimiter, rows, place, share)
        elif (
            below
            and share >= SHARE_BELOW_TEXT
            and _are_names(header, NAMED_BELOW_TEXT)
            and _is_wide(header, below)
            and all(2 * row.width <= header.width for row in rows[:place])  # a header is never taken for a title
        ):
            return _Guess(delimiter, rows, place, share)
    return None


def _are_names(row: _Row, share: float) -> bool:
    """Return True if this share of cells is full, none begins or ends with a blank, and none is a number or a date."""
    cells = [cell for cell in row.cells[: row.width] if cell]
    return len(cells) >= share * row.width and all(cell == cell.strip() and not _is_number(cell) for cell in cells)


def _is_wide(header: _Row, below: Sequence[_Row]) -> bool:
    """Return True if the header has names for at least half of the columns."""
    return 2 * header.width >= max((row.width for row in below), default=0)


def _is_number(cell: str) -> bool:
    return any(map(str.isdigit, cell)) and not any(map(str.isalpha, cell))


def _widest(tables: dict[str, list[_Row]]) -> _Guess | None:
    """Return a guess with the delimiter that the first row has most often, or None if it has none."""
    usual = [_Guess(one, rows, 0, 0.0) for one, rows in tables.items() if one in USUAL_DELIMITERS]
    widest = max(usual, key=lambda guess: guess.header.width, default=None)
    return widest if widest and widest.header.width > 1 else None


def _single_column(tables: dict[str, list[_Row]]) -> _Guess:
    """Return a guess with the first delimiter that separates nothing."""
    guesses = [_Guess(one, rows, 0, 1.0) for one, rows in tables.items()]
    return next((guess for guess in guesses if all(row.width <= 1 for row in guess.rows)), guesses[0])
