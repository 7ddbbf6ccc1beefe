"""What tells two states of a catalog apart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shelfwise.indexer.item import CONTENT, TEXT, Item, content_of, names_of
from shelfwise.indexer.rows import Rows

EXAMPLES_SHOWN = 5  # examples of each kind

State = Mapping[str, tuple[str, ...]]  # of an item, by its id: the values of CONTENT


@dataclass(frozen=True, slots=True)
class ChangedItems:
    """How many items changed in one way, and some of them: their id and what changed."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """Items `added` and `removed`, those whose text was `reworded`, those that were `relabelled` with a category of
    another name, and those that `moved` with their category to another place of the tree. One item can be both reworded
    and one of the last two. `before` and `after` are the numbers of items."""

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
        """Name and content of each."""
        for name in ("added", "reworded", "relabelled", "moved", "removed"):
            yield name, getattr(self, name)


def state_of(rows: Rows | Mapping[str, Item] | None) -> State:
    """The items of a version of a store, or of a catalog; none where there is none."""
    if rows is None:
        return {}
    if isinstance(rows, Rows):
        return dict(zip(rows.column("id"), zip(*map(rows.column, CONTENT), strict=True), strict=True))
    return {id_: content_of(item) for id_, item in rows.items()}


def difference(before: State, after: State) -> Difference:
    """What happened to the items of one state so that they became another."""
    title, category, path = (CONTENT.index(name) for name in ("title", "category", "category_path"))
    texts = [CONTENT.index(name) for name in names_of(TEXT)]
    changed = [id_ for id_, content in after.items() if id_ in before and before[id_] != content]
    reworded = [id_ for id_ in changed if any(before[id_][text] != after[id_][text] for text in texts)]
    relabelled = [id_ for id_ in changed if before[id_][category] != after[id_][category]]
    moved = [
        id_
        for id_ in changed
        if before[id_][category] == after[id_][category] and before[id_][path] != after[id_][path]
    ]

    def kind(ids: list[str], *states: State, column: int) -> ChangedItems:
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
