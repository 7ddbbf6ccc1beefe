"""Recognition of the encoding of a text file from its first bytes.

Bytes that are valid in one encoding are often valid in others, so each encoding's reading is measured: how many bits
does the text take in the letters of a language that uses the encoding? The cheapest reading is the right one if it is
cheaper than each other by a wide margin. Otherwise the encoding is not guessed.

Each distinct word counts once, so that a brand in a thousand titles is no more evidence than in one.
"""

import codecs
import re
import unicodedata
from bisect import bisect
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading.languages import (
    ASCII_BITS,
    CYRILLIC,
    FOREIGN,
    IN_NO_TEXT,
    LATIN,
    RARE,
    STRANGE,
    UNUSUAL,
    any_language,
    languages,
)

# Languages written in each encoding. Of encodings that read a text alike, the first is named.
LANGUAGES_OF = {
    "cp1252": LATIN,
    "cp1250": LATIN,
    "cp1254": LATIN,
    "cp1251": CYRILLIC,
    "koi8-r": CYRILLIC,
    "cp1253": ("Greek",),
    "cp1255": ("Hebrew",),
    "cp1256": ("Arabic",),
    "cp1257": ("Lithuanian", "Latvian", "Estonian"),
    "cp874": ("Thai",),
    "gb18030": ("Chinese", "Traditional Chinese"),
    "cp950": ("Traditional Chinese",),  # Big5 as Windows writes it
    "cp932": ("Japanese",),  # Shift-JIS as Windows writes it
    "euc-jp": ("Japanese",),
    "cp949": ("Korean",),
    # As other systems than Windows write them.
    "iso8859-2": LATIN,
    "iso8859-5": CYRILLIC,
    "iso8859-7": ("Greek",),
    "koi8-u": CYRILLIC,
    "mac-roman": LATIN,
    "mac-latin2": LATIN,
    "mac-cyrillic": CYRILLIC,
    "cp850": LATIN,
    "cp852": LATIN,
    "cp866": CYRILLIC,
    "cp737": ("Greek",),
}
# A reading must take this many bits fewer than each other: by chance, once in a billion files.
MARGIN = 30.0
UTF8_MARGIN = 5.0  # and bytes that are valid UTF-8 this many fewer
MIXED = 15.0  # bits fewer for some words in UTF-8, that show that a file has parts in it; "Ã©" for "é" has 18
EVIDENCE_BYTES = 1 << 15  # bytes of distinct words that are measured
UTF8_EVIDENCE_BYTES = 1 << 12  # and the ones that are measured if UTF-8 is valid
MOST_BYTES_PER_NUL = 50  # of UTF-16 and UTF-32: their ASCII characters have NUL bytes
MOST_CANDIDATES = 6
SHOWN_CHARACTERS = 80  # characters of a sample line
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
# No encoding above has a byte 00-2F or 3A-3F within a character, so these separate words in all of them.
_BETWEEN_WORDS = re.compile(rb"[\x00-\x2f\x3a-\x3f]+")
_IN_NO_TEXT = {"Cc", "Cn", "Co", "Lm", "Sk"}  # control characters, unassigned ones, and marks that modify letters
_SCRIPTS = ("ASCII", "Latin", "Greek", "Cyrillic", "Hebrew", "Arabic", "Thai", "wide")
_FIRST_LETTERS = "\0\x80\u0370\u0400\u0530\u0600\u0e00\u1100"  # of each script
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x19\x1b\x7f]")


@dataclass(frozen=True, slots=True)
class Detected:
    """The codec of a file, and remarks for the user."""

    encoding: str
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A codec that can decode a file, and one line of the file as it reads then."""

    encoding: str
    line: str


class EncodingError(InputError):
    """A file whose encoding is not certain. `candidates` has the likely ones, most likely first."""

    def __init__(self, code: str, found: str, expected: str, fix: str, candidates: tuple[Candidate, ...] = ()) -> None:
        super().__init__(code, found, expected, fix)
        self.candidates = candidates

    def at(self, place: str) -> "EncodingError":
        """Return a copy of the error that names its `place`."""
        return EncodingError(self.code, f"{place}: {self.found}", self.expected, self.fix, self.candidates)


def detect(sample: bytes, complete: bool) -> Detected:
    """Return the encoding of a file that starts with `sample`; `complete` says that the sample is the whole file.

    A byte order mark decides, then the NUL bytes of UTF-16 and UTF-32. Next comes UTF-8, if the sample is valid, or if
    at least half of the lines with non-ASCII bytes are valid (the invalid ones can be rejected one by one) and no other
    encoding reads the valid ones better. Then comes the encoding that reads the sample better than all others by
    MARGIN, with a notice. Raise EncodingError if there is none.

    >>> detect("id,title\\n1,Crème brûlée\\n".encode(), complete=True).encoding
    'utf-8'
    """
    for mark, codec in _MARKS:
        if sample.startswith(mark):
            return Detected(codec)
    if sample.count(0) * MOST_BYTES_PER_NUL >= len(sample) > 0 and (wide := _wide(sample)):
        return Detected(wide, [_notice(wide, "no byte order mark")])
    if _decoded(sample, "utf-8", complete) is not None or _is_utf8(sample, complete):
        return Detected("utf-8")
    readings = [] if _is_binary(sample) else _readings(sample, complete)
    if not readings or not _is_clear(readings) or _is_mixed(sample, readings[0]):
        raise _uncertain(sample, readings)
    codec = readings[0].encoding
    return Detected(codec, [] if codec == "utf-8" else [_notice(codec, "not valid UTF-8")])


def _notice(codec: str, reason: str) -> str:
    return f"read as {codec.upper()} ({reason}): name another encoding if that is wrong"


def _uncertain(sample: bytes, readings: list["Reading"]) -> EncodingError:
    likely = [reading.encoding for reading in readings if reading.plausible]
    shown = (likely or [reading.encoding for reading in readings])[:MOST_CANDIDATES]
    line = max(
        dict.fromkeys(_beyond_ascii(sample.splitlines())),
        key=lambda line: len({_shown(line, codec) for codec in shown}),  # the first line that all read differently
    )
    return EncodingError(
        "unknown_file_encoding",
        "text in an encoding that is not certain" if readings else "neither UTF-8 nor text in another known encoding",
        "UTF-8, or text that reads well in one encoding only",
        "name the encoding of the file",
        tuple(Candidate(codec, _shown(line, codec)) for codec in shown),
    )


def _shown(line: bytes, codec: str) -> str:
    """Return a line as it reads in a codec, from its first non-ASCII character or a little before."""
    text = line.decode(codec, "replace").strip()
    first = next((place for place, char in enumerate(text) if not char.isascii()), 0)
    start = max(0, first - SHOWN_CHARACTERS // 2)
    return "".join(char if char.isprintable() else "\ufffd" for char in text[start : start + SHOWN_CHARACTERS])


def _decoded(data: bytes, codec: str, complete: bool) -> str | None:
    """Return the text of some bytes, None if one is invalid. Incomplete bytes may end within a character."""
    try:
        return codecs.getincrementaldecoder(codec)().decode(data, final=complete)
    except UnicodeError:
        return None


def _wide(sample: bytes) -> str | None:
    """Return the codec of UTF-16 or UTF-32 without a mark, None if no codec or several make text of the bytes."""
    texts = {codec: _decoded(sample, codec, complete=False) for codec in _WIDE}
    fitting = [codec for codec, text in texts.items() if text and _is_text(text)]
    return fitting[0] if len(fitting) == 1 else None


def _is_text(text: str) -> bool:
    """Return True if a text has ASCII characters, and neither control characters nor unassigned ones."""
    kinds = {unicodedata.category(char) for char in set(text) - set("\t\n\r")}
    return kinds.isdisjoint({"Cc", "Cn", "Co", "Cs"}) and any(char.isascii() for char in text)


def _is_binary(sample: bytes) -> bool:
    """Return True if more than 1 in 1,000 bytes are control characters that texts do not have."""
    return len(_CONTROL.findall(sample)) * 1000 > len(sample)


def _is_utf8(sample: bytes, complete: bool) -> bool:
    """Return True if at least half of the lines with non-ASCII bytes are valid, and read best as UTF-8.

    A few short lines of another encoding can be valid by chance.
    """
    lines = _beyond_ascii(sample.splitlines())
    if not complete and len(lines) > 1 and sample.endswith(lines[-1]):
        lines.pop()
    whole = complete or len(lines) > 1
    valid = [line for line in lines if _decoded(line, "utf-8", whole) is not None]
    if len(valid) * 2 < len(lines):
        return False
    words = _words(b"\n".join(valid), complete, UTF8_EVIDENCE_BYTES)
    here = _measured(words, "utf-8")
    there = [_measured(words, codec) for codec in LANGUAGES_OF]
    return here is None or all(here[0] + UTF8_MARGIN <= other[0] for other in there if other is not None)


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample as it reads in an encoding: its text, the bits of its words, and whether they are like a language."""

    encoding: str
    text: str
    bits: float
    plausible: bool


def _readings(sample: bytes, complete: bool) -> list[Reading]:
    """Return the readings of a sample that decode each byte, the best one first. Give equal texts once."""
    words = _words(sample, complete, EVIDENCE_BYTES)
    distinct: dict[str, Reading] = {}
    for codec in ("utf-8", *LANGUAGES_OF):
        text = _decoded(sample, codec, complete)
        measured = _measured(words, codec)
        if text is None or measured is None:
            continue
        reading = Reading(codec, text, *measured)
        if (known := distinct.get(text)) and known.bits > reading.bits:
            distinct[text] = replace(reading, encoding=known.encoding)
        distinct.setdefault(text, reading)
    return sorted(distinct.values(), key=lambda reading: reading.bits)


def _is_clear(readings: list[Reading]) -> bool:
    """Return True if the best reading is like a language, and takes fewer bits than each other by MARGIN."""
    best = readings[0]
    return best.plausible and all(other.bits - best.bits >= MARGIN for other in readings[1:])


def _is_mixed(sample: bytes, reading: Reading) -> bool:
    """Return True if words that are valid UTF-8 read better so: parts of the file have different encodings."""
    distinct = dict.fromkeys(_beyond_ascii(_BETWEEN_WORDS.split(sample)))
    valid = [word for word in distinct if _decoded(word, "utf-8", complete=True) is not None]
    words = _words(b"\n".join(valid), True, EVIDENCE_BYTES)
    utf8, read = (_measured(words, codec) for codec in ("utf-8", reading.encoding))
    return utf8 is not None and read is not None and read[0] - utf8[0] >= MIXED


def _beyond_ascii(parts: list[bytes]) -> list[bytes]:
    return [part for part in parts if not part.isascii()]


def _words(data: bytes, complete: bool, limit: int) -> bytes:
    """Return the distinct words with non-ASCII bytes, one a line; evenly chosen ones to about `limit` bytes.

    The end may be within a character, unless the data are complete and fewer.
    """
    distinct = list(dict.fromkeys(_beyond_ascii(_BETWEEN_WORDS.split(data))))
    step = sum(map(len, distinct)) // limit + 1
    words = b"\n".join(distinct[::step]) + (b"\n" if complete else b"")
    return words[: 2 * limit]


def _measured(words: bytes, codec: str) -> tuple[float, bool] | None:
    """Return the bits of words in the best language of `codec`, and whether the words are like that language.

    Return None if a byte is invalid.
    """
    text = _decoded(words, codec, complete=False)
    if text is None:
        return None
    unlisted = _in_utf8 if codec == "utf-8" else _in_no_language
    characters = [(char, count, unlisted(char)) for char, count in Counter(text).items()]
    known = [any_language()] if codec == "utf-8" else [languages()[name] for name in LANGUAGES_OF[codec]]
    bits, limit = min(
        (sum(count * one.bits.get(char, other) for char, count, other in characters), one.limit) for one in known
    )
    bits += sum(count * _joint(*pair) for pair, count in Counter(pairwise(map(_kind, text))).items())
    beyond = sum(count for char, count, _ in characters if not char.isascii())
    return bits, bits - ASCII_BITS * (len(text) - beyond) <= limit * beyond


@lru_cache(1 << 16)
def _in_no_language(char: str) -> float:
    """Return the bits of a character that is not one of a language's."""
    kind = unicodedata.category(char)
    return IN_NO_TEXT if kind in _IN_NO_TEXT else UNUSUAL if kind[0] == "L" else STRANGE


def _in_utf8(char: str) -> float:
    """Return the bits of a character of UTF-8 that is not one of `languages`."""
    return FOREIGN if char >= "\u0530" and unicodedata.category(char)[0] in "LM" else RARE


def _joint(before: tuple[str, str], kind: tuple[str, str]) -> float:
    """Return additional bits for two characters, given by their kinds, that words rarely have next to each other."""
    (one, case_before), (two, case) = before, kind
    if not one or not two:
        return 4.0 if "Latin" in (one, two) and "digit" in (case_before, case) else 0.0
    if one != two and {one, two} != {"ASCII", "Latin"}:
        return 3.0 if "wide" in (one, two) else 10.0
    if one == two == "ASCII":
        return 0.0
    if (case_before, case) == ("lower", "upper"):
        return 8.0
    return 1.0 if one == two == "Latin" else 0.0


@lru_cache(1 << 16)
def _kind(char: str) -> tuple[str, str]:
    """Return the script of a letter or its mark (else nothing), and lower, upper, digit or nothing."""
    case = "lower" if char.islower() else "upper" if char.isupper() else "digit" if char.isdigit() else ""
    if unicodedata.category(char)[0] not in "LM":
        return "", case
    return _SCRIPTS[bisect(_FIRST_LETTERS, char) - 1], case
