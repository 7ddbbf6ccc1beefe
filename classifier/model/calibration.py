"""Calibrated probabilities, and the thresholds for decisions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Probabilities, renormalised
from shelfwise.classifier.metrics import among_surest

FLOOR = 1e-12  # a probability of 0 would make one held-out row outweigh all the others
CONFIDENCE_LEVEL = 0.9  # probability that a threshold keeps its precision, for any catalog it is chosen on
CERTAIN = 1e-4  # confidences closer to 0 or 1 than this are clipped
MOST_EVEN = 0.999  # largest step: a full step to equal shares would lose the order of a row
Reliability = tuple[float, float, float]  # weights of ln p and -ln(1 - p), and a shift
IDENTITY: Reliability = (1.0, 1.0, 0.0)
SET_COVERAGE = 0.95  # share of prediction sets that contain the right category
NEVER = 2.0  # a threshold that no probability reaches


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of the shares of a tier, chosen on held-out rows; the defaults accept nothing.

    `temperature` sharpens shares. `reliability` maps the highest share to the probability that it is right. A decision
    is accepted from confidence `accept_from`; `sure_from` has this threshold for the nodes of each level of the
    category tree, from the top. A category with a probability of `set_from` or more is in the prediction set.
    """

    temperature: float = 1.0
    reliability: Reliability = IDENTITY
    accept_from: float = NEVER
    sure_from: tuple[float, ...] = ()
    set_from: float = 0.0

    def probabilities(self, shares: Probabilities) -> Probabilities:
        """Return the calibrated probabilities (m, c) of `shares` (m, c)."""
        return reliable(sharpened(shares, self.temperature), self.reliability)


def sharpened(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return the rows p^(1/`temperature`), normalised. Their order does not change for p above FLOOR.

    A temperature below 1 makes them surer, one above 1 less sure. Zeros stay zero, also in rows of zeros.
    """
    logs = np.log(np.maximum(probabilities, FLOOR)) / temperature
    logs -= logs.max(axis=1, keepdims=True)
    powers = np.where(probabilities > 0, np.exp(logs), 0.0)
    return renormalised(powers)


def fit_temperature(probabilities: Probabilities, truth: NDArray[np.int64]) -> float:
    """Return the temperature with the least log-loss on held-out rows.

    `probabilities` is (m, c), `truth` (m,) has category numbers. Guo et al., "On Calibration of Modern Neural
    Networks", ICML 2017.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return log_loss(sharpened(probabilities, float(np.exp(log_temperature))), truth)

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))


def fit_reliability(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Reliability:
    """Fit the map from the confidence of held-out decisions to their precision: beta calibration.

    Kull et al., "Beta Calibration", AISTATS 2017. A temperature alone leaves the mixture of three opinions too careful
    where they agree and too bold where they disagree. Return IDENTITY if all or none of the decisions are right.
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
        used = [place for place in used if place not in negative[:1]]  # precision must not fall with confidence
    weights = np.zeros(2)
    weights[used] = np.maximum(model.coef_[0], 0)
    return float(weights[0]), float(weights[1]), float(model.intercept_[0])


def reliable(probabilities: Probabilities, reliability: Reliability) -> Probabilities:
    """Return the rows with their highest probability mapped by `reliability`, in the same order.

    To raise it, the row moves towards certainty. To lower it, the row moves towards equal shares of the categories with
    a positive probability. The highest probability cannot fall below that equal share.
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
    """Return (m, 2): ln p and -ln(1 - p), with p clipped by CERTAIN."""
    p = np.clip(confidence, CERTAIN, 1 - CERTAIN)
    return np.stack((np.log(p), -np.log1p(-p)), axis=1)


def log_loss(probabilities: Probabilities, truth: NDArray[np.int64]) -> float:
    """Return the mean of -log p(truth) in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], FLOOR)).mean())


def threshold_for(confidence: NDArray[np.float64], correct: NDArray[np.bool_], precision: float) -> float:
    """Return a low confidence from which held-out decisions show `precision`; NEVER if none does.

    The lower confidence bound (Clopper-Pearson) of the precision at or above the threshold must reach `precision`. The
    observed precision is not enough: the fewer decisions, the stricter. A bisection tries only few thresholds. With
    probability CONFIDENCE_LEVEL, all tried thresholds together keep their precision. Geifman and El-Yaniv, "Selective
    Classification for Deep Neural Networks", NeurIPS 2017.
    """
    from scipy.stats import beta

    thresholds, taken, right = among_surest(confidence, correct)
    alpha = _alpha(len(thresholds))

    def reached(place: int) -> bool:
        return bool(right[place] and beta.ppf(alpha, right[place], taken[place] - right[place] + 1) >= precision)

    return _lowest(thresholds, reached)


def stand_in_from(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], right: NDArray[np.bool_], loss: float
) -> float:
    """Return a low confidence from which cheap decisions can replace full ones; NEVER if held-out rows show none.

    `loss` is the largest allowed loss of accuracy over all listings. `confidence` (m,) and `correct` (m,) belong to the
    cheap decisions, `right` (m,) to the full ones. The search and its confidence level are those of `threshold_for`.
    The loss on held-out rows is raised by a margin for chance: z standard deviations of the difference of two counts
    (plus z²: where nothing is lost, Wilson's interval).
    """
    from scipy.stats import norm

    thresholds, _, lost = among_surest(confidence, right & ~correct)
    _, _, won = among_surest(confidence, correct & ~right)
    chance = float(norm.isf(_alpha(len(thresholds))))

    def cheap(place: int) -> bool:
        spread = chance * np.sqrt(lost[place] + won[place] + chance**2)
        return bool(lost[place] - won[place] + spread <= loss * len(confidence))

    return _lowest(thresholds, cheap)


def _lowest(thresholds: NDArray[np.float64], holds: Callable[[int], bool]) -> float:
    """Find by bisection the last of falling thresholds at whose place `holds` is true; NEVER if there is none."""
    found, low, high = NEVER, 0, len(thresholds)
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            found, low = float(thresholds[middle]), middle + 1
        else:
            high = middle
    return found


def _alpha(thresholds: int) -> float:
    """Return the alpha of each threshold that bisection tries; all of them together keep CONFIDENCE_LEVEL."""
    return (1 - CONFIDENCE_LEVEL) / max(1, thresholds.bit_length())


def set_threshold(probabilities: Probabilities, truth: NDArray[np.int64], coverage: float) -> float:
    """Return the probability from which a category belongs to the prediction set.

    For listings like the held-out ones, the set contains the right category with probability `coverage` or more. Split
    conformal prediction with the score 1 - p(truth): Sadinle et al., "Least Ambiguous Set-Valued Classifiers", JASA
    2019. Return 0 if there are too few rows for a higher threshold.
    """
    scores = np.sort(probabilities[np.arange(len(truth)), truth])
    allowed = int(np.floor((len(scores) + 1) * (1 - coverage)))  # held-out rows whose set may miss the truth
    return float(scores[allowed - 1]) if allowed else 0.0
