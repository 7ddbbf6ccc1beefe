"""A rebuild as a release: its effect is measured, and can be refused, before it is published."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shelfwise.classifier.changing.maintenance import (
    GoalOverrides,
    Report,
    goals_of,
    put_fitted,
    report_of,
    stored_choice,
)
from shelfwise.classifier.fitting.training import Fitted, train
from shelfwise.classifier.model.model import Goals, settings_of
from shelfwise.classifier.model.opinions import Features
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.encoding.kinds import EncoderChoice, choose_encoder, load_encoder
from shelfwise.indexer.encoding.lexical import ngram_counts
from shelfwise.indexer.errors import EncoderError, ReleaseError
from shelfwise.indexer.item import Item
from shelfwise.indexer.reading.options import ReadingMemory
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.store.disk import require_room, vector_bytes
from shelfwise.indexer.store.embedded import Embedded, forget_embedded
from shelfwise.indexer.store.manifest import versions_of
from shelfwise.indexer.store.memory import READING_BLOB, remembered
from shelfwise.indexer.store.snapshot import Draft, Snapshot, writing
from shelfwise.indexer.store.store_encoder import Prepared, encoder_for, prepare
from shelfwise.indexer.store.sync import (
    EXAMPLES_SHOWN,
    changed,
    difference,
    embed_changes,
    find_catalog_changes,
    state_of,
)
from shelfwise.indexer.types import Progress

FLIP_PROBES = 500  # stored items classified before and after
VERSIONS_BEFORE = 5  # earlier ones searched for vectors: items missing from a bad catalog return with the next one
MAX_DRIFT = 0.02  # share of the rows that may change before the model is fitted again
FEWEST_PROBES = 20  # stored items: a share of fewer is not meaningful


@dataclass(frozen=True, slots=True)
class Flips:
    """The number of stored items tried (`probes`; none votes for itself), and how many get another category."""

    probes: int
    flipped: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReleaseLimits:
    """The largest shares of items removed and of decisions flipped in a release, each in [0, 1]."""

    max_removed: float = 0.2
    max_flipped: float = 0.05


@dataclass(frozen=True)
class Embedding:
    """The result of the second step of a release: the encoder, and the number of texts it embedded (`made`).

    `upserts` are the new and replaced rows, `rows` all rows of the new version.
    """

    prepared: Prepared
    made: int
    upserts: Rows
    rows: Rows


class Release:
    """The next version of a store, made from a catalog and not yet published. See `releasing`.

    It has four steps, each run once and only when needed: plan the changes, embed texts without a vector, fit the model
    again if it cannot be kept, and publish.
    """

    def __init__(
        self,
        draft: Draft,
        items: Mapping[str, Item],
        choice: EncoderChoice,
        device: str,
        goals: Goals,
        progress: Progress | None,
        memory: ReadingMemory | None = None,
    ) -> None:
        self._draft, self._goals, self._progress = draft, goals, progress
        self._memory = None if memory == remembered(draft.base) else memory
        self._choice, self._device = choice, device
        self._embedding: Embedding | None = None
        self._model: Fitted | None = None
        self._plan(items)

    def _plan(self, items: Mapping[str, Item]) -> None:
        """Find the changes, and decide if the model can be kept (step 1).

        It can if it was fitted for the same goals and few rows have changed since. Until the next fit, the vote alone
        decides on new categories, and removed categories are left out.
        """
        base = self._draft.base
        stored = base.rows if base else None
        self.first = base is None
        self._changes = changes = find_catalog_changes(stored, items)
        before, gone = state_of(stored), set(changes.removed)
        kept = {id_: content for id_, content in before.items() if id_ not in gone}
        self.difference = difference(before, {**kept, **state_of(items)})
        self._keeps_model = False
        if base is not None and settings_of(base).goals == self._goals:
            drift = base.manifest.unfitted + changes.added + changes.updated + len(changes.removed)
            self._keeps_model = drift <= MAX_DRIFT * base.manifest.rows
        self._is_published = self._keeps_model and not changes

    def _embed(self) -> Embedding:
        """Load the encoder, and embed the texts without a vector (step 2)."""
        if self._embedding is None:
            draft, base = self._draft, self._draft.base
            stored = base.rows if base else None
            prepared, before = (
                self._prepare(),
                [] if base is None else versions_of(draft.path)[-1 - VERSIONS_BEFORE : -1],
            )
            new = len(self._changes.upserts) + (0 if self._keeps_model else self.difference.after)
            require_room(draft.path, vector_bytes(new, prepared.encoder.dimensions))
            encoder = Embedded(draft.path, prepared.encoder, before[::-1])
            upserts, _ = embed_changes(stored, self._changes, encoder, self._progress)
            rows = changed(stored, upserts, self._changes.removed)
            self._embedding = Embedding(prepared, encoder.made, upserts, rows)
        return self._embedding

    def _prepare(self) -> Prepared:
        base = self._draft.base
        if base is not None:
            return Prepared(encoder_for(self._draft.path, base.manifest, self._device))
        prepared = prepare(self._draft.path, load_encoder(self._choice.name, self._device), self._changes.texts)
        if prepared.problem:
            reason = f"{self._choice.reason}; {prepared.problem}: the model runs without export, slower"
            self._choice = replace(self._choice, reason=reason)
        return prepared

    def _fit(self) -> Fitted | None:
        """Fit the model to the rows of the new version (step 3). Return None if the previous model is kept."""
        if self._model is None and not self._keeps_model:
            base = self._draft.base
            kept_back = base.manifest.encoder.kept_back if base else 0.0
            self._model = train(self._embed().rows, self._goals, kept_back, self._progress)
        return self._model

    def publish(self) -> Report:
        """Publish the new version unless nothing changed, and return the report (step 4)."""
        base, changes, settings = self._draft.base, self._changes, None
        if base is not None and self._is_published and self._memory is None:
            return report_of(changes, base.manifest, base, self._choice)
        embedding, fitted = self._embed(), self._fit()
        self._draft.table.upsert(embedding.upserts)
        self._draft.table.delete(changes.removed)
        if fitted:
            settings = put_fitted(self._draft, embedding.rows, fitted, self._progress)
        if self._memory is not None:
            self._draft.put_blob(READING_BLOB, self._memory.to_bytes())
        manifest = self._draft.commit(changes.as_change("build"), None if base else embedding.prepared.identity())
        forget_embedded(self._draft.path)
        new = {item.category_path for item in changes.upserts} - set(base.rows.column("category_path")) if base else ()
        return report_of(changes, manifest, base, self._choice, embedding.made, settings, new)

    def flips(self) -> Flips | None:
        """Return the change of decisions.

        Return None for a first build, for no change, and for fewer than FEWEST_PROBES items in both versions.
        """
        base = self._draft.base
        if base is None or self._is_published:
            return None
        embedding, fitted = self._embed(), self._fit()
        before = Classifier.from_index(Index.from_rows(base, embedding.prepared.encoder, base.rows))
        space, model = (fitted.space, fitted.model) if fitted else (before.index.space, before.model)
        after = Classifier(Index.from_rows(base, embedding.prepared.encoder, embedding.rows, space), model)
        return flips(before, after, base.rows)

    def refuse_beyond(self, guard: ReleaseLimits, found: Flips | None = None) -> None:
        """Raise ReleaseError if more items are removed or flipped than `guard` allows."""
        removed, before = self.difference.removed.count, self.difference.before
        if removed > guard.max_removed * before:
            raise ReleaseError(
                "too_many_removed",
                f"{removed} of {before} items would be removed",
                f"at most {guard.max_removed:.0%}",
                "nothing was changed: if the catalog is complete, force it or allow more",
            )
        if found and found.flipped > guard.max_flipped * found.probes:
            raise ReleaseError(
                "too_many_flipped",
                f"{found.flipped} of {found.probes} known items would get another category",
                f"at most {guard.max_flipped:.0%}",
                "nothing was changed: if the labels are right, force it or allow more",
            )


@contextmanager
def releasing(
    path: Path,
    items: Mapping[str, Item],
    encoder: str = "auto",
    device: str = "auto",
    overrides: GoalOverrides | None = None,
    progress: Progress | None = None,
    memory: ReadingMemory | None = None,
) -> Iterator[Release]:
    """Yield the release that makes `items` the catalog of the store at `path`. Items added without a catalog stay.

    Readers do not see it before it is published. Only texts without a stored vector are embedded. `encoder` is used
    for the first build; later it must be auto or the same. `overrides` change the goals of the model, and `memory` what
    the store remembers of the reading. Raise ShelfwiseError if the store cannot be written, or has another encoder.
    """
    with writing(path, create=True) as draft:
        choice = _choose(draft.base, items, encoder)
        yield Release(draft, items, choice, device, goals_of(draft.base, overrides), progress, memory)


def build(
    path: Path,
    items: Mapping[str, Item],
    encoder: str = "auto",
    device: str = "auto",
    overrides: GoalOverrides | None = None,
    progress: Progress | None = None,
    guard: ReleaseLimits | None = None,
    memory: ReadingMemory | None = None,
) -> Report:
    """Make `items` the catalog of the store at `path`. See `releasing`.

    Raise ReleaseError if this would change more than `guard` allows. Without a guard, no change is refused.
    """
    with releasing(path, items, encoder, device, overrides, progress, memory) as release:
        if guard:
            release.refuse_beyond(guard)
            release.refuse_beyond(guard, release.flips())
        return release.publish()


def flips(before: Classifier, after: Classifier, stored: Rows) -> Flips | None:
    """Return how many `stored` rows get another category after than before. Both share an encoder."""
    keys, there = stored.column("twin_key"), set(after.index.segments.column("id").to_pylist())
    kept = [row for row, id_ in enumerate(stored.column("id")) if id_ in there]
    probes = np.array(sorted(kept, key=lambda row: (keys[row], row))[:FLIP_PROBES], np.int64)
    if len(probes) < FEWEST_PROBES:
        return None
    counts = ngram_counts(stored.words(probes.tolist()))
    said = []
    for classifier in (before, after):
        features = Features(classifier.index.space.project(stored.vectors[probes]), counts)
        scores = classifier.judge_without_duplicates(features, keys[probes])
        said.append([classifier.labels.paths[i] for i in scores.probabilities.argmax(axis=1)])
    titles = stored.column("title")
    flipped = [i for i, (one, other) in enumerate(zip(*said, strict=True)) if one != other]
    examples = tuple(f"{titles[probes[i]]}: {said[0][i]} -> {said[1][i]}" for i in flipped[:EXAMPLES_SHOWN])
    return Flips(len(probes), len(flipped), examples)


def _choose(base: Snapshot | None, items: Mapping[str, Item], encoder: str) -> EncoderChoice:
    if base is None:
        if encoder == "auto":
            return choose_encoder(item.title for item in items.values())
        return EncoderChoice(encoder, "as requested")
    made_with = base.manifest.encoder.name
    if encoder not in ("auto", made_with) and str(Path(encoder).resolve()) != made_with:
        raise EncoderError(
            "other_encoder",
            f"encoder {encoder} for store {base.path}, which was made with {made_with}",
            made_with,
            "omit the encoder, or build into a new folder",
        )
    return stored_choice(base)
