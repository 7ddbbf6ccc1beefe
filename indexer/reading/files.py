"""Bytes to records: CSV, TSV, JSONL and Parquet, plain or gzip'd, in any common encoding.

Nothing here knows what a column means. A record that cannot be read comes out as a `Reject` in its place,
so that one bad row never costs its neighbours.
"""

import codecs
import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from shelfwise.indexer.errors import InputError, first_line, listed
from shelfwise.indexer.reading.rejects import Reject

SAMPLE = 1 << 20  # bytes that decide about encoding, format and delimiter
MAX_RECORD_LINES = 500  # a quoted field that runs longer was never closed
PARQUET_BATCH = 4096
NO_FILES = {"idna", "punycode", "undefined"}  # codecs of text that no file is written in
FORMATS = ("csv", "tsv", "jsonl", "parquet")
_SUFFIXES = {
    ".csv": "csv", ".txt": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".json": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_UNREADABLE = (OSError, EOFError, zlib.error)
# Lone surrogates are how undecodable bytes come through (Python's "surrogateescape").
_UNDECODED = re.compile("[\ud800-\udfff]")

csv.field_size_limit(1 << 30)  # long fields are judged by the catalog, with a reason, not by the csv module


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it stands in the file: the line where it starts, and its values by column."""

    line: int
    values: dict[str, object]


@dataclass
class RecordFile:
    """An input file, opened far enough to know its format, encoding and columns.

    `columns` are those of the header (CSV, TSV), the schema (Parquet) or the first objects (JSONL).
    `notices` are remarks that the reader of the file should see. Iterate with `records`.
    """

    name: str
    format: str
    columns: list[str]
    notices: list[str]
    _source: IO[bytes] | Path = field(repr=False)
    encoding: str = "utf-8"
    delimiter: str = ","

    def records(self) -> Iterator[Record | Reject]:
        """Every record in order, once. Raises InputError where the file breaks off."""
        try:
            if self.format == "parquet":
                yield from _parquet_records(cast(Path, self._source))
                return
            with _decoded(cast(IO[bytes], self._source), self.encoding) as text:
                lines = _Lines(text)
                if self.format == "jsonl":
                    yield from _json_records(lines, self.name)
                else:
                    next(_rows(lines, self.delimiter, self.name))  # the header, known since opening
                    yield from _table_records(lines, self.delimiter, self.columns, self.name)
        except UnicodeError as error:
            place = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else "a byte"
            raise InputError(
                "undecodable_file",
                f"{self.name}: {place} is not {self.encoding}",
                f"text in {self.encoding}",
                "name the encoding of the file",
            ) from None
        except _UNREADABLE as error:
            raise _damaged(self.name, error) from None


def require_encoding(encoding: str) -> None:
    """Raise InputError where no text file can have this encoding."""
    try:
        usable = codecs.lookup(encoding).name not in NO_FILES and "".encode(encoding) is not None
    except (LookupError, ValueError):  # of UnicodeError, too
        usable = False
    if not usable:
        raise InputError(
            "unknown_encoding",
            f"encoding {encoding[:60]!r}",
            "utf-8, gb18030, utf-16, cp1252, big5 or another Python codec",
            "name one of them",
        )


@contextmanager
def open_records(
    path: str | Path, stdin: IO[bytes] | None = None, encoding: str | None = None, fmt: str | None = None
) -> Iterator[RecordFile]:
    """The file at `path` as a RecordFile ("-" reads `stdin`).

    `encoding` and `fmt` (one of FORMATS) override what name and content tell. Raises InputError for a file
    that is missing, empty, a spreadsheet, or has no usable header.
    """
    name = "standard input" if str(path) == "-" else str(path)
    if encoding is not None:
        require_encoding(encoding)
    if str(path) == "-":
        if stdin is None:
            raise InputError("no_standard_input", "standard input", "a file", "name a file")
        yield _opened(io.BufferedReader(cast(io.RawIOBase, stdin), SAMPLE), name, None, encoding, fmt)
        return
    try:
        plain = Path(path).open("rb", buffering=SAMPLE)  # noqa: SIM115  # closed below: the block is not tried
    except FileNotFoundError:
        raise InputError(
            "no_such_file", f"{name}: no such file", "a file that exists", "check its name and folder"
        ) from None
    except IsADirectoryError:
        raise InputError("is_a_folder", f"{name} is a folder", "a file", "name a file in it") from None
    except PermissionError:
        raise InputError(
            "unreadable_file", f"{name}: not readable by this user", "a readable file", "change its permissions"
        ) from None
    except (OSError, ValueError) as error:  # a name that is too long, or that no file can have
        reason = getattr(error, "strerror", None) or "no file can have this name"
        raise InputError("unreadable_file", f"{name[:60]}: {reason}", "a readable file", "check its name") from None
    with plain:
        yield _opened(cast(io.BufferedReader, plain), name, Path(path), encoding, fmt)


def _opened(
    stream: io.BufferedReader, name: str, path: Path | None, encoding: str | None, fmt: str | None
) -> RecordFile:
    suffixes = [s.lower() for s in path.suffixes] if path else []
    if stream.peek(2)[:2] == b"\x1f\x8b":
        stream = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)), SAMPLE)
        suffixes = [s for s in suffixes if s != ".gz"]
    try:
        sample = stream.peek(SAMPLE)[:SAMPLE]
    except _UNREADABLE as error:
        raise _damaged(name, error) from None
    if not sample.strip():
        raise _empty(name)
    if sample[:4] == b"PK\x03\x04" or sample[:4] == b"\xd0\xcf\x11\xe0":
        raise InputError(
            "is_a_spreadsheet",
            f"{name} is a spreadsheet or an archive",
            "CSV, TSV, JSONL or Parquet",
            "save it as CSV (UTF-8) and name that file",
        )
    fmt = fmt or (_SUFFIXES.get(suffixes[-1]) if suffixes else None)
    if sample[:4] == b"PAR1" or fmt == "parquet":
        return _opened_parquet(path, name)
    codec, notices = detect_encoding(sample) if encoding is None else (encoding, [])
    text = sample.decode(codec, "surrogateescape" if "16" not in codec else "replace").lstrip("\ufeff")
    if not text.strip():
        raise _empty(name)
    fmt = fmt or ("jsonl" if text.lstrip()[:1] == "{" else "csv")
    if fmt == "jsonl":
        return RecordFile(name, fmt, _json_columns(text, name), notices, stream, codec)
    delimiter = "\t" if fmt == "tsv" else _sniff_delimiter(text)
    header = next(_rows(_Lines(io.StringIO(text, newline="")), delimiter, name), None)
    if header is None or isinstance(header, Reject):
        raise InputError(
            "no_header",
            f"{name}: no readable header line",
            "column names such as id,title,category",
            "add a header line",
        )
    columns = [column.strip() or f"column_{i}" for i, column in enumerate(header[1], 1)]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(
            "repeated_column",
            f"{name}: the header names {listed(twice)} more than once",
            "each column name once",
            "rename one of them",
        )
    return RecordFile(name, fmt, columns, notices, stream, codec, delimiter)


def _opened_parquet(path: Path | None, name: str) -> RecordFile:
    import pyarrow
    from pyarrow import parquet

    if path is None:
        raise InputError("no_standard_input", "Parquet from standard input", "a file", "name the file")
    try:
        schema = parquet.read_schema(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(
            "bad_parquet",
            f"{name}: not a readable Parquet file ({first_line(error)})",
            "a Parquet file",
            "export it again",
        ) from None
    return RecordFile(name, "parquet", list(schema.names), [], path)


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        "damaged_file", f"{name} breaks off or is damaged ({first_line(error)})", "a whole file", "fetch it again"
    )


def _empty(name: str) -> InputError:
    return InputError("empty_file", f"{name} is empty", "a header line and rows", "name another file")


def detect_encoding(sample: bytes) -> tuple[str, list[str]]:
    """The codec of a file that starts with `sample`, and a notice where it was guessed.

    A byte order mark decides; then UTF-8, if most lines with non-ASCII bytes are valid (the others are
    rejected one by one); then GB18030, if the text would be common Chinese. Other encodings are not
    guessed: short texts in them look like one another.
    """
    for bom, codec in _BOMS:
        if sample.startswith(bom):
            return codec, []
    whole = sample.splitlines()
    if len(whole) > 20:  # the sample may end within a character
        whole.pop()
    lines = [line for line in whole if not line.isascii()]
    bad = sum(1 for line in lines if _UNDECODED.search(line.decode("utf-8", "surrogateescape")))
    if bad * 2 <= len(lines):
        return "utf-8", []
    if _looks_like_gb18030(b"".join(lines)):
        return "gb18030", ["read as GB18030 (not valid UTF-8): name another encoding where that is wrong"]
    return "utf-8", ["many lines are not valid UTF-8 and will be rejected: name the encoding of the file"]


def _looks_like_gb18030(data: bytes) -> bool:
    """Whether most two-byte characters are among the 3,755 common ones of GB 2312 (lead byte B0-D7)."""
    pairs = re.findall(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]", data)
    common = sum(1 for pair in pairs if 0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1)
    return bool(pairs) and common >= 0.6 * len(pairs)


def _decoded(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    errors = "strict" if "16" in encoding or "32" in encoding else "surrogateescape"
    return io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")


class _Lines:
    """Physical lines with their numbers; lines can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = iter(lines)
        self._back: list[str] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._lines)
        self.number += 1
        return line

    def give_back(self, lines: list[str]) -> None:
        self._back.extend(reversed(lines))
        self.number -= len(lines)


def _sniff_delimiter(text: str) -> str:
    header = re.sub(r'"[^"]*"', "", text.lstrip().splitlines()[0])
    return max(",;\t|", key=header.count)


def _rows(lines: _Lines, delimiter: str, name: str) -> Iterator[tuple[int, list[str]] | Reject]:
    """(line number, fields) of every row that is not blank."""
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
    """A TSV field without the quotes that spreadsheets put around it; other quotes are text."""
    if len(value) > 1 and value[0] == value[-1] == '"' and '"' not in value[1:-1].replace('""', ""):
        return value[1:-1].replace('""', '"')
    return value


def _csv_row(line: str, lines: _Lines, delimiter: str, name: str) -> tuple[int, list[str]] | Reject:
    """One CSV row, which may run over several lines inside quotes.

    Where a quote is never closed, only its own line is rejected: the csv module alone would swallow the
    rest of the file.
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
            return Reject(name, start, "", value, "open_quote", "a quote is opened and never closed")
        return Reject(
            name, start, "", value, "text_after_quote", "text after a closing quote: double the quotes inside"
        )


def _table_records(lines: _Lines, delimiter: str, columns: list[str], name: str) -> Iterator[Record | Reject]:
    for row in _rows(lines, delimiter, name):
        if isinstance(row, Reject):
            yield row
            continue
        line, values = row
        if len(values) != len(columns):
            reason = f"{len(values)} fields where the header has {len(columns)}"
            yield Reject(name, line, "", delimiter.join(values), "wrong_field_count", reason)
            continue
        yield _decodable(Record(line, dict(zip(columns, values, strict=True))), name)


def _decodable(record: Record, name: str) -> Record | Reject:
    for column, value in record.values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if not text.isascii() and (found := _UNDECODED.search(text)):
            code = ord(found[0])
            what = f"invalid byte 0x{code - 0xDC00:02X} in this encoding" if code >= 0xDC80 else "half a character"
            return Reject(name, record.line, column, text, "invalid_character", what)
    return record


def _json_columns(text: str, name: str) -> list[str]:
    """Keys of the first objects of a JSONL file, in order of appearance."""
    if text.lstrip()[:1] == "[":
        raise InputError(
            "json_array", f"{name} is one JSON array", "JSONL, one object on each line", "write one object a line"
        )
    columns: dict[str, None] = {}
    for line in text.splitlines()[:100]:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            columns |= dict.fromkeys(value)
    return list(columns)


def _json_records(lines: _Lines, name: str) -> Iterator[Record | Reject]:
    for line in lines:
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield Reject(name, lines.number, "", text, "bad_json", f"not valid JSON: {error}")
            continue
        if isinstance(value, dict):
            try:
                yield _decodable(Record(lines.number, value), name)
            except RecursionError:
                yield Reject(name, lines.number, "", text, "bad_json", "a value that is too deep")
        else:
            reason = f"a JSON {type(value).__name__} where an object was expected"
            yield Reject(name, lines.number, "", text, "bad_json", reason)


def _parquet_records(path: Path) -> Iterator[Record]:
    from pyarrow import parquet

    rows = (row for batch in parquet.ParquetFile(path).iter_batches(PARQUET_BATCH) for row in batch.to_pylist())
    for number, values in enumerate(rows, 1):
        yield Record(number, values)
