"""What is seen of the columns of a source while it is read, and the columns chosen from that."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shelfwise.indexer.errors import InputError, first_line, listed
from shelfwise.indexer.item import FIELDS
from shelfwise.indexer.reading.categories import decide
from shelfwise.indexer.reading.columns import (
    BY_HEADER,
    BY_LEVELS,
    BY_PROFILE,
    LEAF,
    NAMED,
    PATH,
    REMEMBERED,
    TITLE,
    Columns,
    ColumnUse,
    level_columns,
)
from shelfwise.indexer.reading.headers import normalised
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.profiles import ATTRIBUTES, LEVELS, Profile, recognised
from shelfwise.indexer.reading.rejects import Reject
from shelfwise.indexer.reading.values import category_text, is_nameless, name_text, text_of, value_in

MOST_DISTINCT = 20_000  # distinct values to keep of a category column
FILE_SHARE = 0.5  # a category column with more file names or addresses than this has no categories
_FILE = re.compile(
    r"(?:https?:)?//\S+|\S+\.(?:jpe?g|png|gif|webp|svg|html?|php|aspx?|pdf|mp4)(?:\?\S*)?", re.IGNORECASE
)


class UnusableError(Exception):
    """A cell without a text form: its column, and the reason."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column, self.reason = column, reason

    def at(self, name: str, line: int) -> Reject:
        """Return the reject of its row."""
        return Reject(name, line, self.column, "", "unusable_value", self.reason)


@dataclass
class SeenColumns:
    """The columns of a source, and values of those that may give a field.

    `names` are all columns, in order, and `used` those that may give a field. `filled` are the used columns with a
    value. `counts` has the distinct values of each used column that may hold categories, MOST_DISTINCT at most, with
    their numbers of rows. Of the `rows` whose texts were asked for, `nameless` says in how many a used column has an
    object without a name, and the keys of the first one.
    """

    wanted: Columns
    remembered: Columns = field(default_factory=dict)
    profile_name: str | None = None
    names: dict[str, None] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    filled: set[str] = field(default_factory=set)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    profile: Profile | None = None
    rows: int = 0
    nameless: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    _convert: list[tuple[str, Callable[[object], str]]] = field(default_factory=list)

    @classmethod
    def of(cls, names: Iterable[str], options: ReadOptions) -> "SeenColumns":
        """Return what is known of a source with these columns before its rows are read."""
        seen = cls(options.columns, options.remembered, options.profile)
        seen.add_names(names)
        return seen

    def lacks(self, values: Mapping[str, object]) -> bool:
        """Return True if a row has a column that was not seen yet."""
        return not self.names.keys() >= values.keys()

    def add_names(self, names: Iterable[str]) -> bool:
        """Add columns, and decide again which ones may give a field. Return True if these have changed."""
        self.names |= dict.fromkeys(names)
        self.profile = recognised(list(self.names), self.profile_name)
        before = self.used
        self.used = list(dict.fromkeys(column for one in FIELDS for column in self._possible(one)))
        labels = [column for one in (PATH, LEAF) for column in self._possible(one)]
        self.counts = {column: self.counts.get(column, Counter()) for column in labels}
        named = {column for one in ("title", "brand") for column in self._possible(one)}
        if self.profile:
            self.used = list(dict.fromkeys([*self.used, *self.profile.variant_columns(list(self.names))]))
        self._convert = [
            (column, category_text if column in self.counts else name_text if column in named else text_of)
            for column in self.used
        ]
        return self.used != before

    def texts(self, values: Mapping[str, object]) -> list[str]:
        """Return the texts of the used columns in a row. Raise UnusableError for a cell without a text form."""
        texts = []
        self.rows += 1
        for column, convert in self._convert:
            value = values.get(column)
            if type(value) is not str or (convert is category_text and value[:1] == "["):
                try:
                    value = value_in(values, column) if value is None else value
                    if convert is not text_of and is_nameless(value):
                        count, keys = self.nameless.get(column, (0, [str(key) for key in value]))
                        self.nameless[column] = count + 1, keys
                    value = convert(value)
                except (TypeError, ValueError, RecursionError) as error:
                    too_deep = "a value too large or too deeply nested"
                    reason = first_line(error) if isinstance(error, TypeError) else too_deep
                    raise UnusableError(column, reason) from None
            texts.append(value)
        return texts

    def add_values(self, column: str, texts: Sequence[str]) -> None:
        """Add the values of some rows in a used column."""
        if column not in self.filled and any(map(str.strip, texts)):
            self.filled.add(column)
        counts = self.counts.get(column)
        if counts is not None and len(counts) < MOST_DISTINCT:
            counts.update(texts)

    def has_categories(self) -> bool:
        """Return True if a column that may hold categories has a value."""
        return not self.filled.isdisjoint(self.counts)

    def chosen(self, labelled: bool, name: str) -> tuple[ColumnUse, ...]:
        """Return the columns that give each field, without the category unless `labelled`.

        The first choice with a value counts. Raise InputError if no column gives the title or the category, or if a
        column named by the user is missing.
        """
        self._require_named(name)
        uses: dict[str, ColumnUse] = {}
        fields = [PATH, *(one for one in FIELDS if one != PATH)]
        for one in fields if labelled else [one for one in FIELDS if one not in (PATH, LEAF)]:
            taken = uses[PATH].columns if one == LEAF and PATH in uses else ()
            choices = [choice for choice in self._choices(one) if choice.why == NAMED or self._plausible(choice)]
            choices = [choice for choice in choices if choice.why == NAMED or not set(choice.columns) & set(taken)]
            if one == LEAF and PATH in uses and uses[PATH].why == BY_PROFILE:  # the platform's category is the path
                choices = [choice for choice in choices if choice.why in (NAMED, BY_PROFILE)]
            with_values = [choice for choice in choices if self.filled.intersection(choice.columns)]
            if choices:
                uses[one] = (with_values or choices)[0]
        if {PATH, LEAF} <= uses.keys() and uses[PATH].why == BY_LEVELS and self._is_below(uses[LEAF], uses[PATH]):
            uses[PATH] = replace(uses[PATH], columns=uses[PATH].columns + uses.pop(LEAF).columns)
        if "title" not in uses:
            found, what = self._without(name, "title", TITLE)
            raise InputError(
                "no_title_column", found, "a column such as title, name or 标题", f"name the {what} with the titles"
            )
        if labelled and PATH not in uses and LEAF not in uses:
            found, what = self._without(name, "category", PATH, LEAF)
            raise InputError(
                "no_category_column",
                found,
                "a column such as category_path, category or 类目",
                f"name the {what} with the categories",
            )
        return tuple(uses[one] for one in FIELDS if one in uses)

    def _without(self, name: str, what: str, *fields: str) -> tuple[str, str]:
        """Return, for an error, what was found in place of a column for the fields, and what the user may name."""
        possible = (column for one in fields for column in self._possible(one))
        column = next(filter(self._are_objects, possible), None)
        if column is None:
            return f"{name} has no {what} column, it has {listed(self.names)}", "column"
        keys = self.nameless[column][1]
        return f"{name} has objects in the column {column}, with {listed(keys)}", f"key, such as {column}.{keys[0]},"

    def _are_objects(self, column: str) -> bool:
        """Return True if most rows have objects without a name in a column."""
        return 2 * self.nameless.get(column, (0,))[0] > self.rows

    def _possible(self, one: str) -> list[str]:
        return [column for choice in self._choices(one) for column in choice.columns]

    def _choices(self, one: str) -> list[ColumnUse]:
        """Return the possible columns of a field, the best first. Columns named by the user are the only choice."""
        if one in self.wanted:
            columns = tuple(name for column in self.wanted[one] if (name := self._find(column)) is not None)
            return [ColumnUse(one, columns, NAMED)] if columns else []
        names, found = list(self.names), list[ColumnUse]()
        remembered = tuple(column for column in self.remembered.get(one, ()) if self._find(column) == column)
        if remembered and remembered == self.remembered[one]:
            found.append(ColumnUse(one, remembered, REMEMBERED))
        if self.profile:
            of_profile = self.profile.columns_of(one, names)
            together: list[tuple[str, ...]] = [(column,) for column in of_profile]
            if one == ATTRIBUTES:
                together = [of_profile]
            if one == PATH:
                together.insert(0, self.profile.columns_of(LEVELS, names))
            found += [ColumnUse(one, columns, BY_PROFILE) for columns in together if columns]
        plain = {normalised(column): column for column in reversed(names)}
        headers = [plain[header] for header in FIELDS[one].headers if header in plain]
        found += [ColumnUse(one, (column,), BY_HEADER) for column in headers]
        levels = level_columns(names) if one == PATH else ()
        if levels:
            found.append(ColumnUse(one, levels, BY_LEVELS))
        return found

    def _find(self, column: str) -> str | None:
        """Return the column that the user means: by its name, else by its name but for case, blanks and marks.

        A name such as brand.name is the key `name` of the objects in the column `brand`.
        """
        if column in self.names:
            return column
        alike = [name for name in self.names if normalised(name) == normalised(column)]
        if len(alike) == 1:
            return alike[0]
        outer = column.partition(".")[0]
        return column if outer != column and outer in self.names else None

    def _require_named(self, name: str) -> None:
        absent = [column for columns in self.wanted.values() for column in columns if self._find(column) is None]
        if not absent:
            return
        near = difflib.get_close_matches(absent[0], self.names, 1, 0.7)
        raise InputError(
            "no_such_column",
            f"{name} has no column {listed(absent)}",
            listed(self.names),
            f"did you mean {near[0]}?" if near else "name one of its columns",
        )

    def _is_below(self, leaf: ColumnUse, levels: ColumnUse) -> bool:
        """Return True if the category column holds the level below the columns of levels, not one of theirs or a path.

        Most of its names are then in none of them.
        """
        [column] = leaf.columns
        above = {value.strip() for level in levels.columns for value in self.counts[level]}
        names = {value.strip() for value in self.counts[column]} - {""}
        new = {name for name in names - above if not name.isdecimal()}
        return 2 * len(new) > len(names) and not decide(names).levels and leaf.why == BY_HEADER

    def _plausible(self, choice: ColumnUse) -> bool:
        """Return False for objects without a name, and for a category column of file names or addresses."""
        if choice.field in (TITLE, PATH, LEAF) and any(map(self._are_objects, choice.columns)):
            return False
        if choice.field not in (PATH, LEAF):
            return True
        values = [value for column in choice.columns for value in self.counts[column] if value.strip()]
        files = sum(1 for value in values if _FILE.fullmatch(value.strip()))
        return files <= FILE_SHARE * len(values)
