"""Measure new categories learned from a few examples, compared with retraining the head and with a fixed mix.

    python benchmarks/new_categories.py --data DIR [--set instacart] [--seeds 5] [--minutes 10]
    python benchmarks/new_categories.py --quick        smoke test on the sample catalog, writes no results

For each seed, a fifth of the categories is held out from encoder, head and index. Then 1, 5 and 10 examples of each are
inserted. The old categories are the remaining ones. H is the harmonic mean of the accuracies on old and new categories.
Results go to benchmarks/results/new_categories.json.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from harness import ROOT, Set, items_of, machine, real_sets, record, sample_set
from numpy.typing import NDArray

from shelfwise.classifier.changing.finetuning import lessons_of
from shelfwise.classifier.fitting.finetune import Limits, finetune
from shelfwise.classifier.fitting.heldout import rank_within, share_held_out
from shelfwise.classifier.fitting.training import train
from shelfwise.classifier.labels import Labels, Numbers, Probabilities
from shelfwise.classifier.model.fusion import Evidence, K, Mix, Opinions, blend, known_to, opinions_of
from shelfwise.classifier.model.model import Goals
from shelfwise.classifier.model.opinions import Features, Head
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.lexical import ngram_counts
from shelfwise.indexer.encoding.sentence import SentenceEncoder
from shelfwise.indexer.item import words_of
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.search import FaissSearcher
from shelfwise.indexer.types import Vectors

RESULTS = ROOT / "benchmarks" / "results" / "new_categories.json"
NAMES = ("instacart", "mwpd_gpc")
EXAMPLES = (1, 5, 10)
HIDDEN_SHARE = 0.2
COLUMNS = ("id", "title", "description", "brand", "attributes", "category", "category_path")


class Catalog:
    """The n items and m listings of a set, embedded once by the pretrained encoder."""

    def __init__(self, one: Set) -> None:
        items = items_of(*one.train)
        self.encoder_name = one.encoder
        columns = {name: [getattr(item, name) for item in items] for name in COLUMNS}
        self.table = pa.table(columns | {"twin_key": [words_of(item.title).twin_key() for item in items]})
        self.labels = Labels.from_paths(columns["category_path"], columns["category"])
        self.categories = self.labels.numbers(columns["category_path"])
        listings = [item for item in items_of(one.test) if item.category_path in self.labels.number_of]
        self.truth = self.labels.numbers([item.category_path for item in listings])
        self.texts, self.asked = ([item.words.text() for item in part] for part in (items, listings))
        self.counts, self.asked_counts = (ngram_counts([item.words for item in part]) for part in (items, listings))
        encoder = load_encoder(one.encoder)
        self.vectors, self.asked_vectors = encoder.encode(self.texts), encoder.encode(self.asked)

    def finetuned(self, old: Numbers, minutes: float) -> tuple[Vectors, Vectors]:
        """Fine-tune the encoder on the rows `old`, and return its vectors of items and listings."""
        encoder = load_encoder(self.encoder_name)
        assert isinstance(encoder, SentenceEncoder)
        lessons = lessons_of(Rows(self.table.take(old), self.vectors[old]), share_held_out(len(old)))
        with tempfile.TemporaryDirectory() as folder:
            finetune(encoder, lessons, Limits(seconds=60 * minutes), Path(folder) / "checkpoint")
        return encoder.encode(self.texts), encoder.encode(self.asked)


def run_seed(catalog: Catalog, seed: int, minutes: float) -> dict[str, Any]:
    """Return the accuracies for one random choice of held-out categories."""
    random = np.random.default_rng(seed)
    c, categories = len(catalog.labels), catalog.categories
    hidden = np.isin(np.arange(c), random.choice(c, max(1, round(HIDDEN_SHARE * c)), replace=False))
    old = np.flatnonzero(~hidden[categories])
    vectors, asked_vectors = catalog.vectors, catalog.asked_vectors
    if minutes:
        vectors, asked_vectors = catalog.finetuned(old, minutes)
    kept = share_held_out(len(old)) if minutes else 0.0
    fitted = train(Rows(catalog.table.take(old), vectors[old]), Goals(), kept)
    settings, head = fitted.model.settings, fitted.model.head
    mix = settings.mix
    features = Features(fitted.space.project(vectors), catalog.counts)
    asked = Features(fitted.space.project(asked_vectors), catalog.asked_counts)

    def opinions(head: Head | None) -> Opinions:
        return opinions_of(head, asked, catalog.labels, known_to(head, catalog.labels), settings.temperatures)

    def evidence(rows: Numbers) -> Evidence:
        return Evidence(
            neighbors=FaissSearcher(features.vectors[rows]).search(asked.vectors, K),
            labels=categories[rows],
            counts=np.bincount(categories[rows], minlength=c),
            opinions=said,
            known=known_to(head, catalog.labels),
        )

    said = opinions(head)

    order = random.permutation(len(categories))
    rank = np.empty(len(categories), np.int64)
    rank[order] = rank_within(categories[order])
    found: dict[str, Any] = {"before": _accuracies(evidence(old).mixed(mix).fused, catalog.truth, hidden)}
    for examples in EXAMPLES:
        rows = np.sort(np.concatenate((old, np.flatnonzero(hidden[categories] & (rank < examples)))))
        refitted = Head.fit(settings.goals.head, features[rows], [catalog.labels.paths[i] for i in categories[rows]])
        now = evidence(rows)
        again = replace(now, opinions=opinions(refitted), known=known_to(refitted, catalog.labels))
        ways = {
            "shelfwise": now.mixed(mix).fused,
            "refitted_head": blend(again.opinions, mix.weights).shares,
            "refitted_head_and_vote": again.mixed(mix).fused,
            "fixed_mix": _fixed_mix(now, mix),
        }
        found[str(examples)] = {way: _accuracies(shares, catalog.truth, hidden) for way, shares in ways.items()}
    return found


def _fixed_mix(evidence: Evidence, mix: Mix) -> Probabilities:
    """Mix vote and head with the same weight for all categories, even those that the head does not know."""
    head = blend(evidence.opinions, mix.weights).shares
    return mix.vote_weight * evidence.vote(mix.vote) + (1 - mix.vote_weight) * head


def _accuracies(shares: Probabilities, truth: Numbers, hidden: NDArray[np.bool_]) -> dict[str, float]:
    """Return the accuracies on old and on new categories, and their harmonic mean."""
    correct, new = shares.argmax(axis=1) == truth, hidden[truth]
    old, found = float(correct[~new].mean()), float(correct[new].mean())
    return {"old": old, "new": found, "harmonic": 2 * old * found / max(old + found, 1e-12)}


def summarised(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over the seeds, with the loss of accuracy on old categories."""
    means: dict[str, Any] = {}
    for examples in map(str, EXAMPLES):
        means[examples] = {}
        for way in seeds[0][examples]:
            values = {
                name: float(np.mean([s[examples][way][name] for s in seeds])) for name in ("old", "new", "harmonic")
            }
            lost = float(np.mean([s["before"]["old"] - s[examples][way]["old"] for s in seeds]))
            means[examples][way] = values | {"old_loss": lost}
    return means


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--set", "names", multiple=True, help="Run only this set; repeat it for several sets.")
@click.option("--seeds", default=5, show_default=True)
@click.option("--minutes", default=10.0, show_default=True, help="Minutes of fine-tuning per seed; 0 for none.")
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, names: tuple[str, ...], seeds: int, minutes: float, quick: bool) -> None:
    """Measure, print and write the results, set by set."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    sets = [sample_set()] if data is None else [one for one in real_sets(data) if one.name in (names or NAMES)]
    for one in sets:
        catalog, found = Catalog(one), list[dict[str, Any]]()
        for seed in range(1 if quick else seeds):
            found.append(run_seed(catalog, seed, 0 if quick else minutes))
            if not quick:
                content = {"commit": machine()["commit"], "encoder_minutes": minutes}
                record(RESULTS, one.name, content | {"seeds": found, "means": summarised(found)})
        for examples, ways in summarised(found).items():
            for way, values in ways.items():
                shown = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
                click.echo(f"{one.name:10} {examples:>2} examples  {way:22} {shown}")
        if quick:
            assert 0 < found[0]["1"]["shelfwise"]["new"] < found[0]["10"]["shelfwise"]["new"]
            assert found[0]["10"]["shelfwise"]["new"] > 0.25


if __name__ == "__main__":
    main()
