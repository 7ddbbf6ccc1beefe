"""Count the different items of a catalog of any size: digests of the items go to a temporary file."""

import tempfile
from array import array
from typing import IO, NamedTuple, Self

from shelfwise.indexer.item import AUTO_ID, Item, content_of

PARTS = 64  # digests are counted in parts, each with the ids that fall into it
ITEMS_OF_BLOCK = 1024  # items of a part that are written at once
WIDTH = 3  # numbers for each item: digests of its id, its category and its content


class ItemCounts(NamedTuple):
    """Numbers of different items, and of rows that repeat one; see `Catalog`."""

    items: int
    repeated: int = 0
    conflicting: int = 0
    two_categories: int = 0


class Keys:
    """ItemCounts items as `Catalog` does, without the items."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="shelfwise-")  # noqa: SIM115  # closed by __exit__
        self._buffers = [array("q") for _ in range(PARTS)]
        self._blocks: list[list[int]] = [[] for _ in range(PARTS)]  # places in the file, by part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, item: Item) -> None:
        """Add an item."""
        id_ = hash(item.id)
        category = hash(item.category_path) if item.id.startswith(AUTO_ID) else 0
        buffer = self._buffers[id_ % PARTS]
        buffer.extend((id_, category, hash(content_of(item))))
        if len(buffer) == WIDTH * ITEMS_OF_BLOCK:
            self._blocks[id_ % PARTS].append(self._file.tell())
            buffer.tofile(self._file)
            del buffer[:]

    def counts(self) -> ItemCounts:
        """Return the counts of all items. Use it once."""
        total = [0] * len(ItemCounts._fields)
        for places, numbers in zip(self._blocks, self._buffers, strict=True):
            rest, numbers = numbers, array("q")
            for place in places:
                self._file.seek(place)
                numbers.fromfile(self._file, WIDTH * ITEMS_OF_BLOCK)
            total = [one + more for one, more in zip(total, _counts(numbers + rest), strict=True)]
        return ItemCounts(*total)


def _counts(numbers: "array[int]") -> ItemCounts:
    items = repeated = conflicting = two_categories = 0
    contents: dict[int, dict[int, int]] = {}  # the last content by id and category
    for id_, category, content in zip(*(numbers[start::WIDTH] for start in range(WIDTH)), strict=True):
        known = contents.setdefault(id_, {})
        if category not in known:
            items += 1
            two_categories += bool(known)
        elif known[category] == content:
            repeated += 1
        else:
            conflicting += 1
        known[category] = content
    return ItemCounts(items, repeated, conflicting, two_categories)
