"""Write text to a binary stream in any encoding, without losing what the encoding cannot hold."""

import codecs
import io
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

BLOCK_CHARACTERS = 1 << 20  # characters to convert at a time
FALLBACK = "utf-8-sig"  # the mark tells spreadsheets that the text is UTF-8
JSON_ESCAPES = "shelfwise.json"  # name of the error handler for JSON


def _json_escapes(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded by JSON's escapes. In JSON, only strings have such characters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


codecs.register_error(JSON_ESCAPES, _json_escapes)


class EncodedText:
    """Text in an encoding, written to a binary stream.

    JSON escapes the characters that the encoding lacks. For other text, the stream so far is rewritten as UTF-8 with a
    byte order mark, and the rest follows in it. In a stream that cannot be rewritten, such as a pipe, the characters
    become backslash escapes; to make that rare, the whole stream is UTF-8 if the encoding lacks a character of the
    `expected` texts. `notices` say what was changed.
    """

    def __init__(self, out: IO[bytes], encoding: str, json: bool = False, expected: Iterable[str] = ()) -> None:
        self.notices: list[str] = []
        self._out, self._encoding = out, encoding
        self._rewritable = out.seekable() and out.readable()
        self._encoder = codecs.getincrementalencoder(encoding)(JSON_ESCAPES if json else "strict")
        if not json and not self._rewritable and (lacking := _lacking(encoding, expected)):
            self._use_fallback(lacking)

    def write(self, text: str) -> None:
        """Write a text. If a character of it cannot be encoded, change how all is written."""
        state = self._encoder.getstate()
        try:
            data = self._encoder.encode(text)
        except UnicodeEncodeError:
            self._encoder.setstate(state)
            data = self._otherwise(whole(text))
        self._out.write(data)

    def close(self) -> None:
        """Write what ends the encoding. The stream stays open."""
        self._out.write(self._encoder.encode("", True))

    def _otherwise(self, text: str) -> bytes:
        lacking = _lacking(self._encoding, [text])
        if lacking and self._rewritable:
            before = self._encoding
            self._use_fallback(lacking)
            self._rewrite(before)
        elif lacking:
            self._encoder.errors = "backslashreplace"
            self.notices.append(f"characters that {self._encoding} lacks are backslash escapes: the first is {lacking}")
        return self._encoder.encode(text)

    def _use_fallback(self, lacking: str) -> None:
        self.notices.append(f"written as UTF-8 with a byte order mark: {self._encoding} lacks {lacking}")
        self._encoding = FALLBACK
        self._encoder = codecs.getincrementalencoder(FALLBACK)("strict")

    def _rewrite(self, before: str) -> None:
        """Convert the stream so far from the encoding `before`."""
        folder = Path(self._out.name).parent if isinstance(getattr(self._out, "name", None), str) else None
        with tempfile.TemporaryFile(dir=folder) as copy:
            self._out.seek(0)
            shutil.copyfileobj(self._out, copy, BLOCK_CHARACTERS)
            copy.seek(0)
            self._out.seek(0)
            self._out.truncate()
            text = io.TextIOWrapper(copy, before, newline="")
            while block := text.read(BLOCK_CHARACTERS):
                self._out.write(self._encoder.encode(block))


def whole(text: str) -> str:
    """Return a text with backslash escapes for incomplete characters (lone surrogates), which no encoding has."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _lacking(encoding: str, texts: Iterable[str]) -> str:
    """Return the first character of the texts that an encoding lacks ("" if there is none)."""
    for text in texts:
        try:
            text.encode(encoding)
        except UnicodeEncodeError as error:
            return error.object[error.start]
    return ""
