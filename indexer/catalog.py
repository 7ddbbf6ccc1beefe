"""Records to items: which column is what, which rows are usable, which id appears twice."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from shelfwise.indexer.errors import InputError, listed
from shelfwise.indexer.files import RecordFile, open_records
from shelfwise.indexer.rejects import Reject, RejectFile
from shelfwise.indexer.text import Words, clean, compose, digest, words_of

FIELDS = ("id", "title", "description", "brand", "attributes", "category", "category_path")
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "itemid", "productid", "sku", "skuid", "goodsid", "asin", "编号", "商品编号", "商品id", "货号"),
    "title": ("title", "name", "productname", "producttitle", "itemname", "itemtitle", "listing", "text",
              "商品名称", "标题", "商品标题", "名称", "品名", "商品名"),
    "description": ("description", "desc", "productdescription", "details", "描述", "商品描述", "详情", "简介"),
    "brand": ("brand", "brandname", "manufacturer", "品牌", "品牌名称"),
    "attributes": ("attributes", "attribute", "attrs", "properties", "specs", "specifications",
                   "属性", "规格", "商品属性", "规格参数"),
    "category": ("category", "categoryname", "label", "leafcategory", "producttype", "类目", "类别", "分类", "品类",
                 "商品类目", "商品分类"),
    "category_path": ("categorypath", "path", "categorytree", "breadcrumb", "taxonomy", "类目路径", "分类路径"),
}  # fmt: skip
MAX_TITLE = 2_000  # characters; a longer title is a description, or rows that ran together
MAX_FIELD = 32_767  # characters; what a spreadsheet cell holds
PATH_SEPARATOR = " > "
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PATH_SPLIT = re.compile(r"\s*[>›»]\s*")


@dataclass(frozen=True, slots=True)
class Item:
    """One catalog row; a listing is one whose category is not known yet (both category fields empty).

    `category_path` ("A > B > C") is what a category is told apart by; `category` is the name of its leaf.
    """

    id: str
    title: str
    description: str = ""
    brand: str = ""
    attributes: str = ""
    category: str = ""
    category_path: str = ""

    def text(self) -> str:
        """The string to embed: all but id and category."""
        return compose(self.title, self.brand, self.attributes, self.description)

    def words(self) -> Words:
        """The words of title and rest, with more of the description than is embedded."""
        return words_of(self.title, self.brand, self.attributes, self.description)

    def moved(self, category_path: str) -> "Item":
        """The same in another category."""
        return replace(self, category=category_path.rpartition(PATH_SEPARATOR)[2], category_path=category_path)


@dataclass(frozen=True, slots=True)
class Listing:
    """A row to classify: its item, its line, and every column of the input as it came."""

    line: int
    item: Item
    source: dict[str, object]


@dataclass
class Catalog:
    """The items of one or more files by id, and what was met on the way.

    `conflicting` counts rows whose id had come before with other content (the last one wins), `repeated`
    those with the same content.
    """

    items: dict[str, Item] = field(default_factory=dict)
    rows: int = 0
    rejected: int = 0
    repeated: int = 0
    conflicting: int = 0
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReadOptions:
    """How to read an input file: column overrides (see `parse_columns`), encoding, and format."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoding: str | None = None
    format: str | None = None


def parse_columns(text: str) -> dict[str, tuple[str, ...]]:
    """`"title=name,attributes=gender+colour"` as {"title": ("name",), "attributes": ("gender", "colour")}."""
    columns: dict[str, tuple[str, ...]] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, source = (part.strip() for part in pair.partition("="))
        if name not in FIELDS or not equals or not source:
            raise InputError(f"--columns has {pair!r}: expected FIELD=COLUMN with FIELD one of {', '.join(FIELDS)}")
        columns[name] = tuple(part.strip() for part in source.split("+"))
        if len(columns[name]) > 1 and name != "attributes":
            raise InputError(f"--columns has {pair!r}: only attributes can be put together from several columns")
    return columns


def match_columns(
    found: list[str], overrides: Mapping[str, tuple[str, ...]], labelled: bool, name: str
) -> dict[str, tuple[str, ...]]:
    """Which columns of a file give which field.

    `overrides` first, then header synonyms, the more usual one first. Raises InputError where a column
    named in `overrides`, the title, or (for a `labelled` file) the category is not there.
    """
    absent = [column for columns in overrides.values() for column in columns if column not in found]
    if absent:
        raise InputError(f"{name} has no column {listed(absent)} as --columns says: it has {listed(found)}")
    plain = {re.sub(r"[\s_\-]", "", unicodedata.normalize("NFKC", c)).casefold(): c for c in reversed(found)}
    mapping = dict(overrides)
    for field_name, synonyms in SYNONYMS.items():
        match = next((plain[synonym] for synonym in synonyms if synonym in plain), None)
        if field_name not in mapping and match is not None:
            mapping[field_name] = (match,)
    if "title" not in mapping:
        raise InputError(f"{name} has no title column: it has {listed(found)}; name it with --columns title=COLUMN")
    if labelled and "category" not in mapping and "category_path" not in mapping:
        raise InputError(
            f"{name} has no category column: it has {listed(found)}; name it with --columns category=COLUMN"
        )
    return mapping


def read_catalog(paths: Iterable[str | Path], rejects: RejectFile, options: ReadOptions | None = None) -> Catalog:
    """Every usable row of labelled files.

    Unusable rows go to `rejects`. Raises InputError for a file that cannot be used at all, or without any
    usable row.
    """
    options = options or ReadOptions()
    catalog = Catalog()
    for path in paths:
        with open_records(path, encoding=options.encoding, fmt=options.format) as source:
            catalog.notices += [f"{source.name}: {notice}" for notice in source.notices]
            before = catalog.rows
            for row in _items(source, options, labelled=True):
                catalog.rows += 1
                if isinstance(row, Reject):
                    rejects.add(row)
                    catalog.rejected += 1
                    continue
                earlier = catalog.items.pop(row.item.id, None)
                catalog.repeated += earlier == row.item
                catalog.conflicting += earlier is not None and earlier != row.item
                catalog.items[row.item.id] = row.item
            _require_rows(source.name, catalog.rows - before, rejects, usable=bool(catalog.items))
    return catalog


def read_listings(
    source: RecordFile, rejects: RejectFile, options: ReadOptions, batch: int, labelled: bool = False
) -> Iterator[list[Listing]]:
    """The rows of an opened file in batches of at most `batch`, in order.

    A listing may have an empty title (the decision says so) unless it has to be `labelled`; a row that cannot be used
    goes to `rejects`.
    """
    rows: list[Listing] = []
    seen = 0
    for row in _items(source, options, labelled):
        seen += 1
        if isinstance(row, Reject):
            rejects.add(row)
            continue
        rows.append(row)
        if len(rows) == batch:
            yield rows
            rows = []
    if rows:
        yield rows
    _require_rows(source.name, seen, rejects, usable=seen > rejects.count)


def _require_rows(name: str, rows: int, rejects: RejectFile, usable: bool) -> None:
    if rows == 0:
        raise InputError(f"{name} has a header but no rows: expected at least one")
    if not usable and rejects.first is not None:
        first = rejects.first
        raise InputError(
            f"{name} has no usable row: all {rejects.count} were rejected, the first in line {first.line} "
            f"({first.reason}); see {rejects.path}"
        )


def _items(source: RecordFile, options: ReadOptions, labelled: bool) -> Iterator[Listing | Reject]:
    mapping = match_columns(source.columns, options.columns, labelled, source.name)
    for record in source.records():
        if isinstance(record, Reject):
            yield record
            continue
        values = {name: _joined(record.values, columns) for name, columns in mapping.items()}
        column, reason = _fault(values, labelled)
        if reason:
            named = "+".join(mapping.get(column, (column,)))
            yield Reject(source.name, record.line, named, values.get(column, ""), reason)
        else:
            yield Listing(record.line, _item(values), record.values)


def _joined(found: Mapping[str, object], columns: tuple[str, ...]) -> str:
    if len(columns) == 1:
        value = found.get(columns[0])
        return value if isinstance(value, str) else _as_text(value)
    parts = ((column, _as_text(found.get(column))) for column in columns)
    return "; ".join(f"{column}: {value}" for column, value in parts if value)


def _as_text(value: object) -> str:
    """A cell as text: objects as "key: value; ...", lists joined by commas, nothing as ""."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_as_text(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(entry) for entry in value)
    return str(value)


def _fault(values: Mapping[str, str], labelled: bool) -> tuple[str, str]:
    """(field, reason) of the first fault of a row, ("", "") for a good one."""
    for name, value in values.items():
        limit = MAX_TITLE if name == "title" else MAX_FIELD
        if len(value) > limit:
            return name, f"{len(value)} characters: at most {limit} are read"
        if not value.isprintable() and (found := _CONTROL.search(value)):
            return name, f"control character U+{ord(found[0]):04X}"
    if labelled:
        if not clean(values["title"]):
            return "title", "empty title"
        if not normal_path(values.get("category_path", "")) and not normal_path(values.get("category", "")):
            return "category" if "category" in values else "category_path", "empty category"
    return "", ""


def normal_path(path: str) -> str:
    """`path` with clean names and " > " between them; empty levels are left out."""
    return PATH_SEPARATOR.join(filter(None, (name.strip() for name in _PATH_SPLIT.split(clean(path)))))


def _item(values: Mapping[str, str]) -> Item:
    path, category = normal_path(values.get("category_path", "")), clean(values.get("category", ""))
    if not path:
        path = normal_path(category)
        category = ""
    item = Item(
        id=values.get("id", "").strip(),
        title=values["title"].strip(),
        description=values.get("description", "").strip(),
        brand=values.get("brand", "").strip(),
        attributes=values.get("attributes", "").strip(),
        category=category or path.rpartition(PATH_SEPARATOR)[2],
        category_path=path,
    )
    return item if item.id else replace(item, id=derived_id(item))


def item_of(values: Mapping[str, str], labelled: bool) -> Item:
    """The item that says `values` by field, held to what rows of a file are held to. Raises InputError."""
    name, reason = _fault(values, labelled)
    if reason:
        raise InputError(f"{name}: {reason}")
    return _item(values)


def derived_id(item: Item) -> str:
    """An id made from what the item says, not from its category: a corrected label keeps the id."""
    return "auto-" + digest("\x1f".join((item.title, item.brand, item.attributes, item.description)))[:16]
