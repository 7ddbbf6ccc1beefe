"""Fits a model to a catalog: the head on all rows, the settings on rows held out from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product, starmap

import numpy as np
from numpy.typing import NDArray

from classifier.calibration import (
    FLOOR,
    fit_reliability,
    fit_temperature,
    reliable,
    set_threshold,
    sharpened,
    threshold_for,
)
from classifier.fusion import balanced, fuse
from classifier.head import Features, Head
from classifier.heldout import Evidence, Fold, choose_axes, folds, splits
from classifier.labels import Labels
from classifier.metrics import expected_calibration_error, macro_f1
from classifier.model import Goals, Model, Settings
from classifier.voting import Probabilities, VoteSettings, renormalised
from indexer.encoder import Progress
from indexer.lexical import ngram_counts
from indexer.space import Space
from indexer.store import Rows

SLACK = 0.002  # of the measure: mixes so close to the best may still be chosen for what they do for new categories
GOOD_MIXES = 10
MAX_OLD_LOSS = 0.005  # accuracy that old categories may lose in the rehearsal, where a fifth of all is new at once
BALANCES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # tried where macro-F1 is what counts
SET_COVERAGE = 0.95  # of prediction sets: the share that holds the right category
FAR_QUANTILE = 0.005  # of held-out rows are farther from their nearest neighbour than what is called far
MIN_HELD_OUT = 40  # rows: fewer say nothing about a setting


@dataclass(frozen=True, slots=True)
class Grid:
    """The values among which settings are chosen; see `VoteSettings` and `Settings` for what they mean."""

    temperatures: Sequence[float] = (0.02, 0.03, 0.05, 0.08, 0.12)
    prior_exponents: Sequence[float] = (0.0, 0.25, 0.5)
    new_exponents: Sequence[float] = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    vote_weights: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0)
    lexical_weights: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Fitted:
    """What training gives: the space, and the model fitted in it."""

    space: Space
    model: Model


@dataclass(frozen=True)
class Trial:
    """What holding out m rows gives: the settings chosen on them, how many of the widest directions the space is
    without, and which rows the vote alone has right (m,)."""

    settings: Settings
    axes: int
    vote_right: NDArray[np.bool_]


def train(rows: Rows, goals: Goals, kept_back: float = 0.0, progress: Progress | None = None) -> Fitted:
    """Fit head and settings to all rows of a catalog; see `hold_out`."""
    return fit(rows, hold_out(rows, goals, kept_back, progress), progress)


def hold_out(rows: Rows, goals: Goals, kept_back: float, progress: Progress | None = None) -> Trial:
    """Choose settings on folds whose rows neither the head nor the index of that fold has, nor any twin of them.

    `kept_back` is the share of the rows that an encoder which was fine-tuned on the catalog did not learn from, or 0
    for any other. A catalog that cannot spare rows keeps the default settings, which accept nothing.
    """
    labels = Labels.of(rows.column("category_path"), rows.column("category"))
    among = splits(rows, labels, kept_back)
    axes = choose_axes(rows, labels, among)
    evidence: list[Fold] = []
    for fold in folds(rows, labels, among, axes, goals.head):
        evidence.append(fold)
        if progress:
            progress("hold out", len(evidence), len(among))
    if sum(len(fold.closed.truth) for fold in evidence) < MIN_HELD_OUT:
        return Trial(Settings(goals=goals), axes, np.empty(0, bool))
    settings = choose_settings(evidence, labels, goals)
    voted = [fold.closed.vote(settings.vote).argmax(axis=1) == fold.closed.truth for fold in evidence]
    return Trial(settings, axes, np.concatenate(voted))


def fit(rows: Rows, trial: Trial, progress: Progress | None = None) -> Fitted:
    """Space and head of all rows, with the settings of a trial."""
    space = Space.fit(rows.vectors, trial.axes)
    features = Features(space.project(rows.vectors), ngram_counts(rows.words()))
    head = Head.fit(trial.settings.goals.head, features, list(rows.column("category_path")))
    if progress:
        progress("fit head", 1, 1)
    return Fitted(space, Model(head, trial.settings))


def choose_settings(evidence: Sequence[Fold], labels: Labels, goals: Goals, grid: Grid | None = None) -> Settings:
    """Vote, weight, temperature and thresholds from held-out rows, each chosen for what it is there for.

    First the temperatures of the head's halves, so that they meet each other and the vote with shares that mean what
    they say. Then how vote and halves are mixed: of the mixes that are good by the measure that a user names, on the
    catalog as it is, the one with the best harmonic mean of accuracy on old and new categories in the rehearsal, while
    old ones lose at most MAX_OLD_LOSS, or as little as they can. Then the balance, where macro-F1 is to be optimized;
    the temperature, by log-loss; how often decisions of a confidence are right; and the thresholds.
    """
    dense_temperature, lexical_temperature = _head_temperatures(evidence)
    evidence = [fold.sharpened(dense_temperature, lexical_temperature) for fold in evidence]
    grid = grid or Grid()
    good = _good_mixes(evidence, goals, grid)
    rehearsed = _rehearsed(evidence, good, grid.new_exponents)
    affordable = [entry for entry in rehearsed if entry[0].old_loss <= MAX_OLD_LOSS]
    if affordable:
        rehearsal, mix = max(affordable, key=lambda entry: entry[0].harmonic)
    else:
        rehearsal, mix = min(rehearsed, key=lambda entry: entry[0].old_loss)

    truth = np.concatenate([fold.closed.truth for fold in evidence])
    plain = [_fused(fold.closed, mix) for fold in evidence]
    balance = _balance(evidence, plain, truth) if goals.optimize == "macro-f1" else 0.0
    fused = np.concatenate(_balanced(evidence, plain, balance))
    temperature = fit_temperature(fused, truth)
    probabilities = sharpened(fused, temperature)
    predicted = probabilities.argmax(axis=1)
    correct = predicted == truth
    reliability = fit_reliability(probabilities.max(axis=1), correct)
    probabilities = reliable(probabilities, reliability)
    confidence = probabilities.max(axis=1)
    accept_from = threshold_for(confidence, correct, goals.target_precision)
    accepted = confidence >= accept_from
    nearest = np.concatenate([fold.closed.neighbors.best() for fold in evidence])
    return Settings(
        goals=goals,
        vote=mix.vote,
        dense_temperature=dense_temperature,
        lexical_temperature=lexical_temperature,
        lexical_weight=mix.lexical_weight,
        vote_weight=mix.vote_weight,
        balance=balance,
        temperature=temperature,
        reliability=reliability,
        accept_from=accept_from,
        sure_from=_sure_from(probabilities, truth, labels, goals, accepted),
        set_from=set_threshold(probabilities, truth, SET_COVERAGE),
        far_below=float(np.quantile(nearest, FAR_QUANTILE)),
        held_out={
            "rows": len(truth),
            "accuracy": float(correct.mean()),
            "macro_f1": macro_f1(truth, predicted),
            "vote_accuracy": _accuracy([fold.closed.vote(mix.vote) for fold in evidence], truth),
            "head_accuracy": _accuracy([fold.closed.head.mixed(mix.lexical_weight) for fold in evidence], truth),
            "ece": expected_calibration_error(confidence, correct),
            "accepted": float(accepted.mean()),
            "accepted_accuracy": float(correct[accepted].mean()) if accepted.any() else 0.0,
            "new_category_accuracy": rehearsal.new_accuracy,
            "old_category_loss": rehearsal.old_loss,
        },
    )


def _balanced(evidence: Sequence[Fold], fused: Sequence[Probabilities], balance: float) -> list[Probabilities]:
    return [balanced(part, fold.closed.counts, balance) for fold, part in zip(evidence, fused, strict=True)]


def _balance(evidence: Sequence[Fold], fused: Sequence[Probabilities], truth: NDArray[np.int64]) -> float:
    """The balance with the best macro-F1."""
    scored = [
        (macro_f1(truth, np.concatenate(_balanced(evidence, fused, balance)).argmax(axis=1)), -balance)
        for balance in BALANCES
    ]
    return -max(scored)[1]


def _sure_from(
    probabilities: Probabilities, truth: NDArray[np.int64], labels: Labels, goals: Goals, accepted: NDArray[np.bool_]
) -> tuple[float, ...]:
    """For each level of the tree the probability from which its most probable node is right often enough.

    From the bottom up, each on the rows for which nothing below was sure: the others would flatter it.
    """
    thresholds: list[float] = []
    left = ~accepted
    for level in reversed(labels.levels):
        sums = level.sums(probabilities)
        confidence, correct = sums.max(axis=1), sums.argmax(axis=1) == level.of[truth]
        thresholds.insert(0, threshold_for(confidence[left], correct[left], goals.target_precision))
        left = left & (confidence < thresholds[0])
    return tuple(thresholds)


@dataclass(frozen=True, slots=True)
class _Mix:
    """How the vote counts, its weight beside the head, and the weight of n-grams within the head."""

    vote: VoteSettings
    vote_weight: float
    lexical_weight: float


def _head_temperatures(evidence: Sequence[Fold]) -> tuple[float, float]:
    """Of the dense and the lexical half, by log-loss on the rows whose category the head knows."""
    known = [fold.closed.known[fold.closed.truth] for fold in evidence]
    if not any(rows.any() for rows in known):
        return 1.0, 1.0
    truth = np.concatenate([fold.closed.truth[rows] for fold, rows in zip(evidence, known, strict=True)])
    dense = [fold.closed.head.dense[rows] for fold, rows in zip(evidence, known, strict=True)]
    lexical = [fold.closed.head.lexical[rows] for fold, rows in zip(evidence, known, strict=True)]
    return fit_temperature(np.concatenate(dense), truth), fit_temperature(np.concatenate(lexical), truth)


def _fused(evidence: Evidence, mix: _Mix) -> Probabilities:
    head = evidence.head.mixed(mix.lexical_weight)
    return fuse(evidence.vote(mix.vote), head, evidence.known, mix.vote_weight)


def _accuracy(shares: Sequence[Probabilities], truth: NDArray[np.int64]) -> float:
    return float((np.concatenate([part.argmax(axis=1) for part in shares]) == truth).mean())


def _good_mixes(evidence: Sequence[Fold], goals: Goals, grid: Grid) -> list[_Mix]:
    """The mixes within SLACK of the best by the measure to optimize, at most GOOD_MIXES of them, the best first."""
    truth = np.concatenate([fold.closed.truth for fold in evidence])
    heads = {weight: [fold.closed.head.mixed(weight) for fold in evidence] for weight in grid.lexical_weights}
    scored: list[tuple[float, _Mix]] = []
    for vote in starmap(VoteSettings, product(grid.temperatures, grid.prior_exponents)):
        votes = [fold.closed.vote(vote) for fold in evidence]
        for vote_weight, lexical_weight in product(grid.vote_weights, grid.lexical_weights):
            parts = zip(evidence, votes, heads[lexical_weight], strict=True)
            fused = [fuse(share, head, fold.closed.known, vote_weight) for fold, share, head in parts]
            predicted = np.concatenate([part.argmax(axis=1) for part in fused])
            measure = macro_f1(truth, predicted) if goals.optimize == "macro-f1" else float((predicted == truth).mean())
            scored.append((measure, _Mix(vote, vote_weight, lexical_weight)))
    scored.sort(key=lambda entry: -entry[0])  # equal: in the order of trying
    return [mix for measure, mix in scored if measure >= scored[0][0] - SLACK][:GOOD_MIXES]


@dataclass(slots=True)
class _Rehearsed:
    """How many listings were right: of categories that were there before (`old` of them), of those that were hidden
    from the head (`new`), and of the former as long as nothing of the latter was in the index."""

    old: int = 0
    new: int = 0
    old_right: int = 0
    new_right: int = 0
    old_right_before: int = 0

    @property
    def old_loss(self) -> float:
        return (self.old_right_before - self.old_right) / max(self.old, 1)

    @property
    def new_accuracy(self) -> float:
        return self.new_right / max(self.new, 1)

    @property
    def harmonic(self) -> float:
        old = self.old_right / max(self.old, 1)
        return 2 * old * self.new_accuracy / max(old + self.new_accuracy, FLOOR)


def _rehearsed(
    evidence: Sequence[Fold], mixes: Sequence[_Mix], exponents: Sequence[float]
) -> list[tuple[_Rehearsed, _Mix]]:
    """What each of the mixes does with each of the exponents for new categories, over all rehearsals."""
    votes = [(mix, [replace(mix.vote, new_exponent=b) for b in exponents]) for mix in mixes]
    found = [(_Rehearsed(), replace(mix, vote=vote)) for mix, tried in votes for vote in tried]
    for opened in (opened for fold in evidence for opened in fold.opened()):
        old, counted = opened.known[opened.truth], iter(found)
        for mix, tried in votes:
            head = opened.head.mixed(mix.lexical_weight)
            known_only = renormalised(opened.vote(mix.vote) * opened.known)  # the same for all exponents
            before = fuse(known_only, head, opened.known, mix.vote_weight).argmax(axis=1) == opened.truth
            for vote in tried:
                right = fuse(opened.vote(vote), head, opened.known, mix.vote_weight).argmax(axis=1) == opened.truth
                counts, _ = next(counted)
                counts.old += int(old.sum())
                counts.new += int((~old).sum())
                counts.old_right += int(right[old].sum())
                counts.new_right += int(right[~old].sum())
                counts.old_right_before += int(before[old].sum())
    return found
