"""Output files of the commands: complete or not at all, never an input, through links and devices."""

import contextlib
import errno
import gzip
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, TextIO, cast

import click

from shelfwise.indexer.errors import InputError

if TYPE_CHECKING:
    from shelfwise.classifier.measuring.output import Layout
    from shelfwise.indexer.reading.files import RecordFile

STDOUT = Path("-")
LINKS = 40  # followed at most, as Linux does
GZIP = ".gz"
TEXT_FORMATS = ("csv", "tsv", "jsonl")
ENDINGS_WRITTEN = {  # format by file name ending
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}
# Endings of formats that cannot be written. Any other ending, such as .txt, leaves the format to the input.
NOT_WRITTEN = (".xls", ".xlsm", ".xlsb", ".ods", ".xml", ".zip", ".bz2", ".xz", ".zst", ".feather", ".arrow", ".orc")


def standard_input() -> BinaryIO:
    """Return the standard input as bytes; empty if it is closed."""
    return sys.stdin.buffer if sys.stdin else io.BytesIO()


def refuse_overwriting(inputs: tuple[str, ...], *outputs: Path | None) -> None:
    """Raise InputError if an output is an input, or if two outputs are one file. Devices may be both."""
    taken = {os.path.realpath(name) for name in inputs if name != "-"}
    for output in outputs:
        if output is None or output == STDOUT or (output.exists() and not output.is_file()):
            continue
        place = os.path.realpath(output)
        if any(known == place or _same_file(known, place) for known in taken):
            raise InputError(
                "output_taken",
                f"{output} is already an input or output of this command",
                "a file of its own for each output",
                "name another file; nothing was written",
            )
        taken.add(place)


def _same_file(one: str, other: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(one).samefile(other)
    return False


def output_layout(
    records: "RecordFile",
    columns: list[str],
    output: Path | None,
    fmt: str | None,
    encoding: str | None,
    raw: bool,
) -> "Layout":
    """Return the layout of an output for rows of `records` with these `columns`, as asked for or as it suits.

    Raise click.UsageError for an unsuitable name, and for binary output to a terminal. A terminal gets UTF-8.
    """
    from shelfwise.classifier.measuring.writers import layout_for

    terminal = output in (None, STDOUT) and sys.stdout is not None and sys.stdout.isatty()
    fmt = _format(output, fmt, records.format)
    if terminal and fmt not in TEXT_FORMATS:
        raise click.UsageError(f"a terminal cannot show {fmt}; name a file with -o, or pipe the output.")
    return layout_for(records, columns, fmt, encoding or ("utf-8" if terminal else None), raw)


def _format(output: Path | None, asked: str | None, of_input: str) -> str:
    """Return the format `asked`, else that of the name, else that of the input if it is text, else csv.

    JSON becomes JSONL.
    """
    endings = [suffix.lower() for suffix in output.suffixes] if output else []
    packed = endings[-1:] == [GZIP]
    ending = "".join((endings[:-1] if packed else endings)[-1:])
    if ending in NOT_WRITTEN and not asked:
        raise click.UsageError(f"{output}: cannot write {ending}; use one of {', '.join(ENDINGS_WRITTEN)}.")
    kept = {"json": "jsonl"}.get(of_input, of_input)
    fmt = asked or ENDINGS_WRITTEN.get(ending) or (kept if kept in TEXT_FORMATS else "csv")
    if packed and fmt not in TEXT_FORMATS:
        raise click.UsageError(f"{output}: {fmt} is compressed already; leave out {GZIP}.")
    return fmt


@contextlib.contextmanager
def output_file(path: Path | None) -> Iterator[TextIO]:
    """Open an output file for text in UTF-8. See `binary_output`."""
    with binary_output(path) as out:
        text = io.TextIOWrapper(cast(BinaryIO, out), "utf-8", "backslashreplace", newline="")
        try:
            yield text
        finally:
            text.detach()


@contextlib.contextmanager
def binary_output(path: Path | None) -> Iterator[IO[bytes]]:
    """Open an output file for bytes; `path` None or - is standard output. A name with the ending .gz is compressed.

    The bytes go to a file with the ending `.partial`, which is renamed at the end. If the work fails, it stays unless
    it is empty. A link stays a link; devices, pipes and open descriptors are written to directly. Raise InputError at
    once if the file cannot be written, and later if writing fails.
    """
    if path is None or path == STDOUT:
        if sys.stdout is None:
            raise _unwritable(Path("standard output"), OSError(errno.EBADF, os.strerror(errno.EBADF)))
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    if path.is_dir():
        raise _unwritable(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    target = Path(os.path.realpath(path))
    work = path if _is_open(path) else target.with_name(target.name + ".partial")
    try:
        out = _opened(path, work)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with out, _compressed(out) if path.suffix.lower() == GZIP else contextlib.nullcontext(out) as written:
            yield written
    except BaseException as error:
        if work != path and work.stat().st_size:
            click.echo(f"Stopped early: the output so far is in {work}", err=True)
        elif work != path:
            work.unlink()
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise
    if work != path:
        _replace(work, target)


def _compressed(out: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile("", "wb", fileobj=out, mtime=0))  # equal bytes for equal text


def _is_open(path: Path) -> bool:
    """Return True for a device, a pipe, or a link that leads to an open descriptor, such as /dev/stdout."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return True
    for _ in range(LINKS):
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
        if path.parts[:2] == ("/", "proc"):
            return True
    return False


def _replace(work: Path, target: Path) -> None:
    if target.exists():
        with contextlib.suppress(OSError):
            work.chmod(target.stat().st_mode & 0o7777)
    work.replace(target)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        "unwritable_output",
        f"cannot write {path} ({error.strerror})",
        "a file in a writable folder, on a disk with free space",
        "name another file",
    )


def _opened(path: Path, work: Path) -> IO[bytes]:
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return work.open("wb" if work == path else "w+b")  # a writer may have to change the encoding of what it wrote
