"""JSON documents: an array of objects, alone or in an object, or objects over several lines. Also JSON lines."""

import re

from shelfwise.indexer.reading.files import Content, Source
from shelfwise.indexer.reading.json_records import document, lines
from shelfwise.indexer.reading.json_text import begins_with_object, is_document, list_path

SUFFIXES, MAGIC, IS_TEXT = (".json",), (), True


def recognises(text: str) -> bool:
    """Return True if the text begins with an array of objects, or with an object that is not one of JSON lines."""
    if re.match(r"\s*\[\s*[{\]]", text):
        return True
    return begins_with_object(text) and (is_document(text) or list_path(text) is not None)


def opened(source: Source) -> Content:
    """Return the keys of the first objects, in order of appearance, and the objects.

    Raise InputError if the first object is not JSON.
    """
    path = list_path(source.sample)
    return document(source, path) if path is not None or is_document(source.sample) else lines(source)
