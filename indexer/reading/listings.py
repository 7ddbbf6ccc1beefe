"""Read listings as a stream: what is understood of the first rows counts for all of them."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.catalog import require_rows
from shelfwise.indexer.reading.files import Record, RecordFile
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.reader import Origin, Reader, Variant
from shelfwise.indexer.reading.rejects import Reject, RejectList, Rejects
from shelfwise.indexer.reading.report import Moves, ReadingReport, ReadingSurvey
from shelfwise.indexer.reading.seen import SeenColumns, UnusableError

FIRST = 10_000  # rows that are looked at before the first one is read


@dataclass(frozen=True, slots=True)
class Listing:
    """A row to classify: its line, its item, and all columns of the input, unchanged.

    The item is None if the row is a variant of an earlier row's product.
    """

    line: int
    item: Item | None
    source: dict[str, object]


class ListingReader:
    """Reads the rows of one source in order, and reports on them.

    A title may be empty unless the rows are `labelled`; the decision then says so. `columns` are those of the first
    rows.
    """

    def __init__(
        self,
        origin: Origin,
        columns: Iterable[str],
        records: Iterable[Record | Reject],
        options: ReadOptions,
        labelled: bool = False,
        notices: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Look at the first rows. Raise InputError if the source is damaged or a column is missing."""
        self._origin, self._labelled, self._notices = origin, labelled, notices
        self._seen = SeenColumns.of(columns, options)
        self._records = iter(records)
        self._first = list(itertools.islice(self._records, FIRST))
        for record in self._first:
            if isinstance(record, Record) and self._seen.lacks(record.values):
                self._seen.add_names(record.values)
        if not self._seen.names:
            unusable = RejectList()
            for record in self._first:
                if isinstance(record, Reject):
                    unusable.add(record)
            require_rows(origin.name, len(self._first), unusable, usable=False)
        self._see_values()
        self._reader = Reader.of(origin, self._seen, labelled)
        self._survey = ReadingSurvey(Moves.among(self._reader.paths(), options.merge_spellings))
        self._reader.moved = self._survey.moves.all
        self._complete = len(self._first) < FIRST
        self._made = [self._row(record) for record in self._first]

    @classmethod
    def of_file(cls, source: RecordFile, options: ReadOptions, labelled: bool = False) -> "ListingReader":
        """Look at the first rows of an opened file. Raise InputError if it is damaged or a column is missing."""
        origin = Origin(source.name, source.format, source.encoding)
        return cls(origin, source.columns, source.records(), options, labelled, lambda: source.notices)

    @classmethod
    def of_rows(
        cls, rows: Iterable[Mapping[str, object]], name: str, options: ReadOptions, labelled: bool = False
    ) -> "ListingReader":
        """Look at the first rows in memory, mappings from column to value. A row's line is its position from 0."""
        records = (Record(place, dict(values)) for place, values in enumerate(rows))
        return cls(Origin(name), (), records, options, labelled)

    @property
    def columns(self) -> list[str]:
        """The columns that were seen so far, in order."""
        return list(self._seen.names)

    def report(self) -> ReadingReport:
        """Return the report of all rows that were read so far. The first FIRST rows are read at once."""
        files = [self._reader.report(self._notices())]
        moved, findings = self._reader.tally.moved, list(self._reader.findings())
        survey = replace(self._survey, files=files, findings=findings, moved=moved)
        return survey.report(complete=self._complete)

    def rows(self) -> Iterator[Listing | Reject]:
        """Yield what each row is, in order. Use it once."""
        first, made = self._first, self._made
        self._first, self._made = [], []
        for record, row in zip(first, made, strict=True):
            yield _listing(record, row)
        del first, made
        for record in self._records:
            if isinstance(record, Record) and self._seen.lacks(record.values) and self._seen.add_names(record.values):
                self._reader.choose_again()
            yield _listing(record, self._row(record))
        self._complete = True

    def batches(self, rejects: Rejects, size: int) -> Iterator[list[Listing]]:
        """Yield the usable rows in batches of at most `size`. Use it once.

        Unusable rows go to `rejects`. Raise InputError when there are no rows or no row is usable.
        """
        batch: list[Listing] = []
        before = rejects.count
        for row in self.rows():
            if isinstance(row, Reject):
                rejects.add(row)
                continue
            batch.append(row)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
        rows = self._reader.tally.rows
        require_rows(self._origin.name, rows, rejects, usable=rows > rejects.count - before)

    def _see_values(self) -> None:
        texts = []
        for record in self._first:
            with contextlib.suppress(UnusableError):
                if isinstance(record, Record):
                    texts.append(self._seen.texts(record.values))
        for column, values in zip(self._seen.used, zip(*texts, strict=True), strict=bool(texts)):
            self._seen.add_values(column, values)

    def _row(self, record: Record | Reject) -> Item | Variant | Reject:
        if isinstance(record, Reject):
            return self._reader.rejected(record)
        try:
            texts = self._reader.texts(record.values)
        except UnusableError as error:
            return self._reader.rejected(error.at(self._origin.file, record.line))
        row = self._reader.row(record.line, texts)
        if isinstance(row, Item):
            self._survey.add(row)
        return row


def _listing(record: Record | Reject, row: Item | Variant | Reject) -> Listing | Reject:
    if isinstance(row, Reject) or isinstance(record, Reject):
        assert isinstance(row, Reject)
        return row
    return Listing(record.line, row if isinstance(row, Item) else None, record.values)
