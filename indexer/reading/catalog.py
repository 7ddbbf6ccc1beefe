"""Read labelled files or rows once, into a spool; then make items and a report from the spool."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Self

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import Item, derived_id
from shelfwise.indexer.reading.files import open_records
from shelfwise.indexer.reading.keys import ItemCounts, Keys
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.reader import Reader
from shelfwise.indexer.reading.rejects import Reject, Rejects
from shelfwise.indexer.reading.report import Moves, ReadingReport, ReadingSurvey
from shelfwise.indexer.reading.seen import SeenColumns
from shelfwise.indexer.reading.sources import Spooled


@dataclass
class Catalog:
    """Items of one or more files by id, counts of the rows read, and the report of the reading.

    `conflicting` counts rows that repeat an id with other content (the last row wins), `repeated` rows that repeat an
    id with the same content, `two_categories` rows without an id whose texts are in the catalog in another category.
    """

    items: dict[str, Item] = field(default_factory=dict)
    rejected: int = 0
    repeated: int = 0
    conflicting: int = 0
    two_categories: int = 0
    report: ReadingReport = field(default_factory=ReadingReport)

    def counts(self) -> ItemCounts:
        """Return the numbers of items and of rows that repeat one."""
        return ItemCounts(len(self.items), self.repeated, self.conflicting, self.two_categories)

    def add(self, item: Item) -> None:
        """Add an item, in place of one with the same id."""
        earlier = self.items.get(item.id)
        if earlier is not None and earlier.category_path != item.category_path and earlier.id == derived_id(item):
            earlier, item = self._apart(item)
        if earlier is not None:
            self.repeated += earlier == item
            self.conflicting += earlier != item
            del self.items[item.id]  # the last row decides the order, too
        self.items[item.id] = item

    def _apart(self, item: Item) -> tuple[Item | None, Item]:
        """Give an id of its own to an item whose texts are there in another category: auto-…-2, and so on."""
        base, number = item.id, 2
        while True:
            item = replace(item, id=f"{base}-{number}")
            earlier = self.items.get(item.id)
            if earlier is None or earlier.category_path == item.category_path:
                self.two_categories += earlier is None
                return earlier, item
            number += 1


def read_catalog(
    paths: Iterable[str | Path], rejects: Rejects, options: ReadOptions | None = None, stdin: IO[bytes] | None = None
) -> Catalog:
    """Return a catalog with all usable rows of labelled files.

    Unusable rows go to `rejects`. Raise InputError for a file that cannot be read or has no rows, or when no row of the
    files read so far is usable.
    """
    with JointReading(options or ReadOptions()) as reading:
        for path in paths:
            reading.add_file(path, stdin)
        return reading.catalog(rejects)


def catalog_of(rows: Iterable[Mapping[str, object]], rejects: Rejects, options: ReadOptions) -> Catalog:
    """Return a catalog with all usable labelled rows in memory, each a mapping from column to value.

    Unusable rows go to `rejects`. Raise InputError when there are no rows or no row is usable.
    """
    with JointReading(options) as reading:
        reading.add_rows(rows, "the data")
        return reading.catalog(rejects)


def survey_rows(rows: Iterable[Mapping[str, object]], rejects: Rejects, options: ReadOptions) -> ReadingReport:
    """Return the reading report of rows in memory, labelled or not. Raise the errors of `catalog_of`."""
    with JointReading(options, labelled=False) as reading, Keys() as keys:
        reading.add_rows(rows, "the data")
        return reading.read(rejects, keys)


def survey_files(
    paths: Iterable[str | Path], rejects: Rejects, options: ReadOptions, stdin: IO[bytes] | None = None
) -> ReadingReport:
    """Return the reading report of files, labelled or not, without their items. Raise the errors of `read_catalog`."""
    with JointReading(options, labelled=False) as reading, Keys() as keys:
        for path in paths:
            reading.add_file(path, stdin)
        return reading.read(rejects, keys)


class JointReading:
    """Labelled sources that are read together: their categories agree with each other."""

    def __init__(self, options: ReadOptions, labelled: bool = True) -> None:
        """Read with `options`. Unless `labelled`, a source without any category is read as listings."""
        self._options, self._labelled = options, labelled
        self._sources: list[Spooled] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for source in self._sources:
            source.spool.close()

    def add_file(self, path: str | Path, stdin: IO[bytes] | None = None) -> None:
        """Read a file into the spool. Raise InputError for a file that cannot be read."""
        with open_records(path, stdin, self._options.file) as source:
            self._sources.append(Spooled.of(source, self._options))

    def add_rows(self, rows: Iterable[Mapping[str, object]], name: str) -> None:
        """Read rows in memory into the spool."""
        self._sources.append(Spooled.of_rows(rows, name, self._options))

    def catalog(self, rejects: Rejects) -> Catalog:
        """Return all items. Raise InputError when a source has no rows, or none that is usable so far."""
        catalog = Catalog()
        catalog.report = self.read(rejects, catalog)
        catalog.rejected = rejects.count
        return catalog

    def _is_labelled(self, seen: SeenColumns) -> bool:
        return self._labelled or seen.has_categories()

    def read(self, rejects: Rejects, into: "Catalog | Keys") -> ReadingReport:
        """Add all items to `into`, and return the report."""
        for source in self._sources:
            if not source.seen.names:
                before = rejects.count
                for reject in source.rejects():
                    rejects.add(reject)
                require_rows(source.origin.name, rejects.count - before, rejects, usable=False)
        readers = [Reader.of(source.origin, source.seen, self._is_labelled(source.seen)) for source in self._sources]
        paths = sum((reader.paths() for reader in readers), Counter())
        survey = ReadingSurvey(Moves.among(paths, self._options.merge_spellings))
        for source, reader in zip(self._sources, readers, strict=True):
            reader.moved = survey.moves.all
            for row in source.rows(reader):
                if isinstance(row, Item):
                    into.add(row)
                    survey.add(row)
                elif isinstance(row, Reject):
                    rejects.add(row)
            require_rows(source.origin.name, reader.tally.rows, rejects, usable=survey.items > 0)
            survey.files.append(reader.report(source.notices))
            survey.findings += reader.findings()
            survey.moved |= reader.tally.moved
        return survey.report(into.counts())


def require_rows(name: str, rows: int, rejects: Rejects, usable: bool) -> None:
    """Raise InputError if a source has no rows, or if no row is usable."""
    if rows == 0:
        raise InputError("no_rows", f"{name} has no rows", "at least one row", "add rows to it")
    if not usable and rejects.first is not None:
        first = rejects.first
        raise InputError(
            "no_usable_row",
            f"{name} has no usable row: all {rejects.count} were rejected, the first in {first.place} ({first.reason})",
            "at least one usable row",
            "correct the rows",
        )
