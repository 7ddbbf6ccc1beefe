"""The category tree and the health of a store, for the pages."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from shelfwise.classifier.fitting.survey import Survey, survey
from shelfwise.classifier.model.calibration import NEVER
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.item import PATH_SEPARATOR

BINS = 40  # of a histogram of similarities in [0, 1]
OPEN_BELOW = 30  # a tree with fewer top nodes is shown expanded


@dataclass
class Branch:
    """A node of the category tree, with its number of items and its children.

    `looked` counts the items surveyed, `found` those of them that the vote of other items puts into their category.
    """

    items: int = 0
    looked: int = 0
    found: int = 0
    trained: bool = True
    open: bool = False
    children: dict[str, "Branch"] = field(default_factory=dict)


@dataclass(frozen=True)
class Drift:
    """Similarity of catalog items to their nearest other item, and of the last listings to their nearest item.

    `catalog` and `listings` are histograms (each bar a share of the largest), with medians.
    """

    catalog: list[float]
    listings: list[float]
    labels: list[str]
    catalog_median: float
    listings_median: float


class Overview:
    """Surveys of store versions, each computed once, in a background thread."""

    def __init__(self) -> None:
        self._alone, self._wanted = threading.Lock(), 0
        self._latest: Survey | None = None

    def survey(self, classifier: Classifier) -> Survey | None:
        """Return the survey of a version, or the latest one until it is computed (None if there is none yet)."""
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
    """Return the top nodes of the category tree by name."""
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
    """Return the facts of the health page as (name, value) pairs."""
    manifest, settings = classifier.index.snapshot.manifest, classifier.model.settings
    accept_from = settings.full.accept_from
    return [
        ("Store version", f"{manifest.version} ({manifest.change.command}, {manifest.created})"),
        ("Items", manifest.rows),
        ("Categories", len(classifier.labels)),
        ("Categories new to the model", int((~classifier.known).sum())),
        ("Encoder", manifest.encoder.name),
        ("Search", f"{manifest.replica.engine}, recall {manifest.replica.recall:.3f}"),
        ("Changed since the model was fitted", f"{manifest.unfitted} ({manifest.unfitted / manifest.rows:.1%})"),
        ("Acceptance threshold", "-" if accept_from >= NEVER else f"{accept_from:.3f}"),
        ("Writes waiting to be indexed", waiting),
        ("Open reviews", reviews["open"]),
    ]


def drift_of(made: Survey | None, listings: Sequence[float]) -> Drift | None:
    """Return the drift (None if there is no survey or no listing yet)."""
    if made is None or not listings or not len(made.similarities):
        return None
    edges = np.linspace(0, 1, BINS + 1)
    bars = [np.histogram(np.clip(values, 0, 1), edges)[0] for values in (made.similarities, np.asarray(listings))]
    catalog, seen = ((bar / bar.max()).tolist() for bar in bars)
    labels = [f"{low:.3f} - {high:.3f}" for low, high in pairwise(edges)]
    return Drift(catalog, seen, labels, float(np.median(made.similarities)), float(np.median(listings)))
