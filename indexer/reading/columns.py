"""Names of columns: those that a user gives for fields, and those that hold levels of a category."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shelfwise.indexer.errors import InputError, first_line
from shelfwise.indexer.item import FIELDS
from shelfwise.indexer.reading.headers import normalised

# Why a column gives a field.
NAMED, REMEMBERED, BY_PROFILE, BY_HEADER, BY_LEVELS = "named", "as before", "profile", "header", "levels"
MAPPING = 'an object such as {"title": "name", "attributes": ["colour", "size"]}'
TITLE, PATH, LEAF = "title", "category_path", "category"
Columns = Mapping[str, tuple[str, ...]]  # source columns by field

_KIND = "(?:类目|分类|品类|类别)"
_LEVELS = re.compile(
    rf"(?:product)?(?:category|cat|{_KIND})(?:level|lvl|l)?(?P<a>[0-9])(?:name)?"
    rf"|(?:level|lvl|l)(?P<b>[0-9])(?:category|cat|{_KIND})?(?:name)?"
    rf"|(?P<c>[一二三四五六七八九])级(?:商品)?{_KIND}(?:名称)?"
)
_NUMERALS = "一二三四五六七八九"
_CHAINS = (  # headers of columns of which each divides the one before it
    ("大类", "中类", "小类", "细类"),
    ("maincategory", "subcategory", "subsubcategory"),
    ("category", "subcategory", "subsubcategory"),
    ("category", "subcategory1", "subcategory2", "subcategory3"),
    ("productcategory", "subcategory", "subsubcategory"),
    ("kategorie", "unterkategorie", "unterunterkategorie"),
    ("hauptkategorie", "kategorie", "unterkategorie"),
    ("warengruppe", "unterwarengruppe"),
    ("warengruppe", "untergruppe"),
    ("hauptwarengruppe", "warengruppe", "unterwarengruppe"),
    ("类目", "子类目"),
    ("分类", "子分类"),
)


@dataclass(frozen=True)
class ColumnUse:
    """A field, its source columns, and why they were chosen: NAMED, REMEMBERED, BY_PROFILE, ..."""

    field: str
    columns: tuple[str, ...]
    why: str


def named_columns(columns: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Check which columns give each field, and return the columns of each field as a tuple.

    Raise InputError for an unknown field, for a missing column name, or for several columns of a field that cannot be
    joined. The columns of `category_path` are the levels of the path.

    >>> named_columns({"title": "name", "attributes": ["gender", "colour"]})
    {'title': ('name',), 'attributes': ('gender', 'colour')}
    """
    named: dict[str, tuple[str, ...]] = {}
    for name, source in columns.items():
        found = (source,) if isinstance(source, str) else tuple(source)
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, 1)
            raise InputError(
                "unknown_field",
                f"columns for {name!r}",
                f"one of {', '.join(FIELDS)}",
                f"did you mean {near[0]}?" if near else "name one of these fields",
            )
        if not found or not all(isinstance(column, str) and column for column in found):
            raise InputError(
                "bad_columns", f"columns {found!r} for {name!r}", "the name of a column", "name a column of the input"
            )
        if len(found) > 1 and not FIELDS[name].joined:
            raise InputError(
                "bad_columns",
                f"columns {found!r} for {name!r}",
                "one column, since this field cannot be joined",
                "name one column",
            )
        named[name] = found
    return named


def read_mapping(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the columns of each field from a JSON file: an object from field to column, or list of columns.

    Raise InputError if it cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            "unreadable_file", f"{path}: {error.strerror}", "a JSON file", "check its name and permissions"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError("bad_mapping", f"{path} is not JSON ({first_line(error)})", MAPPING, "correct it") from None
    usable = isinstance(found, dict) and all(
        isinstance(source, str) or (isinstance(source, list) and all(isinstance(one, str) for one in source))
        for source in found.values()
    )
    if not usable:
        raise InputError("bad_mapping", f"{path} has another form", MAPPING, "correct it")
    return named_columns(found)


def level_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that hold one level of the category each, the highest level first.

    There are at least two of them, with consecutive numbers from 0 or 1, or with headers of one of _CHAINS.

    >>> level_columns(["id", "二级类目", "一级类目", "title"])
    ('一级类目', '二级类目')
    """
    plain = {normalised(name): name for name in reversed(names)}
    numbered: dict[int, str] = {}
    for header, name in plain.items():
        if match := _LEVELS.fullmatch(header):
            text = next(filter(None, match.groups()))
            numbered[_NUMERALS.find(text) + 1 or int(text)] = name
    first = min(numbered, default=0)
    run = [numbered[level] for level in range(first, first + len(numbered)) if level in numbered]
    if first <= 1 and len(run) > 1:
        return tuple(run)
    chains = [[plain[header] for header in chain if header in plain] for chain in _CHAINS if chain[0] in plain]
    longest = max(chains, key=len, default=[])
    return tuple(longest) if len(longest) > 1 else ()
