"""What an item says, and its words.

`Item` declares each field once, and reading, storing, comparing and the API derive theirs. Its words are cleaned once:
what is embedded, and what n-grams are counted in, is made of them.
"""

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Annotated, NamedTuple, get_type_hints

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
PATH_SEPARATOR = " > "  # between the levels of a category path
_PATH_SPLIT = re.compile(r"\s*[>›»]\s*")
ID, TEXT, IMAGE, TARGET, KEPT = "id", "text", "image", "target", "kept"  # roles of a field
MAX_TITLE = 2_000  # characters; a longer title is a description, or rows that ran together
MAX_FIELD = 32_767  # characters; what a spreadsheet cell holds


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


@dataclass(frozen=True, slots=True)
class Field:
    """What a field is for, the headers that usually name it, and how long it may be.

    `role` is ID (tells items apart), TEXT (says what the item is), IMAGE (shows it), TARGET (what is to be told) or
    KEPT (stored and shown, without a part in any decision). `headers` are in lower case, without spaces and marks, the
    more usual one first; `longest` is in characters; `joined` fields can be put together from several columns. A TEXT
    field is embedded once `Words` has it, which makes another RECIPE.
    """

    role: str
    headers: tuple[str, ...]
    longest: int = MAX_FIELD
    joined: bool = False


@dataclass(frozen=True)
class Item:
    """One catalog row; a listing is one whose category is not known yet (both category fields empty).

    `category_path` ("A > B > C") is what a category is told apart by; `category` is the name of its leaf. Where it has
    no id, one is made from its texts when it is read.
    """

    id: Annotated[
        str,
        Field(ID, ("id", "itemid", "productid", "sku", "skuid", "goodsid", "asin",
                   "编号", "商品编号", "商品id", "货号")),
    ] = ""  # fmt: skip
    title: Annotated[
        str,
        Field(
            TEXT,
            ("title", "name", "productname", "producttitle", "itemname", "itemtitle", "listing", "text",
             "商品名称", "标题", "商品标题", "名称", "品名", "商品名"),
            MAX_TITLE,
        ),
    ] = ""  # fmt: skip
    description: Annotated[
        str,
        Field(TEXT, ("description", "desc", "productdescription", "details", "描述", "商品描述", "详情", "简介")),
    ] = ""
    brand: Annotated[str, Field(TEXT, ("brand", "brandname", "manufacturer", "品牌", "品牌名称"))] = ""
    attributes: Annotated[
        str,
        Field(
            TEXT,
            ("attributes", "attribute", "attrs", "properties", "specs", "specifications",
             "属性", "规格", "商品属性", "规格参数"),
            joined=True,
        ),
    ] = ""  # fmt: skip
    category: Annotated[
        str,
        Field(
            TARGET,
            ("category", "categoryname", "label", "leafcategory", "producttype", "类目", "类别", "分类", "品类",
             "商品类目", "商品分类"),
        ),
    ] = ""  # fmt: skip
    category_path: Annotated[
        str,
        Field(TARGET, ("categorypath", "path", "categorytree", "breadcrumb", "taxonomy", "类目路径", "分类路径")),
    ] = ""

    @property
    def words(self) -> Words:
        """Its texts, cleaned: once, whoever asks for them."""
        return self._words

    @cached_property
    def _words(self) -> Words:  # what begins with an underscore is in no JSON
        return words_of(self.title, self.brand, self.attributes, self.description)

    def moved(self, category_path: str) -> "Item":
        """Return the same in another category."""
        return replace(self, category=leaf_of(category_path), category_path=category_path)


def _declared() -> dict[str, Field]:
    hints = get_type_hints(Item, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(Item)}


FIELDS: Mapping[str, Field] = _declared()


def names_of(*roles: str) -> tuple[str, ...]:
    """Return the names of the fields with one of some roles, in their order.

    >>> names_of(TARGET)
    ('category', 'category_path')
    """
    return tuple(name for name, field in FIELDS.items() if field.role in roles)


CONTENT = tuple(name for name, field in FIELDS.items() if field.role != ID)


def content_of(item: Item) -> tuple[str, ...]:
    """Return what an item says, its id aside: the values of CONTENT."""
    return tuple(getattr(item, name) for name in CONTENT)


def derived_id(item: Item) -> str:
    """Return an id made from what the item says, not from its category: a corrected label keeps the id."""
    others = [name for name in names_of(TEXT, IMAGE) if name not in Words._fields]
    said = (getattr(item, name) for name in (*Words._fields, *others))
    return "auto-" + digest("\x1f".join(said))[:16]


def normal_path(path: str) -> str:
    """Return `path` with clean names and " > " between them; empty levels are left out."""
    return joined_path(clean(path))


def joined_path(cleaned: str) -> str:
    """Return the same for a path that is cleaned already."""
    return PATH_SEPARATOR.join(filter(None, (name.strip() for name in _PATH_SPLIT.split(cleaned))))


def leaf_of(path: str) -> str:
    """Return the name of a category from its path."""
    return path.rpartition(PATH_SEPARATOR)[2]
