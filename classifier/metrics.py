"""Numbers that say how good decisions are; arrays in, plain floats out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 15


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Mean gap between confidence and accuracy over ECE_BINS bins of equal width, weighted by their rows.

    `confidence` (m,) in [0, 1], `correct` (m,). In [0, 1], 0 is best. Naeini et al., "Obtaining Well
    Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    if not len(confidence):
        return 0.0
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = np.bincount(bins, weights=confidence - correct, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(confidence))


def macro_f1(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Mean F1 over the categories that occur in either (scikit-learn)."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, predicted, average="macro", zero_division=0))


def precision_recall_f1(truth: NDArray[np.object_], predicted: NDArray[np.object_]) -> dict[str, float]:
    """Weighted and macro precision, recall and F1 over the categories that occur in either (scikit-learn)."""
    from sklearn.metrics import precision_recall_fscore_support

    figures: dict[str, float] = {}
    for average in ("weighted", "macro"):
        values = precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        figures |= {f"{average}_{name}": float(values[i]) for i, name in enumerate(("precision", "recall", "f1"))}
    return figures
