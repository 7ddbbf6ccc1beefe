"""Measures of decision quality: arrays in, plain floats out."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import depth_of, node_of

ECE_BINS = 15
RESAMPLES = 1000
INTERVAL = (0.025, 0.975)  # quantiles of the resamples: bounds of a 95% interval
CURVE_POINTS = 20
BOOTSTRAP_SEED = 0

Names = NDArray[np.object_]


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Return the mean gap between confidence and accuracy over ECE_BINS equal-width bins, weighted by their rows.

    `confidence` (m,) is in [0, 1], `correct` is (m,). The result is in [0, 1]; 0 is best, and is returned for no rows.
    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    if not len(confidence):
        return 0.0
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = np.bincount(bins, weights=confidence - correct, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(confidence))


def macro_f1(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Return the mean F1 over the categories that occur in either array (scikit-learn)."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, predicted, average="macro", zero_division=0))


def precision_recall_f1(truth: Names, predicted: Names) -> dict[str, float]:
    """Return weighted and macro precision, recall and F1 over all categories in either array (scikit-learn)."""
    from sklearn.metrics import precision_recall_fscore_support

    figures: dict[str, float] = {}
    for average in ("weighted", "macro"):
        values = precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        figures |= {f"{average}_{name}": float(values[i]) for i, name in enumerate(("precision", "recall", "f1"))}
    return figures


def hierarchical_precision_recall_f1(truth: Iterable[str], predicted: Iterable[str]) -> dict[str, float]:
    """Return precision, recall and F1 over all nodes of the category paths, so that a near miss counts in part.

    Kiritchenko et al., "Learning and Evaluation in the Presence of Class Hierarchies", Canadian AI 2006.
    """
    shared = asked = said = 0
    for right, answer in zip(truth, predicted, strict=True):
        nodes, answered = _nodes(right), _nodes(answer)
        shared, asked, said = shared + len(nodes & answered), asked + len(nodes), said + len(answered)
    precision, recall = shared / max(said, 1), shared / max(asked, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    return {"hierarchical_precision": precision, "hierarchical_recall": recall, "hierarchical_f1": f1}


def _nodes(path: str) -> set[str]:
    return {node_of(path, depth) for depth in range(1, depth_of([path]) + 1)} if path else set()


def risk_coverage(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[list[list[float]], float]:
    """Return (coverage, risk) points and the mean risk over all coverages (0 is best).

    Coverage is the share of decisions accepted, the most confident first. Risk is the share of wrong decisions among
    them. Equally confident decisions count as the average over their possible orders. Geifman and El-Yaniv, "Selective
    Classification for Deep Neural Networks", NeurIPS 2017.
    """
    _, taken, right = among_surest(confidence, correct)
    counts = np.arange(1, len(correct) + 1)
    risk = 1 - np.interp(counts, [0, *taken], [0, *right]) / counts
    places = np.unique(np.linspace(0, len(risk), CURVE_POINTS + 1)[1:].astype(np.int64)) - 1
    return [[float((i + 1) / len(risk)), float(risk[i])] for i in places if i >= 0], float(risk.mean())


def coverage_at(precision: float, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Return the largest share of the decisions that a confidence threshold accepts with at least `precision`.

    It is known only in hindsight: the best threshold is chosen on the same decisions.
    """
    _, taken, right = among_surest(confidence, correct)
    return float(taken[right / taken >= precision].max(initial=0) / len(correct))


def among_surest(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct confidences of m decisions, highest first, and two counts for each of them.

    The first counts the decisions with at least this confidence, the second the right ones among them.
    """
    falling, place = np.unique(-confidence, return_inverse=True)
    counts = [np.bincount(some, minlength=len(falling)) for some in (place, place[correct])]
    return -falling, np.cumsum(counts[0]), np.cumsum(counts[1])


def share(holds: NDArray[np.bool_] | Sequence[bool]) -> float | None:
    """Return the share of true values; None if there are no values."""
    return float(np.mean(holds)) if len(holds) else None


def bootstrap_intervals(truth: Names, predicted: Names, other: Names | None = None) -> dict[str, tuple[float, float]]:
    """Return 95% intervals of accuracy and macro-F1 over RESAMPLES samples of the same size, with replacement.

    With `other` predictions, return intervals of the difference `predicted` - `other` on the same samples. Samples that
    lack rare categories have a lower macro-F1 than all rows. The intervals are shifted to correct this bias, within
    [0, 1], or [-1, 1] for a difference.
    """
    _, numbers = np.unique(np.concatenate([truth, predicted, *([] if other is None else [other])]), return_inverse=True)
    right, *answers = np.split(numbers, len(numbers) // len(truth))
    random = np.random.default_rng(BOOTSTRAP_SEED)

    def scored(weights: NDArray[Any]) -> NDArray[np.float64]:
        first, *second = (np.array(_weighted_scores(right, said, weights, int(numbers.max()) + 1)) for said in answers)
        return first - second[0] if second else first

    whole, m = scored(np.ones(len(right))), len(right)
    drawn = np.array([scored(np.bincount(random.integers(m, size=m), minlength=m)) for _ in range(RESAMPLES)])
    least = -1.0 if other is not None else 0.0
    low, high = np.clip(np.quantile(drawn, INTERVAL, axis=0) + whole - drawn.mean(axis=0), least, 1.0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(("accuracy", "macro_f1"))}


def _weighted_scores(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], weights: NDArray[Any], c: int
) -> tuple[float, float]:
    """Return accuracy and macro-F1 with row i counted `weights[i]` times."""
    hit = truth == predicted
    hits = np.bincount(truth[hit], weights[hit], minlength=c)
    occurrences = np.bincount(truth, weights, minlength=c) + np.bincount(predicted, weights, minlength=c)
    seen = occurrences > 0
    return float(hits.sum() / weights.sum()), float((2 * hits[seen] / occurrences[seen]).mean())
