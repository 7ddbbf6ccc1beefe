"""Choose how to mix vote and head, on held-out rows and in rehearsals with new categories."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product, starmap

import numpy as np

from shelfwise.classifier.fitting.heldout import Fold
from shelfwise.classifier.labels import Numbers, Probabilities, renormalised
from shelfwise.classifier.metrics import macro_f1
from shelfwise.classifier.model.calibration import FLOOR
from shelfwise.classifier.model.fusion import Mix, VoteSettings, balanced, blend, fuse
from shelfwise.classifier.model.opinions import kinds

SLACK = 0.002  # of the measure: mixes this close to the best are compared on new categories
GOOD_MIXES = 10
WEIGHT_STEPS = 4  # equal parts into which the weight of the trained opinions is divided
MAX_OLD_LOSS = 0.005  # accuracy that old categories may lose in a rehearsal, where a fifth of all categories is new
BALANCES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # tried if the measure is macro-F1


def weightings(names: Sequence[str], steps: int = WEIGHT_STEPS) -> Iterator[dict[str, float]]:
    """Yield all ways to divide a weight of 1 among `names` in `steps` equal parts, the last name first.

    >>> list(weightings(["ngrams", "vectors"], 2))
    [{'ngrams': 0.0, 'vectors': 1.0}, {'ngrams': 0.5, 'vectors': 0.5}, {'ngrams': 1.0, 'vectors': 0.0}]
    """
    for parts in product(range(steps + 1), repeat=len(names) - 1):
        if sum(parts) <= steps:
            yield {name: part / steps for name, part in zip(names, (*parts, steps - sum(parts)), strict=True)}


@dataclass(frozen=True, slots=True)
class Grid:
    """The values from which a mix is chosen; see `VoteSettings` and `Mix` for their meaning."""

    temperatures: Sequence[float] = (0.02, 0.03, 0.05, 0.08, 0.12)
    prior_exponents: Sequence[float] = (0.0, 0.25, 0.5)
    new_exponents: Sequence[float] = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    vote_weights: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0)
    weights: Sequence[Mapping[str, float]] = field(default_factory=lambda: list(weightings(list(kinds()))))


@dataclass(slots=True)
class Rehearsed:
    """Counts of listings in rehearsals: `old` of categories known to the head, `new` of categories hidden from it.

    `old_right` and `new_right` count the right ones. `old_right_before` counts the right old ones as long as no row of
    a new category votes.
    """

    old: int = 0
    new: int = 0
    old_right: int = 0
    new_right: int = 0
    old_right_before: int = 0

    @property
    def old_loss(self) -> float:
        """Loss of accuracy on old categories."""
        return (self.old_right_before - self.old_right) / max(self.old, 1)

    @property
    def new_accuracy(self) -> float:
        """Accuracy on listings of new categories."""
        return self.new_right / max(self.new, 1)

    @property
    def harmonic(self) -> float:
        """Harmonic mean of the accuracies on old and new categories."""
        old = self.old_right / max(self.old, 1)
        return 2 * old * self.new_accuracy / max(old + self.new_accuracy, FLOOR)


def choose_mix(held_out: Sequence[Fold], measure: str, grid: Grid) -> tuple[Mix, Rehearsed]:
    """Choose a mix; return it with its counts in the rehearsals.

    The candidates are the best mixes by `measure` (one of `model.MEASURES`) on the unchanged catalog. Among those with
    an old loss of at most MAX_OLD_LOSS, choose the best harmonic mean of the accuracies on old and new categories in
    the rehearsals. If there is none, choose the smallest old loss.
    """
    good = _good_mixes(held_out, measure, grid)
    if measure == "macro-f1":
        good = _best(_with_balance(held_out, mix) for mix in good)
    rehearsed = _rehearsed(held_out, good, grid.new_exponents)
    affordable = [entry for entry in rehearsed if entry[1].old_loss <= MAX_OLD_LOSS]
    if affordable:
        return max(affordable, key=lambda entry: entry[1].harmonic)
    return min(rehearsed, key=lambda entry: entry[1].old_loss)


def _measured(fused: Sequence[Probabilities], truth: Numbers, measure: str) -> float:
    predicted = np.concatenate([part.argmax(axis=1) for part in fused])
    return macro_f1(truth, predicted) if measure == "macro-f1" else float((predicted == truth).mean())


def _good_mixes(held_out: Sequence[Fold], measure: str, grid: Grid) -> list[Mix]:
    """Return the best mixes of the grid, with balance 0."""
    truth = np.concatenate([fold.truth for fold in held_out])
    blends = [[blend(fold.closed.opinions, weights) for fold in held_out] for weights in grid.weights]
    scored: list[tuple[float, Mix]] = []
    for vote in starmap(VoteSettings, product(grid.temperatures, grid.prior_exponents)):
        votes = [fold.closed.vote(vote) for fold in held_out]
        for vote_weight, (weights, blended) in product(grid.vote_weights, zip(grid.weights, blends, strict=True)):
            fused = [fuse(share, part, vote_weight) for share, part in zip(votes, blended, strict=True)]
            scored.append((_measured(fused, truth, measure), Mix(vote, vote_weight, weights)))
    return _best(scored)


def _best(scored: Iterable[tuple[float, Mix]]) -> list[Mix]:
    """Return at most GOOD_MIXES mixes within SLACK of the best, the best first; ties keep their order."""
    ranked = sorted(scored, key=lambda entry: -entry[0])
    return [mix for measured, mix in ranked if measured >= ranked[0][0] - SLACK][:GOOD_MIXES]


def _with_balance(held_out: Sequence[Fold], mix: Mix) -> tuple[float, Mix]:
    """Return the macro-F1 of the mix at its best balance, and the mix with that balance."""
    truth = np.concatenate([fold.truth for fold in held_out])
    plain = [fold.closed.mixed(mix).fused for fold in held_out]
    scored = []
    for balance in BALANCES:
        fused = [balanced(part, fold.closed.counts, balance) for fold, part in zip(held_out, plain, strict=True)]
        scored.append((_measured(fused, truth, "macro-f1"), -balance))
    measured, balance = max(scored)
    return measured, replace(mix, balance=-balance)


def _rehearsed(
    held_out: Sequence[Fold], mixes: Sequence[Mix], exponents: Sequence[float]
) -> list[tuple[Mix, Rehearsed]]:
    """Return each mix with each exponent for new categories, and its counts over all rehearsals."""
    tried = [(mix, [replace(mix, vote=replace(mix.vote, new_exponent=b)) for b in exponents]) for mix in mixes]
    found = [(variant, Rehearsed()) for _, variants in tried for variant in variants]
    for fold in held_out:
        for opened in fold.opened():
            old, counted = opened.known[fold.truth], iter(found)
            for mix, variants in tried:
                known_only = renormalised(opened.vote(mix.vote) * opened.known)  # the same for all exponents
                before = fuse(known_only, blend(opened.opinions, mix.weights), mix.vote_weight)
                right_before = balanced(before, opened.counts, mix.balance).argmax(axis=1) == fold.truth
                for variant in variants:
                    right = opened.mixed(variant).fused.argmax(axis=1) == fold.truth
                    _, tally = next(counted)
                    tally.old += int(old.sum())
                    tally.new += int((~old).sum())
                    tally.old_right += int(right[old].sum())
                    tally.new_right += int(right[~old].sum())
                    tally.old_right_before += int(right_before[old].sum())
    return found
