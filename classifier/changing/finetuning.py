"""Fine-tunes a copy of a store's encoder on its items, and gives it to the store if it is better."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfwise.classifier.changing.maintenance import Report, put_fitted, report_of, stored_choice
from shelfwise.classifier.fitting.finetune import Lessons, Limits, Trained, finetune
from shelfwise.classifier.fitting.heldout import kept_back, share_kept_back, tried
from shelfwise.classifier.fitting.training import HoldOut, fit, hold_out
from shelfwise.classifier.labels import Labels
from shelfwise.classifier.model.calibration import NEVER
from shelfwise.classifier.model.model import Settings, settings_of
from shelfwise.indexer.encoding.encoder import Trainable
from shelfwise.indexer.encoding.sentence import TEXTS_PER_PASS
from shelfwise.indexer.errors import EncoderError, QueryError
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.store.disk import ENCODERS, remove
from shelfwise.indexer.store.manifest import Change
from shelfwise.indexer.store.snapshot import base_of, writing
from shelfwise.indexer.store.store_encoder import model_for, place_of, prepare
from shelfwise.indexer.store.sync import Changes
from shelfwise.indexer.types import Progress

CHECKPOINT = "finetune.checkpoint"  # in the store, until fine-tuning is done
FITS_AFTER = 1.8  # times that holding out takes before fine-tuning: held out once more, and the head fitted to all
MIN_KEPT_BACK = 100  # rows: fewer cannot tell a better encoder from a lucky one
CHANCE = 0.05  # probability with which an encoder that votes no better may pass for one that does
MIN_SHARE = 0.2  # of the time given must be left for learning
RATE_SAMPLE, RATE_PART = 4_096, 8  # texts, of which every eighth batch is encoded to see how long all will take


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning did: how far it went, the held-out figures of the model `before` and `after`, what speaks
    against switching to the new encoder (empty where the store did), and the change itself."""

    trained: Trained
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]
    objection: str
    report: Report

    @property
    def switched(self) -> bool:
        """Whether the store has the new encoder."""
        return not self.objection


def finetune_store(
    path: Path, epochs: int | None = None, minutes: float = 20.0, device: str = "auto", progress: Progress | None = None
) -> Finetuned:
    """Fine-tune the store's encoder on its items, embed them again, fit the model again, and keep what is better.

    All of it takes about `minutes` at most, and less where `epochs` (by default 4 to 8) are over sooner. Broken off, it
    goes on from where it was when it is called again. Raises EncoderError where the encoder cannot be fine-tuned,
    QueryError where there is too little to learn from or too little time.
    """
    start = time.monotonic()
    with writing(path) as draft:
        base = base_of(draft)
        encoder = model_for(path, base.manifest, device)
        if not isinstance(encoder, Trainable):
            raise EncoderError(
                "nothing_to_finetune",
                f"encoder {encoder.name} has no weights to fine-tune",
                "minilm, e5 or another sentence-transformers model",
                "build a store with one of them",
            )
        share = share_kept_back(len(base.rows), base.manifest.encoder.kept_back)
        lessons = lessons_of(base.rows, share)
        present = settings_of(base)
        held_out = time.monotonic()
        old = hold_out(base.rows, present.goals, share, progress)
        held_out = time.monotonic() - held_out
        after_training = FITS_AFTER * held_out + len(base.rows) / _rate(encoder, lessons.texts)
        seconds = 60 * minutes - after_training - (time.monotonic() - start)
        if seconds < MIN_SHARE * 60 * minutes:
            needed = (60 * minutes - seconds) / (1 - MIN_SHARE) / 60
            raise QueryError(
                "too_few_minutes",
                f"{minutes:g} minutes, of which embedding and fitting alone take most",
                f"at least {needed + 1:.0f} minutes",
                "give more time",
            )
        trained = finetune(encoder, lessons, Limits(epochs, seconds), path / CHECKPOINT, progress)
        work = path / f"{ENCODERS}.new"
        remove(work)
        encoder.save(work)
        place = path / place_of(encoder)
        there = place.exists()
        serving = prepare(path, encoder, lessons.texts)
        rows = Rows(base.rows.table, serving.encoder.encode(lessons.texts, progress), base.rows.cleaned)
        new = hold_out(rows, present.goals, share, progress)
        objection = _objection(new, old, present)
        manifest, settings = base.manifest, None
        if not objection:
            identity = serving.identity(draft.put_encoder(work, encoder.fingerprint), share)
            draft.table.replace_all(rows)
            settings = put_fitted(draft, rows, fit(rows, new, progress), progress)
            manifest = draft.commit(Change("finetune"), identity)
        elif not there:  # no version has it
            remove(place)
        remove(work)
        remove(path / CHECKPOINT)
        changes = Changes([], [], [], 0, 0, len(rows))
        embedded = 0 if objection else len(rows)
        report = report_of(changes, manifest, base, stored_choice(base), embedded, settings)
        return Finetuned(trained, old.settings.held_out, new.settings.held_out, objection, report)


def _objection(new: HoldOut, old: HoldOut, present: Settings) -> str:
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
    if present.full.accept_from < NEVER <= new.settings.full.accept_from:
        return (
            f"{len(new.vote_right)} items kept back are too few to show that {goals.target_precision:.0%} of what it "
            "accepts is right, and nothing would be accepted any more"
        )
    return ""


def lessons_of(rows: Rows, share: float) -> Lessons:
    """What there is to learn from where a `share` is kept back. Raises QueryError where that is too little."""
    labels = Labels.from_paths(rows.column("category_path"), rows.column("category"))
    numbers = labels.numbers(list(rows.column("category_path")))
    back, asked = (choose(rows.column("twin_key"), share) for choose in (kept_back, tried))
    learned = ~(back | asked)
    if back.sum() < MIN_KEPT_BACK or not asked.any() or len(np.unique(numbers[learned])) < 2:
        raise QueryError(
            "too_few_items",
            f"the store has {len(rows)} items in {len(labels)} categories, too few to fine-tune an encoder and to tell "
            "whether it got better",
            f"about {1.2 * MIN_KEPT_BACK / share:.0f} items in two categories or more",
            "add items first",
        )
    return Lessons(rows.texts(), numbers, learned, asked, rows.vectors, [level.of for level in labels.levels])


def _rate(encoder: Trainable, texts: Sequence[str]) -> float:
    """Texts that the encoder takes a second, from a few batches of equally long ones, as it will encode them all."""
    some = list(texts[:: max(1, len(texts) // RATE_SAMPLE)])
    some = [some[i] for i in np.argsort(encoder.token_counts(some), kind="stable")]
    batches = [some[i : i + TEXTS_PER_PASS] for i in range(0, len(some), TEXTS_PER_PASS)][::RATE_PART]
    encoder.encode(batches[0])  # what the first call does besides
    start = time.monotonic()
    for batch in batches:
        encoder.encode(batch)
    return sum(map(len, batches)) / (time.monotonic() - start)
