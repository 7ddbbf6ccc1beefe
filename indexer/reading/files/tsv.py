"""Tables with a tab between fields, as spreadsheets copy them."""

from shelfwise.indexer.reading.files import Content, Source
from shelfwise.indexer.reading.tables import open_table

SUFFIXES, MAGIC, IS_TEXT = (".tsv", ".tab"), (), True


def recognises(text: str) -> bool:
    """Return False: a table without a known suffix is read as CSV, whose delimiter may be a tab."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the header, and the rows. Raise InputError for an unusable header.

    A file without any tab has one column, or another delimiter than its name says.
    """
    return open_table(source, "\t") if "\t" in source.sample else open_table(source)
