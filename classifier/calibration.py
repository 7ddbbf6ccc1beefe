"""Probabilities that mean what they say, and the threshold from which decisions are accepted."""

import numpy as np
from numpy.typing import NDArray

from classifier.voting import Probabilities, renormalised

FLOOR = 1e-12  # a probability of 0 would make one held-out row outweigh all the others
ASSURANCE = 0.9  # probability with which a threshold keeps its precision
NEVER = 2.0  # a threshold that no probability reaches


def sharpened(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Rows p^(1/`temperature`), normalised: below 1 surer, above 1 less sure, the order unchanged.

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


def log_loss(probabilities: Probabilities, truth: NDArray[np.int64]) -> float:
    """Mean of -log p(truth) in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], FLOOR)).mean())


def threshold_for(confidence: NDArray[np.float64], correct: NDArray[np.bool_], precision: float) -> float:
    """The least confidence from which decisions reach `precision`, as far as held-out ones can tell; above 1 for never.

    Not the share that is right among the held-out ones at or above it, but the least share that these still speak for
    with probability ASSURANCE (Clopper-Pearson), must reach `precision`: the fewer they are, the more careful. Geifman
    and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.
    """
    from scipy.stats import beta

    order = np.argsort(-confidence, kind="stable")
    taken = np.arange(1, len(order) + 1)
    right = np.cumsum(correct[order])
    assured = np.where(right > 0, beta.ppf(1 - ASSURANCE, np.maximum(right, 1), taken - right + 1), 0.0)
    last_of_tie = np.append(np.diff(confidence[order]) != 0, True)
    good = np.flatnonzero((assured >= precision) & last_of_tie)
    return float(confidence[order][good[-1]]) if len(good) else NEVER


def set_threshold(probabilities: Probabilities, truth: NDArray[np.int64], coverage: float) -> float:
    """The probability from which a category belongs to the prediction set, so that the set holds the right one with
    probability `coverage` or more, over listings like the held-out ones.

    Split conformal prediction with the score 1 - p(truth): Sadinle et al., "Least Ambiguous Set-Valued Classifiers",
    JASA 2019. 0 where there are too few rows for any other promise.
    """
    scores = np.sort(probabilities[np.arange(len(truth)), truth])
    allowed = int(np.floor((len(scores) + 1) * (1 - coverage)))  # held-out rows whose set may miss the truth
    return float(scores[allowed - 1]) if allowed else 0.0
