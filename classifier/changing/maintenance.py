"""The ways in which a store changes, but for builds: add, remove, train. Each is one version or none."""

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
from shelfwise.indexer.item import Item, normal_path
from shelfwise.indexer.reading.rejects import Reject
from shelfwise.indexer.rows import ADDED, Rows
from shelfwise.indexer.searching.engine import EngineSearcher, recalled, spread
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.searching.replica import SPACE_BLOB, Replica, make_replica, new_replica_name, open_replica
from shelfwise.indexer.searching.search import FaissSearcher
from shelfwise.indexer.store.disk import verify_files
from shelfwise.indexer.store.manifest import Manifest, ReplicaIdentity
from shelfwise.indexer.store.snapshot import Draft, Snapshot, base_of, read_snapshot, writing
from shelfwise.indexer.store.store_encoder import encoder_for
from shelfwise.indexer.store.sync import Changes, changed, embed_changes, find_changes
from shelfwise.indexer.store.table import files_of
from shelfwise.indexer.types import Progress

FEW = 1000  # examples that are added without reading the whole store
FILES = 64  # that rows are added in; then they are written again to one, since a table of many files is slow


@dataclass(frozen=True, slots=True)
class GoalOverrides:
    """Goals that a user names, as in `Goals`; None leaves one as it is."""

    head: str | None = None
    optimize: str | None = None
    target_precision: float | None = None


@dataclass(frozen=True, repr=False)
class Report:
    """What a change did: counts of rows, texts embedded, the version that counts now, the settings, and
    whether they were fitted by this change.

    `encoder` says which one is in use and, at a first build with `auto`, why. `rejects` are the rows that could not be
    used, where they were not written to a file; `repeated` counts rows that came before with the same content, and
    `conflicting` those whose id came before with other content (the last one counts).
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

    def __repr__(self) -> str:
        counts = f"+{self.added:,} ~{self.updated:,} -{self.removed:,}, {len(self.rejects):,} rejected"
        return f"<Report version {self.version}: {counts}, {self.rows:,} items, {self.encoder.name}>"


@dataclass(frozen=True)
class Edit:
    """A change of some items, made in one step: those of `items` are put in, or in place of those with the same ids,
    and those of the ids `removed` that are there are taken out.

    Items with ids in `catalog` become the catalog's, the others are beside it. `command` is how the version says that
    it was made, `at` the version from which all this was found out, None for any.
    """

    items: Mapping[str, Item]
    removed: Sequence[str] = ()
    catalog: Collection[str] = ()
    command: str = "add"
    at: int | None = None


def apply(
    path: Path, edit: Edit, reuse: Index | None = None, device: str = "auto", progress: Progress | None = None
) -> Report:
    """Make an edit of the store at `path`, without fitting anything again.

    A category that the head does not know works from here on by the vote alone. `reuse` is a version of the store that
    is open: what it has need not be verified or loaded again. Raises QueryError where nothing would be left, and
    BusyError where a version came after the one that the edit is `at`.
    """
    with writing(path, reuse=reuse.snapshot.manifest if reuse else None) as draft:
        base = base_of(draft)
        if edit.at is not None and base.manifest.version != edit.at:
            raise BusyError(
                "store_changed",
                f"store {path} was changed to version {base.manifest.version} meanwhile",
                f"version {edit.at}",
                "try again",
            )
        # A few are looked up without reading, and so verifying, the whole table: then no vector is taken from it.
        few = len(edit.items) <= FEW
        stored = base.reader.with_ids(list(edit.items)) if few else base.rows
        gone = base.reader.values_among("id", list(edit.removed)) - edit.items.keys()
        changes = replace(find_changes(stored, edit.items, edit.catalog), removed=sorted(gone))
        if not changes:
            return report_of(changes, base.manifest, base, stored_choice(base))
        _require_left(path, base.manifest.rows + changes.added, len(gone))
        encoder = _encoder_of(base, reuse, device)
        upserts, embedded = embed_changes(None if few else stored, changes, encoder, progress)
        draft.table.upsert(_with_scattered(upserts, changes, base, reuse))
        draft.table.delete(changes.removed)
        manifest = draft.commit(changes.as_change(edit.command))
        return report_of(changes, manifest, base, stored_choice(base), embedded)


def _encoder_of(base: Snapshot, reuse: Index | None, device: str) -> Encoder:
    """Return the encoder of a version: the one that is open, where it is the same."""
    if reuse and reuse.snapshot.manifest.encoder == base.manifest.encoder:
        return reuse.encoder
    return encoder_for(base.path, base.manifest, device)


def _with_scattered(upserts: Rows, changes: Changes, base: Snapshot, reuse: Index | None) -> Rows:
    """Return the rows to write, with all fresh ones where these lie in more than FILES files: then they lie in one."""
    if not reuse or reuse.snapshot.manifest != base.manifest:  # the same version in another table has other row ids
        return upserts
    fresh = reuse.segments.fresh_row_ids
    return changed(base.reader.take(fresh)[0], upserts, changes.removed) if files_of(fresh) > FILES else upserts


def remove(path: Path, ids: Sequence[str] = (), category: str | None = None, added: bool = False) -> Report:
    """Take out items by id, all items of a category and of those below it, or all that were `added` beside the catalog.

    Raises QueryError where an id or category is not there, or nothing would be left; then nothing is taken
    out.
    """
    with writing(path) as draft:
        base = base_of(draft)
        chosen, there = list(dict.fromkeys(ids)), base.reader.values_among("id", list(ids))
        absent = [id_ for id_ in chosen if id_ not in there]
        if absent:
            raise AbsentError(
                "no_such_item",
                f"the store has no item with id {listed(absent)}",
                "ids of stored items",
                "correct the ids: nothing was removed",
            )
        if category is not None:
            chosen = list(dict.fromkeys(chosen + _ids_below(base.rows, category)))
        if added:
            chosen = list(dict.fromkeys(chosen + _ids_added(base.rows)))
        rows = base.manifest.rows
        _require_left(path, rows, len(chosen))
        draft.table.delete(chosen)
        changes = Changes([], [], chosen, 0, 0, rows - len(chosen))
        return report_of(changes, draft.commit(changes.as_change("remove")), base, stored_choice(base))


def train(path: Path, overrides: GoalOverrides | None = None, progress: Progress | None = None) -> Report:
    """Fit head and settings again to the items that the store holds; `overrides` change what for."""
    with writing(path) as draft:
        base = base_of(draft)
        kept = base.manifest.encoder.kept_back
        settings = put_fitted(draft, base.rows, fit_all(base.rows, goals_of(base, overrides), kept, progress), progress)
        changes = Changes([], [], [], 0, 0, len(base.rows))
        manifest = draft.commit(changes.as_change("train"))
        return report_of(changes, manifest, base, stored_choice(base), settings=settings)


def describe(path: Path) -> dict[str, object]:
    """What a store holds and how it was made, for people and machines."""
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
    """The encoder that a store has."""
    identity = base.manifest.encoder
    return EncoderChoice(identity.name, "fine-tuned on the store" if identity.folder else "the store's")


def goals_of(base: Snapshot | None, overrides: GoalOverrides | None) -> Goals:
    """The store's goals with what a user overrides changed."""
    goals = settings_of(base).goals if base else Goals()
    return replace(
        goals, **{name: value for name, value in asdict(overrides or GoalOverrides()).items() if value is not None}
    )


def put_fitted(draft: Draft, rows: Rows, fitted: Fitted, progress: Progress | None = None) -> Settings:
    """Put what was fitted to the rows that a draft's table holds into it, and their replica; the model's settings."""
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
    """Share of PROBES rows that get the same category from the vote of the neighbours which a replica's engine finds as
    from those which exact search finds; `paths` (n,) are the categories of its rows."""
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
            "a store with items",
            f"delete the folder {path} instead",
        )


def _ids_added(rows: Rows) -> list[str]:
    origins = zip(rows.column("id"), rows.column("origin"), strict=True)
    found = [id_ for id_, origin in origins if origin == ADDED]
    if not found:
        raise QueryError(
            "nothing_added",
            "the store has nothing that was added beside its catalog",
            "items that were added",
            "leave it: nothing was removed",
        )
    return found


def _ids_below(rows: Rows, category: str) -> list[str]:
    wanted = normal_path(category)
    paths = rows.column("category_path")
    found = [id_ for id_, path in zip(rows.column("id"), paths, strict=True) if lies_in(path, wanted)]
    if not found or not wanted:
        raise no_category(category, set(paths))
    return found


def no_category(path: str, there: Iterable[str]) -> AbsentError:
    """Return the error of a category that the store does not have, beside the paths like it that are `there`."""
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
) -> Report:
    """`settings` are those that were fitted by this change; without any, those of `base` still hold."""
    fitted = settings is not None
    new: set[str] = set()
    if base is not None:
        settings = settings or settings_of(base)
        new = {item.category_path for item in changes.upserts}
        new -= base.reader.values_among("category_path", sorted(new))
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
