"""Measure the rate and accuracy of the tiers, compared with peers that use the same encoder and rows.

    python benchmarks/tiers.py --data DIR [--set instacart] [--peer knn] [--folder FOLDER]
    python benchmarks/tiers.py --quick        smoke test on the sample catalog, writes no results

DIR has the labelled sets of benchmarks/accuracy.py. SetFit comes with the extra `peers`. Stores are built from the
train files with the pretrained encoder, and kept in FOLDER. The listings of the test files are classified from file to
file with an open store, in turns. The cache of n-grams is cleared before each turn. Results go to
benchmarks/results/tiers.json.
"""

import functools
import gc
import io
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import peers
from harness import ROOT, Set, items_of, measured, ratio, real_sets, record, recorded, sample_set

from shelfwise.classifier.measuring.baselines import timed
from shelfwise.classifier.measuring.writers import layout_for, writer_for
from shelfwise.classifier.model.decision import FAST, FULL, Decision
from shelfwise.classifier.model.pipeline import AUTO, LISTINGS_AT_A_TIME, TIERS, Classifier
from shelfwise.indexer.encoding import lexical
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.sentence import SentenceEncoder
from shelfwise.indexer.reading.files import open_records
from shelfwise.indexer.reading.listings import ListingReader
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.rejects import RejectFile

RESULTS = ROOT / "benchmarks" / "results" / "tiers.json"
ROUNDS = 5
SETS = ("instacart", "zh_retail30", "myntra_fashion", "mwpd_gpc")
PEERED = "instacart"  # the set on which the peers run
PEERS = ("knn", "setfit", "fasttext", "transformers")


def tried(one: Set, folder: Path, wanted: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return the rates and accuracies of the tiers and of the peers, measured in turns."""
    store = folder / one.name
    if not store.exists():
        measured("build", *one.train, "--store", store, "--encoder", one.encoder)
    classifier = Classifier.open(store, "cpu")
    rows, listings = items_of(*one.train), items_of(one.test)
    truth = [item.category_path for item in listings]
    texts, paths, asked = (
        [row.words.text() for row in rows],
        [row.category_path for row in rows],
        [i.words.text() for i in listings],
    )
    encoder = functools.cache(lambda: cast(SentenceEncoder, load_encoder(one.encoder, "cpu")))
    ways: dict[str, Callable[[], peers.Predict]] = {
        "knn": lambda: peers.knn(texts, paths, encoder()),
        "setfit": lambda: peers.setfit(texts, paths, encoder()),
        "fasttext": lambda: peers.fasttext(texts, paths, one.chinese),
        "transformers": lambda: peers.transformers_loop(paths, encoder()),
    }
    others = {name: ways[name]() for name in wanted}
    rates: dict[str, list[float]] = {name: [] for name in (*TIERS, *others)}
    said: dict[str, Sequence[str]] = {}
    by_fast: dict[str, float] = {}
    classified(classifier, one.test, AUTO)  # loads models and imports
    for _ in range(rounds):
        for tier in TIERS:
            lexical._remembered.cache_clear()
            decisions, seconds = timed(lambda tier=tier: classified(classifier, one.test, tier))
            rates[tier].append(len(decisions) / seconds)
            said[tier] = [decision.category_path for decision in decisions]
            by_fast[tier] = Counter(decision.tier for decision in decisions)[FAST] / len(decisions)
        for name, predict in others.items():
            said[name], seconds = timed(lambda predict=predict: predict(asked))
            rates[name].append(len(asked) / seconds)
    return {
        name: {
            "rates": rates[name],
            "times_full": ratio(rates[name], rates[FULL]),
            "accuracy": float(np.mean([one == right for one, right in zip(said[name], truth, strict=True)])),
            "by_fast": by_fast.get(name),
        }
        for name in rates
    } | {"listings": len(listings), "items": len(rows), "encoder": one.encoder}


def classified(classifier: Classifier, file: Path, tier: str) -> list[Decision]:
    """Classify a file as `shelfwise classify` does, but write the output to memory; return the decisions."""
    found: list[Decision] = []
    with open_records(file) as records, RejectFile(Path(tempfile.gettempdir()) / "tiers.rejects") as rejects:
        reader = ListingReader.of_file(records, ReadOptions())
        writer = writer_for(io.BytesIO(), layout_for(records, reader.columns, "csv"))
        batches = reader.batches(rejects, LISTINGS_AT_A_TIME[tier])
        for batch, decisions in classifier.stream(batches, tier=tier):
            writer.write(batch, decisions)
            found += filter(None, decisions)
    return found


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--set", "names", multiple=True, type=click.Choice(SETS), default=SETS, help="Run only this set.")
@click.option("--peer", "wanted", multiple=True, type=click.Choice(PEERS), default=PEERS, help="Run only this peer.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Folder that keeps the stores; existing ones are reused."
)
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, names: tuple[str, ...], wanted: tuple[str, ...], folder: Path | None, quick: bool) -> None:
    """Measure, print and write the results, set by set."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    gc.disable()  # like `shelfwise classify`
    sets = [sample_set()] if data is None else [one for one in real_sets(data) if one.name in names]
    for one in sets:
        with tempfile.TemporaryDirectory() as work:
            kept = folder or Path(work)
            kept.mkdir(parents=True, exist_ok=True)
            found = tried(one, kept, wanted if one.name == PEERED else (), 1 if quick else ROUNDS)
        for name in (*TIERS, *wanted):
            if figures := found.get(name):
                rate = statistics.median(figures["rates"])
                click.echo(
                    f"{one.name:14} {name:12} {rate:8,.0f}/s  {figures['times_full']:6.2f}  {figures['accuracy']:.4f}"
                )
        if quick:
            assert found[FAST]["by_fast"] == 1
            assert found[FULL]["accuracy"] > 0.5
        else:
            record(RESULTS, one.name, recorded(RESULTS).get(one.name, {}) | found)


if __name__ == "__main__":
    main()
