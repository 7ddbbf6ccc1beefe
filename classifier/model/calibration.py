"""Probabilities that mean what they say, and the thresholds from which they decide."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Probabilities, renormalised
from shelfwise.classifier.metrics import among_surest

FLOOR = 1e-12  # a probability of 0 would make one held-out row outweigh all the others
ASSURANCE = 0.9  # probability with which a threshold keeps its precision, whatever catalog it was found on
CERTAIN = 1e-4  # distance from 0 and 1 below which confidences are alike
MOST_EVEN = 0.999  # of the way: a row keeps its order
Reliability = tuple[float, float, float]  # weights of ln p and -ln(1 - p), and a shift
IDENTITY: Reliability = (1.0, 1.0, 0.0)
SET_COVERAGE = 0.95  # of prediction sets: the share that holds the right category
NEVER = 2.0  # a threshold that no probability reaches


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the shares of a tier come to, chosen on held-out rows; the defaults accept nothing.

    `temperature` sharpens shares, and `reliability` maps the highest of them to how often it is right. `accept_from` is
    the confidence from which a decision is accepted, `sure_from` the same for the nodes of each level of the category
    tree, from the top; a category of at least `set_from` is in the prediction set.
    """

    temperature: float = 1.0
    reliability: Reliability = IDENTITY
    accept_from: float = NEVER
    sure_from: tuple[float, ...] = ()
    set_from: float = 0.0

    def probabilities(self, shares: Probabilities) -> Probabilities:
        """(m, c) probabilities that `shares` (m, c) mean."""
        return reliable(sharpened(shares, self.temperature), self.reliability)


def sharpened(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Rows p^(1/`temperature`), normalised: below 1 surer, above 1 less sure, the order unchanged down to FLOOR.

    Zeros stay zero, and so do rows of nothing else.
    """
    logs = np.log(np.maximum(probabilities, FLOOR)) / temperature
    logs -= logs.max(axis=1, keepdims=True)
    powers = np.where(probabilities > 0, np.exp(logs), 0.0)
    return renormalised(powers)


def fit_temperature(probabilities: Probabilities, truth: NDArray[np.int64]) -> float:
    """The temperature with the least log-loss on held-out rows.

    `probabilities` (m, c), `truth` (m,) category numbers. Guo et al., "On Calibration of Modern Neural
    Networks", ICML 2017.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return log_loss(sharpened(probabilities, float(np.exp(log_temperature))), truth)

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))


def fit_reliability(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Reliability:
    """The map from the confidence of held-out decisions to how often they are right: beta calibration.

    Kull et al., "Beta Calibration", AISTATS 2017. A temperature alone leaves the mixture of three opinions too careful
    where they agree and too bold where they do not. Leaves all as it is where all or none are right.
    """
    from sklearn.linear_model import LogisticRegression

    if correct.all() or not correct.any():
        return IDENTITY
    seen = _odds(confidence)
    used = [0, 1]
    while True:
        model = LogisticRegression(C=1e3).fit(seen[:, used], correct)
        negative = [place for place, weight in zip(used, model.coef_[0], strict=True) if weight < 0]
        if not negative or len(used) == 1:
            break
        used = [place for place in used if place not in negative[:1]]  # it must not fall where confidence rises
    weights = np.zeros(2)
    weights[used] = np.maximum(model.coef_[0], 0)
    return float(weights[0]), float(weights[1]), float(model.intercept_[0])


def reliable(probabilities: Probabilities, reliability: Reliability) -> Probabilities:
    """Rows whose highest probability is what `reliability` makes of it, in the same order.

    Where it has to rise, the row moves towards certainty, where it has to fall, towards an even share of the categories
    that have any; below that share the highest of them cannot fall.
    """
    if reliability == IDENTITY:
        return probabilities
    top, row = probabilities.argmax(axis=1), np.arange(len(probabilities))
    confidence = probabilities[row, top]
    rise, fall, shift = reliability
    odds = _odds(confidence)
    wanted = 1 / (1 + np.exp(-(rise * odds[:, 0] + fall * odds[:, 1] + shift)))
    any_share = probabilities > 0
    even = any_share / np.maximum(any_share.sum(axis=1, keepdims=True), 1)
    goal = np.where((wanted < confidence)[:, None], even, 0.0)
    goal[wanted >= confidence, top[wanted >= confidence]] = 1.0
    reach = goal[row, top] - confidence
    step = np.divide(wanted - confidence, reach, out=np.zeros_like(reach), where=np.abs(reach) > FLOOR)
    step = np.clip(step, 0.0, MOST_EVEN)[:, None]
    return np.asarray((1 - step) * probabilities + step * goal)


def _odds(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, 2) ln p and -ln(1 - p)."""
    p = np.clip(confidence, CERTAIN, 1 - CERTAIN)
    return np.stack((np.log(p), -np.log1p(-p)), axis=1)


def log_loss(probabilities: Probabilities, truth: NDArray[np.int64]) -> float:
    """Mean of -log p(truth) in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], FLOOR)).mean())


def threshold_for(confidence: NDArray[np.float64], correct: NDArray[np.bool_], precision: float) -> float:
    """A low confidence from which decisions reach `precision`, as far as held-out ones can tell; NEVER where none does.

    Not the share that is right among the held-out ones at or above it, but the least share that these still speak for
    (Clopper-Pearson), must reach `precision`: the fewer they are, the more careful. It is looked for by halving, so few
    thresholds are tried, and with probability ASSURANCE all of them together keep what they promise. Geifman and
    El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.
    """
    from scipy.stats import beta

    thresholds, taken, right = among_surest(confidence, correct)
    doubt = _doubt(len(thresholds))

    def reached(place: int) -> bool:
        return bool(right[place] and beta.ppf(doubt, right[place], taken[place] - right[place] + 1) >= precision)

    return _lowest(thresholds, reached)


def stand_in_from(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], right: NDArray[np.bool_], loss: float
) -> float:
    """A low confidence from which cheap decisions can stand in for others, at a `loss` of accuracy over all listings at
    most; NEVER where held-out rows cannot tell.

    `confidence` (m,) of the cheap ones, which are `correct` (m,), where the others are `right` (m,). Looked for as in
    `threshold_for` and with the same assurance: to what the held-out ones lose comes what chance may hide, z standard
    deviations of the difference of two counts (plus z²: where nothing is lost, Wilson's interval).
    """
    from scipy.stats import norm

    thresholds, _, lost = among_surest(confidence, right & ~correct)
    _, _, won = among_surest(confidence, correct & ~right)
    chance = float(norm.isf(_doubt(len(thresholds))))

    def cheap(place: int) -> bool:
        spread = chance * np.sqrt(lost[place] + won[place] + chance**2)
        return bool(lost[place] - won[place] + spread <= loss * len(confidence))

    return _lowest(thresholds, cheap)


def _lowest(thresholds: NDArray[np.float64], holds: Callable[[int], bool]) -> float:
    """The last of falling thresholds at whose place something holds, found by halving; NEVER where it never does."""
    found, low, high = NEVER, 0, len(thresholds)
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            found, low = float(thresholds[middle]), middle + 1
        else:
            high = middle
    return found


def _doubt(thresholds: int) -> float:
    """For each of those that halving tries among so many, so that all of them together leave ASSURANCE."""
    return (1 - ASSURANCE) / max(1, thresholds.bit_length())


def set_threshold(probabilities: Probabilities, truth: NDArray[np.int64], coverage: float) -> float:
    """The probability from which a category belongs to the prediction set, so that the set holds the right one with
    probability `coverage` or more, over listings like the held-out ones.

    Split conformal prediction with the score 1 - p(truth): Sadinle et al., "Least Ambiguous Set-Valued Classifiers",
    JASA 2019. 0 where there are too few rows for any other promise.
    """
    scores = np.sort(probabilities[np.arange(len(truth)), truth])
    allowed = int(np.floor((len(scores) + 1) * (1 - coverage)))  # held-out rows whose set may miss the truth
    return float(scores[allowed - 1]) if allowed else 0.0
