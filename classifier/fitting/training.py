"""Fit a model to a catalog: the head on all rows, the settings on held-out rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.fitting.heldout import Fold, choose_axes, folds, splits
from shelfwise.classifier.fitting.mixing import Grid, choose_mix
from shelfwise.classifier.labels import Labels, Numbers, Probabilities
from shelfwise.classifier.metrics import expected_calibration_error, macro_f1, share
from shelfwise.classifier.model.calibration import (
    SET_COVERAGE,
    Calibration,
    fit_reliability,
    fit_temperature,
    set_threshold,
    stand_in_from,
    threshold_for,
)
from shelfwise.classifier.model.fusion import VoteSettings
from shelfwise.classifier.model.model import FAST_OPINION, Goals, Model, Settings
from shelfwise.classifier.model.opinions import Features, Head, kinds
from shelfwise.indexer.encoding.lexical import ngram_counts
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.types import Progress

FAST_LOSS = 0.003  # accuracy that tier auto may lose
FAR_QUANTILE = 0.005  # share of held-out rows that lie far from their nearest neighbour
MIN_HELD_OUT = 40  # rows: fewer are too few to choose settings


@dataclass(frozen=True)
class Fitted:
    """The result of training: the space, and the model fitted in it."""

    space: Space
    model: Model


@dataclass(frozen=True)
class HoldOut:
    """The result of holding out m rows: the settings chosen on them, and the space's number of removed `axes`.

    `vote_right` (m,) marks the rows that the vote alone has right at its default settings; empty if there are too few.
    """

    settings: Settings
    axes: int
    vote_right: NDArray[np.bool_]


def train(rows: Rows, goals: Goals, held_out_share: float = 0.0, progress: Progress | None = None) -> Fitted:
    """Fit head and settings to all rows of a catalog; see `hold_out`."""
    return fit(rows, hold_out(rows, goals, held_out_share, progress), progress)


def hold_out(rows: Rows, goals: Goals, held_out_share: float, progress: Progress | None = None) -> HoldOut:
    """Choose settings on folds; the head and index of a fold have neither its held-out rows nor their duplicates.

    `held_out_share` is the share of rows held out from an encoder fine-tuned on the catalog, 0 for other encoders. A
    catalog with fewer than MIN_HELD_OUT held-out rows keeps the default settings, which accept nothing.
    """
    labels = Labels.from_paths(rows.column("category_path"), rows.column("category"))
    among = splits(rows, labels, held_out_share)
    axes = choose_axes(rows, labels, among)
    held_out: list[Fold] = []
    for fold in folds(rows, labels, among, axes, goals.head):
        held_out.append(fold)
        if progress:
            progress("evaluate folds", len(held_out), len(among))
    if sum(len(fold.truth) for fold in held_out) < MIN_HELD_OUT:
        return HoldOut(Settings(goals=goals), axes, np.empty(0, bool))
    voted = [fold.closed.vote(VoteSettings()).argmax(axis=1) == fold.truth for fold in held_out]
    return HoldOut(choose_settings(held_out, labels, goals), axes, np.concatenate(voted))


def fit(rows: Rows, trial: HoldOut, progress: Progress | None = None) -> Fitted:
    """Fit space and head to all rows, with the settings of a trial."""
    space = Space.fit(rows.vectors, trial.axes)
    features = Features(space.project(rows.vectors), ngram_counts(rows.words()))
    head = Head.fit(trial.settings.goals.head, features, list(rows.column("category_path")))
    if progress:
        progress("fit model", 1, 1)
    return Fitted(space, Model(head, trial.settings))


def choose_settings(held_out: Sequence[Fold], labels: Labels, goals: Goals, grid: Grid | None = None) -> Settings:
    """Choose temperatures, mix and thresholds on held-out rows, each for its own purpose.

    First, the temperatures of the trained opinions are fitted, so that calibrated shares are mixed. Then the mix is
    chosen (see `choose_mix`). Its result and the n-grams alone are calibrated. Last, the confidence is chosen from
    which the n-grams can replace the mix.
    """
    temperatures = _temperatures(held_out)
    held_out = [fold.sharpened(temperatures) for fold in held_out]
    mix, rehearsed = choose_mix(held_out, goals.optimize, grid or Grid())

    truth = np.concatenate([fold.truth for fold in held_out])
    opinions = [fold.closed.mixed(mix) for fold in held_out]
    vote, head, fused = (
        np.concatenate([getattr(said, name) for said in opinions]) for name in ("vote", "head", "fused")
    )
    lexical = np.concatenate([fold.closed.opinions[FAST_OPINION].shares for fold in held_out])
    full, fast = (_calibrated(shares, truth, labels, goals) for shares in (fused, lexical))
    probabilities, by_ngrams = full.probabilities(fused), fast.probabilities(lexical)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    correct, accepted = predicted == truth, confidence >= full.accept_from
    fast_correct, fast_confidence = by_ngrams.argmax(axis=1) == truth, by_ngrams.max(axis=1)
    fast_from = stand_in_from(fast_confidence, fast_correct, correct, FAST_LOSS)
    by_fast = fast_confidence >= fast_from
    nearest = np.concatenate([fold.closed.neighbors.best() for fold in held_out])
    return Settings(
        goals=goals,
        temperatures=temperatures,
        mix=mix,
        full=full,
        fast=fast,
        fast_from=fast_from,
        far_below=float(np.quantile(nearest, FAR_QUANTILE)),
        held_out={
            "rows": len(truth),
            "accuracy": float(correct.mean()),
            "macro_f1": macro_f1(truth, predicted),
            "vote_accuracy": float((vote.argmax(axis=1) == truth).mean()),
            "head_accuracy": float((head.argmax(axis=1) == truth).mean()),
            "fast_accuracy": float(fast_correct.mean()),
            "auto_accuracy": float(np.where(by_fast, fast_correct, correct).mean()),
            "auto_by_fast": float(by_fast.mean()),
            "ece": expected_calibration_error(confidence, correct),
            "accepted": float(accepted.mean()),
            "accepted_accuracy": share(correct[accepted]),
            "new_category_accuracy": rehearsed.new_accuracy,
            "old_category_loss": rehearsed.old_loss,
        },
    )


def _calibrated(shares: Probabilities, truth: Numbers, labels: Labels, goals: Goals) -> Calibration:
    """Calibrate the shares (m, c) of held-out rows.

    Fit the temperature by log-loss, then the reliability of the confidence, then the thresholds.
    """
    tempered = Calibration(fit_temperature(shares, truth))
    probabilities = tempered.probabilities(shares)
    correct = probabilities.argmax(axis=1) == truth
    scaled = replace(tempered, reliability=fit_reliability(probabilities.max(axis=1), correct))
    probabilities = scaled.probabilities(shares)
    confidence = probabilities.max(axis=1)
    accept_from = threshold_for(confidence, correct, goals.target_precision)
    return replace(
        scaled,
        accept_from=accept_from,
        sure_from=_sure_from(probabilities, truth, labels, goals, confidence >= accept_from),
        set_from=set_threshold(probabilities, truth, SET_COVERAGE),
    )


def _temperatures(held_out: Sequence[Fold]) -> dict[str, float]:
    """Fit each opinion's temperature by log-loss on the rows whose category it knows."""
    temperatures = dict.fromkeys(kinds(), 1.0)
    for name in temperatures:
        opinions = [(fold.truth, fold.closed.opinions[name]) for fold in held_out]
        known = [(truth[rows], opinion.shares[rows]) for truth, opinion in opinions for rows in [opinion.known[truth]]]
        if any(len(truth) for truth, _ in known):
            shares, truths = np.concatenate([said for _, said in known]), np.concatenate([truth for truth, _ in known])
            temperatures[name] = fit_temperature(shares, truths)
    return temperatures


def _sure_from(
    probabilities: Probabilities, truth: Numbers, labels: Labels, goals: Goals, accepted: NDArray[np.bool_]
) -> tuple[float, ...]:
    """Return the probability for each level of the tree from which its most probable node reaches the target precision.

    Levels are fitted from the bottom up, each on the rows without a sure node below. Other rows would make the level
    look too good.
    """
    thresholds: list[float] = []
    left = ~accepted
    for level in reversed(labels.levels):
        sums = level.sums(probabilities)
        confidence, correct = sums.max(axis=1), sums.argmax(axis=1) == level.of[truth]
        thresholds.insert(0, threshold_for(confidence[left], correct[left], goals.target_precision))
        left = left & (confidence < thresholds[0])
    return tuple(thresholds)
