"""JSON lines: one object per line."""

from shelfwise.indexer.reading.files import Content, Source
from shelfwise.indexer.reading.json_records import document, lines
from shelfwise.indexer.reading.json_text import begins_with_object, is_document, list_path

SUFFIXES, MAGIC, IS_TEXT = (".jsonl", ".ndjson"), (), True


def recognises(text: str) -> bool:
    """Return True if the text begins with an object."""
    return begins_with_object(text)


def opened(source: Source) -> Content:
    """Return the keys of the first objects, in order of appearance, and the objects.

    An array, and objects over several lines, are read as well. Raise InputError if the first object is not JSON.
    """
    return document(source, list_path(source.sample)) if is_document(source.sample) else lines(source)
