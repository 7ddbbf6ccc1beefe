"""What a store remembers of the reading of its catalogs."""

from pathlib import Path

from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.reading.options import ReadingMemory
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.store.snapshot import Snapshot

READING_BLOB = "reading"


def remembered(snapshot: Snapshot | None) -> ReadingMemory:
    """Return the memory of a version; an empty one for None. Raise StoreError when it is gone."""
    return ReadingMemory.from_bytes(snapshot.blob(READING_BLOB) if snapshot else None)


def memory_of(store: Path) -> ReadingMemory:
    """Return the memory of the store at `store`, an empty one if there is no store that can be read."""
    try:
        return remembered(Snapshot(store, read_manifest(store)))
    except StoreError:
        return ReadingMemory()
