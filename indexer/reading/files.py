"""Files of any format and encoding, plain or gzip'd, opened far enough to know what they hold."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from shelfwise.indexer.errors import InputError, first_line
from shelfwise.indexer.reading.formats import UNDECODED, Content, Records, Source, formats

SAMPLE_BYTES = 1 << 20  # bytes that decide about encoding, format and delimiter
DEFAULT_FORMAT = "csv"  # the format of a text that no other recognises
NO_FILES = {"idna", "punycode", "undefined"}  # codecs of text that no file is written in
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # what they begin with, as other archives do
_UNREADABLE = (OSError, EOFError, zlib.error)


@dataclass
class RecordFile:
    """An input file, opened far enough to know its `format` by name, encoding and columns.

    `notices` are remarks that the reader of the file should see. Iterate with `records`.
    """

    name: str
    format: str
    notices: list[str]
    encoding: str
    _content: Content = field(repr=False)

    @property
    def columns(self) -> list[str]:
        """Those of the header, the schema, or the first objects."""
        return self._content.columns

    @property
    def delimiter(self) -> str:
        """What is between the fields of a table; a comma for what is no table."""
        return self._content.delimiter

    def records(self) -> Records:
        """Yield every record in order, once. Raises InputError where the file breaks off."""
        try:
            yield from self._content.records()
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

    `encoding` and `fmt` (one of `formats.names()`) override what name and content tell. Raises InputError for a file
    that is missing, empty, a spreadsheet, or has no usable header.
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
        plain = Path(path).open("rb", buffering=SAMPLE_BYTES)  # noqa: SIM115  # closed below: the block is not tried
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
    text = sample.decode(codec, "surrogateescape" if "16" not in codec else "replace").lstrip("\ufeff")
    if not text.strip():
        raise _empty(name)
    if fmt is None:
        fmt = next(
            (one for one, form in known.items() if one != DEFAULT_FORMAT and form.recognises(text)), DEFAULT_FORMAT
        )
    return RecordFile(name, fmt, notices, codec, known[fmt].opened(Source(name, path, stream, codec, text)))


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
    bad = sum(1 for line in lines if UNDECODED.search(line.decode("utf-8", "surrogateescape")))
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
