"""Fields of an item, and its cleaned words.

`Item` declares each field once. Reading, storing, comparing and the API derive their fields from this declaration. The
texts of an item are cleaned once; embeddings and n-gram counts both use the cleaned words.
"""

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from operator import attrgetter
from typing import Annotated, NamedTuple, get_type_hints

RECIPE = "title, brand, attributes, description[:300]; v1"  # a store refuses vectors of another recipe
MAX_DESCRIPTION = 300  # characters to embed: encoding time grows with the length
MAX_WORDY = 2_000  # characters of a description to count n-grams in: limits the cost of a page-long description

_TAG = re.compile(
    r"</?(?:a|b|big|br|center|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|script|small|span|strong|style|sub|sup|"
    r"table|tbody|td|th|thead|tr|u|ul)(?:\s[^<>]{0,500})?/?>",
    re.IGNORECASE,
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
# First code point after the Latin letters: an English encoder has no words for the letters from here on.
_LATIN_END = 0x0250
PATH_SEPARATOR = " > "  # between the levels of a category path
AUTO_ID = "auto-"  # begins an id that is derived from the texts of an item
ALSO_SEPARATOR = " | "  # between the category paths of `also_in`
_PATH_SPLIT = re.compile(r"\s*[>›»]\s*")
ID, TEXT, IMAGE, TARGET, KEPT = "id", "text", "image", "target", "kept"  # roles of a field
MAX_TITLE = 2_000  # characters; a longer title is a description or several merged rows
MAX_FIELD = 32_767  # characters; the limit of a spreadsheet cell


def clean(text: str) -> str:
    """Return `text` without HTML and invisible characters, in NFKC, with white space folded.

    NFKC turns full-width forms into ordinary ones. Tags are removed before entities are resolved, so a title that
    displays `&lt;b&gt;` keeps it.
    """
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = html.unescape(text)
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.split())


class Words(NamedTuple):
    """Cleaned texts of a row. `brand` is empty if the title contains it; the description is cut to MAX_WORDY."""

    title: str
    brand: str = ""
    attributes: str = ""
    description: str = ""

    def text(self) -> str:
        """Return the string to embed: the parts joined by ". ", with the start of the description.

        The string is empty for a row without words.
        """
        return _join((self.title, self.brand, self.attributes, self.description[:MAX_DESCRIPTION].strip()))

    def rest(self) -> str:
        """Return the brand, attributes and description, joined by ". ". Shops are wordy in these parts."""
        return _join((self.brand, self.attributes, self.description))

    def twin_key(self) -> str:
        """Return a digest shared by duplicates: titles that differ at most in case, width, markup and white space."""
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
    """Return the first 128 bits of the SHA-256 of `text` as 32 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def beyond_latin(text: str) -> bool:
    """Return True if `text` has a letter outside the Latin script."""
    return any(ord(char) >= _LATIN_END and char.isalpha() for char in unicodedata.normalize("NFKC", text))


@dataclass(frozen=True, slots=True)
class Field:
    """Declaration of a field: its role, its usual headers and its maximum length.

    `role` is ID (identifies the item), TEXT (describes it), IMAGE (shows it), TARGET (the category to predict) or KEPT
    (stored and shown, but not used in any decision). `headers` are in lower case, without spaces and marks, the most
    usual first. `longest` is in characters. A field with `joined` can be joined from several columns. A TEXT field is
    embedded only if `Words` has it too; adding it to `Words` requires a new RECIPE.
    """

    role: str
    headers: tuple[str, ...]
    longest: int = MAX_FIELD
    joined: bool = False
    shortened: bool = False


@dataclass(frozen=True)
class Item:
    """One catalog row. A listing is an item whose category is not known yet (both category fields are empty).

    `category_path` ("A > B > C") identifies a category; `category` is the name of its leaf. If a row has no id, reading
    derives one from its texts. `also_in` are further categories of the row, joined by " | ".
    """

    id: Annotated[
        str,
        Field(
            ID,
            ("id", "itemid", "productid", "sku", "skuid", "goodsid", "asin", "itemnumber", "articlenumber",
             "productcode", "artikelnummer", "artikelnr", "référence", "referencia",
             "编号", "商品编号", "商品id", "货号", "商家编码", "商品编码", "宝贝id", "商品番号", "상품번호"),
        ),
    ] = ""  # fmt: skip
    title: Annotated[
        str,
        Field(
            TEXT,
            ("title", "name", "productname", "producttitle", "itemname", "itemtitle", "listing", "text",
             "artikelname", "artikelbezeichnung", "bezeichnung", "titel", "produktname", "titre", "nom", "título",
             "nombre", "titolo",
             "商品名称", "标题", "商品标题", "名称", "品名", "商品名", "产品名称", "产品标题", "宝贝名称", "宝贝标题",
             "商品名稱", "標題", "상품명"),
            MAX_TITLE,
        ),
    ] = ""  # fmt: skip
    description: Annotated[
        str,
        Field(
            TEXT,
            ("description", "desc", "productdescription", "details", "bodyhtml", "beschreibung", "descripción",
             "描述", "商品描述", "详情", "简介", "商品详情", "产品描述", "宝贝描述", "商品説明", "상품설명"),
            shortened=True,
        ),
    ] = ""  # fmt: skip
    brand: Annotated[
        str,
        Field(
            TEXT,
            ("brand", "brandname", "manufacturer", "vendor", "brands", "marke", "hersteller", "marque", "marca",
             "品牌", "品牌名称", "ブランド", "브랜드"),
        ),
    ] = ""  # fmt: skip
    attributes: Annotated[
        str,
        Field(
            TEXT,
            ("attributes", "attribute", "attrs", "properties", "specs", "specifications", "eigenschaften",
             "属性", "规格", "商品属性", "规格参数", "宝贝属性", "産品属性"),
            joined=True,
            shortened=True,
        ),
    ] = ""  # fmt: skip
    category: Annotated[
        str,
        Field(
            TARGET,
            ("category", "categoryname", "categories", "label", "leafcategory", "producttype", "productcategory",
             "googleproductcategory",
             "kategorie", "warengruppe", "catégorie", "categoría", "categoria",
             "类目", "类别", "分类", "品类", "商品类目", "商品分类", "所属类目", "所属分类", "产品分类", "宝贝类目",
             "类目名称", "分類", "カテゴリ", "カテゴリー", "카테고리"),
        ),
    ] = ""  # fmt: skip
    category_path: Annotated[
        str,
        Field(
            TARGET,
            ("categorypath", "path", "categorytree", "breadcrumb", "breadcrumbs", "taxonomy",
             "kategoriepfad", "类目路径", "分类路径", "类目全路径"),
            joined=True,
        ),
    ] = ""  # fmt: skip
    also_in: Annotated[str, Field(KEPT, ("alsoin",))] = ""

    @property
    def words(self) -> Words:
        """Cleaned texts of the item, computed once."""
        return self._words

    @cached_property
    def _words(self) -> Words:  # the underscore keeps it out of JSON
        return words_of(self.title, self.brand, self.attributes, self.description)

    def moved(self, category_path: str) -> "Item":
        """Return a copy of the item in another category."""
        return replace(self, category=leaf_of(category_path), category_path=category_path)


def _declared() -> dict[str, Field]:
    hints = get_type_hints(Item, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(Item)}


FIELDS: Mapping[str, Field] = _declared()


def names_of(*roles: str) -> tuple[str, ...]:
    """Return the names of the fields with one of `roles`, in order of declaration.

    >>> names_of(TARGET)
    ('category', 'category_path')
    """
    return tuple(name for name, field in FIELDS.items() if field.role in roles)


CONTENT = tuple(name for name, field in FIELDS.items() if field.role != ID)


_content = attrgetter(*CONTENT)


def content_of(item: Item) -> tuple[str, ...]:
    """Return the values of CONTENT: all fields of an item except its id."""
    values: tuple[str, ...] = _content(item)
    return values


def derived_id(item: Item) -> str:
    """Return an id computed from the texts of an item, not its category: a corrected label keeps the id."""
    others = [name for name in names_of(TEXT, IMAGE) if name not in Words._fields]
    said = (getattr(item, name) for name in (*Words._fields, *others))
    return AUTO_ID + digest("\x1f".join(said))[:16]


def normal_path(path: str) -> str:
    """Return `path` with cleaned names joined by " > ", without empty levels."""
    return joined_path(clean(path))


def joined_path(cleaned: str) -> str:
    """Return a path that is already clean with its names joined by " > ", without empty levels."""
    return PATH_SEPARATOR.join(filter(None, (name.strip() for name in _PATH_SPLIT.split(cleaned))))


def leaf_of(path: str) -> str:
    """Return the name of a category's leaf from its path."""
    return path.rpartition(PATH_SEPARATOR)[2]
