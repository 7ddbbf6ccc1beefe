"""Turn the rows of one source into items, by what was understood of its columns."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import (
    ALSO_SEPARATOR,
    FIELDS,
    ID,
    IMAGE,
    KEPT,
    TEXT,
    Item,
    clean,
    derived_id,
    joined_path,
    leaf_of,
    names_of,
    normal_path,
)
from shelfwise.indexer.reading.categories import CATEGORY_MARK, LEVEL_MARK, Categories, CategoryRule, decide, fault_of
from shelfwise.indexer.reading.columns import BY_PROFILE, LEAF, PATH, ColumnUse
from shelfwise.indexer.reading.rejects import IN_MEMORY, Reject
from shelfwise.indexer.reading.report import FileReport, Finding, Tally
from shelfwise.indexer.reading.seen import SeenColumns

AS_WRITTEN = names_of(ID, TEXT, IMAGE, KEPT)  # fields stored as the shop wrote them
SHORTEST_LIMIT = min(declared.longest for declared in FIELDS.values())
LABELS_CACHED = 100_000  # distinct values of a category column
# Control characters, and lone surrogates, which no encoding can write. None of them is printable.
_UNUSABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WITHOUT_MARKS = str.maketrans("", "", LEVEL_MARK + CATEGORY_MARK)  # set by `category_text` between names of lists
_BELOW = re.compile(r"\s*[>›»]+\s*(?=\S)")  # between a path and the name of a level below it
Texts = Mapping[str, str]  # texts of a row by column


class Fault(NamedTuple):
    """The fault that makes a row unusable: its field, its error code, and the reason in words."""

    field: str
    code: str
    reason: str


class Variant(NamedTuple):
    """A row that belongs to the product of an earlier row."""

    line: int


@dataclass(frozen=True)
class Origin:
    """Where rows come from: the name for users, and a file's format and encoding (empty for rows in memory)."""

    name: str
    format: str = ""
    encoding: str = ""

    @property
    def file(self) -> str:
        """The file that rejects name."""
        return self.name if self.format else IN_MEMORY


@dataclass
class Reader:
    """Makes items of the rows of one source.

    `uses` are the columns of each field, `rules` the rule of each category column, and `moved` the category that counts
    in place of another one.
    """

    origin: Origin
    seen: SeenColumns
    labelled: bool
    uses: tuple[ColumnUse, ...]
    rules: Mapping[str, CategoryRule]
    moved: Mapping[str, str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    _labels: dict[tuple[str, str], Categories] = field(default_factory=dict)
    _moved_from: dict[tuple[str, str], str] = field(default_factory=dict)
    _product: Texts | None = None
    _pairs: tuple[tuple[str, str], ...] | None = None  # columns of attributes: with the name, and with the value

    @classmethod
    def of(cls, origin: Origin, seen: SeenColumns, labelled: bool) -> "Reader":
        """Choose the columns and decide how categories are split. Raise InputError if a column is missing."""
        uses = seen.chosen(labelled, origin.name)
        profile = seen.profile
        signs = (profile.levels, profile.between, profile.drop) if profile else ("", "", ())
        targets = [use.columns[0] for use in uses if use.field in (PATH, LEAF) and len(use.columns) == 1]
        rules = {column: decide(seen.counts[column], *signs) for column in targets}
        return cls(origin, seen, labelled, uses, rules)

    def choose_again(self) -> None:
        """Choose the columns again, after some have appeared late."""
        self.uses, self._pairs = self.seen.chosen(self.labelled, self.origin.name), None

    def paths(self) -> Counter[str]:
        """Return the categories in the values that were seen, with their numbers of rows."""
        found: Counter[str] = Counter()
        for column, rule in self.rules.items():
            for raw, count in self.seen.counts[column].items():
                found[rule.split(raw).path] += count
        del found[""]
        return found

    def texts(self, values: Mapping[str, object]) -> Texts:
        """Return the texts of a row by column. Raise UnusableError for a cell without a text form."""
        return dict(zip(self.seen.used, self.seen.texts(values), strict=True))

    def row(self, line: int, texts: Texts) -> Item | Variant | Reject:
        """Return the item of a row, or a reject with the reason, or a Variant of an earlier row's product."""
        self.tally.rows += 1
        profile = self.seen.profile
        if profile and profile.variants and self.origin.format:  # each row in memory is asked for itself
            if profile.is_variant(texts, self._product):
                self.tally.variants += 1
                return Variant(line)
            self._product = texts
        values = {use.field: self._value(use, texts) for use in self.uses}
        made = self._item(values)
        if isinstance(made, Item):
            self.tally.take(made)
            return made
        columns = next((use.columns for use in self.uses if use.field == made.field), (made.field,))
        value = values.get(made.field, "")
        return self._counted(Reject(self.origin.file, line, "+".join(columns), value, made.code, made.reason))

    def report(self, notices: Iterable[str] = ()) -> FileReport:
        """Return what was understood of the source, with the rows that were read so far, and remarks for the user."""
        used = {name for use in self.uses for column in use.columns for name in (column, column.partition(".")[0])}
        return FileReport(
            name=self.origin.name,
            format=self.origin.format,
            encoding=self.origin.encoding,
            profile=self.seen.profile.title if self.seen.profile else "",
            columns=self.uses,
            unused=tuple(column for column in self.seen.names if column not in used),
            splitting={column: rule.words() for column, rule in self.rules.items()},
            rows=self.tally.rows,
            variants=self.tally.variants,
            rejected=dict(self.tally.reasons),
            notices=tuple(notices),
        )

    def findings(self) -> Iterator[Finding]:
        """Yield what looks wrong in the rows that were read so far."""
        yield from self.tally.findings(self.origin.name, {use.field: use for use in self.uses})

    def rejected(self, reject: Reject) -> Reject:
        """Count a row that is a reject already, and return it."""
        self.tally.rows += 1
        return self._counted(reject)

    def _counted(self, reject: Reject) -> Reject:
        self.tally.reasons[reject.code] += 1
        return reject

    def _value(self, use: ColumnUse, texts: Texts) -> str:
        profile = self.seen.profile
        if len(use.columns) == 1:
            text = texts[use.columns[0]]
            lines = profile.newline if profile and use.field == "description" else ""
            return text.replace(lines, "\n") if lines else text
        if use.field == PATH:
            return LEVEL_MARK.join(_levels(clean(texts[column]) for column in use.columns))
        if profile and use.why == BY_PROFILE:
            if self._pairs is None:
                self._pairs = profile.attributes_of(use.columns)
            pairs = ((name, value) for name, value in self._pairs if texts[value] and texts[value] not in profile.empty)
            return "; ".join(f"{texts[name] if name else value}: {texts[value]}" for name, value in pairs)
        return "; ".join(f"{column}: {texts[column]}" for column in use.columns if texts[column])

    def _item(self, values: dict[str, str]) -> Item | Fault:
        # One look at all values is enough for nearly all rows.
        suspect = not "".join(values.values()).isprintable() or max(map(len, values.values())) > SHORTEST_LIMIT
        if suspect and (fault := self._fault_or_cut(values)):
            return fault
        said = {name: value.strip() for name, value in values.items() if name in AS_WRITTEN}
        if not self.labelled:
            item = Item(**said)
            return item if item.id else replace(item, id=derived_id(item))
        labels, leaf = self._label(PATH, values), self._label(LEAF, values)
        name = leaf.path and leaf_of(leaf.path)
        if name.isdecimal():  # the number of a category, as in a feed of Google: the path has its name
            name = ""
        source = PATH
        if not labels.path:
            labels, name, source = leaf, "", LEAF
        if self._moved_from and (moved := self._moved_from.get((source, values.get(source, "")))):
            self.tally.moved.add(moved)
        if beyond := fault_of(labels.path):
            return Fault(PATH if PATH in values else LEAF, beyond.code, beyond.reason)
        if labels.also_in:
            said["also_in"] = ALSO_SEPARATOR.join(labels.also_in)
        item = Item(**said, category=name or leaf_of(labels.path), category_path=labels.path)
        return checked(item, labelled=True, leaf=LEAF in values)

    def _fault_or_cut(self, values: dict[str, str]) -> Fault | None:
        """Return the first fault in the values, or None after too long texts that may be cut are cut in place."""
        for name, value in values.items():
            longest = FIELDS[name].longest
            if name in (PATH, LEAF):
                value = value.translate(_WITHOUT_MARKS)
            elif FIELDS[name].shortened and len(value) > longest:
                self.tally.shortened += 1
                values[name] = value = value[:longest]
            if fault := fault_in(name, value):
                return fault
        return None

    def _label(self, one: str, values: Mapping[str, str]) -> Categories:
        """Return the categories in the value of a field, after a lookup: a catalog has few different values."""
        raw = values.get(one, "")
        known = self._labels.get((one, raw))
        if known is not None:
            return known
        use = next((use for use in self.uses if use.field == one), None)
        rule = self.rules.get(use.columns[0], CategoryRule()) if use else CategoryRule()
        found = rule.split(raw)
        if found.path in self.moved:
            self._moved_from[one, raw] = found.path
        also_in = dict.fromkeys(self.moved.get(path, path) for path in found.also_in if not fault_of(path))
        found = Categories(self.moved.get(found.path, found.path), tuple(also_in))
        if len(self._labels) < LABELS_CACHED:
            self._labels[one, raw] = found
        return found


def _levels(texts: Iterable[str]) -> Iterator[str]:
    """Yield the level in each text but empty ones. A text may repeat the path of the one before: "A", "A > B"."""
    before = ""
    for text in filter(None, texts):
        below = _BELOW.match(text, len(before)) if before and text.startswith(before) else None
        yield text[below.end() :] if below else text
        before = text


def fault_in(name: str, value: str) -> Fault | None:
    """Return the fault that makes a value of the field `name` unusable, or None."""
    limit = FIELDS[name].longest
    if len(value) > limit:
        return Fault(name, "too_long", f"{len(value)} characters, more than the limit of {limit}")
    if name == "id" and len(value.strip().splitlines()) > 1:
        return Fault(name, "line_break", "a line break in an id")
    if not value.isprintable() and (found := _UNUSABLE.search(value)):
        if found[0] < "\ud800":
            return Fault(name, "control_character", f"control character U+{ord(found[0]):04X}")
        return Fault(name, "invalid_character", f"incomplete character U+{ord(found[0]):04X}")
    return None


def item_of(values: Mapping[str, str], labelled: bool) -> Item:
    """Return the item of `values` by field, with the checks of a file's rows. Raise InputError if one fails."""
    fault = next((found for name, value in values.items() if (found := fault_in(name, value))), None)
    made: Item | Fault
    if fault:
        made = fault
    else:
        said = {name: values.get(name, "").strip() for name in AS_WRITTEN}
        path, category = normal_path(values.get(PATH, "")), clean(values.get(LEAF, ""))
        if not path:
            path, category = joined_path(category), ""
        item = Item(**said, category=category or leaf_of(path), category_path=path)
        made = checked(item, labelled, leaf=LEAF in values)
    if isinstance(made, Fault):
        raise InputError(made.code, f"{made.field}: {made.reason}", "a usable value", "correct the field")
    return made


def checked(item: Item, labelled: bool, leaf: bool) -> Item | Fault:
    """Return an item with an id, or its fault if a labelled item has no title or category."""
    if labelled and not _has_title(item):
        return Fault("title", "empty_title", "empty title")
    if labelled and not item.category_path:
        return Fault(LEAF if leaf else PATH, "empty_category", "empty category")
    return item if item.id else replace(item, id=derived_id(item))


def _has_title(item: Item) -> bool:
    """Return True if the title has words. Most titles pass a quick check and need no cleaning."""
    plain = "<" not in item.title and "&" not in item.title and any(map(str.isalnum, item.title))
    return plain or bool(item.words.title)
