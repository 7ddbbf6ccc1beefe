"""Parquet files."""

from pathlib import Path

from shelfwise.indexer.errors import InputError, first_line
from shelfwise.indexer.reading.files import Content, Record, Records, Source

SUFFIXES, MAGIC, IS_TEXT = (".parquet", ".pq"), b"PAR1", False
BATCH = 4096  # rows read at a time


def recognises(text: str) -> bool:
    """Return False: the first bytes identify the format."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the schema, and the rows. Raise InputError for standard input or an unreadable file."""
    import pyarrow
    from pyarrow import parquet

    path = source.path
    if path is None:
        raise InputError("no_standard_input", "Parquet from standard input", "a file", "name the file")
    try:
        schema = parquet.read_schema(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(
            "bad_parquet",
            f"{source.name}: not a readable Parquet file ({first_line(error)})",
            "a Parquet file",
            "export it again",
        ) from None
    return Content(list(schema.names), lambda: _records(path))


def _records(path: Path) -> Records:
    from pyarrow import parquet

    rows = (row for batch in parquet.ParquetFile(path).iter_batches(BATCH) for row in batch.to_pylist())
    for number, values in enumerate(rows, 1):
        yield Record(number, values)
