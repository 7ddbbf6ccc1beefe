"""Output files of the commands: complete or not at all, never an input, through links and devices."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from shelfwise.indexer.errors import InputError

STDOUT = Path("-")
LINKS = 40  # followed at most, as Linux does


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


@contextlib.contextmanager
def output_file(path: Path | None, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Open an output file for writing; `path` None or - is standard output.

    The text goes to a file with the ending `.partial`, which is renamed at the end. If the work fails, it stays unless
    it is empty. A link stays a link; devices, pipes and open descriptors are written to directly. Raise InputError at
    once if the file cannot be written, and later if writing fails.
    """
    if path is None or path == STDOUT:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        yield sys.stdout
        return
    if path.is_dir():
        raise _unwritable(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    target = Path(os.path.realpath(path))
    work = path if _is_open(path) else target.with_name(target.name + ".partial")
    try:
        out = _opened(path, work, encoding)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with out:
            yield out
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


def _opened(path: Path, work: Path, encoding: str) -> TextIO:
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return work.open("w", encoding=encoding, errors="backslashreplace", newline="")
