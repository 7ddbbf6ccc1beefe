"""Turn the values of a category column into paths, by one rule that is decided from the distinct values of the column.

A value is the text of a cell. A cell that holds a list comes as text with LEVEL_MARK between levels and CATEGORY_MARK
between categories; `marked_list` makes it.
"""

import heapq
import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from shelfwise.indexer.errors import listed
from shelfwise.indexer.item import PATH_SEPARATOR, clean, leaf_of

LEVEL_MARK, CATEGORY_MARK = "\x1f", "\x1e"  # between the levels of a list, and between its categories
MAX_LEVELS = 16
MAX_PATH = 500  # characters; a longer path is a description or a page
ENOUGH = 0.8  # share of the values that must agree
SAMPLED_VALUES = 20_000  # distinct values that decide a rule
ARROWS = ("->", "=>", ">>", ">", "»", "›")
OTHERS = ("::", "|", "/", ",", "-")  # the first that fits splits: those that names rarely contain come first
CATEGORY_SIGNS = ("\n", ";", "|", ",")  # between categories, if the cells show it; names may contain the last two
# What databases, spreadsheets and data frames write where a category, or one of its levels, is missing.
NO_NAMES = {"\\N", "NULL", "null", "(null)", "None", "NaN", "nan", "N/A", "n/a", "#N/A", "<NA>", "-", "--"}
NAME_KEYS = ("name", "title", "label", "path", "term")  # of a list's object, the first that it has

# The longest sign counts: ">" is not part of a longer one. Repetitions are bounded, so that a long run takes no time.
_FORMS = {
    "->": "-{1,3}>",
    "=>": "={1,3}>",
    ">>": ">{2,}",
    ">": "(?<![-=>])>(?!>)",
    "::": ":{2,}",
    "-": "-(?!-{0,2}>)",
}
_ARROW = re.compile("-{1,3}>+|={1,3}>+|>+|[»›]")
_MARK = re.compile(f"[{LEVEL_MARK}{CATEGORY_MARK}]")
_ID = re.compile(rf"(?:^|(?<=[>»›/|:,{LEVEL_MARK}{CATEGORY_MARK}-])) ?\d{{1,18}} ?[-–:] (?=[^\W\d_])")


class Categories(NamedTuple):
    """The category of a cell (an empty path if there is none), and the paths of its other categories."""

    path: str
    also_in: tuple[str, ...]


@dataclass(frozen=True)
class CategoryRule:
    """How to read the values of one column.

    `levels` is the sign between levels (empty if there are none). A sign with blanks, such as " - ", counts only with
    blanks around it. `depth` is the number of levels that most values have (0 if any number is right): a value with
    more parts keeps the surplus signs in its last name, and a value with fewer is split only if it begins with one of
    `roots`. `between` has the signs between the categories of a cell (empty if there are none); a backslash before one
    makes it part of a name. If `checked`, it counts only in a cell whose parts are all paths, that begin with one of
    `roots` if there are any. `numbered` names lose their leading ids. `drop` has the names of roots to leave out.
    `lists` is True if some cells are lists; every rule reads lists.
    """

    levels: str = ""
    depth: int = 0
    roots: frozenset[str] = frozenset()
    between: str = ""
    checked: bool = False
    numbered: bool = False
    drop: tuple[str, ...] = ()
    lists: bool = False

    def paths(self, value: str) -> tuple[str, ...]:
        """Return the path of each category in a cell, in order.

        >>> CategoryRule(levels="/", between=",").paths("Home/Lamps,Sale")
        ('Home > Lamps', 'Sale')
        """
        found = self._of_list(value) if _MARK.search(value) else map(self._names, self._categories(value))
        return tuple(filter(None, map(self._path, found)))

    def split(self, value: str) -> Categories:
        """Return the deepest category of a cell, the first of equals, and the others without its parents."""
        paths = self.paths(value)
        if len(paths) < 2:
            return Categories("".join(paths), ())
        path = max(paths, key=_depth)
        others = (other for other in dict.fromkeys(paths) if not _is_within(path, other))
        return Categories(path, tuple(others))

    def words(self) -> str:
        """Return the rule in words, for a report.

        >>> CategoryRule(levels=">", between=",").words()
        'levels split at ">", categories at ","'
        """
        parts = ["lists as levels"] if self.lists else []
        if self.levels:
            parts.append(f'levels split at "{self.levels}"' + (f" (at most {self.depth})" if self.depth else ""))
        if self.between:
            parts.append("categories at line breaks" if self.between == "\n" else f'categories at "{self.between}"')
        if self.numbered:
            parts.append("leading ids left out")
        parts += [f'"{name}" left out' for name in self.drop]
        return ", ".join(parts or ["no levels"])

    def _parts(self, value: str) -> list[str]:
        """Return the cleaned texts around the sign between categories."""
        if self.between == "\n":
            parts = list(map(clean, value.splitlines()))
        elif self.between:
            signs = f"[{re.escape(self.between)}]"
            parts = re.split(rf"(?<!\\){signs}", clean(value))
            parts = [re.sub(rf"\\({signs})", r"\1", part).strip() for part in parts]
        else:
            parts = [clean(value)]
        return list(filter(None, map(self._without_ids, parts)))

    def _without_ids(self, text: str) -> str:
        return _ID.sub(" ", text).strip() if self.numbered else text

    def _categories(self, value: str) -> list[str]:
        parts = self._parts(value)
        if self.checked and len(parts) > 1 and not self._are_paths(parts):
            return [self._without_ids(clean(value))]
        return parts

    def _are_paths(self, parts: list[str]) -> bool:
        """Return True if each part has levels, or is the root of another part."""
        paths = [self._names(part) for part in parts]
        deep = {path[0] for path in paths if len(path) > 1}
        return all(path and path[0] in deep and (not self.roots or path[0] in self.roots) for path in paths)

    def _names(self, text: str) -> list[str]:
        names = _split(text, self.levels, self.depth)
        return [text] if 1 < len(names) < self.depth and names[0] not in self.roots else names

    def _of_list(self, value: str) -> Iterable[list[str]]:
        """Yield the names of each category of a list. Only an arrow splits an element."""
        sign = self.levels if self.levels.strip() in ARROWS else ""
        for category in value.split(CATEGORY_MARK):
            elements = map(clean, category.split(LEVEL_MARK))
            yield [name for element in elements for name in _split(self._without_ids(element), sign)]

    def _path(self, names: list[str]) -> str:
        names = [name for name in map(_without_arrows, names) if name and name not in NO_NAMES]
        while names and names[0] in self.drop:
            names = names[1:]
        return PATH_SEPARATOR.join(names)


def decide(values: Iterable[str], levels: str = "", between: str = "", drop: Iterable[str] = ()) -> CategoryRule:
    """Return the rule of a column from its distinct values, in any order.

    `levels`, `between` and `drop` are known already, such as from the profile of a shop system; empty ones are decided
    here. Of more than SAMPLED_VALUES values, a fixed pseudo-random sample decides.

    >>> decide(["Home - Lamps", "Home - Beds", "Garden - Tools"]).split("Home - X-Large beds").path
    'Home > X-Large beds'
    """
    sample = _sampled(values)
    lists = {value for value in sample if _MARK.search(value)}
    rule = CategoryRule(levels, between=between, drop=tuple(drop), lists=bool(lists))
    texts = {text for value in sample - lists for text in rule._parts(value)}
    rule = replace(rule, numbered=_are_numbered(texts | lists))
    texts = set(map(rule._without_ids, texts))
    if not levels:
        elements = {clean(element) for value in lists for element in _MARK.split(value)}
        rule = _with_levels(rule, texts, elements, len(lists))
    if not between and rule.levels.strip() in ARROWS:
        rule = _with_between(rule, sample - lists)
    return rule


def _sampled(values: Iterable[str]) -> set[str]:
    distinct = {value for value in values if value and not value.isspace()}
    if len(distinct) <= SAMPLED_VALUES:
        return distinct
    return set(heapq.nsmallest(SAMPLED_VALUES, distinct, key=lambda value: (zlib.crc32(_bytes(value)), value)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _are_numbered(texts: set[str]) -> bool:
    """Return True if most texts begin with an id, and no two of them become the same without it."""
    numbered = [text for text in texts if _ID.match(text)]
    names = {_ID.sub(" ", text) for text in numbered}
    return bool(numbered) and len(numbered) >= ENOUGH * len(texts) and len(names) == len(numbered)


def _with_levels(rule: CategoryRule, texts: set[str], elements: set[str], lists: int) -> CategoryRule:
    """Return the rule with the sign between levels: the most frequent arrow, or another sign.

    Beside the `texts` of the column there are `lists` values that are lists, with some `elements`.
    """
    forms = [_form(texts, sign) for sign in OTHERS if sign not in rule.between]
    forms.sort(key=lambda form: not form.startswith(" "))
    fitting = (_with_other(rule, texts, lists, form) for form in forms)
    other = next((found for found in fitting if found), None)
    arrows = {text: {_arrow(found) for found in _ARROW.findall(text)} for text in texts | elements}
    deep = {text for text, found in arrows.items() if found}
    if other:
        deep |= {text for text in texts if len(_split(text, other.levels)) > 1}
    counts = Counter(sign for found in arrows.values() for sign in found if sign not in rule.between)
    arrow = max(ARROWS, key=lambda sign: counts[sign])
    if counts[arrow] and 2 * counts[arrow] >= len(deep):
        return replace(rule, levels=arrow)
    return other or rule


def _arrow(found: str) -> str:
    """Return the sign of a match of _ARROW."""
    return found[0] + ">" if found[0] in "-=" else found[:2]


def _form(texts: set[str], sign: str) -> str:
    """Return the sign, with blanks if most texts have it with blanks."""
    spaced = f" {sign} "
    return spaced if sum(spaced in text for text in texts) >= ENOUGH * len(texts) else sign


def _with_other(rule: CategoryRule, texts: set[str], lists: int, sign: str) -> CategoryRule | None:
    """Return the rule with a sign that is no arrow, or None if the texts do not show that it splits levels."""
    paths = [names for text in texts if len(names := _split(text, sign)) > 1]
    if not paths or len(paths) < ENOUGH * (len(texts) + lists):
        return None
    [(depth, agreeing)] = Counter(map(len, paths)).most_common(1)
    firsts = Counter(names[0] for names in paths)
    # One letter before a hyphen is part of a word, as in T-shirt and V-neck.
    words = {first for first in firsts if sign == "-" and len(first) == 1 and first.isascii()}
    repeated = sum(count for first, count in firsts.items() if count > 1 and first not in words)
    if agreeing < ENOUGH * len(paths) or 2 * repeated <= len(paths):
        return None
    return replace(rule, levels=sign, depth=depth, roots=frozenset(names[0] for names in paths if len(names) >= depth))


def _with_between(rule: CategoryRule, values: set[str]) -> CategoryRule:
    """Return the rule with the sign between categories, if most cells that have one have a path in each part.

    A comma or bar may be in a name, so that each part must also begin as another cell of the column begins.
    """
    for sign in CATEGORY_SIGNS:
        found = replace(rule, between=sign, checked=True)
        every = [parts for value in values if (parts := found._parts(value))]
        cells = [parts for parts in every if len(parts) > 1]
        if not cells:
            continue
        if sign in OTHERS:
            found = replace(found, roots=_starts(found, every))
        if sum(map(found._are_paths, cells)) >= ENOUGH * len(cells):
            return found
    return rule


def _starts(rule: CategoryRule, cells: list[list[str]]) -> frozenset[str]:
    """Return the first name of each cell that has levels or several categories."""
    starts = ((rule._names(parts[0]), len(parts)) for parts in cells)
    return frozenset(names[0] for names, count in starts if len(names) > 1 or (names and count > 1))


@lru_cache
def _pattern(sign: str) -> re.Pattern[str]:
    form, gap = _FORMS.get(sign.strip(), re.escape(sign.strip())), " " if sign.startswith(" ") else " ?"
    return re.compile(rf"{gap}(?:(?<!\\){form}{gap})+")


def _split(text: str, sign: str, depth: int = 0) -> list[str]:
    """Return the names of a cleaned text, at most `depth` of them (0 for any number), without empty names."""
    if not sign or sign.strip() not in text:
        return [text] if text else []
    text = f" {text} "
    places, start = [], 0
    for found in _pattern(sign).finditer(text):
        places.append((start, found.start()))
        start = found.end()
    places = [(a, b) for a, b in [*places, (start, len(text))] if text[a:b].strip()]
    if 0 < depth < len(places):
        places[depth - 1 :] = [(places[depth - 1][0], places[-1][1])]
    return [text[a:b].strip().replace(f"\\{sign.strip()}", sign.strip()) for a, b in places]


def _without_arrows(name: str) -> str:
    """Return a name without the signs that split a stored path."""
    return _ARROW.sub("/", name).strip("/ ") if _ARROW.search(name) else name


def _depth(path: str) -> int:
    return path.count(PATH_SEPARATOR)


def _is_within(path: str, parent: str) -> bool:
    return f"{path}{PATH_SEPARATOR}".startswith(f"{parent}{PATH_SEPARATOR}")


def marked_list(value: Sequence[object]) -> str:
    """Return the text of a list from JSON, Parquet or XML, to be read by a CategoryRule.

    A list of names is one path. A list with a list or with an arrow in an element has several categories. Empty
    elements are left out. Raise TypeError for an element that is no text, number, list or object with a name.

    >>> marked_list(["Home", {"id": 3, "name": "Lamps"}]).split(LEVEL_MARK)
    ['Home', 'Lamps']
    """
    elements = list(filter(None, map(_element, value)))
    several = any(isinstance(one, list | tuple) for one in value) or any(_ARROW.search(clean(one)) for one in elements)
    return (CATEGORY_MARK if several else LEVEL_MARK).join(elements)


def _element(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, str):
        return _MARK.sub(" ", value).strip()
    if isinstance(value, list | tuple):
        return LEVEL_MARK.join(filter(None, map(_element, value)))
    if isinstance(value, Mapping) and (key := next((key for key in NAME_KEYS if key in value), None)):
        return _element(value[key])
    if isinstance(value, int | float | Decimal):
        return str(value).removesuffix(".0")
    if isinstance(value, Mapping):
        raise TypeError(f"an object without a name: it has {listed(value)}")
    raise TypeError(f"a value of type {type(value).__name__}")


class PathFault(NamedTuple):
    """Why a path is out of bounds: its error code, and the reason in words."""

    code: str
    reason: str


def fault_of(path: str) -> PathFault | None:
    """Return the fault of a path with more than MAX_LEVELS levels or MAX_PATH characters (None if there is none)."""
    levels = _depth(path) + 1
    if levels > MAX_LEVELS:
        return PathFault("too_many_levels", f"a category of {levels} levels")
    if len(path) > MAX_PATH:
        return PathFault("too_long", f"a category of {len(path):,} characters")
    return None


def leaf_joins(paths: Iterable[str]) -> dict[str, str]:
    """Return for each bare leaf the one longer path that ends in it.

    A name that begins another path, or that several paths end in, is not joined.

    >>> leaf_joins(["Lamps", "Home > Lamps", "Beds"])
    {'Lamps': 'Home > Lamps'}
    """
    ends = defaultdict[str, list[str]](list)
    roots, bare = set[str](), list[str]()
    for path in dict.fromkeys(paths):
        if _depth(path):
            ends[leaf_of(path)].append(path)
            roots.add(path.partition(PATH_SEPARATOR)[0])
        else:
            bare.append(path)
    return {leaf: ends[leaf][0] for leaf in bare if len(ends[leaf]) == 1 and leaf not in roots}


def spellings(paths: Mapping[str, int]) -> dict[str, str]:
    """Return the usual spelling of each path, given its rows, that differs from it only in case, width or spaces.

    Each level is spelled as in most rows below it. Of equally frequent spellings, the first in the order of code points
    counts.

    >>> spellings({"Home > Lamps": 8, "home > lamps": 1, "HOME > Beds": 2})
    {'home > lamps': 'Home > Lamps', 'HOME > Beds': 'Home > Beds'}
    """
    rows = defaultdict[tuple[str, ...], Counter[str]](Counter)
    for path, count in paths.items():
        for key, name in _keyed(path):
            rows[key][name] += count
    usual = {key: min(names, key=lambda name: (-names[name], name)) for key, names in rows.items()}
    spelled = {path: PATH_SEPARATOR.join(usual[key] for key, _ in _keyed(path)) for path in paths}
    return {path: other for path, other in spelled.items() if other != path}


def _keyed(path: str) -> list[tuple[tuple[str, ...], str]]:
    """Return each level of a path: what identifies it whatever its spelling, and its name."""
    names = path.split(PATH_SEPARATOR)
    plain = ["".join(unicodedata.normalize("NFKC", name).casefold().split()) for name in names]
    return [(tuple(plain[: level + 1]), name) for level, name in enumerate(names)]
