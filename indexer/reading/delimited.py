"""Records of delimited text, as RFC 4180 defines them.

A damaged record is rejected by the line on which it starts, and reading goes on with the next line. A record may be of
any length, and the text may come from a pipe.
"""

import csv
import itertools
import re
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, Self

from shelfwise.indexer.reading.rejects import Reject

SPOOL_IN_MEMORY = 1 << 20  # characters of a record's further lines that are held in memory
MARK = "\ufeff"
ENCLOSED = re.compile('"(?:[^"]|"")*"')

csv.field_size_limit(sys.maxsize)  # the catalog rejects long fields, with a reason

# The line on which a record starts, its cells, and whether all its characters are known to be valid.
Cells = tuple[int, list[str], bool]


class LineSpool:
    """Lines set aside, in order. Most are held in a temporary file if there are many. A context manager."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self.restart()

    def restart(self) -> None:
        """Forget all lines."""
        self.count = 0
        self._lines: list[str] = []
        self._size = 0
        self._close()

    def add(self, line: str) -> None:
        """Add a line."""
        self.count += 1
        self._lines.append(line)
        self._size += len(line)
        if self._size > SPOOL_IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            # Undecodable bytes are lone surrogates, and line ends stay as they are.
            self._file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass", newline="")  # noqa: SIM115
        self._file.writelines(self._lines)
        self._lines, self._size = [], 0

    def __iter__(self) -> Iterator[str]:
        if self._file is not None:
            self._file.seek(0)
            yield from self._file
        yield from self._lines

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def read_cells(
    lines: Iterator[str], delimiter: str, name: str, spaced: bool = False
) -> Generator[Cells | Reject, None, None]:
    """Yield each record that is not blank, or its reject. `lines` keep their line ends; `name` is the file's.

    With `spaced`, blanks may stand before the quotes around a field. Each line is read at most twice, so damage costs
    no more than a second reading.
    """
    # Made once: it costs more than a short line.
    dialect = csv.reader((), delimiter=delimiter, strict=True, skipinitialspace=spaced).dialect

    def parsed(text: Iterable[str]) -> list[str]:
        return next(csv.reader(text, dialect))

    again: Iterable[str] = ()
    number = 0  # of the current line
    doomed, fault = 0, ""  # a quote that is open at the end of a line before line `doomed` ends in the same fault
    with LineSpool() as spool:
        while True:
            for line in itertools.chain(again, lines):
                number += 1
                if line[0] == MARK:  # of a file, or of one appended to it
                    line = line.lstrip(MARK)
                if '"' not in line:
                    cells = line.rstrip("\r\n").split(delimiter)
                    if len(cells) > 1 or cells[0].strip():
                        yield number, cells, line.isascii() or _valid(line)
                    continue
                try:
                    cells = parsed((line,))
                except csv.Error as error:
                    if not _is_open(error) and delimiter == "\t":
                        yield number, _literal(line), _valid(line)
                    elif not _is_open(error):
                        yield _reject(name, number, line, "text_after_quote")
                    elif number < doomed:
                        yield _reject(name, number, line, fault)
                    else:
                        break
                else:
                    yield number, cells, line.isascii() or _valid(line)
            else:
                return
            fault = _rest_of_record(lines, spool, parsed)
            if fault:
                yield _reject(name, number, line, fault)
                doomed, again = number + spool.count, spool
            else:
                yield number, parsed(itertools.chain((line,), spool)), False
                number, again = number + spool.count, ()


def _rest_of_record(lines: Iterator[str], spool: LineSpool, parsed: Callable[[Iterable[str]], list[str]]) -> str:
    """Set aside the lines after an open quote, up to the end of its record, and return the record's fault ("" if none).

    The lines are not joined here: most of a large file may follow a quote that is never closed.
    """
    spool.restart()
    for line in lines:
        spool.add(line)
        if '"' in line:
            try:
                parsed((f'"{line}',))  # read the line from within quotes
            except csv.Error as error:
                if not _is_open(error):
                    return "text_after_quote"
            else:
                return ""
    return "open_quote"


def _literal(line: str) -> list[str]:
    """Return the fields of a tab-separated line with stray quotes, such as `"Best" chocolate`.

    Most programs write tab-separated text without quotes around fields, so that a quote is text there, unless it
    encloses a field.
    """
    fields = line.rstrip("\r\n").split("\t")
    return [field[1:-1].replace('""', '"') if ENCLOSED.fullmatch(field) else field for field in fields]


def _is_open(error: csv.Error) -> bool:
    """Return True if the text ended within quotes."""
    return "unexpected end" in str(error)


def _valid(line: str) -> bool:
    """Return False if the line has undecodable bytes, which are lone surrogates."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reject(name: str, number: int, line: str, fault: str) -> Reject:
    text = line.rstrip("\r\n")
    if fault == "open_quote":
        return Reject(name, number, "", text, "open_quote", "an opening quote is never closed")
    reason = "text after a closing quote: double the quotes inside a field"
    return Reject(name, number, "", text, "text_after_quote", reason)
