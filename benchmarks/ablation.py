"""Measure the contribution of each part of the model, on the stores of benchmarks/accuracy.py.

    python benchmarks/ablation.py --data DIR --stores DIR [--set instacart]
    python benchmarks/ablation.py --quick        smoke test on the sample catalog, writes no results

Each variant leaves out or replaces one part. Its settings are chosen again on the held-out rows, and the figures are
measured on the test file. Results go to benchmarks/results/ablation.json.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from harness import ROOT, Set, items_of, real_sets, record, sample_set

from shelfwise.classifier.changing import release
from shelfwise.classifier.fitting.heldout import choose_axes, folds, splits
from shelfwise.classifier.fitting.mixing import Grid
from shelfwise.classifier.fitting.training import choose_settings
from shelfwise.classifier.labels import Labels
from shelfwise.classifier.metrics import expected_calibration_error, macro_f1, share
from shelfwise.classifier.model.fusion import K
from shelfwise.classifier.model.model import Goals, Model
from shelfwise.classifier.model.opinions import Features, Head
from shelfwise.classifier.model.opinions.vectors import KINDS
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.encoding.encoder import Encoder
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.lexical import ngram_counts
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.searching.search import FaissSearcher, Neighbors
from shelfwise.indexer.searching.segments import Segment, Segments, View
from shelfwise.indexer.store.snapshot import Snapshot, read_snapshot
from shelfwise.indexer.store.store_encoder import encoder_for
from shelfwise.indexer.types import Vectors

RESULTS = ROOT / "benchmarks" / "results" / "ablation.json"
PARTS = {
    "all": Grid(),
    "vote only": Grid(vote_weights=(1.0,)),
    "head only": Grid(vote_weights=(0.0,)),
    "without n-grams": Grid(weights=({"vectors": 1.0},)),
    "vote and n-grams only": Grid(weights=({"ngrams": 1.0},)),
    "without prior correction": Grid(prior_exponents=(0.0,)),
}
TARGETS = (0.95, 0.98)


@dataclass(frozen=True)
class Found:
    """A searcher that returns precomputed neighbours, which all variants share."""

    neighbors: Neighbors

    def search(self, queries: Vectors, k: int, allowed: object = None) -> Neighbors:
        """Return the precomputed neighbours of the queries."""
        assert allowed is None and k == self.neighbors.rows.shape[1] and len(queries) == len(self.neighbors.rows)
        return self.neighbors


@dataclass(frozen=True)
class Encoded:
    """A catalog and its test file, embedded by one encoder."""

    snapshot: Snapshot
    rows: Rows
    encoder: Encoder
    asked: Features
    truth: np.ndarray
    kept_back: float  # share of the catalog held out from fine-tuning; 0 for a pretrained encoder

    def variants(self, kinds: list[str]) -> Iterator[tuple[str, dict[str, float | None]]]:
        """Yield the name and the figures of each variant."""
        rows = self.rows
        labels = Labels.from_paths(rows.column("category_path"), rows.column("category"))
        among = splits(rows, labels, self.kept_back)
        axes = choose_axes(rows, labels, among)
        space = Space.fit(rows.vectors, axes)
        features = Features(space.project(rows.vectors), ngram_counts(rows.words()))
        asked = Features(space.project(self.asked.vectors), self.asked.counts)
        found = Found(FaissSearcher(features.vectors).search(asked.vectors, K))
        for kind in kinds:
            evidence = list(folds(rows, labels, among, axes, kind))
            head = Head.fit(kind, features, list(rows.column("category_path")))
            for name, grid, target in _wanted(kind):
                settings = choose_settings(evidence, labels, Goals(kind, target_precision=target), grid)
                segment = Segment(rows.table, (View(features.vectors, found),), np.ones(len(rows), bool))
                index = Index(self.snapshot, self.encoder, space, Segments((segment,)))
                yield name, self._figures(Classifier(index, Model(head, settings)), asked)

    def _figures(self, classifier: Classifier, asked: Features) -> dict[str, float | None]:
        probabilities = classifier.score(asked).probabilities
        predicted = np.array(classifier.labels.paths, dtype=object)[probabilities.argmax(axis=1)]
        confidence, correct = probabilities.max(axis=1), predicted == self.truth
        accepted = confidence >= classifier.model.settings.full.accept_from
        return {
            "accuracy": float(correct.mean()),
            "macro_f1": macro_f1(self.truth, predicted),
            "ece": expected_calibration_error(confidence, correct),
            "accepted": float(accepted.mean()),
            "accepted_accuracy": share(correct[accepted]),
        }


def _wanted(kind: str) -> Iterator[tuple[str, Grid, float]]:
    """Yield the name, grid and target precision of each variant with a head of this kind."""
    if kind != next(iter(KINDS)):
        yield f"head {kind}", Grid(), TARGETS[0]
        return
    for name, grid in PARTS.items():
        yield name, grid, TARGETS[0]
    yield f"all, target {TARGETS[1]}", Grid(), TARGETS[1]


def run(one: Set, store: Path, kinds: list[str]) -> dict[str, Any]:
    """Return the figures of each variant, by encoder."""
    snapshot = read_snapshot(store)
    identity = snapshot.manifest.encoder
    listings = items_of(one.test)
    texts = [item.words.text() for item in listings]
    counts = ngram_counts([item.words for item in listings])
    truth = np.array([item.category_path for item in listings], dtype=object)
    tuned = encoder_for(store, snapshot.manifest)
    encoders = {"fine-tuned" if identity.folder else "frozen": (tuned, snapshot.rows.vectors)}
    if identity.folder:
        plain = load_encoder(identity.name)
        encoders["frozen"] = (plain, plain.encode(snapshot.rows.texts()))
    found: dict[str, Any] = {}
    for state, (encoder, vectors) in encoders.items():
        asked = Features(encoder.encode(texts), counts)
        mine = Rows(snapshot.rows.table, vectors)
        found[state] = {}
        kept = identity.kept_back if state == "fine-tuned" else 0.0
        for name, figures in Encoded(snapshot, mine, encoder, asked, truth, kept).variants(kinds):
            found[state][name] = figures
            shown = "  ".join(f"{key} {value:.4f}" for key, value in figures.items() if value is not None)
            click.echo(f"{one.name:14} {state:12} {name:24} {shown}")
    return found


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--stores", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--set", "names", multiple=True, help="Run only this set; repeat it for several sets.")
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, stores: Path | None, names: tuple[str, ...], quick: bool) -> None:
    """Measure, print and write the results, set by set."""
    if quick:
        one = sample_set()
        with tempfile.TemporaryDirectory() as folder:
            release.build(Path(folder) / "store", {item.id: item for item in items_of(*one.train)}, one.encoder)
            found = run(one, Path(folder) / "store", list(KINDS)[:1])
        assert all(figures["accuracy"] > 0.4 for figures in found["frozen"].values())
        return
    if data is None or stores is None:
        raise click.UsageError("Pass --data DIR and --stores DIR, or --quick.")
    for one in real_sets(data):
        if (not names or one.name in names) and (stores / one.name).exists():
            found = run(one, stores / one.name, list(KINDS))
            record(RESULTS, one.name, found)


if __name__ == "__main__":
    main()
