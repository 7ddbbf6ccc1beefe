"""Runs a classifier over labelled listings and measures what it decides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from classifier.decision import ACCEPT
from classifier.labels import UNKNOWN, Labels
from classifier.metrics import expected_calibration_error, precision_recall_f1
from classifier.pipeline import Classifier
from indexer.catalog import Item
from indexer.encoder import Progress

TOP = 3


@dataclass(frozen=True)
class Evaluation:
    """`figures` by name, and one dictionary for each category in `categories` (path, rows, precision, recall, f1)."""

    figures: dict[str, float | int]
    categories: list[dict[str, object]]


def evaluate(classifier: Classifier, batches: Iterable[Sequence[Item]], progress: Progress | None = None) -> Evaluation:
    """Classify labelled items and compare.

    An item whose category the store does not have counts as wrong, and in `unknown_categories`. Without a
    path in the file, categories are compared by their leaf names where those are unambiguous.
    """
    truth: list[str] = []
    predicted: list[str] = []
    in_top: list[bool] = []
    confidence: list[float] = []
    accepted: list[bool] = []
    start = perf_counter()
    for batch in batches:
        wanted = _stored_paths(batch, classifier.labels)
        decisions = classifier.classify(batch, top=TOP, neighbors=0)
        truth += wanted
        predicted += [decision.category_path for decision in decisions]
        in_top += [
            path in [a.category_path for a in decision.alternatives]
            for path, decision in zip(wanted, decisions, strict=True)
        ]
        confidence += [decision.confidence for decision in decisions]
        accepted += [decision.decision == ACCEPT for decision in decisions]
        if progress:
            progress("classify", len(truth), 0)
    seconds = perf_counter() - start
    right, said = np.array(truth, dtype=object), np.array(predicted, dtype=object)
    correct, taken = np.asarray(right == said, bool), np.array(accepted, bool)
    figures: dict[str, float | int] = {
        "n": len(right),
        "accuracy": float(correct.mean()),
        "top3": float(np.mean(in_top)),
        **precision_recall_f1(right, said),
        "ece": expected_calibration_error(np.array(confidence), correct),
        "accepted": float(taken.mean()),
        "accepted_accuracy": float(correct[taken].mean()) if taken.any() else 0.0,
        "seconds": seconds,
        "listings_per_second": len(right) / seconds,
        "unknown_categories": int((classifier.labels.numbers(truth) == UNKNOWN).sum()),
    }
    return Evaluation(figures, _by_category(right, said))


def _stored_paths(items: Sequence[Item], labels: Labels) -> list[str]:
    """The path of each item's category, or of the one stored category with its leaf name."""
    named: dict[str, list[str]] = {}
    for path, name in zip(labels.paths, labels.names, strict=True):
        named.setdefault(name, []).append(path)
    return [
        item.category_path
        if item.category_path in labels.number_of or len(named.get(item.category, ())) != 1
        else named[item.category][0]
        for item in items
    ]


def _by_category(truth: NDArray[np.object_], predicted: NDArray[np.object_]) -> list[dict[str, object]]:
    import pandas as pd

    frame = pd.DataFrame({"truth": truth, "predicted": predicted, "hit": truth == predicted})
    rows = frame.groupby("truth").size()
    hits = frame.groupby("truth")["hit"].sum()
    claimed = frame.groupby("predicted").size().reindex(rows.index, fill_value=0)
    table = pd.DataFrame({"rows": rows, "precision": hits / claimed.clip(lower=1), "recall": hits / rows})
    total = (table["precision"] + table["recall"]).clip(lower=1e-12)
    table["f1"] = 2 * table["precision"] * table["recall"] / total
    return [
        {
            "category_path": str(path),
            "rows": int(row.rows),
            "precision": row.precision,
            "recall": row.recall,
            "f1": row.f1,
        }
        for path, row in zip(table.index, table.itertuples(index=False), strict=True)
    ]
