"""Tables with commas, semicolons, tabs or other characters between fields, some of them quoted."""

from shelfwise.indexer.reading.files import Content, Source
from shelfwise.indexer.reading.tables import open_table

SUFFIXES, MAGIC, IS_TEXT = (".csv",), (), True  # other suffixes: a table if no other format fits


def recognises(text: str) -> bool:
    """Return False: a text that no other format recognises is read as a table."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the header, and the rows. Raise InputError for an unusable header."""
    return open_table(source)
