"""JSON text: exact values, and the objects of a long document one by one."""

import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import orjson

from shelfwise.indexer.item import FIELDS
from shelfwise.indexer.reading.guard import has_results
from shelfwise.indexer.reading.headers import normalised
from shelfwise.indexer.reading.numbers import unfloated

MAX_DEPTH = 100  # levels of lists and objects within a record
MAX_RECORD = 16 << 20  # characters of a record in a document
MOST_OUTER = 4  # objects around the list of records
_PIECE = 1 << 18  # characters read at a time

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TO_BRACKET = re.compile(
    rf'[^\[\]{{}}"]*+(?:{_STRING.pattern}[^\[\]{{}}"]*+)*+[\[\]{{}}]', re.DOTALL
)  # outside of strings
_WORD = re.compile(r"[^\s,:\[\]{}\"]++")
_SPACE = re.compile(r"[ \t\r\n]*+")


class TooDeepError(ValueError):
    """JSON with too many levels."""


class TruncatedError(ValueError):
    """JSON that ends too early."""


def _number(text: str) -> float | int | str:
    """Return a number with a fraction or an exponent: an int if it is whole, its text if a float cannot hold it."""
    value = float(text)
    try:
        exact = math.isfinite(value) and Decimal(text) == Decimal(repr(value))
    except InvalidOperation:  # an exponent of many digits
        exact = False
    if not exact:
        return text
    return unfloated(value)


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # Python refuses thousands of digits
        return text


_EXACT = json.JSONDecoder(
    parse_float=_number, parse_int=_whole, parse_constant=lambda word: None if word == "NaN" else word
)


def value_of(text: str) -> object:
    """Return the value of a JSON text.

    12.0 is an int. A number too large or too long for Python is kept as text, so that it can be written again. NaN, as
    some programs write it, is None. Raise ValueError with a reason for text that is not JSON, and TooDeepError for more
    than MAX_DEPTH levels.

    >>> value_of('{"price": 12.0, "rate": 1e999, "stock": NaN}')
    {'price': 12, 'rate': '1e999', 'stock': None}
    """
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(text)
    try:
        value: object = orjson.loads(text)
        if not _has_float(value):  # orjson also reads an integer of more than 64 bits as a float
            return value
    except orjson.JSONDecodeError:
        pass  # json names the fault, and reads NaN
    try:
        value = _EXACT.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(_fault(text, error)) from None
    return value


def _has_float(value: object) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
    for child in children:
        kind = type(child)
        if kind is float or ((kind is dict or kind is list) and _has_float(child)):
            return True
    return False


def _check_depth(text: str) -> None:
    depth = 0
    for match in _TO_BRACKET.finditer(text):
        depth += 1 if match[0][-1] in "{[" else -1
        if depth > MAX_DEPTH:
            raise TooDeepError(f"lists and objects nested more than {MAX_DEPTH} levels deep")


def _fault(text: str, error: json.JSONDecodeError) -> str:
    """Return in words why a text is not JSON."""
    if "\0" in text[:100]:
        return "it looks like UTF-16"
    if re.match(r"[\[{\s]*'", text):
        return "its quotes are ', as in Python, where JSON has \""
    if text.rstrip().endswith(","):
        return "a comma follows the object"
    if re.match(r"\s*[,:]?\s*(?:True|False|None)\b", text[error.pos :]):
        return f"{text[error.pos :].split(maxsplit=1)[0][:10]} is Python, where JSON has true, false and null"
    return f"{error.msg[:1].lower()}{error.msg[1:]} at character {error.pos + 1}"


class Scanner:
    """JSON text that is read in pieces, and taken value by value. `read(n)` returns at most n characters."""

    def __init__(self, read: Callable[[int], str]) -> None:
        self._read = read
        self._text = read(_PIECE).removeprefix("\ufeff")
        self._at = 0
        self._line = 1  # of the beginning of `_text`

    @property
    def line(self) -> int:
        """Line of the next character."""
        return self._line + self._text.count("\n", 0, self._at)

    def _more(self) -> bool:
        """Read more, and drop what was taken. Return False at the end."""
        piece = self._read(_PIECE)
        if piece:
            self._line = self.line
            self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)

    def peek(self) -> str:
        """Return the next character that is not white space, or "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> bool:
        """Take the next character if it is `character`."""
        found = self.peek() == character
        self._at += found
        return found

    def require(self, character: str) -> None:
        """Take the next character. Raise ValueError if it is another one, TruncatedError at the end."""
        if not self.take(character):
            if self.peek() == "":
                raise TruncatedError("the text ends too early")
            raise ValueError(f"{self.peek()!r} where {character!r} was expected")

    def value(self) -> str:
        """Take the next value and return its text, which may be faulty inside. Raise TruncatedError at the end."""
        start = self.peek()
        if not start:
            raise TruncatedError("the text ends too early")
        if start in "{[":
            end = self._end_of_brackets()
        else:
            end = self._end_of_string() if start == '"' else self._end_of_word(start)
        text, self._at = self._text[self._at : end], end
        return text

    def _end_of_brackets(self) -> int:
        end, depth = self._at, 0
        while True:
            found = _TO_BRACKET.match(self._text, end)
            if found is None:
                end -= self._at
                self._extend()
                continue
            end = found.end()
            depth += 1 if self._text[end - 1] in "{[" else -1
            if depth == 0:
                return end

    def _end_of_string(self) -> int:
        while (found := _STRING.match(self._text, self._at)) is None:
            self._extend()
        return found.end()

    def _end_of_word(self, start: str) -> int:
        while (found := _WORD.match(self._text, self._at)) is not None:
            if found.end() < len(self._text):
                return found.end()
            try:
                self._extend()
            except TruncatedError:
                return found.end()
        raise ValueError(f"{start!r} where a value was expected")

    def _extend(self) -> None:
        """Read more of a value."""
        if len(self._text) - self._at > MAX_RECORD:
            raise ValueError(f"a value of more than {MAX_RECORD} characters")
        if not self._more():
            raise TruncatedError("the text ends too early")


def elements(scanner: Scanner) -> Iterator[str]:
    """Yield the text of each element of the array that comes next."""
    scanner.require("[")
    if scanner.take("]"):
        return
    yield scanner.value()
    while not scanner.take("]"):
        scanner.require(",")
        yield scanner.value()


def members(scanner: Scanner) -> Iterator[str]:
    """Yield the key of each member of the object that comes next. The caller takes its value before the next one."""
    scanner.require("{")
    if scanner.take("}"):
        return
    while True:
        yield str(value_of(scanner.value()))
        if scanner.take("}"):
            return
        scanner.require(",")


def values(scanner: Scanner) -> Iterator[str]:
    """Yield the text of each value: each element of arrays, and each value outside of arrays."""
    while start := scanner.peek():
        if start == "[":
            yield from elements(scanner)
        else:
            yield scanner.value()


def listed_values(scanner: Scanner, path: Sequence[str]) -> Iterator[str]:
    """Yield the text of each element of the array under `path`, keys within keys, of the object that comes next.

    Raise ValueError for another array of objects beside the array, and for anything after the object.
    """
    yield from _listed_within(scanner, path)
    if scanner.peek():
        raise ValueError("text after the end of the object")


def _listed_within(scanner: Scanner, path: Sequence[str]) -> Iterator[str]:
    key, *inner = path
    for name in members(scanner):
        scanner.require(":")
        if name == key:
            yield from _listed_within(scanner, inner) if inner else elements(scanner)
        elif _has_objects(scanner.value()) and not inner:
            raise ValueError(f"both {key} and {name} are lists of objects")


def _has_objects(text: str) -> bool:
    return bool(re.match(r"\[\s*\{", text))


def list_path(sample: str) -> tuple[str, ...] | None:
    """Return the keys, one within the other, of the array of objects that has the records of an object (None if none).

    `sample` is the beginning of a file. An object with a title is a record itself, unless its list has titles, too. So
    is a row of an output of `classify`. A list with titles comes first; one in an inner object must have them.

    >>> list_path('{"count": 2, "data": {"products": [{"title": "Mug"}, {"title": "Pan"}]}}')
    ('data', 'products')
    """
    scanner = Scanner(io.StringIO(sample).read)
    found = _Found()
    try:
        _find_lists(scanner, (), found)
        if scanner.peek() or has_results(found.keys):  # several objects: each is a record
            return None
    except ValueError:  # the sample ends, or reading finds the fault
        pass
    outer = [path for path in found.lists if len(path) == 1]
    titled = [path for path, first in found.lists.items() if any(map(_is_title, first))]
    if any(map(_is_title, found.texts)):
        return outer[0] if outer and outer[0] in titled else None
    return next((path for path in [*titled, *outer] if len(path) == 1 or not outer), None)


@dataclass
class _Found:
    """What the beginning of an object has: its own keys, those with a text, and the first object of each list."""

    keys: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    lists: dict[tuple[str, ...], dict[str, object]] = field(default_factory=dict)


def _find_lists(scanner: Scanner, path: tuple[str, ...], found: _Found) -> None:
    for key in members(scanner):
        scanner.require(":")
        start, inner = scanner.peek(), (*path, key)
        if not path:
            found.keys.add(key)
            found.texts |= {key} if start == '"' else set()
        if start == "[":
            for number, text in enumerate(elements(scanner)):
                if number == 0 and text[0] == "{":
                    first = value_of(text)
                    found.lists[inner] = first if isinstance(first, dict) else {}
        elif start == "{" and len(inner) < MOST_OUTER:
            _find_lists(scanner, inner, found)
        else:
            scanner.value()


def _is_title(key: str) -> bool:
    return normalised(key) in FIELDS["title"].headers


def begins_with_object(text: str) -> bool:
    """Return True if a text begins with an object, also one with keys as in Python or JavaScript.

    >>> begins_with_object('{"title": "Mug"}'), begins_with_object("{size},title")
    (True, False)
    """
    return bool(re.match(r"""\s*\{\s*(?:["'}]|\w+\s*:)""", text))


def is_document(sample: str) -> bool:
    """Return True if a text that begins with `sample` is an array or objects over several lines, not JSON lines."""
    text = sample.lstrip()
    first, _, rest = text.partition("\n")
    if text[:1] != "{":
        return text[:1] == "["
    try:
        Scanner(io.StringIO(first).read).value()
    except ValueError:  # the object goes on, or its line is truncated
        return first.rstrip()[-1] in "{[,:" or rest.lstrip()[:1] != "{"
    return False
