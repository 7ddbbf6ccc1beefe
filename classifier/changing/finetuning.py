"""Fine-tune a copy of a store's encoder on its items, and switch the store to it if it is better."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfwise.classifier.changing.maintenance import Report, put_fitted, report_of, stored_choice
from shelfwise.classifier.fitting.finetune import Lessons, Limits, Trained, finetune
from shelfwise.classifier.fitting.heldout import held_out, share_held_out, tried
from shelfwise.classifier.fitting.training import HoldOut, fit, hold_out
from shelfwise.classifier.labels import Labels
from shelfwise.classifier.model.calibration import NEVER
from shelfwise.classifier.model.model import Settings, settings_of
from shelfwise.indexer.encoding.encoder import Trainable, unit_vectors
from shelfwise.indexer.encoding.sentence import TEXTS_PER_PASS
from shelfwise.indexer.errors import EncoderError, QueryError
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.store.disk import remove, require_room, vector_bytes
from shelfwise.indexer.store.manifest import Change
from shelfwise.indexer.store.names import ENCODERS
from shelfwise.indexer.store.snapshot import Snapshot, base_of, writing
from shelfwise.indexer.store.store_encoder import model_for, place_of, prepare
from shelfwise.indexer.store.sync import Changes
from shelfwise.indexer.types import Progress

CHECKPOINT = "finetune.checkpoint"  # file in the store until fine-tuning is done
FITS_AFTER = 1.8  # times the first hold-out: the second hold-out, and fitting the head to all rows
FEWEST_HELD_OUT = 100  # held-out rows: fewer cannot distinguish a better encoder from chance
CHANCE = 0.05  # significance level: probability of accepting an encoder with no better vote
MIN_SHARE = 0.2  # of the given time that must remain for training
RATE_SAMPLE, RATE_PART = 4_096, 8  # texts sampled, and every n-th batch encoded, to estimate the rate


@dataclass(frozen=True)
class Finetuned:
    """The result of fine-tuning a store's encoder.

    `trained` is the training itself. `before` and `after` are the held-out figures of the model with the old and the
    new encoder. `objection` is the reason to keep the old encoder (empty if the store switched to the new one), and
    `report` the change of the store.
    """

    trained: Trained
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]
    objection: str
    report: Report

    @property
    def switched(self) -> bool:
        """True if the store switched to the new encoder."""
        return not self.objection


def finetune_store(
    path: Path, epochs: int | None = None, minutes: float = 20.0, device: str = "auto", progress: Progress | None = None
) -> Finetuned:
    """Fine-tune the store's encoder on its items, embed them again, fit the model again, and keep the better encoder.

    All steps together take about `minutes` at most, and less if `epochs` (4 to 8 by default) end sooner. An interrupted
    run resumes from its checkpoint at the next call. Raise EncoderError if the encoder cannot be fine-tuned, and
    QueryError if items or minutes are too few.
    """
    start = time.monotonic()
    with writing(path) as draft:
        base = base_of(draft)
        encoder = _trainable(base, device)
        share = share_held_out(len(base.rows), base.manifest.encoder.kept_back)
        lessons = lessons_of(base.rows, share)
        present = settings_of(base)
        hold_out_start = time.monotonic()
        old = hold_out(base.rows, present.goals, share, progress)
        fit_seconds = time.monotonic() - hold_out_start
        after_training = FITS_AFTER * fit_seconds + len(base.rows) / _rate(encoder, lessons.texts)
        seconds = 60 * minutes - after_training - (time.monotonic() - start)
        if seconds < MIN_SHARE * 60 * minutes:
            needed = (60 * minutes - seconds) / (1 - MIN_SHARE) / 60
            raise QueryError(
                "too_few_minutes",
                f"{minutes:g} minutes, mostly needed for embedding and fitting",
                f"at least {needed + 1:.0f} minutes",
                "allow more time",
            )
        trained = finetune(encoder, lessons, Limits(epochs, seconds), path / CHECKPOINT, progress)
        work = path / f"{ENCODERS}.new"
        remove(work)
        encoder.save(work)
        place = path / place_of(encoder)
        there = place.exists()
        serving = prepare(path, encoder, lessons.texts)
        rows = Rows(base.rows.table, unit_vectors(serving.encoder, lessons.texts, progress), base.rows.cleaned)
        new = hold_out(rows, present.goals, share, progress)
        objection = _objection(new, old, present)
        manifest, settings = base.manifest, None
        if not objection:
            identity = serving.identity(draft.put_encoder(work, encoder.fingerprint), share)
            draft.table.replace_all(rows)
            settings = put_fitted(draft, rows, fit(rows, new, progress), progress)
            manifest = draft.commit(Change("finetune"), identity)
        elif not there:  # no version uses this exported form
            remove(place)
        remove(work)
        remove(path / CHECKPOINT)
        changes = Changes([], [], [], 0, 0, len(rows))
        embedded = 0 if objection else len(rows)
        report = report_of(changes, manifest, base, stored_choice(base), embedded, settings)
        return Finetuned(trained, old.settings.held_out, new.settings.held_out, objection, report)


def _trainable(base: Snapshot, device: str) -> Trainable:
    """Return the encoder of a store. Raise EncoderError if it has no weights, and StoreError if the disk has no room.

    Room is needed for a checkpoint and the encoder, and for a table and a replica.
    """
    encoder = model_for(base.path, base.manifest, device)
    if not isinstance(encoder, Trainable):
        raise EncoderError(
            "nothing_to_finetune",
            f"encoder {encoder.name} has no weights to fine-tune",
            "minilm, e5 or another sentence-transformers model",
            "build a store with one of them",
        )
    weights = sum(one.nbytes for one in encoder.module.parameters())
    vectors = vector_bytes(base.manifest.rows, base.manifest.encoder.dimensions)
    require_room(base.path, 2 * (weights + vectors))
    return encoder


def _objection(new: HoldOut, old: HoldOut, present: Settings) -> str:
    """Return the reason to keep the old encoder, judged on held-out rows; empty if there is none.

    The optimized measure must be no worse. The vote alone must be right on more rows than chance explains (sign test on
    the rows where the two differ). A store that accepts listings with the `present` settings must still accept some.
    """
    from scipy.stats import binomtest

    goals = new.settings.goals
    now, before = (trial.settings.held_out[goals.optimize.replace("-", "_")] or 0.0 for trial in (new, old))
    if now < before:
        return f"{goals.optimize} on held-out items is worse"
    won, lost = int((new.vote_right & ~old.vote_right).sum()), int((~new.vote_right & old.vote_right).sum())
    if won <= lost or binomtest(won, won + lost, alternative="greater").pvalue > CHANCE:
        return "the vote did not improve by more than chance"
    if present.full.accept_from < NEVER <= new.settings.full.accept_from:
        return (
            f"{len(new.vote_right)} held-out items are too few to show a precision of {goals.target_precision:.0%}, "
            "and nothing would be accepted any more"
        )
    return ""


def lessons_of(rows: Rows, share: float) -> Lessons:
    """Return the training data if a `share` of the rows is held out. Raise QueryError if there is too little."""
    labels = Labels.from_paths(rows.column("category_path"), rows.column("category"))
    numbers = labels.numbers(list(rows.column("category_path")))
    back, asked = (choose(rows.column("twin_key"), share) for choose in (held_out, tried))
    learned = ~(back | asked)
    if back.sum() < FEWEST_HELD_OUT or not asked.any() or len(np.unique(numbers[learned])) < 2:
        raise QueryError(
            "too_few_items",
            f"the store has {len(rows)} items in {len(labels)} categories, too few to fine-tune an encoder and to "
            "measure its gain",
            f"about {1.2 * FEWEST_HELD_OUT / share:.0f} items in two categories or more",
            "add items first",
        )
    return Lessons(rows.texts(), numbers, learned, asked, rows.vectors, [level.of for level in labels.levels])


def _rate(encoder: Trainable, texts: Sequence[str]) -> float:
    """Return the texts encoded per second, from a few batches of similar length, as in encoding all texts."""
    some = list(texts[:: max(1, len(texts) // RATE_SAMPLE)])
    some = [some[i] for i in np.argsort(encoder.token_counts(some), kind="stable")]
    batches = [some[i : i + TEXTS_PER_PASS] for i in range(0, len(some), TEXTS_PER_PASS)][::RATE_PART]
    encoder.encode(batches[0])  # warm up: the first call takes longer
    start = time.monotonic()
    for batch in batches:
        encoder.encode(batch)
    return sum(map(len, batches)) / (time.monotonic() - start)
