"""Profiles of shop exports: which columns give which field, recognised by the headers.

A TOML file of this folder describes one platform's export; its name is the profile's name. A column is named by its
header, without regard to case, white space and marks. In a header, `{n}` stands for a number, and `{rest}` for all that
follows from a mark on: `name{rest}` is name-en_US, but not names.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import FIELDS
from shelfwise.indexer.reading.headers import folded, normalised

NO_PROFILE = "none"
ATTRIBUTES, LEVELS = "attributes", "category_levels"  # LEVELS: a column for each level, the root first
_PLACEHOLDERS = {"{n}": r"(\d+)[\s_\-:]*", "{rest}": r"(?:(?<=[\W_])|(?=[\W_])).*"}
_REQUIRED = {"title", "source", "signature", "columns"}
_OPTIONAL = {"levels", "between", "drop", "empty", "newline", "header", "variants"}
_RULE = {"same", "blank", "where"}


@dataclass(frozen=True)
class VariantRule:
    """How to know a variant: all conditions hold that are not empty.

    A column of `same` has the value of the product's row, the columns of `blank` are empty, and each column of `where`
    has the value beside it, alone or in a list separated by commas.
    """

    same: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()

    def holds(self, values: Mapping[str, object], before: Mapping[str, object] | None) -> bool:
        """Return True if the row `values` is a variant. `before` is the last product's row (None if there is none)."""
        columns = tuple(values)
        if self.same and not any(
            before is not None and _text(values[key]) and _text(values[key]) == _text(before.get(key))
            for key in _matching(self.same, columns)
        ):
            return False
        if any(_text(values[column]) for column in _matching(self.blank, columns)):
            return False
        return all(
            any(value in _listed(values[key]) for key in _matching((column,), columns)) for column, value in self.where
        )


@dataclass(frozen=True)
class Profile:
    """Description of a platform's export.

    `title` is the platform's name for users, `source` says where the headers come from. All headers of one set in
    `signature` identify the export. `columns` has the headers of each field (and of LEVELS), the preferred first; a
    file's first one with any value counts. `attributes` are pairs of headers: the attribute's name (empty if the header
    is the name) and its value.

    In a cell, `levels` is the sign between the levels of a category, and `between` has the signs between categories
    (each is one character); both are empty if the platform fixes none.
    `drop` are names of root levels without meaning, and `empty` values of attributes without one. `newline` is what a
    description has in place of line breaks (empty if it has them).
    If `header` is not empty, the header is the first line with one of these columns. A row is a variant if one of the
    rules `variants` holds.
    """

    name: str
    title: str
    source: str
    signature: tuple[frozenset[str], ...]
    columns: Mapping[str, tuple[str, ...]]
    attributes: tuple[tuple[str, str], ...] = ()
    levels: str = ""
    between: str = ""
    drop: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    newline: str = ""
    header: tuple[str, ...] = ()
    variants: tuple[VariantRule, ...] = ()

    def evidence(self, columns: Sequence[str]) -> int:
        """Return how many headers of the signature's matching sets are among `columns`. 0: another export."""
        headers = {normalised(column) for column in columns}
        return len(frozenset().union(*(one for one in self.signature if one <= headers)))

    def columns_of(self, field: str, columns: Sequence[str]) -> tuple[str, ...]:
        """Return those of a file's `columns` that give the field, the preferred first.

        For attributes, these are the columns of all names and values.
        """
        if field == ATTRIBUTES:
            return tuple(column for pair in self.attributes_of(columns) for column in pair if column)
        return _matching(self.columns.get(field, ()), tuple(columns))

    def attributes_of(self, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Return the pairs of a file's `columns` that give attributes: the column with the name, and with the value.

        The first is empty if the header of the second is the attribute's name.
        """
        pairs: dict[str, str] = {}
        for name, value in self.attributes:
            names = dict(_numbered(name, tuple(columns))) if name else {}
            for number, column in _numbered(value, tuple(columns)):
                pairs.setdefault(column, names.get(number, ""))
        return tuple((name, value) for value, name in pairs.items())

    def is_variant(self, values: Mapping[str, object], before: Mapping[str, object] | None) -> bool:
        """Return True if the row `values` is a variant of a product in another row.

        `before` is the row of the last product (None if there is none).
        """
        return any(rule.holds(values, before) for rule in self.variants)

    def variant_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return those of a file's `columns` that tell variants from products."""
        named = [(*rule.same, *rule.blank, *(column for column, _ in rule.where)) for rule in self.variants]
        return _matching(tuple(name for names in named for name in names), tuple(columns))


@cache
def profiles() -> dict[str, Profile]:
    """Return all profiles by name, sorted. Raise ValueError for a file that is no valid profile."""
    found = sorted((file for file in files(__name__).iterdir() if file.name.endswith(".toml")), key=lambda f: f.name)
    return {
        name: profile_of(name, file.read_text(encoding="utf-8"))
        for file in found
        for name in [file.name.removesuffix(".toml")]
    }


def recognised(columns: Sequence[str], name: str | None = None) -> Profile | None:
    """Return the profile of a file with these columns, or None. The one with the most evidence wins.

    `name` chooses a profile whatever the columns are, or none (NO_PROFILE).
    """
    if name is not None:
        return profiles().get(name)
    best = max(profiles().values(), key=lambda profile: profile.evidence(columns))
    return best if best.evidence(columns) else None


def require_profile(name: str) -> None:
    """Raise InputError if there is no profile of this name, and if it is not NO_PROFILE."""
    if name != NO_PROFILE and name not in profiles():
        raise InputError(
            "unknown_profile",
            f"profile {name!r}",
            f"one of {', '.join([*profiles(), NO_PROFILE])}",
            "choose one of them",
        )


def header_of(rows: Sequence[Sequence[str]]) -> tuple[int, Profile] | None:
    """Return which of the first `rows` of a table is the header of a known export, and its profile, or None.

    Some exports have several lines of names above the rows. The profile says which of them counts.
    """
    for place, row in enumerate(rows):
        profile = recognised(row)
        if profile is not None:
            named = (at for at, cells in enumerate(rows) if _matching(profile.header, tuple(cells)))
            return next(named, place), profile
    return None


def profile_of(name: str, text: str) -> Profile:
    """Return the profile called `name` in a TOML `text`. Raise ValueError, with the reason, if it is not valid."""
    data = tomllib.loads(text)
    _require_keys(data, _REQUIRED | _OPTIONAL, name)
    if missing := sorted(_REQUIRED - data.keys()):
        raise ValueError(f"profile {name}: {missing[0]} is missing")
    signature = tuple(frozenset(map(normalised, _strings(one, f"{name}: signature"))) for one in data["signature"])
    if not signature or min(map(len, signature)) < 2:
        raise ValueError(f"profile {name}: signature: a set has fewer than two headers, which identifies no export")
    columns = dict(data["columns"])
    attributes = tuple(_pair(entry, name) for entry in columns.pop(ATTRIBUTES, []))
    _require_keys(columns, {*FIELDS, LEVELS}, f"{name}: columns")
    if "title" not in columns:
        raise ValueError(f"profile {name}: columns: title is missing")
    return Profile(
        name=name,
        signature=signature,
        columns={field: _strings(found, f"{name}: {field}") for field, found in columns.items()},
        attributes=attributes,
        drop=_strings(data.get("drop", []), f"{name}: drop"),
        empty=_strings(data.get("empty", []), f"{name}: empty"),
        header=_strings(data.get("header", []), f"{name}: header"),
        variants=tuple(_rule(rule, name) for rule in data.get("variants", [])),
        **{key: _string(data.get(key, ""), f"{name}: {key}") for key in ("levels", "between", "newline")},
        **{key: " ".join(_string(data[key], f"{name}: {key}", blank=False).split()) for key in ("title", "source")},
    )


def _rule(rule: Mapping[str, object], name: str) -> VariantRule:
    _require_keys(rule, _RULE, f"{name}: variants")
    where = rule.get("where", {})
    if not isinstance(where, dict) or not (where or "same" in rule):
        raise ValueError(f"profile {name}: variants: a rule has neither same nor where")
    conditions = tuple((column, folded(_string(value, f"{name}: {column}"))) for column, value in where.items())
    same, blank = (_strings(rule.get(key, []), f"{name}: {key}") for key in ("same", "blank"))
    return VariantRule(same, blank, conditions)


def _pair(entry: object, name: str) -> tuple[str, str]:
    if isinstance(entry, str):
        return "", entry
    pair = _strings(entry, f"{name}: attributes")
    if len(pair) != 2:
        raise ValueError(f"profile {name}: attributes: {list(pair)} is not a pair of a name and a value")
    return pair[0], pair[1]


def _require_keys(found: Mapping[str, object], known: set[str], place: str) -> None:
    if unknown := sorted(found.keys() - known):
        raise ValueError(f"profile {place}: unknown key {unknown[0]}, known are {', '.join(sorted(known))}")


def _string(value: object, place: str, blank: bool = True) -> str:
    if not isinstance(value, str) or not (blank or value.strip()):
        raise ValueError(f"profile {place}: {value!r} is not a text")
    return value


def _strings(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"profile {place}: {value!r} is not a list of texts")
    return tuple(value)


@lru_cache(maxsize=4096)  # asked for each row of a file
def _matching(names: tuple[str, ...], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns called one of `names`, in the order of the names."""
    return tuple(dict.fromkeys(column for name in names for _, column in _numbered(name, columns)))


def _numbered(name: str, columns: tuple[str, ...]) -> list[tuple[int, str]]:
    """Return the columns called `name` with their number `{n}` (0 for a name without it), the lowest first."""
    pattern = _pattern(name)
    found = [(match, column) for column in columns if (match := pattern.fullmatch(folded(column)))]
    return sorted(((int(match[1]) if pattern.groups else 0, column) for match, column in found), key=lambda one: one[0])


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """Return a pattern for the folded headers called `name`."""
    parts = re.split(r"(\{n\}|\{rest\})", name)
    return re.compile(r"[\s_\-:]*" + "".join(_PLACEHOLDERS.get(part) or _literal(part) for part in parts))


def _literal(text: str) -> str:
    return "".join(rf"{re.escape(char)}[\s_\-:]*" for char in normalised(text))


def _text(value: object) -> str:
    """Return a value as text without white space around it, "" for None and NaN."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value).strip()


def _listed(value: object) -> list[str]:
    """Return a value in lower case, and its parts between commas."""
    text = folded(_text(value))
    return [text, *(part.strip() for part in text.split(","))]
