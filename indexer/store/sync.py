"""Changes that bring a store in line with a catalog, and the difference between two catalogs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from shelfwise.indexer.encoding.encoder import Encoder, unit_vectors
from shelfwise.indexer.item import CONTENT, FIELDS, IMAGE, KEPT, TEXT, Item, content_of, digest, names_of
from shelfwise.indexer.rows import ADDED, CATALOG, Rows
from shelfwise.indexer.store.manifest import Change
from shelfwise.indexer.types import Progress

EXAMPLES_SHOWN = 5  # for each kind of change

CatalogState = Mapping[str, tuple[str, ...]]  # values of CONTENT of each item, by its id


@dataclass(frozen=True)
class Changes:
    """The difference between a store and the items it should hold.

    `upserts` are the new and changed items, with the text to embed of each in `texts` and its origin in `origins`.
    `removed` are ids. A changed item counts in `updated`, even if only its category changed.
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
        """Return the entry of these changes, made by `command`, in a manifest."""
        return Change(command, self.added, self.updated, len(self.removed))


def find_changes(stored: CatalogState, items: Mapping[str, Item], catalog: Collection[str] = ()) -> Changes:
    """Return the changes that add `items` to those of `stored`. Others stay.

    Items whose id is in `catalog` belong to the catalog. All other items are additions to it.
    """
    upserts = [item for id_, item in items.items() if stored.get(id_) != content_of(item)]
    return _changes(stored, items, upserts, (), [CATALOG if item.id in catalog else ADDED for item in upserts])


def find_catalog_changes(rows: Rows | None, items: Mapping[str, Item]) -> Changes:
    """Return the changes that make `items` the catalog of `rows`.

    Catalog rows that are not in `items` are removed. Rows added in addition to the catalog stay. Once a catalog lists
    an id, the row belongs to that catalog.
    """
    stored = state_of(rows)
    origin = {} if rows is None else dict(zip(rows.column("id"), rows.column("origin"), strict=True))
    upserts = [item for id_, item in items.items() if stored.get(id_) != content_of(item) or origin[id_] != CATALOG]
    gone = [id_ for id_, made in origin.items() if made == CATALOG and id_ not in items]
    return _changes(stored, items, upserts, gone, [CATALOG] * len(upserts))


def _changes(
    stored: CatalogState,
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
    """Return the rows that `changes` insert or replace, and the number of texts embedded for them.

    A text that is already in `rows`, under any id, keeps its vector.
    """
    digests = [digest(text) for text in changes.texts]
    known = {} if rows is None else {name: row for row, name in enumerate(rows.column("text_digest"))}
    fresh = sorted({text for text, name in zip(changes.texts, digests, strict=True) if name not in known})
    vectors_of = dict(zip(fresh, unit_vectors(encoder, fresh, progress), strict=True)) if fresh else {}
    vectors = np.empty((len(digests), encoder.dimensions), np.float32)
    for i, (text, name) in enumerate(zip(changes.texts, digests, strict=True)):
        vectors[i] = vectors_of[text] if rows is None or text in vectors_of else rows.vectors[known[name]]
    columns = {name: [getattr(item, name) for item in changes.upserts] for name in FIELDS}
    columns["origin"] = changes.origins
    columns["text_digest"] = digests
    columns["twin_key"] = [item.words.twin_key() for item in changes.upserts]
    return Rows.from_columns(columns, vectors, [item.words for item in changes.upserts]), len(fresh)


def changed(rows: Rows | None, upserts: Rows, removed: Sequence[str]) -> Rows:
    """Return `rows` after the `upserts` and without the ids in `removed`, like the changed table."""
    if rows is None:
        return Rows.in_order(upserts.table, upserts.vectors, upserts.cleaned)
    gone = set(upserts.row_of) | set(removed)
    kept = np.array([id_ not in gone for id_ in rows.column("id")], bool)
    table = pa.concat_tables([rows.table.filter(pa.array(kept)), upserts.table])
    cleaned = [rows.cleaned[row] for row in np.flatnonzero(kept)] + upserts.cleaned
    return Rows.in_order(table, np.concatenate((rows.vectors[kept], upserts.vectors)), cleaned)


@dataclass(frozen=True, slots=True)
class ChangedItems:
    """The number of items with one kind of change, and some examples: the id and the change."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """The difference between two states of a catalog; `before` and `after` are their numbers of items.

    Items are `added`, `removed`, `reworded` (another text), `relabelled` (a category of another name), or `moved` with
    their category to another place in the tree. A reworded item can also be relabelled or moved.
    """

    before: int
    after: int
    added: ChangedItems
    reworded: ChangedItems
    relabelled: ChangedItems
    moved: ChangedItems
    removed: ChangedItems

    def __repr__(self) -> str:
        counts = ", ".join(f"{kind.count:,} {name}" for name, kind in self.kinds())
        return f"<Difference {self.before:,} -> {self.after:,} items: {counts}>"

    def kinds(self) -> Iterator[tuple[str, ChangedItems]]:
        """Yield the name and the items of each kind of change."""
        for name in ("added", "reworded", "relabelled", "moved", "removed"):
            yield name, getattr(self, name)


def state_of(rows: Rows | Mapping[str, Item] | None) -> CatalogState:
    """Return the state of a store version or of a catalog. It is empty for None."""
    if rows is None:
        return {}
    if isinstance(rows, Rows):
        return dict(zip(rows.column("id"), zip(*map(rows.column, CONTENT), strict=True), strict=True))
    return {id_: content_of(item) for id_, item in rows.items()}


def difference(before: CatalogState, after: CatalogState) -> Difference:
    """Return the difference between two states."""
    title, category, path = (CONTENT.index(name) for name in ("title", "category", "category_path"))
    texts = [CONTENT.index(name) for name in names_of(TEXT, IMAGE, KEPT)]
    changed = [id_ for id_, content in after.items() if id_ in before and before[id_] != content]
    reworded = [id_ for id_ in changed if any(before[id_][text] != after[id_][text] for text in texts)]
    relabelled = [id_ for id_ in changed if before[id_][category] != after[id_][category]]
    moved = [
        id_
        for id_ in changed
        if before[id_][category] == after[id_][category] and before[id_][path] != after[id_][path]
    ]

    def kind(ids: list[str], *states: CatalogState, column: int) -> ChangedItems:
        shown = (f"{id_}: {' -> '.join(state[id_][column] for state in states)}" for id_ in ids[:EXAMPLES_SHOWN])
        return ChangedItems(len(ids), tuple(shown))

    return Difference(
        before=len(before),
        after=len(after),
        added=kind([id_ for id_ in after if id_ not in before], after, column=title),
        reworded=kind(reworded, before, after, column=title),
        relabelled=kind(relabelled, before, after, column=path),
        moved=kind(moved, before, after, column=path),
        removed=kind([id_ for id_ in before if id_ not in after], before, column=title),
    )
