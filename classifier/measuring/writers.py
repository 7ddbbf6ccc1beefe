"""Output formats by name: the layout and the writer of each."""

from collections.abc import Callable, Iterable
from typing import IO

from shelfwise.classifier.measuring.output import DecisionWriter, JsonLinesWriter, Layout, TextTableWriter
from shelfwise.classifier.measuring.parquet import ParquetTableWriter, types_of
from shelfwise.classifier.measuring.workbook import WorkbookWriter
from shelfwise.indexer.reading.files import RecordFile

OUTPUT_WRITERS: dict[str, Callable[[IO[bytes], Layout, Iterable[str]], DecisionWriter]] = {
    "csv": TextTableWriter,
    "tsv": TextTableWriter,
    "jsonl": JsonLinesWriter,
    "parquet": ParquetTableWriter,
    "xlsx": WorkbookWriter,
}


def layout_for(
    records: RecordFile, columns: list[str], fmt: str, encoding: str | None = None, raw: bool = False
) -> Layout:
    """Return the layout of an output in the format `fmt` with the `columns` of an input.

    A text keeps delimiter and encoding of an input in its format; between CSV and TSV it keeps the encoding. `encoding`
    overrides that. JSONL made of other formats is UTF-8, as its standard says. Parquet keeps the types of Parquet.
    """
    same = fmt == records.format
    delimiter = "\t" if fmt == "tsv" else records.delimiter if same else ","
    kept = records.encoding if same or "jsonl" not in (fmt, records.format) else ""
    types = types_of(records.name) if same and fmt == "parquet" else None
    return Layout(columns, fmt, delimiter, raw, encoding or kept or "utf-8", types)


def writer_for(out: IO[bytes], layout: Layout, expected: Iterable[str] = ()) -> DecisionWriter:
    """Return a writer to a binary stream in the format of `layout`.

    `expected` are texts that will be written, such as category paths: a text in a stream that cannot be rewritten is
    UTF-8 from the start if its encoding lacks one of their characters.
    """
    return OUTPUT_WRITERS[layout.format](out, layout, expected)
