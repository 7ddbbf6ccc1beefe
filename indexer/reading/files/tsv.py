"""Tables with a tab between fields, as spreadsheets copy them."""

from shelfwise.indexer.reading.files import Content, Source
from shelfwise.indexer.reading.files.csv import table

SUFFIXES, MAGIC, IS_TEXT = (".tsv", ".tab"), b"", True


def recognises(text: str) -> bool:
    """Return False: a table without a known suffix is read as CSV, whose delimiter may be a tab."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the header, and the rows. Raise InputError for an unusable header."""
    return table(source, "\t")
