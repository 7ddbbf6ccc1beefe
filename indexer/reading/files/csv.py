"""Tables with commas, semicolons, tabs or bars between fields, some of them quoted."""

import csv
import io
import itertools
import re
from collections.abc import Iterator

from shelfwise.indexer.errors import InputError, listed
from shelfwise.indexer.reading.files import Content, Lines, Record, Records, Source, decodable
from shelfwise.indexer.reading.rejects import Reject

SUFFIXES, MAGIC, IS_TEXT = (".csv",), b"", True  # other suffixes: a table if no other format fits
DELIMITERS = ",;\t|"
MAX_RECORD_LINES = 500  # a longer quoted field was never closed

csv.field_size_limit(1 << 30)  # the catalog rejects long fields, with a reason


def recognises(text: str) -> bool:
    """Return False: a text that no other format recognises is read as a table."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the header, and the rows. Raise InputError for an unusable header."""
    header = re.sub(r'"[^"]*"', "", source.sample.lstrip().splitlines()[0])
    return table(source, max(DELIMITERS, key=header.count))


def table(source: Source, delimiter: str) -> Content:
    """Return the columns of the header, and the rows, of a table with a delimiter.

    Raise InputError when the header is unreadable or repeats a column.
    """
    header = next(_rows(Lines(io.StringIO(source.sample, newline="")), delimiter, source.name), None)
    if header is None or isinstance(header, Reject):
        raise InputError(
            "no_header",
            f"{source.name}: no readable header line",
            "column names such as id,title,category",
            "add a header line",
        )
    columns = [column.strip() or f"column_{i}" for i, column in enumerate(header[1], 1)]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(
            "repeated_column",
            f"{source.name}: the header names {listed(twice)} more than once",
            "each column name once",
            "rename one of them",
        )
    return Content(columns, lambda: _records(source, columns, delimiter), delimiter)


def _records(source: Source, columns: list[str], delimiter: str) -> Records:
    with source.lines() as lines:
        rows = _rows(lines, delimiter, source.name)
        next(rows)  # the header, already read on opening
        for row in rows:
            if isinstance(row, Reject):
                yield row
                continue
            line, values = row
            if len(values) != len(columns):
                reason = f"{len(values)} fields where the header has {len(columns)}"
                yield Reject(source.name, line, "", delimiter.join(values), "wrong_field_count", reason)
                continue
            yield decodable(Record(line, dict(zip(columns, values, strict=True))), source.name)


def _rows(lines: Lines, delimiter: str, name: str) -> Iterator[tuple[int, list[str]] | Reject]:
    """Yield the line number and the fields of each row that is not blank, or its reject."""
    for line in lines:
        start = lines.number
        if start == 1:
            line = line.removeprefix("\ufeff")
        if not line.strip():
            continue
        if delimiter == "\t":
            values = line.rstrip("\r\n").split("\t")
            yield start, [_unquoted(value) for value in values] if '"' in line else values
            continue
        yield _csv_row(line, lines, delimiter, name)


def _unquoted(value: str) -> str:
    """Return a TSV field without the quotes that spreadsheets put around it. Other quotes are text."""
    if len(value) > 1 and value[0] == value[-1] == '"' and '"' not in value[1:-1].replace('""', ""):
        return value[1:-1].replace('""', '"')
    return value


def _csv_row(line: str, lines: Lines, delimiter: str, name: str) -> tuple[int, list[str]] | Reject:
    """Return one CSV row, which may span several lines inside quotes, or its reject.

    If a quote is never closed, reject only its own line. The csv module alone would consume the rest of the file.
    """
    start, taken = lines.number, [line]
    if '"' not in line:
        return start, line.rstrip("\r\n").split(delimiter)

    def feed() -> Iterator[str]:
        yield line
        for following in itertools.islice(lines, MAX_RECORD_LINES - 1):
            taken.append(following)
            yield following

    try:
        return start, next(csv.reader(feed(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        lines.give_back(taken[1:])
        value = line.rstrip("\r\n")
        if "unexpected end" in str(error):
            return Reject(name, start, "", value, "open_quote", "an opening quote is never closed")
        return Reject(
            name, start, "", value, "text_after_quote", "text after a closing quote: double the quotes inside a field"
        )
