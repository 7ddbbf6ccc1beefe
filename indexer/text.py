"""One row to the one string that is embedded, and to the words whose n-grams are seen."""

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

RECIPE = "title, brand, attributes, description[:300]; v1"  # a store refuses vectors of another recipe
MAX_DESCRIPTION = 300  # characters that are embedded: an encoder's time grows with the length
MAX_WORDY = 2_000  # characters of a description whose n-grams are seen: no page of one may cost more than the others

_TAG = re.compile(
    r"</?(?:a|b|big|br|center|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|script|small|span|strong|style|sub|sup|"
    r"table|tbody|td|th|thead|tr|u|ul)(?:\s[^<>]{0,500})?/?>",
    re.IGNORECASE,
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
# Letters of scripts that an English encoder has no words for: everything alphabetic beyond Latin.
_LATIN_END = 0x0250


def clean(text: str) -> str:
    """`text` without HTML, in NFKC (full-width forms become ordinary ones), white space folded.

    Tags go before entities are resolved, so that a title that shows `&lt;b&gt;` to its reader keeps it.
    """
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = html.unescape(text)
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.split())


class Words(NamedTuple):
    """What a row says, cleaned; `brand` is empty where the title has it already, and the description is cut."""

    title: str
    brand: str = ""
    attributes: str = ""
    description: str = ""

    def text(self) -> str:
        """Return the string to embed: the parts joined by ". ", with a little of the description.

        Empty for a row that says nothing.
        """
        return _join((self.title, self.brand, self.attributes, self.description[:MAX_DESCRIPTION].strip()))

    def rest(self) -> str:
        """Return all but the title, which shops are wordy in."""
        return _join((self.brand, self.attributes, self.description))

    def twin_key(self) -> str:
        """Return a digest shared by rows whose titles differ at most in case, width, markup and white space."""
        return digest(self.title.casefold())


def words_of(title: str, brand: str = "", attributes: str = "", description: str = "") -> Words:
    """Return the cleaned words of one row.

    >>> words_of("VELORO  trail shoe", "Veloro", "Size: 42").text()
    'VELORO trail shoe. Size: 42'
    """
    title, brand = clean(title), clean(brand)
    if brand.casefold() in title.casefold():
        brand = ""
    return Words(title, brand, clean(attributes), clean(description)[:MAX_WORDY].strip())


def _join(parts: Iterable[str]) -> str:
    return ". ".join(part for part in parts if part)


def digest(text: str) -> str:
    """32 hexadecimal digits that stand for `text` (the first 128 bits of its SHA-256)."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def beyond_latin(text: str) -> bool:
    """Whether `text` has a letter outside the Latin script."""
    return any(ord(char) >= _LATIN_END and char.isalpha() for char in unicodedata.normalize("NFKC", text))
