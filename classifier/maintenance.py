"""The ways in which a store changes, but for builds: add, remove, train. Each is one version or none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from classifier.labels import lies_in
from classifier.model import HEAD_BLOB, SETTINGS_BLOB, Goals, Model, Settings
from classifier.training import Fitted
from classifier.training import train as fit_all
from indexer.catalog import Item, normal_path
from indexer.encoder import EncoderChoice, Progress
from indexer.errors import QueryError, listed
from indexer.index import SPACE_BLOB, encoder_for
from indexer.manifest import Manifest
from indexer.store import Draft, Rows, Snapshot, base_of, read_snapshot, writing
from indexer.sync import Changes, embed_changes, find_changes
from indexer.text import RECIPE


@dataclass(frozen=True, slots=True)
class Wishes:
    """Goals that a user names, as in `Goals`; None leaves one as it is."""

    head: str | None = None
    optimize: str | None = None
    target_precision: float | None = None


@dataclass(frozen=True)
class Report:
    """What a change did: counts of rows, texts embedded, the version that counts now, the settings, and
    whether they were fitted by this change.

    `encoder` says which one is in use and, at a first build with `auto`, why.
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


def add(path: Path, items: Mapping[str, Item], device: str = "auto", progress: Progress | None = None) -> Report:
    """Insert examples, or update those with the same id, without fitting anything again.

    A category that the head does not know works from here on by the vote alone.
    """
    with writing(path) as draft:
        base = base_of(draft)
        choice = stored_choice(base)
        changes = find_changes(base.rows, items, remove_missing=False)
        if not changes:
            return report_of(changes, base.manifest, base, choice)
        embedder = encoder_for(path, base.manifest, device)
        upserts, embedded = embed_changes(base.rows, changes, embedder, progress)
        draft.table.upsert(upserts)
        manifest = draft.commit(base.manifest.encoder, RECIPE, changes.as_change("add"))
        return report_of(changes, manifest, base, choice, embedded)


def remove(path: Path, ids: Sequence[str] = (), category: str | None = None) -> Report:
    """Take out items by id, or all items of a category and of those below it.

    Raises QueryError where an id or category is not there, or nothing would be left; then nothing is taken
    out.
    """
    with writing(path) as draft:
        base = base_of(draft)
        chosen = list(dict.fromkeys(ids))
        absent = [id_ for id_ in chosen if id_ not in base.rows.row_of]
        if absent:
            raise QueryError(f"the store has no item with id {listed(absent)}: nothing was removed")
        if category is not None:
            chosen += [id_ for id_ in _ids_below(base.rows, category) if id_ not in set(chosen)]
        if len(chosen) == len(base.rows):
            raise QueryError(f"that would remove all {len(base.rows)} items: delete the folder {path} instead")
        draft.table.delete(chosen)
        changes = Changes([], [], chosen, 0, 0, len(base.rows) - len(chosen))
        manifest = draft.commit(base.manifest.encoder, base.manifest.recipe, changes.as_change("remove"))
        return report_of(changes, manifest, base, stored_choice(base))


def train(path: Path, wishes: Wishes | None = None, progress: Progress | None = None) -> Report:
    """Fit head and settings again to the items that the store holds; `wishes` change what for."""
    with writing(path) as draft:
        base = base_of(draft)
        kept = base.manifest.encoder.kept_back
        settings = put_fitted(draft, fit_all(base.rows, goals_of(base, wishes), kept, progress))
        changes = Changes([], [], [], 0, 0, len(base.rows))
        manifest = draft.commit(base.manifest.encoder, base.manifest.recipe, changes.as_change("train"))
        return report_of(changes, manifest, base, stored_choice(base), settings=settings)


def describe(path: Path) -> dict[str, object]:
    """What a store holds and how it was made, for people and machines."""
    snapshot = read_snapshot(path)
    manifest = snapshot.manifest
    model = Model.from_blobs(snapshot.blob(HEAD_BLOB), snapshot.blob(SETTINGS_BLOB))
    counts = Counter(snapshot.rows.column("category_path"))
    trained = set(model.head.paths) if model.head else set()
    return {
        "store": str(path),
        "version": manifest.version,
        "created": manifest.created,
        "rows": len(snapshot.rows),
        "encoder": asdict(manifest.encoder),
        "text_recipe": manifest.recipe,
        "engine": "faiss exact inner product",
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


def goals_of(base: Snapshot | None, wishes: Wishes | None) -> Goals:
    """The store's goals with what a user wishes changed."""
    goals = settings_of(base).goals if base else Goals()
    return replace(goals, **{name: value for name, value in asdict(wishes or Wishes()).items() if value is not None})


def is_fitted(base: Snapshot, goals: Goals) -> bool:
    """Whether the model of a store is fitted to its rows, as added examples are not, and for these goals."""
    settings = settings_of(base)
    return settings.goals == goals and settings.fitted_to == base.rows.digest()


def put_fitted(draft: Draft, fitted: Fitted) -> Settings:
    """Put space and model into a draft; the model's settings."""
    for name, content in {SPACE_BLOB: fitted.space.to_bytes(), **fitted.model.to_blobs()}.items():
        draft.put_blob(name, content)
    return fitted.model.settings


def settings_of(snapshot: Snapshot) -> Settings:
    """The settings of a store's model, without its head, which is large. Raises StoreError where there is none."""
    return Model.from_blobs(None, snapshot.blob(SETTINGS_BLOB)).settings


def _ids_below(rows: Rows, category: str) -> list[str]:
    wanted = normal_path(category)
    paths = rows.column("category_path")
    found = [id_ for id_, path in zip(rows.column("id"), paths, strict=True) if lies_in(path, wanted)]
    if not found or not wanted:
        near = get_close_matches(wanted, sorted(set(paths)), n=3, cutoff=0.4)
        hint = f"did you mean {listed(near)}?" if near else "list the categories with shelfwise info"
        raise QueryError(f"the store has no category {category!r}: {hint}")
    return found


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
    before: set[str] = set()
    if base is not None:
        before = set(base.rows.column("category_path"))
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
        new_categories=tuple(sorted({item.category_path for item in changes.upserts} - before)) if before else (),
    )
