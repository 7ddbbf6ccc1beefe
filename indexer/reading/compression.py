"""Decompress gzip, bzip2, xz and Zstandard data, recognised by its first bytes and never by a file name."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from backports import zstd

BUFFER = 1 << 20  # bytes that a reader can look ahead
LAYERS = 2  # data that is compressed twice is read, too
_XZ_MEMORY = 1 << 28  # bytes: what `xz -9` needs four times over; a file can ask for 4 GiB
_STEP = 1 << 16  # bytes expanded at a time: limits the memory for data that expands a lot

# What reading truncated or damaged data raises.
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError)


class _Decompressor(Protocol):
    """Decompressor of one member, with the interface that the standard library shares."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gunzip:
    """Decompressor of a gzip member, with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        found = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(found) < max_length
        return found


_KINDS: tuple[tuple[bytes, str, Callable[[], _Decompressor]], ...] = (
    (b"\x1f\x8b", ".gz", _Gunzip),
    (b"BZh", ".bz2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", ".xz", partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY)),
    (b"\x28\xb5\x2f\xfd", ".zst", zstd.ZstdDecompressor),
)


class _Expanded(io.RawIOBase):
    """Decompressed bytes of all members in a stream.

    Reading raises EOFError for a truncated member, and OSError for anything but zeros after the last one.
    """

    def __init__(self, stream: io.BufferedReader, magic: bytes, make: Callable[[], _Decompressor]) -> None:
        self._stream, self._magic, self._make = stream, magic, make
        self._member = make()
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        found = b""
        while not found:
            if self._member.eof and not self._next_member():
                return 0
            if self._member.needs_input and not self._input:
                self._input = self._stream.read1(_STEP)
                if not self._input:
                    raise EOFError("the compressed data ends too early")
            data, self._input = self._input, b""
            found = self._member.decompress(data, min(len(buffer), _STEP))
        buffer[: len(found)] = found
        return len(found)

    def _next_member(self) -> bool:
        """Start the next member. Return False at the end of the stream."""
        rest = self._member.unused_data
        while len(rest) < len(self._magic) or not rest.strip(b"\0"):
            more = self._stream.read1(_STEP)
            if not more:
                break
            rest = rest.lstrip(b"\0") + more  # zeros fill up blocks of tapes and disks
        rest = rest.lstrip(b"\0")
        if rest and not rest.startswith(self._magic):
            raise OSError("other data follows the compressed data")
        if rest:
            self._member, self._input = self._make(), rest
        return bool(rest)

    def close(self) -> None:
        self._stream.close()
        super().close()


def decompressed(stream: io.BufferedReader) -> tuple[io.BufferedReader, str]:
    """Return a reader of the decompressed bytes, and the ending that the compression adds to a file name.

    The ending is ".gz", ".bz2", ".xz" or ".zst", ".gz.xz" for data compressed twice, and empty for plain data, whose
    stream is returned as it is. Looking ahead and reading raise one of UNREADABLE for truncated or damaged data, and
    also if other data follows the compressed data.
    """
    ending = ""
    for _ in range(LAYERS):
        start = stream.peek(8)
        kind = next(((magic, suffix, make) for magic, suffix, make in _KINDS if start.startswith(magic)), None)
        if kind is None:
            break
        magic, suffix, make = kind
        stream = io.BufferedReader(cast(io.RawIOBase, _Expanded(stream, magic, make)), BUFFER)
        ending = suffix + ending
    return stream, ending
