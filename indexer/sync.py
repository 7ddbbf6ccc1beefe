"""What has to change so that a store holds a catalog, and the changing of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from indexer.catalog import Item
from indexer.encoder import Encoder, Progress
from indexer.manifest import Change
from indexer.rows import Rows
from indexer.text import digest, twin_key

_CONTENT = ("title", "description", "brand", "attributes", "category", "category_path")


@dataclass(frozen=True)
class Changes:
    """The difference between a store and the items that it should hold.

    `upserts` are the items that are new or differ, with the text that is embedded for each in `texts`;
    `removed` are ids. An updated item counts in `updated` whether its text or only its category changed.
    """

    upserts: list[Item]
    texts: list[str]
    removed: list[str]
    added: int
    updated: int
    unchanged: int

    def __bool__(self) -> bool:
        return bool(self.upserts or self.removed)

    def as_change(self, command: str) -> Change:
        """What a version that `command` made of them remembers."""
        return Change(command, self.added, self.updated, len(self.removed))


def find_changes(rows: Rows | None, items: Mapping[str, Item], remove_missing: bool) -> Changes:
    """What turns `rows` into `items`; items that are not named are kept unless `remove_missing`."""
    stored: dict[str, tuple[str, ...]] = {}
    if rows is not None:
        contents = zip(*(rows.column(name) for name in _CONTENT), strict=True)
        stored = dict(zip(rows.column("id"), contents, strict=True))
    upserts = [
        item for id_, item in items.items() if stored.get(id_) != tuple(getattr(item, name) for name in _CONTENT)
    ]
    added = sum(item.id not in stored for item in upserts)
    return Changes(
        upserts=upserts,
        texts=[item.text() for item in upserts],
        removed=[id_ for id_ in stored if id_ not in items] if remove_missing else [],
        added=added,
        updated=len(upserts) - added,
        unchanged=len(items) - len(upserts),
    )


def embed_changes(
    rows: Rows | None, changes: Changes, encoder: Encoder, progress: Progress | None = None
) -> tuple[Rows, int]:
    """The rows of what `changes` insert or replace, and how many texts had to be embedded for them.

    A text that `rows` hold already, under whatever id, keeps its vector.
    """
    digests = [digest(text) for text in changes.texts]
    known = {} if rows is None else {name: row for row, name in enumerate(rows.column("text_digest"))}
    fresh = sorted({text for text, name in zip(changes.texts, digests, strict=True) if name not in known})
    vectors_of = dict(zip(fresh, encoder.encode(fresh, progress), strict=True)) if fresh else {}
    vectors = np.empty((len(digests), encoder.dimensions), np.float32)
    for i, (text, name) in enumerate(zip(changes.texts, digests, strict=True)):
        vectors[i] = vectors_of[text] if rows is None or text in vectors_of else rows.vectors[known[name]]
    columns = {name: [getattr(item, name) for item in changes.upserts] for name in ("id", *_CONTENT)}
    columns["text_digest"] = digests
    columns["twin_key"] = [twin_key(item.title) for item in changes.upserts]
    return Rows.of(columns, vectors), len(fresh)


def changed(rows: Rows | None, upserts: Rows, removed: Sequence[str]) -> Rows:
    """`rows` with some inserted or replaced and some taken out: what a table that is so changed holds."""
    if rows is None:
        return Rows.in_order(upserts.table, upserts.vectors)
    gone = set(upserts.row_of) | set(removed)
    kept = np.array([id_ not in gone for id_ in rows.column("id")], bool)
    table = pa.concat_tables([rows.table.filter(pa.array(kept)), upserts.table])
    return Rows.in_order(table, np.concatenate((rows.vectors[kept], upserts.vectors)))
