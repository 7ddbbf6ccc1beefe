"""Write listings with their decisions as Parquet."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO, Any

from shelfwise.classifier.measuring.encoded import whole
from shelfwise.classifier.measuring.output import FlatWriter, Layout
from shelfwise.classifier.measuring.values import as_text
from shelfwise.classifier.model.decision import Decision
from shelfwise.indexer.errors import InputError, first_line
from shelfwise.indexer.reading.guard import COLUMNS
from shelfwise.indexer.reading.listings import Listing

ROWS_TOGETHER = 1 << 16  # rows of a row group, held in memory


class ParquetTableWriter(FlatWriter):
    """A writer of Parquet. Input columns are text unless the layout has a simple type for them.

    Confidence and version are numbers, the parts of a decision are JSON text.
    """

    def __init__(self, out: IO[bytes], layout: Layout, expected: Iterable[str] = ()) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        super().__init__(layout.columns)
        kinds = layout.types or {}
        self._kinds = [kinds[name] if _is_simple(kinds.get(name)) else pa.string() for name in self.names]
        results = {"confidence": pa.float64(), "store_version": pa.int64()}
        self._kinds += [results.get(name, pa.string()) for name in COLUMNS]
        self._rows: list[list[object]] = []
        self._out = parquet.ParquetWriter(out, pa.schema(list(zip(self.header, self._kinds, strict=True))))

    def write(self, listings: Sequence[Listing], decisions: Sequence[Decision | None]) -> None:
        """Add one row per listing, in order."""
        self._rows += [[*values, *cells] for values, cells in self.rows(listings, decisions)]
        if len(self._rows) >= ROWS_TOGETHER:
            self._flush()

    def close(self) -> None:
        """Write the remaining rows and the end of the file."""
        try:
            self._flush()
        finally:
            self._out.close()
        super().close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            rows, self._rows = self._rows, []
            columns = zip(*rows, strict=True)
            arrays = [_array(*one) for one in zip(self.header, columns, self._kinds, strict=True)]
            self._out.write_table(pa.table(arrays, schema=self._out.schema))


def types_of(name: str) -> dict[str, Any]:
    """Return the Arrow types of a Parquet file by column; none if there is no file with this name."""
    import pyarrow as pa
    from pyarrow import parquet

    with suppress(OSError, pa.ArrowException):
        return {field.name: field.type for field in parquet.read_schema(name)}
    return {}


def _is_simple(kind: Any) -> bool:
    """Return True for the types whose values all readers give alike."""
    from pyarrow import types

    return kind is not None and any(is_it(kind) for is_it in (types.is_boolean, types.is_integer, types.is_floating))


def _array(name: str, values: Sequence[object], kind: Any) -> Any:
    """Return values as an Arrow array. Raise InputError if one is not of the column's type."""
    import pyarrow as pa

    if kind == pa.string():
        return pa.array([None if value is None else whole(as_text(value)) for value in values], kind)
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            "changed_type",
            f"column {name!r} has a value that is not of its type {kind} ({first_line(error)})",
            "values of the type that the input declares",
            "write CSV or JSONL",
        ) from None
