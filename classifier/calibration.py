"""Probabilities that mean what they say, and the threshold from which decisions are accepted."""

import numpy as np
from numpy.typing import NDArray

from classifier.voting import Probabilities, renormalised

FLOOR = 1e-12  # a probability of 0 would make one held-out row outweigh all the others
MIN_ACCEPTED = 20  # held-out decisions: precision measured on fewer says little


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
    """The least confidence from which held-out decisions reach `precision`; above 1 where none do.

    At least MIN_ACCEPTED decisions must lie at or above it.
    """
    order = np.argsort(-confidence, kind="stable")
    reached = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    last_of_tie = np.append(np.diff(confidence[order]) != 0, True)
    enough = np.arange(1, len(order) + 1) >= MIN_ACCEPTED
    good = np.flatnonzero((reached >= precision) & last_of_tie & enough)
    return float(confidence[order][good[-1]]) if len(good) else float(np.nextafter(1.0, 2.0))
