"""Files of any format and encoding, plain or gzip'd, opened to detect format, encoding and columns.

Each module of this folder is a format, known by its module name. It has SUFFIXES, MAGIC and IS_TEXT, and the functions
`recognises` and `opened` of `Format`; see `tsv.py`. Nothing here knows the meaning of a column. An unreadable record
becomes a `Reject` in its place, so that one reject does not affect its neighbours.
"""

import codecs
import gzip
import io
import json
import pkgutil
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Protocol, cast

from shelfwise.indexer.errors import InputError, first_line
from shelfwise.indexer.reading.rejects import Reject

SAMPLE_BYTES = 1 << 20  # bytes used to detect encoding, format and delimiter
DEFAULT_FORMAT = "csv"  # used for a text that no other format recognises
NO_FILES = {"idna", "punycode", "undefined"}  # text codecs that no file is written in
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # their first bytes, shared with other archives
_UNREADABLE = (OSError, EOFError, zlib.error)
# Undecodable bytes are read as lone surrogates (Python's "surrogateescape").
UNDECODED = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file: the line where it starts, and its values by column."""

    line: int
    values: dict[str, object]


Records = Iterator[Record | Reject]


class Lines:
    """Physical lines with their numbers. Lines can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = iter(lines)
        self._back: list[str] = []
        self.number = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._lines)
        self.number += 1
        return line

    def give_back(self, lines: list[str]) -> None:
        """Put lines back, to be read again."""
        self._back.extend(reversed(lines))
        self.number -= len(lines)


@dataclass(frozen=True)
class Source:
    """A file to read.

    `name` is its name for users, `path` is None for standard input, and `stream` has its bytes from the start,
    decompressed. A text format also has its `encoding` and `sample`, the beginning of the text.
    """

    name: str
    path: Path | None
    stream: IO[bytes]
    encoding: str = ""
    sample: str = ""

    @contextmanager
    def lines(self) -> Iterator[Lines]:
        """Yield the lines of the text. Use it once."""
        errors = "strict" if "16" in self.encoding or "32" in self.encoding else "surrogateescape"
        with io.TextIOWrapper(self.stream, encoding=self.encoding, errors=errors, newline="") as text:
            yield Lines(text)


@dataclass(frozen=True)
class Content:
    """Content of a file: its `columns`, its `records` in order (read once), and a table's `delimiter`."""

    columns: list[str]
    records: Callable[[], Records]
    delimiter: str = ","


class Format(Protocol):
    """Interface of a module of this folder.

    SUFFIXES are endings of file names in lower case, with the dot. MAGIC is the first bytes of each such file (empty if
    there are none). IS_TEXT is True for text, which is decoded.
    """

    SUFFIXES: tuple[str, ...]
    MAGIC: bytes
    IS_TEXT: bool

    def recognises(self, text: str) -> bool:
        """Return True if a text that begins with `text` is in this format. Used if name and bytes do not decide."""
        ...

    def opened(self, source: Source) -> Content:
        """Read enough to know the columns, and return the content. Raise InputError for an unusable file."""
        ...


def names() -> list[str]:
    """Return the names of all formats, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@cache
def formats() -> dict[str, Format]:
    """Return all formats by name."""
    return {name: cast(Format, import_module(f"{__name__}.{name}")) for name in names()}


def decodable(record: Record, name: str) -> Record | Reject:
    """Return a record of the file `name`, or a reject if one of its values has invalid characters."""
    for column, value in record.values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if not text.isascii() and (found := UNDECODED.search(text)):
            code = ord(found[0])
            what = f"invalid byte 0x{code - 0xDC00:02X} in this encoding" if code >= 0xDC80 else "incomplete character"
            return Reject(name, record.line, column, text, "invalid_character", what)
    return record


@dataclass
class RecordFile:
    """An input file, opened to detect its `format` (by name), encoding and columns.

    `notices` are remarks for the user. Iterate with `records`.
    """

    name: str
    format: str
    notices: list[str]
    encoding: str
    _content: Content = field(repr=False)

    @property
    def columns(self) -> list[str]:
        """Columns of the header, the schema or the first objects."""
        return self._content.columns

    @property
    def delimiter(self) -> str:
        """Delimiter between the fields of a table (a comma for other formats)."""
        return self._content.delimiter

    def records(self) -> Records:
        """Yield each record in order. Use it once.

        Raise InputError when the file cannot be decoded, or is truncated or damaged.
        """
        try:
            yield from self._content.records()
        except UnicodeError as error:
            place = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else "a byte"
            raise _undecodable(self.name, place, self.encoding) from None
        except _UNREADABLE as error:
            raise _damaged(self.name, error) from None


def _undecodable(name: str, place: str, encoding: str) -> InputError:
    return InputError(
        "undecodable_file",
        f"{name}: {place} is not valid {encoding}",
        f"text in {encoding}",
        "name the encoding of the file",
    )


def require_encoding(encoding: str) -> None:
    """Raise InputError if no text file can have this encoding."""
    try:
        usable = codecs.lookup(encoding).name not in NO_FILES and "".encode(encoding) is not None
    except (LookupError, ValueError):  # ValueError includes UnicodeError
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
    """Open the file at `path` as a RecordFile ("-" reads `stdin`).

    `encoding` overrides detection. `fmt` (one of `names()`) overrides the file name and the text, but not the first
    bytes of a format such as Parquet. Raise InputError for an unknown encoding, or for a file that is missing,
    unreadable, empty, damaged, a spreadsheet, or without a usable header.
    """
    name = "standard input" if str(path) == "-" else str(path)
    if encoding is not None:
        require_encoding(encoding)
    if str(path) == "-":
        if stdin is None:
            raise InputError("no_standard_input", "standard input", "a file", "name a file")
        yield _opened(io.BufferedReader(cast(io.RawIOBase, stdin), SAMPLE_BYTES), name, None, encoding, fmt)
        return
    try:
        plain = Path(path).open("rb", buffering=SAMPLE_BYTES)  # noqa: SIM115  # closed below, outside of the try
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
    except (OSError, ValueError) as error:  # a file name that is too long or invalid
        reason = getattr(error, "strerror", None) or "not a valid file name"
        raise InputError("unreadable_file", f"{name[:60]}: {reason}", "a readable file", "check its name") from None
    with plain:
        yield _opened(cast(io.BufferedReader, plain), name, Path(path), encoding, fmt)


def _opened(
    stream: io.BufferedReader, name: str, path: Path | None, encoding: str | None, fmt: str | None
) -> RecordFile:
    suffixes = [suffix.lower() for suffix in path.suffixes] if path else []
    if stream.peek(2)[:2] == b"\x1f\x8b":
        stream = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)), SAMPLE_BYTES)
        suffixes = [suffix for suffix in suffixes if suffix != ".gz"]
    try:
        sample = stream.peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
    except _UNREADABLE as error:
        raise _damaged(name, error) from None
    if not sample.strip():
        raise _empty(name)
    known = formats()
    of_magic = [one for one, form in known.items() if form.MAGIC and sample.startswith(form.MAGIC)]
    if not of_magic and sample.startswith(_SPREADSHEETS):
        raise InputError(
            "is_a_spreadsheet",
            f"{name} is a spreadsheet or an archive",
            "CSV, TSV, JSONL or Parquet",
            "save it as CSV (UTF-8) and name that file",
        )
    of_name = [one for one, form in known.items() if suffixes and suffixes[-1] in form.SUFFIXES]
    fmt = next(iter([*of_magic, *([fmt] if fmt else []), *of_name]), None)
    if fmt and not known[fmt].IS_TEXT:
        return RecordFile(name, fmt, [], "", known[fmt].opened(Source(name, path, stream)))
    codec, notices = detect_encoding(sample) if encoding is None else (encoding, [])
    wide = "16" in codec or "32" in codec  # units of several bytes: the sample may end within one
    text = sample.decode(codec, "replace" if wide else "surrogateescape").lstrip("\ufeff")
    if wide and text.startswith("\ufffd"):
        raise _undecodable(name, "byte 0", codec)
    if not text.strip():
        raise _empty(name)
    if fmt is None:
        fmt = next(
            (one for one, form in known.items() if one != DEFAULT_FORMAT and form.recognises(text)), DEFAULT_FORMAT
        )
    return RecordFile(name, fmt, notices, codec, known[fmt].opened(Source(name, path, stream, codec, text)))


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        "damaged_file", f"{name} is truncated or damaged ({first_line(error)})", "an intact file", "fetch it again"
    )


def _empty(name: str) -> InputError:
    return InputError("empty_file", f"{name} is empty", "a header line and rows", "name another file")


def detect_encoding(sample: bytes) -> tuple[str, list[str]]:
    """Return the codec of a file that starts with `sample`, and a notice if it was guessed.

    A byte order mark decides. Next comes UTF-8, if at least half of the lines with non-ASCII bytes are valid (the
    invalid ones are rejected one by one). Then comes GB18030, if the text would be common Chinese. Other encodings are
    not guessed: short texts in them look alike.
    """
    for bom, codec in _BOMS:
        if sample.startswith(bom):
            return codec, []
    whole = sample.splitlines()
    if len(whole) > 20:  # the sample may end within a character
        whole.pop()
    lines = [line for line in whole if not line.isascii()]
    bad = sum(1 for line in lines if UNDECODED.search(line.decode("utf-8", "surrogateescape")))
    if bad * 2 <= len(lines):
        return "utf-8", []
    if _looks_like_gb18030(b"".join(lines)):
        return "gb18030", ["read as GB18030 (not valid UTF-8): name another encoding if that is wrong"]
    return "utf-8", ["many lines are not valid UTF-8 and will be rejected: name the encoding of the file"]


def _looks_like_gb18030(data: bytes) -> bool:
    """Return True if most two-byte characters are among the 3,755 common ones of GB 2312 (lead byte B0-D7)."""
    pairs = re.findall(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]", data)
    common = sum(1 for pair in pairs if 0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1)
    return bool(pairs) and common >= 0.6 * len(pairs)
