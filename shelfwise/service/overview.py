"""The categories and the health of a store, as the pages show them."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from shelfwise.classifier.fitting.survey import Survey, survey
from shelfwise.classifier.model.calibration import NEVER
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.item import PATH_SEPARATOR

BINS = 40  # of similarities from 0 to 1
OPEN_BELOW = 30  # nodes: a tree with fewer at the top is shown with them open


@dataclass
class Branch:
    """A node of the category tree: its items, those of them that were looked at and found, and what is below it."""

    items: int = 0
    looked: int = 0
    found: int = 0
    trained: bool = True
    open: bool = False
    children: dict[str, "Branch"] = field(default_factory=dict)


@dataclass(frozen=True)
class Drift:
    """How near the catalog's items are to each other, and how near the last listings are to them: shares of the
    largest bar by similarity, and medians."""

    catalog: list[float]
    listings: list[float]
    labels: list[str]
    catalog_median: float
    listings_median: float


class Overview:
    """Surveys of the versions that were asked for, each made once, beside the answering of requests."""

    def __init__(self) -> None:
        self._alone, self._wanted = threading.Lock(), 0
        self._latest: Survey | None = None

    def survey(self, classifier: Classifier) -> Survey | None:
        """The survey of a version, or the latest there is while it is being made; None where there is none yet."""
        version = classifier.index.snapshot.manifest.version
        with self._alone:
            if self._wanted < version:
                self._wanted = version
                threading.Thread(target=self._make, args=(classifier,), name="survey", daemon=True).start()
            return self._latest

    def _make(self, classifier: Classifier) -> None:
        made = survey(classifier)
        with self._alone:
            if self._latest is None or self._latest.version < made.version:
                self._latest = made


def tree_of(classifier: Classifier, made: Survey | None) -> dict[str, Branch]:
    """The category tree, top nodes by name."""
    top = Branch()
    rows = zip(classifier.labels.paths, classifier.counts.tolist(), classifier.known.tolist(), strict=True)
    for path, many, known in rows:
        found, looked = made.found.get(path, (0, 0)) if made else (0, 0)
        branch = top
        for name in path.split(PATH_SEPARATOR):
            branch = branch.children.setdefault(name, Branch())
            branch.items += many
            branch.found += found
            branch.looked += looked
        branch.trained = known
    for branch in top.children.values():
        branch.open = len(top.children) < OPEN_BELOW
    return top.children


def facts_of(classifier: Classifier, waiting: int, reviews: Mapping[str, int]) -> list[tuple[str, object]]:
    """What is to be known of a store, by name."""
    manifest, settings = classifier.index.snapshot.manifest, classifier.model.settings
    accept_from = settings.full.accept_from
    return [
        ("Store version", f"{manifest.version} ({manifest.change.command}, {manifest.created})"),
        ("Items", manifest.rows),
        ("Categories", len(classifier.labels)),
        ("Categories new to the head", int((~classifier.known).sum())),
        ("Encoder", manifest.encoder.name),
        ("Search", f"{manifest.replica.engine}, recall {manifest.replica.recall:.3f}"),
        ("Changed since the model was fitted", f"{manifest.unfitted} ({manifest.unfitted / manifest.rows:.1%})"),
        ("Accepted from", "-" if accept_from >= NEVER else f"{accept_from:.3f}"),
        ("Writes that wait for the index", waiting),
        ("Open reviews", reviews["open"]),
    ]


def drift_of(made: Survey | None, listings: Sequence[float]) -> Drift | None:
    """What can be compared; None where one of the two is missing."""
    if made is None or not listings or not len(made.similarities):
        return None
    edges = np.linspace(0, 1, BINS + 1)
    bars = [np.histogram(np.clip(values, 0, 1), edges)[0] for values in (made.similarities, np.asarray(listings))]
    catalog, seen = ((bar / bar.max()).tolist() for bar in bars)
    labels = [f"{low:.3f} - {high:.3f}" for low, high in pairwise(edges)]
    return Drift(catalog, seen, labels, float(np.median(made.similarities)), float(np.median(listings)))
