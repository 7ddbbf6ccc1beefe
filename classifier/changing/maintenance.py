"""Changes of a store other than builds: add, remove and train. Each creates one version or none."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from shelfwise.classifier.fitting.training import Fitted
from shelfwise.classifier.fitting.training import train as fit_all
from shelfwise.classifier.labels import Labels, Numbers, lies_in
from shelfwise.classifier.model.fusion import K, category_weights, known_to, vote
from shelfwise.classifier.model.model import Goals, Model, Settings, model_of, settings_of
from shelfwise.indexer.encoding.encoder import Encoder
from shelfwise.indexer.encoding.kinds import EncoderChoice
from shelfwise.indexer.errors import AbsentError, BusyError, QueryError, listed
from shelfwise.indexer.item import CONTENT, Item, normal_path
from shelfwise.indexer.reading.rejects import Reject
from shelfwise.indexer.reading.report import ReadingReport
from shelfwise.indexer.rows import ADDED, Rows
from shelfwise.indexer.searching.engine import EngineSearcher, recalled, spread
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.searching.replica import SPACE_BLOB, Replica, make_replica, new_replica_name, open_replica
from shelfwise.indexer.searching.search import FaissSearcher
from shelfwise.indexer.searching.segments import Segments, texts_of
from shelfwise.indexer.store.disk import require_room, vector_bytes, verify_files
from shelfwise.indexer.store.manifest import Manifest, ReplicaIdentity
from shelfwise.indexer.store.snapshot import Draft, Snapshot, base_of, read_snapshot, writing
from shelfwise.indexer.store.store_encoder import encoder_for
from shelfwise.indexer.store.sync import CatalogState, Changes, changed, embed_changes, find_changes
from shelfwise.indexer.store.table import in_small_files
from shelfwise.indexer.types import Progress

FEW = 1000  # items added at a time without reading the whole table
SIMILAR_FILES = 16  # files of added rows of about the same size, which are then rewritten to one of the next size


@dataclass(frozen=True, slots=True)
class GoalOverrides:
    """Goals set by a user, as in `Goals`. None keeps the goal of the store."""

    head: str | None = None
    optimize: str | None = None
    target_precision: float | None = None


@dataclass(frozen=True, repr=False)
class Report:
    """The effect of a change: counts of rows, texts embedded, the current version, and the settings.

    `fitted` is True if this change fitted the settings. `encoder` is the encoder in use and, at a first build with
    `auto`, the reason for it. `rejects` are the unusable rows, if they were not written to a file. `repeated` counts
    rows whose id came before with the same content, and `conflicting` rows whose id came before with other content. The
    last one counts. `reading` says what was understood of the files or rows.
    """

    added: int
    updated: int
    removed: int
    unchanged: int
    embedded: int
    version: int
    rows: int
    encoder: EncoderChoice
    settings: Settings
    fitted: bool
    new_categories: tuple[str, ...] = ()
    rejects: tuple[Reject, ...] = ()
    repeated: int = 0
    conflicting: int = 0
    reading: ReadingReport | None = None

    def __repr__(self) -> str:
        counts = f"+{self.added:,} ~{self.updated:,} -{self.removed:,}, {len(self.rejects):,} rejected"
        return f"<Report version {self.version}: {counts}, {self.rows:,} items, {self.encoder.name}>"


@dataclass(frozen=True)
class Edit:
    """A change of some items in one step: insert or replace `items`, and remove the stored items with ids in `removed`.

    Items with ids in `catalog` belong to the catalog, the rest are added items. `command` is recorded in the new
    version. `at` is the version that the edit was prepared for (None for any).
    """

    items: Mapping[str, Item]
    removed: Sequence[str] = ()
    catalog: Collection[str] = ()
    command: str = "add"
    at: int | None = None


def apply(
    path: Path, edit: Edit, reuse: Index | None = None, device: str = "auto", progress: Progress | None = None
) -> Report:
    """Apply an edit to the store at `path` without fitting the model again.

    Until the next fit, only the vote supports a category that is new to the head. `reuse` is an open version of the
    store, whose files and encoder are not verified or loaded again. Raise QueryError if no item would be left, and
    BusyError if the store is not at version `edit.at`.
    """
    with writing(path, reuse=reuse.snapshot.manifest if reuse else None) as draft:
        base = base_of(draft)
        if edit.at is not None and base.manifest.version != edit.at:
            raise BusyError(
                "store_changed",
                f"store {path} is now at version {base.manifest.version}",
                f"version {edit.at}",
                "try again",
            )
        opened = reuse is not None and reuse.snapshot.manifest == base.manifest
        known = reuse.segments if reuse and opened else texts_of(base)
        gone = {id_ for id_ in edit.removed if known.row_of(id_) is not None} - edit.items.keys()
        changes = replace(find_changes(_contents_of(known, edit.items), edit.items, edit.catalog), removed=sorted(gone))
        if not changes:
            return report_of(changes, base.manifest, base, stored_choice(base))
        _require_left(path, base.manifest.rows + changes.added, len(gone))
        encoder = _encoder_of(base, reuse, device)
        # A few are embedded without reading and verifying the whole table, so none of its vectors is reused.
        upserts, embedded = embed_changes(base.rows if len(edit.items) > FEW else None, changes, encoder, progress)
        draft.table.upsert(_with_scattered(upserts, changes, base, known))
        draft.table.delete(changes.removed)
        manifest = draft.commit(changes.as_change(edit.command))
        new = {item.category_path for item in changes.upserts}
        new -= known.values_among("category_path", sorted(new))
        return report_of(changes, manifest, base, stored_choice(base), embedded, new=new)


def _contents_of(known: Segments, ids: Iterable[str]) -> CatalogState:
    return {found[0]: found[1:] for found in known.texts(("id", *CONTENT), known.rows_of(ids))}


def _encoder_of(base: Snapshot, reuse: Index | None, device: str) -> Encoder:
    """Return the encoder of a version: the open one if it is the same."""
    if reuse and reuse.snapshot.manifest.encoder == base.manifest.encoder:
        return reuse.encoder
    return encoder_for(base.path, base.manifest, device)


def _with_scattered(upserts: Rows, changes: Changes, base: Snapshot, known: Segments) -> Rows:
    """Return the rows to write: the new ones, and rows added before that should lie in one file with them."""
    scattered = in_small_files(known.fresh_row_ids, SIMILAR_FILES)
    return changed(base.reader.take(scattered)[0], upserts, changes.removed) if len(scattered) else upserts


def remove(path: Path, ids: Sequence[str] = (), category: str | None = None, added: bool = False) -> Report:
    """Remove items by id, all items of a category and those below it, or all `added` items not in a catalog.

    Raise QueryError if an id or the category does not exist, nothing was added, or no item would be left. Nothing is
    removed then.
    """
    with writing(path) as draft:
        base = base_of(draft)
        chosen, known = list(dict.fromkeys(ids)), texts_of(base)
        absent = [id_ for id_ in chosen if known.row_of(id_) is None]
        if absent:
            raise AbsentError(
                "no_such_item",
                f"the store has no item with id {listed(absent)}",
                "ids of stored items",
                "correct the ids: nothing was removed",
            )
        if category is not None:
            chosen = list(dict.fromkeys(chosen + _ids_below(known, category)))
        if added:
            chosen = list(dict.fromkeys(chosen + _ids_added(known)))
        rows = base.manifest.rows
        _require_left(path, rows, len(chosen))
        draft.table.delete(chosen)
        changes = Changes([], [], chosen, 0, 0, rows - len(chosen))
        return report_of(changes, draft.commit(changes.as_change("remove")), base, stored_choice(base))


def train(path: Path, overrides: GoalOverrides | None = None, progress: Progress | None = None) -> Report:
    """Fit head and settings again to the stored items. `overrides` change the goals."""
    with writing(path) as draft:
        base = base_of(draft)
        require_room(path, vector_bytes(base.manifest.rows, base.manifest.encoder.dimensions))
        kept = base.manifest.encoder.kept_back
        settings = put_fitted(draft, base.rows, fit_all(base.rows, goals_of(base, overrides), kept, progress), progress)
        changes = Changes([], [], [], 0, 0, len(base.rows))
        manifest = draft.commit(changes.as_change("train"))
        return report_of(changes, manifest, base, stored_choice(base), settings=settings)


def describe(path: Path) -> dict[str, object]:
    """Return facts about a store by name. Raise StoreError if one of its files is damaged."""
    snapshot = read_snapshot(path)
    verify_files(path, snapshot.data_files)
    manifest, replica = snapshot.manifest, snapshot.manifest.replica
    model = model_of(snapshot)
    counts = Counter(snapshot.reader.column("category_path").to_pylist())
    trained = set(model.head.paths) if model.head else set()
    return {
        "store": str(path),
        "version": manifest.version,
        "created": manifest.created,
        "format": manifest.format,
        "written_by": manifest.written_by,
        "rows": manifest.rows,
        "encoder": asdict(manifest.encoder),
        "text_recipe": manifest.recipe,
        "engine": asdict(replica),
        "unfitted": manifest.unfitted,
        "bytes": sum(size for size, _ in manifest.files.values()),
        "settings": asdict(model.settings),
        "categories": {path: counts[path] for path in sorted(counts)},
        "new_categories": sorted(set(counts) - trained),
        "libraries": dict(manifest.libraries),
    }


def stored_choice(base: Snapshot) -> EncoderChoice:
    """Return the name of a store's encoder, and the reason for its choice."""
    identity = base.manifest.encoder
    return EncoderChoice(identity.name, "fine-tuned on the store" if identity.folder else "as in the store")


def goals_of(base: Snapshot | None, overrides: GoalOverrides | None) -> Goals:
    """Return the goals of the store (default goals if it is new), changed by `overrides`."""
    goals = settings_of(base).goals if base else Goals()
    return replace(
        goals, **{name: value for name, value in asdict(overrides or GoalOverrides()).items() if value is not None}
    )


def put_fitted(draft: Draft, rows: Rows, fitted: Fitted, progress: Progress | None = None) -> Settings:
    """Add a fitted model and a new replica of `rows`, all rows of its table, to a draft. Return the settings."""
    for name, content in {SPACE_BLOB: fitted.space.to_bytes(), **fitted.model.to_blobs()}.items():
        draft.put_blob(name, content)
    folder = new_replica_name()
    numbered = rows, draft.table.row_ids()
    make_replica(draft.path / folder, numbered, fitted.space, draft.table.data_files(), progress)
    replica = open_replica(draft.path / folder)
    agreement = vote_agreement(replica, list(rows.column("category_path")), fitted.model)
    draft.put_replica(ReplicaIdentity(folder, *recalled(replica.engine), agreement))
    return fitted.model.settings


def vote_agreement(replica: Replica, paths: Sequence[str], model: Model) -> float:
    """Return the share of sampled rows with the same vote by a replica's engine as by exact search, in [0, 1].

    `paths` (n,) are the categories of the replica's rows.
    """
    if replica.engine is None:
        return 1.0
    labels = Labels.from_paths(paths, paths)
    numbers = labels.numbers(paths)
    settings = model.settings.mix.vote
    weights = category_weights(np.bincount(numbers, minlength=len(labels)), known_to(model.head, labels), settings)
    probes, said = spread(len(paths)), list[Numbers]()
    for searcher in (FaissSearcher(replica.vectors), EngineSearcher(replica.vectors, replica.engine, replica.memory)):
        found = searcher.search(replica.vectors[probes], K + 1).without(probes)
        said.append(vote(found, numbers, weights, settings.temperature).argmax(axis=1))
    return float((said[0] == said[1]).mean())


def _require_left(path: Path, rows: int, gone: int) -> None:
    if gone == rows:
        raise QueryError(
            "nothing_left",
            f"all {rows} items would be removed",
            "at least one item left",
            f"delete the folder {path} instead",
        )


def _ids_added(known: Segments) -> list[str]:
    found = [id_ for id_, origin in known.texts(("id", "origin"), known.rows) if origin == ADDED]
    if not found:
        raise QueryError(
            "nothing_added",
            "every item of the store is listed by its catalog",
            "items added without a catalog",
            "remove items by id or category: nothing was removed",
        )
    return found


def _ids_below(known: Segments, category: str) -> list[str]:
    wanted = normal_path(category)
    items = known.texts(("id", "category_path"), known.rows)
    found = [id_ for id_, path in items if lies_in(path, wanted)]
    if not found or not wanted:
        raise no_category(category, {path for _, path in items})
    return found


def no_category(path: str, there: Iterable[str]) -> AbsentError:
    """Return the error for an unknown category, suggesting similar paths among those `there`."""
    near = get_close_matches(normal_path(path), sorted(there), n=3, cutoff=0.4)
    return AbsentError(
        "no_such_category",
        f"the store has no category {path!r}",
        "one of its categories",
        f"did you mean {listed(near)}?" if near else "list the categories of the store",
    )


def report_of(
    changes: Changes,
    manifest: Manifest,
    base: Snapshot | None,
    choice: EncoderChoice,
    embedded: int = 0,
    settings: Settings | None = None,
    new: Collection[str] = (),
) -> Report:
    """Return the report of a change, which brought the `new` categories.

    `settings` are those fitted by it (by default, those of `base`).
    """
    fitted = settings is not None
    if base is not None:
        settings = settings or settings_of(base)
    return Report(
        added=changes.added,
        updated=changes.updated,
        removed=len(changes.removed),
        unchanged=changes.unchanged,
        embedded=embedded,
        version=manifest.version,
        rows=manifest.rows,
        encoder=choice,
        settings=settings or Settings(),
        fitted=fitted,
        new_categories=tuple(sorted(new)),
    )
