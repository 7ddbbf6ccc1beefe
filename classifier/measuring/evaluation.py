"""Evaluate a classifier on labelled listings."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import NO_CATEGORY, Labels, depth_of, lies_in, node_of
from shelfwise.classifier.measuring.baselines import linear_svc, timed, vector_logistic
from shelfwise.classifier.metrics import (
    Names,
    bootstrap_intervals,
    coverage_at,
    expected_calibration_error,
    hierarchical_precision_recall_f1,
    macro_f1,
    precision_recall_f1,
    risk_coverage,
    share,
)
from shelfwise.classifier.model.calibration import SET_COVERAGE
from shelfwise.classifier.model.decision import ACCEPT, FAST, FULL, Decision
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import Item, digest
from shelfwise.indexer.reading.listings import Listing
from shelfwise.indexer.reading.rejects import Reject
from shelfwise.indexer.types import Progress

TOP = 3
CONFUSIONS = 20  # pairs of categories listed
SHOWN_PRECISIONS = (0.9, 0.95, 0.98)  # precisions whose coverage is reported


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The figures of a classifier on labelled listings.

    `figures` by name; a share of no listings is None. `intervals`: 95% confidence intervals of some figures. `levels`
    of the category tree from the top, the categories last (nodes, accuracy, weighted and macro F1 of the most probable
    nodes). `categories` (path, rows, precision, recall, F1). `confusions`, the most frequent first (truth, predicted,
    rows). `risk_coverage`: points (coverage, the share of the listings with the highest confidence; risk, the share of
    these that is wrong). `baselines` by name: their figures, and the interval of the advantage of Shelfwise. `rejects`
    are the unusable rows, if they were not written to a file.
    """

    figures: dict[str, float | int | None]
    intervals: dict[str, tuple[float, float]]
    levels: list[dict[str, float]]
    categories: list[dict[str, object]]
    confusions: list[dict[str, object]]
    risk_coverage: list[list[float]]
    baselines: dict[str, dict[str, object]]
    rejects: tuple[Reject, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of the listings whose most probable category is right, in [0, 1]."""
        return float(self.figures["accuracy"] or 0)

    @property
    def accepted(self) -> float:
        """Share of the listings that were accepted, in [0, 1]."""
        return float(self.figures["accepted"] or 0)

    @property
    def accepted_accuracy(self) -> float | None:
        """Share of the accepted listings that are right, in [0, 1] (None if none was accepted)."""
        return self.figures["accepted_accuracy"]

    def __repr__(self) -> str:
        figures = f"accuracy {self.accuracy:.4f}, macro-F1 {self.figures['macro_f1']:.4f}"
        return f"<Evaluation of {self.figures['n']:,} listings: {figures}, {self.accepted:.0%} accepted>"


@dataclass
class _Answers:
    """Items with their right paths and their decisions.

    `ambiguous` counts the items left out because several stored paths end in their category name.
    """

    items: list[Item] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    ambiguous: int = 0

    def add(self, batch: Sequence[Listing], decisions: Sequence[Decision | None], labels: Labels) -> None:
        """Add a batch of labelled listings with their decisions. Variants of a product have none."""
        for listing, said in zip(batch, decisions, strict=True):
            if listing.item is None or said is None:
                continue
            path, *others = _right_paths(listing.item, labels)
            if others:
                self.ambiguous += 1
                continue
            self.items.append(listing.item)
            self.truth.append(path)
            self.decisions.append(said)


def evaluate(
    classifier: Classifier,
    batches: Iterable[Sequence[Listing]],
    baselines: bool = False,
    tier: str = FULL,
    progress: Progress | None = None,
) -> Evaluation:
    """Classify labelled listings in a tier, and compare the decisions with the labels.

    With `baselines`, also fit the baselines to the stored rows and compare them. An item whose category is not in the
    store counts as wrong, and in `unknown_categories`. Without a path in the file, categories are compared by their
    leaf names. An item is left out, and counts in `ambiguous_names`, if several stored paths end in its name. Raise
    InputError if no item is left.
    """
    answers = _Answers()
    start = perf_counter()
    for batch, decisions in classifier.stream(batches, top=TOP, neighbors=0, tier=tier):
        answers.add(batch, decisions, classifier.labels)
        if progress:
            progress("classify", len(answers.items), 0)
    seconds = perf_counter() - start
    if not answers.items:
        raise InputError(
            "ambiguous_categories",
            f"only category names that match several paths of the store ({answers.ambiguous} of them)",
            "a category_path for each listing",
            "add the category_path",
        )
    truth = np.array(answers.truth, dtype=object)
    predicted = np.array([decision.category_path for decision in answers.decisions], dtype=object)
    curve, area = risk_coverage(
        np.array([d.confidence for d in answers.decisions]), np.asarray(truth == predicted, bool)
    )
    figures = {
        **_figures(answers, truth, predicted, curve=area),
        "unknown_categories": int((classifier.labels.numbers(answers.truth) == NO_CATEGORY).sum()),
        "ambiguous_names": answers.ambiguous,
        "by_fast": float(np.mean([decision.tier == FAST for decision in answers.decisions])),
        **_without_stored(classifier, answers.items, truth, predicted),
        "seconds": seconds,
        "listings_per_second": (len(truth) + answers.ambiguous) / seconds,
    }
    return Evaluation(
        figures=figures,
        intervals=bootstrap_intervals(truth, predicted),
        levels=_levels(answers, classifier.labels),
        categories=_by_category(truth, predicted),
        confusions=_confusions(truth, predicted),
        risk_coverage=curve,
        baselines=_baselines(classifier, answers.items, truth, predicted) if baselines else {},
    )


def _figures(answers: _Answers, truth: Names, predicted: Names, curve: float) -> dict[str, float | int | None]:
    decisions, correct = answers.decisions, np.asarray(truth == predicted, bool)
    confidence = np.array([decision.confidence for decision in decisions])
    accepted = np.array([decision.decision == ACCEPT for decision in decisions], bool)
    above = [
        lies_in(path, said.sure_path)
        for path, said in zip(truth, decisions, strict=True)
        if said.reason == "sure_above"
    ]
    in_top = [path in [a.category_path for a in said.alternatives] for path, said in zip(truth, decisions, strict=True)]
    in_set = [path in said.prediction_set for path, said in zip(truth, decisions, strict=True)]
    return {
        "n": len(truth),
        "accuracy": float(correct.mean()),
        "top3": float(np.mean(in_top)),
        **precision_recall_f1(truth, predicted),
        **hierarchical_precision_recall_f1(truth, predicted),
        "ece": expected_calibration_error(confidence, correct),
        "accepted": float(accepted.mean()),
        "accepted_accuracy": share(correct[accepted]),
        "sure_above": len(above) / len(truth),
        "sure_above_accuracy": share(above),
        "prediction_set_target": SET_COVERAGE,
        "prediction_set_coverage": float(np.mean(in_set)),
        "prediction_set_size": float(np.mean([len(decision.prediction_set) for decision in decisions])),
        "area_under_risk_coverage": curve,
        **{f"coverage_at_{precision}": coverage_at(precision, confidence, correct) for precision in SHOWN_PRECISIONS},
    }


def _without_stored(
    classifier: Classifier, items: Sequence[Item], truth: Names, predicted: Names
) -> dict[str, float | int | None]:
    """Return how many listings are items of the store, by id or by words, and the figures without them."""
    column = classifier.index.segments.column
    ids, digests = (set(column(name).to_pylist()) for name in ("id", "text_digest"))
    new = np.array([item.id not in ids and digest(item.words.text()) not in digests for item in items], bool)
    right = np.asarray(truth == predicted, bool)[new]
    return {
        "in_store": int((~new).sum()),
        "accuracy_not_in_store": share(right),
        "macro_f1_not_in_store": macro_f1(truth[new], predicted[new]) if new.any() else None,
    }


def _levels(answers: _Answers, labels: Labels) -> list[dict[str, float]]:
    """Return the figures of the most probable node at each level. Paths are cut to the depth of the level."""
    found = []
    for depth in range(len(labels.levels) + 1):
        leaf = depth == len(labels.levels)
        truth = answers.truth if leaf else [node_of(path, depth + 1) for path in answers.truth]
        said = [
            decision.category_path if leaf or not decision.levels else decision.levels[depth].category_path
            for decision in answers.decisions
        ]
        right, answer = np.array(truth, dtype=object), np.array(said, dtype=object)
        figures = precision_recall_f1(right, answer)
        found.append(
            {
                "nodes": len(labels) if leaf else len(labels.levels[depth].paths),
                "accuracy": float((right == answer).mean()),
                "weighted_f1": figures["weighted_f1"],
                "macro_f1": figures["macro_f1"],
            }
        )
    return found


def _confusions(truth: Names, predicted: Names) -> list[dict[str, object]]:
    pairs = Counter((a, b) for a, b in zip(truth, predicted, strict=True) if a != b)
    ranked = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))[:CONFUSIONS]
    return [{"truth": right, "predicted": said, "rows": rows} for (right, said), rows in ranked]


def _baselines(
    classifier: Classifier, items: Sequence[Item], truth: Names, predicted: Names
) -> dict[str, dict[str, object]]:
    rows = classifier.index.snapshot.rows
    paths = list(rows.column("category_path"))
    texts = [item.words.text() for item in items]
    said = {
        "linear_svc": timed(linear_svc, rows.texts(), paths, texts),
        "vector_logistic": timed(vector_logistic, rows.vectors, paths, classifier.index.encoder.encode(texts)),
    }
    return {name: compare(truth, predicted, theirs, seconds) for name, (theirs, seconds) in said.items()}


def compare(truth: Names, predicted: Names, theirs: Names, seconds: float) -> dict[str, object]:
    """Return the figures of a baseline, and the intervals of the advantage of `predicted`."""
    return {
        "accuracy": float((truth == theirs).mean()),
        "macro_f1": macro_f1(truth, theirs),
        "better_by": bootstrap_intervals(truth, predicted, theirs),
        "seconds": seconds,
    }


def _right_paths(item: Item, labels: Labels) -> Sequence[str]:
    """Return the right paths of an item: its own path, or the stored paths that end in its category name.

    The latter are used if the item has only a category name.
    """
    path = item.category_path
    if path in labels.number_of or depth_of([path]) > 1:
        return [path]
    return labels.paths_of.get(item.category, [path])


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
