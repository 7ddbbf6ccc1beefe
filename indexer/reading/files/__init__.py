"""Files of any format and encoding, plain or compressed, opened to detect format, encoding and columns.

Each module of this folder is a format, known by its module name. It has SUFFIXES, MAGIC and IS_TEXT, and the functions
`recognises` and `opened` of `Format`; see `tsv.py`. Nothing here knows the meaning of a column. An unreadable record
becomes a `Reject` in its place, so that one reject does not affect its neighbours.
"""

import codecs
import io
import pkgutil
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from json import dumps  # not the module: `files.json` is a format
from pathlib import Path
from typing import IO, Any, Protocol, TextIO, cast

from shelfwise.indexer.errors import InputError, first_line
from shelfwise.indexer.reading.compression import UNREADABLE, decompressed
from shelfwise.indexer.reading.encodings import Detected, EncodingError, detect
from shelfwise.indexer.reading.guard import GUARDED, has_results, unguarded
from shelfwise.indexer.reading.rejects import Reject

SAMPLE_BYTES = 1 << 20  # bytes used to detect encoding, format and delimiter
DEFAULT_FORMAT = "csv"  # used for a text that no other format recognises
NO_FILES = {"idna", "punycode", "undefined"}  # text codecs that no file is written in
# Undecodable bytes are read as lone surrogates (Python's "surrogateescape").
UNDECODED = re.compile("[\ud800-\udfff]")
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


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

    `name` is its name for users, `path` its place on disk (None if it is compressed or no regular file), and `stream`
    has its bytes from the start, decompressed. A text format also has its `encoding` and `sample`, the beginning of the
    text. `sheet` is the sheet to read of a spreadsheet, by name or number from 1 (None for the first table).
    """

    name: str
    path: Path | None
    stream: IO[bytes]
    encoding: str = ""
    sample: str = ""
    sheet: str | None = None

    @contextmanager
    def text(self) -> Iterator[TextIO]:
        """Yield the decoded text. Use it once."""
        errors = "strict" if "16" in self.encoding or "32" in self.encoding else "surrogateescape"
        with io.TextIOWrapper(self.stream, encoding=self.encoding, errors=errors, newline="") as text:
            yield text

    @contextmanager
    def lines(self) -> Iterator[Lines]:
        """Yield the lines of the text. Use it once."""
        with self.text() as text:
            yield Lines(text)

    @contextmanager
    def file(self) -> Iterator[IO[bytes]]:
        """Yield the bytes as a seekable file: the file itself, or a temporary copy. Use it once."""
        if self.path is not None:
            with self.path.open("rb") as file:
                yield file
            return
        with tempfile.TemporaryFile(prefix="shelfwise-") as copy:
            shutil.copyfileobj(self.stream, copy, SAMPLE_BYTES)
            copy.seek(0)
            yield copy


@dataclass(frozen=True)
class Content:
    """Content of a file: its `columns`, its `records` in order (read once), and a table's `delimiter`.

    Further columns may appear in the records. `notices` are remarks for the user; more may be added while the records
    are read.
    """

    columns: list[str]
    records: Callable[[], Records]
    delimiter: str = ","
    notices: list[str] = field(default_factory=list)


class Format(Protocol):
    """Interface of a module of this folder.

    SUFFIXES are endings of file names in lower case, with the dot. MAGIC are the first bytes that such files may have
    (empty if there are none). IS_TEXT is True for text, which is decoded.
    """

    SUFFIXES: tuple[str, ...]
    MAGIC: tuple[bytes, ...]
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
        text = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
        if not text.isascii() and (found := UNDECODED.search(text)):
            code = ord(found[0])
            what = f"invalid byte 0x{code - 0xDC00:02X} in this encoding" if code >= 0xDC80 else "incomplete character"
            return Reject(name, record.line, column, text, "invalid_character", what)
    return record


@dataclass
class RecordFile:
    """An input file, opened to detect its `format` (by name), encoding and columns. Iterate with `records`."""

    name: str
    format: str
    encoding: str
    _notices: list[str]
    _content: Content = field(repr=False)

    @property
    def columns(self) -> list[str]:
        """Columns of the header, the schema or the first objects."""
        return self._content.columns

    @property
    def delimiter(self) -> str:
        """Delimiter between the fields of a table (a comma for other formats)."""
        return self._content.delimiter

    @property
    def notices(self) -> list[str]:
        """Remarks for the user. Reading the records may add some."""
        return [*self._notices, *self._content.notices]

    def records(self) -> Records:
        """Yield each record in order. Use it once.

        Raise InputError when the file cannot be decoded, or is truncated or damaged.
        """
        try:
            yield from self._content.records()
        except UnicodeError as error:
            place = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else "a byte"
            raise _undecodable(self.name, place, self.encoding) from None
        except UNREADABLE as error:
            raise _damaged(self.name, error) from None


@dataclass(frozen=True)
class FileOptions:
    """How to open a file.

    `encoding` overrides detection, and `format` (one of `names()`) the file name and the text, but not the first bytes
    of a format such as Parquet. `sheet` is the sheet to read of a spreadsheet, by name or number from 1.
    """

    encoding: str | None = None
    format: str | None = None
    sheet: str | None = None


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
    path: str | Path, stdin: IO[bytes] | None = None, options: FileOptions | None = None
) -> Iterator[RecordFile]:
    """Open the file at `path` as a RecordFile ("-" reads `stdin`).

    Raise InputError for an unknown encoding, or for a file that is missing, unreadable, empty, damaged, of an uncertain
    encoding, or without a usable header.
    """
    options = options or FileOptions()
    if not str(path):
        raise InputError("no_such_file", "a file without a name", "a file that exists", "name a file")
    name = "standard input" if str(path) == "-" else str(path)
    if options.encoding is not None:
        require_encoding(options.encoding)
    if str(path) == "-":
        if stdin is None:
            raise InputError("no_standard_input", "standard input", "a file", "name a file")
        yield _opened(io.BufferedReader(cast(io.RawIOBase, stdin), SAMPLE_BYTES), name, None, options)
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
        yield _opened(cast(io.BufferedReader, plain), name, Path(path), options)


def _opened(raw: io.BufferedReader, name: str, path: Path | None, options: FileOptions) -> RecordFile:
    suffixes = [suffix.lower() for suffix in path.suffixes] if path else []
    try:
        plain, packed = decompressed(raw)
        sample = plain.read(SAMPLE_BYTES)
    except UNREADABLE as error:
        raise _damaged(name, error) from None
    if not sample.strip():
        raise _empty(name)
    if packed and suffixes[-1:] == [packed]:
        suffixes.pop()
    on_disk = path if path is not None and path.is_file() and not packed else None
    source = Source(name, on_disk, _again(sample, plain), sheet=options.sheet)
    fmt = _certain_format(sample, options.format, suffixes)
    known = formats()
    if fmt and not known[fmt].IS_TEXT:
        return RecordFile(name, fmt, "", [], _content(fmt, source))
    found = Detected(options.encoding) if options.encoding else _detected(sample, name)
    wide = "16" in found.encoding or "32" in found.encoding  # units of several bytes: the sample may end within one
    text = sample.decode(found.encoding, "replace" if wide else "surrogateescape").lstrip("\ufeff")
    if wide and text.startswith("\ufffd"):
        raise _undecodable(name, "byte 0", found.encoding)
    if not text.strip():
        raise _empty(name)
    if fmt is None:
        others = (one for one, form in known.items() if one != DEFAULT_FORMAT and form.recognises(text))
        fmt = next(others, DEFAULT_FORMAT)
    source = replace(source, encoding=found.encoding, sample=text)
    return RecordFile(name, fmt, found.encoding, list(found.notices), _content(fmt, source))


def _content(fmt: str, source: Source) -> Content:
    """Return the content of a file. An output of `classify` loses its guards against formulas, in names and texts."""
    content = formats()[fmt].opened(source)
    if fmt not in GUARDED or not has_results(content.columns):
        return content
    names = {column: unguarded(column) for column in content.columns}
    if len({*names.values()}) < len(names):  # one was added by hand
        names = {}

    def records() -> Records:
        for record in content.records():
            if isinstance(record, Record):
                values = record.values.items()
                plain = {names.get(one, one): unguarded(it) if isinstance(it, str) else it for one, it in values}
                record = Record(record.line, plain)
            yield record

    return replace(content, columns=[names.get(column, column) for column in content.columns], records=records)


def _detected(sample: bytes, name: str) -> Detected:
    try:
        return detect(sample, len(sample) < SAMPLE_BYTES)
    except EncodingError as error:
        raise error.at(name) from None


def _certain_format(sample: bytes, wanted: str | None, suffixes: list[str]) -> str | None:
    """Return the format that the first bytes, the user or the file name say, in this order.

    A name of a format that begins with control characters, such as .xls, does not count for a text: some programs save
    tables of text under it.
    """
    known = formats()
    of_magic = [one for one, form in known.items() if sample.startswith(form.MAGIC)]
    of_name = [one for one, form in known.items() if suffixes and suffixes[-1] in form.SUFFIXES]
    if _is_text(sample):
        of_name = [one for one in of_name if not known[one].MAGIC or any(map(_is_text, known[one].MAGIC))]
    return next(iter([*of_magic, *([wanted] if wanted else []), *of_name]), None)


def _is_text(sample: bytes) -> bool:
    """Return True if the bytes begin with a mark of UTF-16, or have no control characters but white space."""
    return sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or not _NO_TEXT.search(sample)


class _Again(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first, self._rest = memoryview(first), rest

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, into: Any) -> int:
        """Read into a buffer; return the number of bytes."""
        part: bytes | memoryview = self._first[: len(into)]
        self._first = self._first[len(into) :]
        part = part or self._rest.read(len(into))
        into[: len(part)] = part
        return len(part)


def _again(first: bytes, rest: IO[bytes]) -> IO[bytes]:
    return io.BufferedReader(_Again(first, rest), SAMPLE_BYTES)


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        "damaged_file", f"{name} is truncated or damaged ({first_line(error)})", "an intact file", "fetch it again"
    )


def _empty(name: str) -> InputError:
    return InputError("empty_file", f"{name} is empty", "a header line and rows", "name another file")
