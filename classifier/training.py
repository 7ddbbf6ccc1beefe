"""Fits a model to a catalog: the head on all rows, the settings on rows held out from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product, starmap

import numpy as np
from numpy.typing import NDArray

from classifier.calibration import FLOOR, fit_temperature, sharpened, threshold_for
from classifier.fusion import fuse
from classifier.head import Features, Head
from classifier.heldout import Evidence, Fold, choose_axes, folds, splits
from classifier.labels import Labels
from classifier.metrics import expected_calibration_error
from classifier.model import Model, Settings
from classifier.voting import Probabilities, VoteSettings
from indexer.encoder import Progress
from indexer.lexical import ngram_counts
from indexer.space import Space
from indexer.store import Rows

TEMPERATURES = (0.02, 0.03, 0.05, 0.08, 0.12)
PRIOR_EXPONENTS = (0.0, 0.25, 0.5)
NEW_EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
VOTE_WEIGHTS = tuple(round(0.1 * i, 1) for i in range(1, 10))
LOSS_SLACK = 0.02  # log-loss above the least at which settings still count as good for the catalog as it is
MAX_OLD_LOSS = 0.02  # accuracy that old categories may lose in the rehearsal, where a fifth of all is new at once
TARGET_PRECISION = 0.95  # of accepted decisions on held-out rows
FAR_QUANTILE = 0.005  # of held-out rows are farther from their nearest neighbour than what is called far
MIN_HELD_OUT = 40  # rows: fewer say nothing about a setting


@dataclass(frozen=True)
class Fitted:
    """What training gives: the space, and the model fitted in it."""

    space: Space
    model: Model


def train(rows: Rows, progress: Progress | None = None) -> Fitted:
    """Fit head and settings to all rows of a catalog.

    Settings are chosen on folds whose rows neither the head nor the index of that fold has, nor any twin
    of them. A catalog that cannot spare rows keeps the default settings, which accept nothing.
    """
    labels = Labels.of(rows.column("category_path"), rows.column("category"))
    among = splits(rows, labels)
    axes = choose_axes(rows, labels, among)
    evidence: list[Fold] = []
    for fold in folds(rows, labels, among, axes):
        evidence.append(fold)
        if progress:
            progress("hold out", len(evidence), len(among))
    space = Space.fit(rows.vectors, axes)
    features = Features(space.project(rows.vectors), ngram_counts(rows.texts()))
    head = Head.fit(features, list(rows.column("category_path")))
    if progress:
        progress("fit head", 1, 1)
    if sum(len(fold.closed.truth) for fold in evidence) < MIN_HELD_OUT:
        return Fitted(space, Model(head, Settings()))
    return Fitted(space, Model(head, choose_settings(evidence)))


def choose_settings(evidence: Sequence[Fold]) -> Settings:
    """Vote, weight, temperature and thresholds from held-out rows, each chosen for what it is there for.

    First the head's own temperature, so that it meets the vote with shares that mean what they say. Then vote
    and weight: of those that are good by log-loss on the catalog as it is, the ones with the best harmonic mean of
    accuracy on old and new categories in the rehearsal, while old ones lose at most MAX_OLD_LOSS. Then the
    temperature, by log-loss, and the thresholds.
    """
    head_temperature = _head_temperature(evidence)
    evidence = [fold.sharpened(head_temperature) for fold in evidence]
    scored = [
        (*min(_losses(evidence, vote)), vote) for vote in starmap(VoteSettings, product(TEMPERATURES, PRIOR_EXPONENTS))
    ]  # (loss, weight, vote): the best weight for each vote
    least = min(loss for loss, _, _ in scored)
    good = [(weight, vote) for loss, weight, vote in scored if loss <= least * (1 + LOSS_SLACK)]
    tried = [(replace(vote, new_exponent=exponent), weight) for weight, vote in good for exponent in NEW_EXPONENTS]
    rehearsed = [(_rehearse(evidence, vote, weight), vote, weight) for vote, weight in tried]
    best_old = max(rehearsal.old for rehearsal, _, _ in rehearsed)
    affordable = [entry for entry in rehearsed if entry[0].old >= best_old - MAX_OLD_LOSS]
    rehearsal, vote, weight = max(affordable, key=lambda entry: entry[0].harmonic)

    truth = np.concatenate([fold.closed.truth for fold in evidence])
    fused = np.concatenate([_fused(fold.closed, vote, weight) for fold in evidence])
    temperature = fit_temperature(fused, truth)
    probabilities = sharpened(fused, temperature)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    correct = predicted == truth
    accept_from = threshold_for(confidence, correct, TARGET_PRECISION)
    accepted = confidence >= accept_from
    nearest = np.concatenate([fold.closed.neighbors.best() for fold in evidence])
    return Settings(
        vote=vote,
        head_temperature=head_temperature,
        vote_weight=weight,
        temperature=temperature,
        accept_from=accept_from,
        far_below=float(np.quantile(nearest, FAR_QUANTILE)),
        held_out={
            "rows": len(truth),
            "accuracy": float(correct.mean()),
            "vote_accuracy": _accuracy([fold.closed.vote(vote) for fold in evidence], truth),
            "head_accuracy": _accuracy([fold.closed.head for fold in evidence], truth),
            "ece": expected_calibration_error(confidence, correct),
            "accepted": float(accepted.mean()),
            "accepted_accuracy": float(correct[accepted].mean()) if accepted.any() else 0.0,
            "new_category_accuracy": rehearsal.new,
            "old_category_loss": best_old - rehearsal.old,
        },
    )


def _head_temperature(evidence: Sequence[Fold]) -> float:
    """By log-loss on the rows whose category the head knows."""
    known = [fold.closed.known[fold.closed.truth] for fold in evidence]
    if not any(rows.any() for rows in known):
        return 1.0
    return fit_temperature(
        np.concatenate([fold.closed.head[rows] for fold, rows in zip(evidence, known, strict=True)]),
        np.concatenate([fold.closed.truth[rows] for fold, rows in zip(evidence, known, strict=True)]),
    )


def _fused(evidence: Evidence, vote: VoteSettings, weight: float) -> Probabilities:
    return fuse(evidence.vote(vote), evidence.head, evidence.known, weight)


def _accuracy(shares: Sequence[Probabilities], truth: NDArray[np.int64]) -> float:
    return float((np.concatenate([part.argmax(axis=1) for part in shares]) == truth).mean())


def _losses(evidence: Sequence[Fold], vote: VoteSettings) -> list[tuple[float, float]]:
    """(log-loss, weight) for every weight of the vote, computed for the right categories alone."""
    voted, headed, unknown_share, known = [], [], [], []
    for fold in evidence:
        row, truth = np.arange(len(fold.closed.truth)), fold.closed.truth
        shares = fold.closed.vote(vote)
        voted.append(shares[row, truth])
        headed.append(fold.closed.head[row, truth])
        unknown_share.append(shares[:, ~fold.closed.known].sum(axis=1))
        known.append(fold.closed.known[truth])
    v, h, u, k = map(np.concatenate, (voted, headed, unknown_share, known))
    losses = []
    for weight in VOTE_WEIGHTS:
        p = np.where(k, weight * v + (1 - weight) * (1 - u) * h, v)
        losses.append((float(-np.log(np.maximum(p, FLOOR)).mean()), weight))
    return losses


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    """Accuracy on the categories that were there before, and on those that were hidden from the head."""

    old: float
    new: float

    @property
    def harmonic(self) -> float:
        return 2 * self.old * self.new / (self.old + self.new) if self.old + self.new else 0.0


def _rehearse(evidence: Sequence[Fold], vote: VoteSettings, weight: float) -> _Rehearsal:
    correct = np.concatenate([_fused(f.opened, vote, weight).argmax(axis=1) == f.opened.truth for f in evidence])
    old = np.concatenate([f.opened.known[f.opened.truth] for f in evidence])
    return _Rehearsal(_mean(correct[old]), _mean(correct[~old]))


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else 0.0
