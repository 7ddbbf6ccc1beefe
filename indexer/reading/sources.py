"""One source of labelled rows, read once into a spool."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.files import Record, RecordFile
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.reader import Origin, Reader, Variant
from shelfwise.indexer.reading.rejects import IN_MEMORY, Reject
from shelfwise.indexer.reading.seen import SeenColumns, UnusableError
from shelfwise.indexer.reading.spool import ROWS, Batch, Spool


@dataclass
class Spooled:
    """The rows of one source in a spool, and what was seen of their columns."""

    origin: Origin
    notices: tuple[str, ...]
    seen: SeenColumns
    spool: Spool

    @classmethod
    def of(cls, source: RecordFile, options: ReadOptions) -> "Spooled":
        """Read an opened file. Raise InputError if it is damaged."""
        seen = SeenColumns.of(source.columns, options)
        spool = _filled(seen, source.records(), source.name)
        return cls(Origin(source.name, source.format, source.encoding), tuple(source.notices), seen, spool)

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, object]], name: str, options: ReadOptions) -> "Spooled":
        """Read rows in memory. A row's line is its position, from 0."""
        seen = SeenColumns.of((), options)
        spool = _filled(seen, (Record(place, dict(values)) for place, values in enumerate(rows)), IN_MEMORY)
        return cls(Origin(name), (), seen, spool)

    def rejects(self) -> Iterator[Reject]:
        """Yield the rows that are rejects before anything is known of the columns."""
        for batch in self.spool.read():
            yield from batch.rejects.values()

    def rows(self, reader: Reader) -> Iterator[Item | Variant | Reject]:
        """Yield what each row is, in order."""
        names = self.seen.used
        for batch in self.spool.read():
            for row in batch.rows(names):
                if isinstance(row, Reject):
                    yield reader.rejected(row)
                else:
                    yield reader.row(row[0], dict(zip(names, row[1], strict=True)))


def _filled(seen: SeenColumns, records: Iterable[Record | Reject], file: str) -> Spool:
    """Return a spool with the records."""
    spool = Spool()
    try:
        _fill(spool, seen, records, file)
    except BaseException:
        spool.close()
        raise
    return spool


def _fill(spool: Spool, seen: SeenColumns, records: Iterable[Record | Reject], file: str) -> None:
    """Write records into a spool. Columns that appear late begin a new batch."""
    batch = Batch.of(seen.used)
    for record in records:
        late = isinstance(record, Record) and seen.lacks(record.values) and seen.add_names(record.values)
        if late or len(batch.lines) == ROWS:
            _write(batch, spool, seen)
            batch = Batch.of(seen.used)
        if isinstance(record, Record):
            try:
                batch.add(record.line, seen.texts(record.values))
                continue
            except UnusableError as error:
                record = error.at(file, record.line)
        batch.reject(record)
    _write(batch, spool, seen)


def _write(batch: Batch, spool: Spool, seen: SeenColumns) -> None:
    for column, texts in batch.columns.items():
        seen.add_values(column, texts)
    spool.add(batch)
