"""The four ways in which a store changes: build, add, remove, train. Each is one version or none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path

from classifier.model import HEAD_BLOB, SETTINGS_BLOB, Model, Settings
from classifier.training import train as fit
from indexer.catalog import PATH_SEPARATOR, Item, normal_path
from indexer.encoder import Encoder, EncoderChoice, Progress, choose_encoder, load_encoder
from indexer.errors import EncoderError, QueryError, listed
from indexer.index import SPACE_BLOB, encoder_for, identity_of
from indexer.manifest import FILE, Manifest
from indexer.store import Draft, Rows, Snapshot, read_snapshot, writing
from indexer.sync import Changes, apply_changes, find_changes
from indexer.text import RECIPE


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


def plan(path: Path, items: Mapping[str, Item]) -> Changes:
    """What `build` would change, without changing it."""
    rows = read_snapshot(path).rows if (path / FILE).exists() else None
    return find_changes(rows, items, remove_missing=True)


def build(
    path: Path, items: Mapping[str, Item], encoder: str = "auto", device: str = "auto", progress: Progress | None = None
) -> Report:
    """Make the store at `path` hold exactly `items`, and fit the model again if anything changed.

    Only texts that the store does not hold yet are embedded. `encoder` decides at the first build; later
    it must name the same. Raises ShelfwiseError, and then the store is as it was before.
    """
    with writing(path, create=True) as draft:
        base = draft.base
        choice = _choose(base, items, encoder)
        changes = find_changes(base.rows if base else None, items, remove_missing=True)
        if base is not None and not changes:
            return _report(changes, base.manifest, base, choice)
        embedder = _embedder(base, choice, device)
        embedded = apply_changes(draft, base.rows if base else None, changes, embedder, progress)
        settings = _fit(draft, draft.rows(), progress)
        manifest = draft.commit(identity_of(embedder), RECIPE)
        return _report(changes, manifest, base, choice, embedded, settings)


def add(path: Path, items: Mapping[str, Item], device: str = "auto", progress: Progress | None = None) -> Report:
    """Insert examples, or update those with the same id, without fitting anything again.

    A category that the head does not know works from here on by the vote alone.
    """
    with writing(path) as draft:
        base = _require(draft)
        choice = _stored_choice(base)
        changes = find_changes(base.rows, items, remove_missing=False)
        if not changes:
            return _report(changes, base.manifest, base, choice)
        embedder = _embedder(base, choice, device)
        embedded = apply_changes(draft, base.rows, changes, embedder, progress)
        manifest = draft.commit(base.manifest.encoder, RECIPE)
        return _report(changes, manifest, base, choice, embedded)


def remove(path: Path, ids: Sequence[str] = (), category: str | None = None) -> Report:
    """Take out items by id, or all items of a category and of those below it.

    Raises QueryError where an id or category is not there, or nothing would be left; then nothing is taken
    out.
    """
    with writing(path) as draft:
        base = _require(draft)
        chosen = list(dict.fromkeys(ids))
        absent = [id_ for id_ in chosen if id_ not in base.rows.row_of]
        if absent:
            raise QueryError(f"the store has no item with id {listed(absent)}: nothing was removed")
        if category is not None:
            chosen += [id_ for id_ in _ids_below(base.rows, category) if id_ not in set(chosen)]
        if len(chosen) == len(base.rows):
            raise QueryError(f"that would remove all {len(base.rows)} items: delete the folder {path} instead")
        draft.delete(chosen)
        manifest = draft.commit(base.manifest.encoder, base.manifest.recipe)
        changes = Changes([], [], chosen, 0, 0, len(base.rows) - len(chosen))
        return _report(changes, manifest, base, _stored_choice(base))


def train(path: Path, progress: Progress | None = None) -> Report:
    """Fit head and settings again to the items that the store holds."""
    with writing(path) as draft:
        base = _require(draft)
        settings = _fit(draft, base.rows, progress)
        manifest = draft.commit(base.manifest.encoder, base.manifest.recipe)
        changes = Changes([], [], [], 0, 0, len(base.rows))
        return _report(changes, manifest, base, _stored_choice(base), settings=settings)


def describe(path: Path) -> dict[str, object]:
    """What a store holds and how it was made, for people and machines."""
    snapshot = read_snapshot(path)
    manifest = snapshot.manifest
    model = _model(snapshot)
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


def _require(draft: Draft) -> Snapshot:
    assert draft.base is not None  # `writing` without `create` raises where there is no store
    return draft.base


def _stored_choice(base: Snapshot) -> EncoderChoice:
    return EncoderChoice(base.manifest.encoder.name, "the store's")


def _choose(base: Snapshot | None, items: Mapping[str, Item], encoder: str) -> EncoderChoice:
    if base is None:
        if encoder == "auto":
            return choose_encoder(item.title for item in items.values())
        return EncoderChoice(encoder, "as named")
    made_with = base.manifest.encoder.name
    if encoder not in ("auto", made_with) and str(Path(encoder).resolve()) != made_with:
        raise EncoderError(
            f"store {base.path} was made with encoder {made_with}, not {encoder}: leave --encoder out, or build into a "
            "new folder"
        )
    return _stored_choice(base)


def _embedder(base: Snapshot | None, choice: EncoderChoice, device: str) -> Encoder:
    if base is None:
        return load_encoder(choice.name, device)
    return encoder_for(base.manifest.encoder, base.manifest.recipe, device)


def _fit(draft: Draft, rows: Rows, progress: Progress | None) -> Settings:
    fitted = fit(rows, progress)
    for name, content in {SPACE_BLOB: fitted.space.to_bytes(), **fitted.model.to_blobs()}.items():
        draft.put_blob(name, content)
    return fitted.model.settings


def _model(snapshot: Snapshot) -> Model:
    return Model.from_blobs(snapshot.blob(HEAD_BLOB), snapshot.blob(SETTINGS_BLOB))


def _ids_below(rows: Rows, category: str) -> list[str]:
    wanted = normal_path(category)
    paths = rows.column("category_path")
    found = [
        id_
        for id_, path in zip(rows.column("id"), paths, strict=True)
        if path == wanted or path.startswith(wanted + PATH_SEPARATOR)
    ]
    if not found or not wanted:
        near = get_close_matches(wanted, sorted(set(paths)), n=3, cutoff=0.4)
        hint = f"did you mean {listed(near)}?" if near else "list the categories with shelfwise info"
        raise QueryError(f"the store has no category {category!r}: {hint}")
    return found


def _report(
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
        settings = settings or _model(base).settings
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
