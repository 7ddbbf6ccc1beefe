"""The reading report: what was understood of the files of a command, and what looks wrong."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from shelfwise.indexer.errors import InputError, listed
from shelfwise.indexer.item import PATH_SEPARATOR, Item
from shelfwise.indexer.reading.categories import leaf_joins, spellings
from shelfwise.indexer.reading.columns import Columns, ColumnUse
from shelfwise.indexer.reading.keys import ItemCounts
from shelfwise.indexer.reading.options import ReadingMemory

LARGEST_SHOWN, EXAMPLES = 5, 3  # categories and items to show
FEW_ROWS = 50  # a rule on counts needs at least this number of rows
ROUNDED = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+\d{2,}", re.IGNORECASE)  # as spreadsheets show long numbers
_NO_TITLE = re.compile(r"[\d\s.,:/+-]+|https?://\S+|www\.\S+|\S+@\S+\.\w+")
# Traces of UTF-8 read as a Western encoding, of text that lost its letters, and of UTF-8 read as GBK.
_WRONG_TEXT = re.compile("\ufffd|[ÃÂ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€|锟斤拷|烫烫烫|ï»¿")
MOST_IN_TITLE, MOST_WRONG, MOST_REJECTED, MOST_CATEGORIES = 0.5, 0.1, 0.5, 0.95  # shares of rows
SOME_WRONG = 0.02  # share of rows from which wrong texts are reported


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong: its rule, its column ("" for none), and words for the user.

    A finding that `stops` must be accepted before a store is built.
    """

    rule: str
    column: str
    text: str
    stops: bool = False

    @property
    def key(self) -> str:
        """The rule and the column: what a user accepts."""
        return f"{self.rule} {self.column}".strip()


@dataclass(frozen=True)
class FileReport:
    """What was understood of one file or other source of rows.

    `columns` are the columns that give fields, `unused` the others. `splitting` says how categories are split, by
    column. Of its `rows`, `variants` belong to the product of an earlier row, and `rejected` cannot be used, by code.
    """

    name: str
    format: str
    encoding: str
    profile: str
    columns: tuple[ColumnUse, ...]
    unused: tuple[str, ...]
    splitting: Mapping[str, str]
    rows: int
    variants: int
    rejected: Mapping[str, int]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class ReadingReport:
    """What was understood of the files of a command.

    `items` is the number of different items. `repeated`, `conflicting` and `two_categories` count rows as in `Catalog`.
    `levels` are the fewest and most levels of a category, `largest` the LARGEST_SHOWN categories with their numbers of
    rows, `embedded` the texts of EXAMPLES items as the encoder reads them. Unless `complete`, more rows follow.
    """

    files: tuple[FileReport, ...] = ()
    items: int = 0
    repeated: int = 0
    conflicting: int = 0
    two_categories: int = 0
    categories: int = 0
    levels: tuple[int, int] = (0, 0)
    largest: tuple[tuple[str, int], ...] = ()
    embedded: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    complete: bool = True

    @property
    def rows(self) -> int:
        """The number of rows of all files."""
        return sum(file.rows for file in self.files)

    def remembered(self, memory: ReadingMemory, columns: Columns, accept: bool) -> ReadingMemory:
        """Return what a store remembers after a build with the `columns` that the user named.

        Raise InputError if a finding stops the build and is neither remembered as accepted nor accepted now.
        """
        found = [finding for finding in self.findings if finding.stops]
        unknown = [finding.text for finding in found if finding.key not in memory.accepted]
        if unknown and not accept:
            raise InputError(
                "suspicious_catalog",
                "; ".join(unknown),
                "a catalog without such findings",
                "correct the files, or accept the report",
            )
        return memory.after(columns, tuple(finding.key for finding in found))


@dataclass(frozen=True)
class Moves:
    """Categories that count in place of others.

    `joined` maps a bare leaf to the one path that ends in it, `respelled` a path to the usual spelling of the same
    category. With `merged`, the spellings move, too.
    """

    joined: Mapping[str, str] = field(default_factory=dict)
    respelled: Mapping[str, str] = field(default_factory=dict)
    merged: bool = False

    @classmethod
    def among(cls, paths: Mapping[str, int], merged: bool) -> "Moves":
        """Return the moves among the categories of the files of one command, with their numbers of rows."""
        joined = leaf_joins(paths)
        after: Counter[str] = Counter()
        for path, count in paths.items():
            after[joined.get(path, path)] += count
        return cls(joined, spellings(after), merged)

    @property
    def all(self) -> dict[str, str]:
        """The category that counts, by the one it replaces."""
        if not self.merged:
            return dict(self.joined)
        joined = {leaf: self.respelled.get(path, path) for leaf, path in self.joined.items()}
        return {**self.respelled, **joined}

    def findings(self, moved: Collection[str], paths: Collection[str]) -> Iterator[Finding]:
        """Yield what a user should know of the categories that were `moved`, and of the `paths` of items."""
        joined = {leaf: path for leaf, path in self.joined.items() if leaf in moved}
        respelled = {path: usual for path, usual in self.respelled.items() if path in (moved if self.merged else paths)}
        for leaf, path in sorted(joined.items())[:LARGEST_SHOWN]:
            yield Finding("joined_leaf", "", f"category {leaf} is read as {path}, the only category that ends in it")
        if len(joined) > LARGEST_SHOWN:
            yield Finding("joined_leaf", "", f"{len(joined) - LARGEST_SHOWN} more categories are read as longer ones")
        for path, usual in sorted(respelled.items())[:LARGEST_SHOWN]:
            said = "is read as" if self.merged else "differs only in case, width or blanks from"
            yield Finding("spelling", "", f"category {path} {said} {usual}")
        if len(respelled) > LARGEST_SHOWN:
            yield Finding("spelling", "", f"{len(respelled) - LARGEST_SHOWN} more categories have such a spelling")


@dataclass
class Tally:
    """Counts of the rows of one source, as they are read."""

    rows: int = 0
    variants: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    shortened: int = 0
    rounded_ids: int = 0
    rounded_id: str = ""
    odd_titles: int = 0
    wrong_texts: int = 0
    moved: set[str] = field(default_factory=set)  # categories that another one counts for

    def take(self, item: Item) -> None:
        """Count what looks wrong in an item."""
        if ("E+" in item.id or "e+" in item.id) and ROUNDED.fullmatch(item.id):
            self.rounded_ids += 1
            self.rounded_id = self.rounded_id or item.id
        title = item.title
        if (not title[:1].isalpha() or title[:4] in ("http", "www.")) and _NO_TITLE.fullmatch(title):
            self.odd_titles += 1
        if not title.isascii() and _WRONG_TEXT.search(title):
            self.wrong_texts += 1

    def findings(self, name: str, uses: Mapping[str, ColumnUse]) -> Iterator[Finding]:
        """Yield what looks wrong in the rows of the source `name`."""
        usable = self.rows - self.reasons.total() - self.variants
        title = listed(uses["title"].columns) if "title" in uses else ""
        if self.rounded_ids:
            column = listed(uses["id"].columns) if "id" in uses else ""
            yield Finding(
                "rounded_ids",
                column,
                f"{name}: {self.rounded_ids} ids of column {column} were rounded by a spreadsheet, such as "
                f"{self.rounded_id}",
                stops=True,
            )
        if self.shortened:
            yield Finding("shortened", "", f"{name}: {self.shortened} texts were cut to the limit of their field")
        if self.rows < FEW_ROWS:
            return
        if self.odd_titles > MOST_IN_TITLE * max(usable, 1):
            text = f"{name}: {self.odd_titles} of {usable} titles in column {title} are numbers or addresses"
            yield Finding("titles_without_words", title, text, stops=True)
        if self.wrong_texts > SOME_WRONG * max(usable, 1):
            text = f"{name}: {self.wrong_texts} of {usable} titles look as if they were decoded wrongly"
            yield Finding("wrong_encoding", title, text, stops=self.wrong_texts > MOST_WRONG * max(usable, 1))
        if self.reasons.total() > MOST_REJECTED * self.rows:
            code, count = self.reasons.most_common(1)[0]
            text = f"{name}: {self.reasons.total()} of {self.rows} rows were rejected, {count} of them as {code}"
            yield Finding("mostly_rejected", "", text, stops=True)


@dataclass
class ReadingSurvey:
    """Collects what a report says of all items."""

    moves: Moves = field(default_factory=Moves)
    files: list[FileReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    items: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    embedded: list[str] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)

    def add(self, item: Item) -> None:
        """Count an item."""
        self.items += 1
        if item.category_path:
            self.paths[item.category_path] += 1
        if len(self.embedded) < EXAMPLES:
            self.embedded.append(item.words.text())

    def report(self, counts: ItemCounts | None = None, complete: bool = True) -> ReadingReport:
        """Return the report. `counts` are the numbers of different items, unless all rows count."""
        counts = counts or ItemCounts(self.items)
        depths = [path.count(PATH_SEPARATOR) + 1 for path in self.paths]
        columns = {column for file in self.files for column in file.splitting}
        findings = [
            *self.findings,
            *category_findings(self.paths, listed(sorted(columns))),
            *self.moves.findings(self.moved, self.paths),
        ]
        return ReadingReport(
            files=tuple(self.files),
            items=counts.items,
            repeated=counts.repeated,
            conflicting=counts.conflicting,
            two_categories=counts.two_categories,
            categories=len(self.paths),
            levels=(min(depths, default=0), max(depths, default=0)),
            largest=tuple(self.paths.most_common(LARGEST_SHOWN)),
            embedded=tuple(self.embedded),
            findings=tuple(findings),
            complete=complete,
        )


def category_findings(paths: Mapping[str, int], column: str) -> Iterator[Finding]:
    """Yield what looks wrong in the categories of all rows, with their numbers of rows."""
    rows = sum(paths.values())
    if rows < FEW_ROWS:
        return
    if len(paths) == 1:
        yield Finding("one_category", column, f"all {rows} rows have the category {next(iter(paths))}", stops=True)
    elif len(paths) > MOST_CATEGORIES * rows:
        text = f"column {column} has {len(paths)} categories in {rows} rows, nearly one for each row"
        yield Finding("too_many_categories", column, text, stops=True)
