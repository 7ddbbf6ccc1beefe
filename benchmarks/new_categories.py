"""New categories from a few examples, beside refitting the head with the same examples, and beside a fixed mix.

    python benchmarks/new_categories.py --data DIR [--set instacart] [--seeds 5] [--minutes 10]
    python benchmarks/new_categories.py --quick        checks itself on the sample catalog

For each seed a fifth of the categories is held out of encoder, head and index; then 1, 5 and 10 examples of each are
inserted. Old are the categories that were there before; H is the harmonic mean of accuracy on old and new ones. Results
go to benchmarks/results/new_categories.json.
"""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from accuracy import ROOT, Set, items_of, machine, real_sets, sample_set

from classifier import maintenance
from classifier.fusion import head_shares
from classifier.head import Features, Head
from classifier.heldout import rank_within
from classifier.model import Model
from classifier.pipeline import Classifier
from indexer.index import Index
from indexer.lexical import ngram_counts
from indexer.search import FaissSearcher
from indexer.store import Rows, Snapshot

RESULTS = ROOT / "benchmarks" / "results" / "new_categories.json"
NAMES = ("instacart", "mwpd_gpc")
EXAMPLES = (1, 5, 10)
HIDDEN_SHARE = 0.2


@dataclass(frozen=True)
class Asked:
    """The listings of a test file: features, and the right paths."""

    features: Features
    paths: np.ndarray


def accuracies(predicted: np.ndarray, asked: Asked, hidden: set[str]) -> dict[str, float]:
    """Accuracy on old and on new categories, and their harmonic mean."""
    new = np.array([path in hidden for path in asked.paths])
    old, found = float((predicted == asked.paths)[~new].mean()), float((predicted == asked.paths)[new].mean())
    return {"old": old, "new": found, "harmonic": 2 * old * found / max(old + found, 1e-12)}


def predict(classifier: Classifier, asked: Asked) -> np.ndarray:
    """The most probable path for each listing."""
    paths = np.array(classifier.labels.paths, dtype=object)
    parts = np.array_split(np.arange(len(asked.paths)), max(1, len(asked.paths) // 1000))
    best = [classifier.score(asked.features[part]).probabilities.argmax(axis=1) for part in parts]
    return paths[np.concatenate(best)]


def with_rows(classifier: Classifier, rows: Rows, model: Model) -> Classifier:
    """The same classifier with other rows in its index, and another model, in the same space."""
    index, snapshot = classifier.index, classifier.index.snapshot
    searcher = FaissSearcher(index.space.project(rows.vectors))
    return Classifier(
        Index(Snapshot(snapshot.path, snapshot.manifest, rows), index.encoder, index.space, searcher), model
    )


def run_seed(one: Set, seed: int, minutes: float, folder: Path) -> dict[str, Any]:
    """One choice of hidden categories."""
    items, listings = items_of(*one.train), items_of(one.test)
    random = np.random.default_rng(seed)
    categories = sorted({item.category_path for item in items})
    hidden = set(random.choice(categories, max(1, round(HIDDEN_SHARE * len(categories))), replace=False))
    store = folder / f"{one.name}-{seed}"
    maintenance.build(store, {i.id: i for i in items if i.category_path not in hidden}, one.encoder)
    if minutes:
        maintenance.finetune(store, minutes=minutes)
    base = Classifier.open(store)
    rows, space, settings = base.index.snapshot.rows, base.index.space, base.model.settings

    known_paths = set(categories)
    listings = [listing for listing in listings if listing.category_path in known_paths]
    texts = [i.text() for i in listings]
    asked = Asked(
        Features(base.index.embed(texts), ngram_counts(texts)),
        np.array([i.category_path for i in listings], dtype=object),
    )
    fresh = sorted((item for item in items if item.category_path in hidden), key=lambda item: item.id)
    fresh = [fresh[i] for i in random.permutation(len(fresh))]
    paths = sorted(hidden)
    rank = rank_within(np.array([paths.index(item.category_path) for item in fresh]))
    few = [item for item, place in zip(fresh, rank, strict=True) if place < max(EXAMPLES)]
    few_rank = rank[rank < max(EXAMPLES)]
    few_texts = [i.text() for i in few]
    few_vectors = base.index.encoder.encode(few_texts)

    before = predict(base, asked)
    found: dict[str, Any] = {"before": accuracies(before, asked, hidden)}
    for examples in EXAMPLES:
        chosen = np.flatnonzero(few_rank < examples)
        columns = {
            name: [getattr(few[i], name) for i in chosen]
            for name in ("id", "title", "description", "brand", "attributes", "category", "category_path")
        }
        table = pa.table(columns)
        both = Rows(
            pa.concat_tables([rows.table.select(list(columns)), table], promote_options="permissive"),
            np.concatenate((rows.vectors, few_vectors[chosen])),
        )
        features = Features(space.project(both.vectors), ngram_counts(both.texts()))
        refitted = Head.fit(settings.goals.head, features, list(both.column("category_path")))
        after = with_rows(base, both, base.model)
        halves = head_shares(refitted, asked.features, after.labels)
        halves = halves.sharpened(settings.dense_temperature, settings.lexical_temperature)
        alone = np.array(after.labels.paths, dtype=object)[halves.mixed(settings.lexical_weight).argmax(axis=1)]
        fixed = predict_fixed_mix(after, asked)
        found[str(examples)] = {
            "shelfwise": accuracies(predict(after, asked), asked, hidden),
            "refitted_head": accuracies(alone, asked, hidden),
            "refitted_head_and_vote": accuracies(
                predict(with_rows(base, both, replace(base.model, head=refitted)), asked), asked, hidden
            ),
            "fixed_mix": accuracies(fixed, asked, hidden),
        }
    return found


def predict_fixed_mix(classifier: Classifier, asked: Asked) -> np.ndarray:
    """Vote and head mixed by weight, whether the head knows a category or not."""
    weight = classifier.model.settings.vote_weight
    paths = np.array(classifier.labels.paths, dtype=object)
    parts = np.array_split(np.arange(len(asked.paths)), max(1, len(asked.paths) // 1000))
    best = []
    for part in parts:
        scores = classifier.score(asked.features[part])
        best.append((weight * scores.vote + (1 - weight) * scores.head).argmax(axis=1))
    return paths[np.concatenate(best)]


def summarised(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and what old categories lose."""
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
@click.option("--set", "names", multiple=True, help="Only this set; can be given more than once.")
@click.option("--seeds", default=5, show_default=True)
@click.option("--minutes", default=10.0, show_default=True, help="Of fine-tuning for each seed; 0 for none.")
@click.option("--quick", is_flag=True, help="Check the benchmark itself on the sample catalog; writes nothing.")
def main(data: Path | None, names: tuple[str, ...], seeds: int, minutes: float, quick: bool) -> None:
    """Measure, print and write the results, set by set."""
    if (data is None) != quick:
        raise click.UsageError("Give --data DIR or --quick.")
    sets = [sample_set()] if data is None else [one for one in real_sets(data) if one.name in (names or NAMES)]
    for one in sets:
        found = []
        for seed in range(1 if quick else seeds):
            with tempfile.TemporaryDirectory() as folder:
                found.append(run_seed(one, seed, 0 if quick else minutes, Path(folder)))
            click.echo(f"{one.name} seed {seed}: {json.dumps(found[-1])}", err=True)
        means = summarised(found)
        for examples, ways in means.items():
            for way, values in ways.items():
                shown = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
                click.echo(f"{one.name:10} {examples:>2} examples  {way:22} {shown}")
        if quick:
            assert means["10"]["shelfwise"]["new"] > 0.3
        else:
            RESULTS.parent.mkdir(exist_ok=True)
            before = json.loads(RESULTS.read_text())["sets"] if RESULTS.exists() else {}
            content = {"encoder_minutes": minutes, "seeds": found, "means": means}
            RESULTS.write_text(
                json.dumps({"machine": machine(), "sets": before | {one.name: content}}, indent=1) + "\n"
            )


if __name__ == "__main__":
    main()
