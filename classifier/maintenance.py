"""The ways in which a store changes: build, add, remove, train, finetune. Each is one version or none."""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from classifier.calibration import NEVER
from classifier.finetune import Lessons, Limits, Trained
from classifier.finetune import finetune as run_finetune
from classifier.heldout import kept_back, share_kept_back, tried
from classifier.labels import Labels, lies_in
from classifier.model import HEAD_BLOB, SETTINGS_BLOB, Goals, Model, Settings
from classifier.training import Fitted, Trial, fit, hold_out
from classifier.training import train as fit_all
from indexer.catalog import Item, normal_path
from indexer.encoder import BATCH, Encoder, EncoderChoice, Progress, SentenceEncoder, choose_encoder, load_encoder
from indexer.errors import EncoderError, QueryError, listed
from indexer.index import SPACE_BLOB, encoder_for, identity_of
from indexer.manifest import Manifest
from indexer.store import ENCODERS, Draft, Rows, Snapshot, may_become_store, read_snapshot, writing
from indexer.sync import Changes, apply_changes, find_changes
from indexer.text import RECIPE

CHECKPOINT = "finetune.checkpoint"  # in the store, until fine-tuning is done
FITS_AFTER = 1.8  # times that holding out takes before fine-tuning: held out once more, and the head fitted to all
MIN_KEPT_BACK = 100  # rows: fewer cannot tell a better encoder from a lucky one
CHANCE = 0.05  # probability with which an encoder that votes no better may pass for one that does
MIN_SHARE = 0.2  # of the time given must be left for learning
RATE_SAMPLE, RATE_PART = 4_096, 8  # texts, of which every eighth batch is encoded to see how long all will take


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


def plan(path: Path, items: Mapping[str, Item]) -> Changes:
    """What `build` would change, without changing it."""
    rows = None if may_become_store(path) else read_snapshot(path).rows
    return find_changes(rows, items, remove_missing=True)


def build(
    path: Path,
    items: Mapping[str, Item],
    encoder: str = "auto",
    device: str = "auto",
    wishes: Wishes | None = None,
    progress: Progress | None = None,
) -> Report:
    """Make the store at `path` hold exactly `items`, and fit the model again if it is not of these items and wishes.

    Only texts that the store does not hold yet are embedded. `encoder` decides at the first build; later
    it must name the same. `wishes` change what the model is fitted for. Raises ShelfwiseError, and then the store is as
    it was before.
    """
    with writing(path, create=True) as draft:
        base = draft.base
        choice = _choose(base, items, encoder)
        changes = find_changes(base.rows if base else None, items, remove_missing=True)
        goals = _goals(base, wishes)
        if base is not None and not changes and _is_fitted(base, goals):
            return _report(changes, base.manifest, base, choice)
        embedder = _embedder(base, choice, device)
        embedded = apply_changes(draft, base.rows if base else None, changes, embedder, progress)
        identity = base.manifest.encoder if base else identity_of(embedder)
        settings = _put(draft, fit_all(draft.rows(), goals, identity.kept_back, progress))
        manifest = draft.commit(identity, RECIPE)
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


def train(path: Path, wishes: Wishes | None = None, progress: Progress | None = None) -> Report:
    """Fit head and settings again to the items that the store holds; `wishes` change what for."""
    with writing(path) as draft:
        base = _require(draft)
        kept = base.manifest.encoder.kept_back
        settings = _put(draft, fit_all(base.rows, _goals(base, wishes), kept, progress))
        manifest = draft.commit(base.manifest.encoder, base.manifest.recipe)
        changes = Changes([], [], [], 0, 0, len(base.rows))
        return _report(changes, manifest, base, _stored_choice(base), settings=settings)


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning did: how far it went, the held-out figures of the model `before` and `after`, whether the store
    `switched` to the new encoder and otherwise why not, and the change itself."""

    trained: Trained
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]
    switched: bool
    objection: str
    report: Report


def finetune(
    path: Path, epochs: int | None = None, minutes: float = 20.0, device: str = "auto", progress: Progress | None = None
) -> Finetuned:
    """Fine-tune the store's encoder on its items, embed them again, fit the model again, and keep what is better.

    All of it takes about `minutes` at most, and less where `epochs` (by default 4 to 8) are over sooner. Broken off, it
    goes on from where it was when it is called again. Raises EncoderError where the encoder cannot be fine-tuned,
    QueryError where there is too little to learn from or too little time.
    """
    start = time.monotonic()
    with writing(path) as draft:
        base = _require(draft)
        encoder = encoder_for(path, base.manifest, device)
        if not isinstance(encoder, SentenceEncoder):
            raise EncoderError(
                f"encoder {encoder.name} has no weights to fine-tune: build the store with minilm, e5 or another "
                "sentence-transformers model"
            )
        share = share_kept_back(len(base.rows), base.manifest.encoder.kept_back)
        lessons = lessons_of(base.rows, share)
        goals = _model(base).settings.goals
        held_out = time.monotonic()
        old = hold_out(base.rows, goals, share, progress)
        held_out = time.monotonic() - held_out
        after_training = FITS_AFTER * held_out + len(base.rows) / _rate(encoder, lessons.texts)
        seconds = 60 * minutes - after_training - (time.monotonic() - start)
        if seconds < MIN_SHARE * 60 * minutes:
            needed = (60 * minutes - seconds) / (1 - MIN_SHARE) / 60
            raise QueryError(
                f"{minutes:g} minutes are too few: embedding and fitting alone take most of it; give at least "
                f"--minutes {needed + 1:.0f}"
            )
        trained = run_finetune(encoder, lessons, Limits(epochs, seconds), path / CHECKPOINT, progress)
        rows = Rows(base.rows.table, encoder.encode(lessons.texts, progress))
        new = hold_out(rows, goals, share, progress)
        objection = _objection(new, old, _model(base).settings)
        switched = not objection
        manifest, settings = base.manifest, None
        if switched:
            work = path / f"{ENCODERS}.new"
            shutil.rmtree(work, ignore_errors=True)
            encoder.save(work)
            identity = identity_of(encoder, draft.put_encoder(work, encoder.fingerprint), share)
            draft.put_vectors(rows)
            settings = _put(draft, fit(rows, new, progress))
            manifest = draft.commit(identity, RECIPE)
        (path / CHECKPOINT).unlink(missing_ok=True)
        changes = Changes([], [], [], 0, 0, len(rows))
        embedded = len(rows) if switched else 0
        report = _report(changes, manifest, base, _stored_choice(base), embedded, settings)
        return Finetuned(trained, old.settings.held_out, new.settings.held_out, switched, objection, report)


def _objection(new: Trial, old: Trial, present: Settings) -> str:
    """What speaks against switching to an encoder, judged on the rows kept back; empty where nothing does.

    The measure that is optimized must be no worse, the vote alone must have more rows right than chance explains (the
    sign test on rows where the two differ), and a store that accepts anything at `present` must not cease to.
    """
    from scipy.stats import binomtest

    goals = new.settings.goals
    now, before = (trial.settings.held_out[goals.optimize.replace("-", "_")] or 0.0 for trial in (new, old))
    if now < before:
        return f"{goals.optimize} on items kept back is worse"
    won, lost = int((new.vote_right & ~old.vote_right).sum()), int((~new.vote_right & old.vote_right).sum())
    if won <= lost or binomtest(won, won + lost, alternative="greater").pvalue > CHANCE:
        return "what the vote has right more often may be luck"
    if present.accept_from < NEVER <= new.settings.accept_from:
        return (
            f"{len(new.vote_right)} items kept back are too few to show that {goals.target_precision:.0%} of what it "
            "accepts is right, and nothing would be accepted any more"
        )
    return ""


def lessons_of(rows: Rows, share: float) -> Lessons:
    """What there is to learn from where a `share` is kept back. Raises QueryError where that is too little."""
    labels = Labels.of(rows.column("category_path"), rows.column("category"))
    numbers = labels.numbers(list(rows.column("category_path")))
    back, asked = (choose(rows.column("twin_key"), share) for choose in (kept_back, tried))
    learned = ~(back | asked)
    if back.sum() < MIN_KEPT_BACK or not asked.any() or len(np.unique(numbers[learned])) < 2:
        raise QueryError(
            f"the store has {len(rows)} items in {len(labels)} categories, too few to fine-tune an encoder and to "
            f"tell whether it got better: have about {1.2 * MIN_KEPT_BACK / share:.0f} at least, in two categories or "
            "more"
        )
    return Lessons(rows.texts(), numbers, learned, asked, rows.vectors, [level.of for level in labels.levels])


def _rate(encoder: SentenceEncoder, texts: Sequence[str]) -> float:
    """Texts that the encoder takes a second, from a few batches of equally long ones, as it will encode them all."""
    some = list(texts[:: max(1, len(texts) // RATE_SAMPLE)])
    some = [some[i] for i in np.argsort(encoder.token_counts(some), kind="stable")]
    batches = [some[i : i + BATCH] for i in range(0, len(some), BATCH)][::RATE_PART]
    encoder.encode(batches[0])  # what the first call does besides
    start = time.monotonic()
    for batch in batches:
        encoder.encode(batch)
    return sum(map(len, batches)) / (time.monotonic() - start)


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
    identity = base.manifest.encoder
    return EncoderChoice(identity.name, "fine-tuned on the store" if identity.folder else "the store's")


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
    return encoder_for(base.path, base.manifest, device)


def _goals(base: Snapshot | None, wishes: Wishes | None) -> Goals:
    """The store's goals with what a user wishes changed."""
    goals = _model(base).settings.goals if base else Goals()
    return replace(goals, **{name: value for name, value in asdict(wishes or Wishes()).items() if value is not None})


def _is_fitted(base: Snapshot, goals: Goals) -> bool:
    """Whether the model of a store is fitted to its rows, as added examples are not, and for these goals."""
    settings = _model(base).settings
    return settings.goals == goals and settings.fitted_to == base.rows.digest()


def _put(draft: Draft, fitted: Fitted) -> Settings:
    for name, content in {SPACE_BLOB: fitted.space.to_bytes(), **fitted.model.to_blobs()}.items():
        draft.put_blob(name, content)
    return fitted.model.settings


def _model(snapshot: Snapshot) -> Model:
    return Model.from_blobs(snapshot.blob(HEAD_BLOB), snapshot.blob(SETTINGS_BLOB))


def _ids_below(rows: Rows, category: str) -> list[str]:
    wanted = normal_path(category)
    paths = rows.column("category_path")
    found = [id_ for id_, path in zip(rows.column("id"), paths, strict=True) if lies_in(path, wanted)]
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
