"""What has to change so that a store holds a catalog, and the changing of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from shelfwise.indexer.encoding.encoder import Encoder
from shelfwise.indexer.item import CONTENT, FIELDS, Item, content_of
from shelfwise.indexer.rows import ADDED, CATALOG, Rows
from shelfwise.indexer.store.manifest import Change
from shelfwise.indexer.text import digest
from shelfwise.indexer.types import Progress


@dataclass(frozen=True)
class Changes:
    """The difference between a store and the items that it should hold.

    `upserts` are the items that are new or differ, with the text that is embedded for each in `texts`, and in `origins`
    the origin that each will have; `removed` are ids. An updated item counts in `updated` whether its text or only its
    category changed.
    """

    upserts: list[Item]
    texts: list[str]
    removed: list[str]
    added: int
    updated: int
    unchanged: int
    origins: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.upserts or self.removed)

    def as_change(self, command: str) -> Change:
        """What a version that `command` made of them remembers."""
        return Change(command, self.added, self.updated, len(self.removed))


def find_changes(rows: Rows | None, items: Mapping[str, Item], catalog: Collection[str] = ()) -> Changes:
    """What adds `items` to `rows`: those that are not named stay. Items with ids of `catalog` are the catalog's, the
    others are beside it."""
    stored = _contents(rows)
    upserts = [item for id_, item in items.items() if stored.get(id_) != content_of(item)]
    return _changes(stored, items, upserts, (), [CATALOG if item.id in catalog else ADDED for item in upserts])


def find_catalog_changes(rows: Rows | None, items: Mapping[str, Item]) -> Changes:
    """What makes `items` the catalog of `rows`: those of the catalog before that are not named go, those that were
    added beside it stay. What the catalog names is the catalog's from then on."""
    stored = _contents(rows)
    origin = {} if rows is None else dict(zip(rows.column("id"), rows.column("origin"), strict=True))
    upserts = [item for id_, item in items.items() if stored.get(id_) != content_of(item) or origin[id_] != CATALOG]
    gone = [id_ for id_, made in origin.items() if made == CATALOG and id_ not in items]
    return _changes(stored, items, upserts, gone, [CATALOG] * len(upserts))


def _contents(rows: Rows | None) -> dict[str, tuple[str, ...]]:
    """What the items say, by id."""
    if rows is None:
        return {}
    return dict(zip(rows.column("id"), zip(*(rows.column(name) for name in CONTENT), strict=True), strict=True))


def _changes(
    stored: Mapping[str, tuple[str, ...]],
    items: Mapping[str, Item],
    upserts: list[Item],
    removed: Sequence[str],
    origins: list[str],
) -> Changes:
    added = sum(item.id not in stored for item in upserts)
    updated = sum(item.id in stored and stored[item.id] != content_of(item) for item in upserts)
    return Changes(
        upserts=upserts,
        texts=[item.words.text() for item in upserts],
        removed=list(removed),
        added=added,
        updated=updated,
        unchanged=len(items) - added - updated,
        origins=origins,
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
    columns = {name: [getattr(item, name) for item in changes.upserts] for name in FIELDS}
    columns["origin"] = changes.origins
    columns["text_digest"] = digests
    columns["twin_key"] = [item.words.twin_key() for item in changes.upserts]
    return Rows.from_columns(columns, vectors, [item.words for item in changes.upserts]), len(fresh)


def changed(rows: Rows | None, upserts: Rows, removed: Sequence[str]) -> Rows:
    """`rows` with some inserted or replaced and some taken out: what a table that is so changed holds."""
    if rows is None:
        return Rows.in_order(upserts.table, upserts.vectors, upserts.cleaned)
    gone = set(upserts.row_of) | set(removed)
    kept = np.array([id_ not in gone for id_ in rows.column("id")], bool)
    table = pa.concat_tables([rows.table.filter(pa.array(kept)), upserts.table])
    cleaned = [rows.cleaned[row] for row in np.flatnonzero(kept)] + upserts.cleaned
    return Rows.in_order(table, np.concatenate((rows.vectors[kept], upserts.vectors)), cleaned)
