"""Numbers that say how good decisions are; arrays in, plain floats out."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import depth_of, node_of

ECE_BINS = 15
RESAMPLES = 1000
INTERVAL = (0.025, 0.975)  # of the resamples: 95 % lie between
CURVE_POINTS = 20
BOOTSTRAP_SEED = 0

Names = NDArray[np.object_]


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


def precision_recall_f1(truth: Names, predicted: Names) -> dict[str, float]:
    """Weighted and macro precision, recall and F1 over the categories that occur in either (scikit-learn)."""
    from sklearn.metrics import precision_recall_fscore_support

    figures: dict[str, float] = {}
    for average in ("weighted", "macro"):
        values = precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        figures |= {f"{average}_{name}": float(values[i]) for i, name in enumerate(("precision", "recall", "f1"))}
    return figures


def hierarchical_precision_recall_f1(truth: Iterable[str], predicted: Iterable[str]) -> dict[str, float]:
    """The same over the nodes on the way to the categories, so that a near miss counts in part.

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
    """(coverage, risk) points, and the mean risk over all coverages (0 is best).

    At a coverage the surest decisions are taken, the risk is the share of them that is wrong; of equally sure ones, as
    it is on average over their orders. Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks",
    NeurIPS 2017.
    """
    _, taken, right = among_surest(confidence, correct)
    counts = np.arange(1, len(correct) + 1)
    risk = 1 - np.interp(counts, [0, *taken], [0, *right]) / counts
    places = np.unique(np.linspace(0, len(risk), CURVE_POINTS + 1)[1:].astype(np.int64)) - 1
    return [[float((i + 1) / len(risk)), float(risk[i])] for i in places if i >= 0], float(risk.mean())


def coverage_at(precision: float, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """The largest share of the decisions that some confidence sets apart of which `precision` is right: known only in
    hindsight."""
    _, taken, right = among_surest(confidence, correct)
    return float(taken[right / taken >= precision].max(initial=0) / len(correct))


def among_surest(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The different confidences of m decisions, the highest first, how many decisions are at least so sure, and how
    many of those are right."""
    falling, place = np.unique(-confidence, return_inverse=True)
    counts = [np.bincount(some, minlength=len(falling)) for some in (place, place[correct])]
    return -falling, np.cumsum(counts[0]), np.cumsum(counts[1])


def share(holds: NDArray[np.bool_] | Sequence[bool]) -> float | None:
    """The share of cases in which something holds; None where there are no cases."""
    return float(np.mean(holds)) if len(holds) else None


def bootstrap_intervals(truth: Names, predicted: Names, other: Names | None = None) -> dict[str, tuple[float, float]]:
    """95 % intervals of accuracy and macro-F1 over RESAMPLES samples of the same size, drawn with replacement.

    With `other` predictions, of the difference `predicted` - `other` on the same samples. Samples that lack rare
    categories have a lower macro-F1 than the whole, so the intervals are moved by what their mean is beside it.
    """
    _, numbers = np.unique(np.concatenate([truth, predicted, *([] if other is None else [other])]), return_inverse=True)
    right, *answers = np.split(numbers, len(numbers) // len(truth))
    random = np.random.default_rng(BOOTSTRAP_SEED)

    def scored(weights: NDArray[Any]) -> NDArray[np.float64]:
        first, *second = (np.array(_weighted_scores(right, said, weights, int(numbers.max()) + 1)) for said in answers)
        return first - second[0] if second else first

    whole, m = scored(np.ones(len(right))), len(right)
    drawn = np.array([scored(np.bincount(random.integers(m, size=m), minlength=m)) for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn, INTERVAL, axis=0) + whole - drawn.mean(axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(("accuracy", "macro_f1"))}


def _weighted_scores(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], weights: NDArray[Any], c: int
) -> tuple[float, float]:
    """Accuracy and macro-F1 where row i counts `weights[i]` times."""
    hit = truth == predicted
    hits = np.bincount(truth[hit], weights[hit], minlength=c)
    occurrences = np.bincount(truth, weights, minlength=c) + np.bincount(predicted, weights, minlength=c)
    seen = occurrences > 0
    return float(hits.sum() / weights.sum()), float((2 * hits[seen] / occurrences[seen]).mean())
