"""Measure how fast Shelfwise encodes, classifies and starts, relative to sentence-transformers and to the machine.

    python benchmarks/speed.py --data DIR [--part encode --part classify ...] [--folder FOLDER]
    python benchmarks/speed.py --quick        smoke test on the sample catalog, writes no results

DIR has the labelled sets of benchmarks/accuracy.py, which form the catalog, and scale_mix, whose titles are the
listings. Compared methods take turns. The limit is the rate at which the machine multiplies matrices in the precision
of the encoder. The part "large" is "classify" with a million items: the items of the store and additional ones between
two nearby items, with the model of the store. FOLDER keeps the stores. Results go to benchmarks/results/speed.json, or
to the file of --results, for example for another machine. A plot goes to the .svg file next to it.
"""

import io
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from harness import ROOT, items_of, measured, one_catalog, ratio, record, recorded, sample_set, write_catalog
from titles import grown, mixed, real_titles, sample_titles

from shelfwise.classifier.changing.maintenance import put_fitted
from shelfwise.classifier.fitting.training import Fitted
from shelfwise.classifier.measuring.baselines import timed
from shelfwise.classifier.measuring.writers import layout_for, writer_for
from shelfwise.classifier.model.decision import FAST, FULL
from shelfwise.classifier.model.fusion import K
from shelfwise.classifier.model.model import model_of
from shelfwise.classifier.model.opinions import Features
from shelfwise.classifier.model.pipeline import AUTO, LISTINGS_AT_A_TIME, Classifier
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.lexical import ngram_counts
from shelfwise.indexer.encoding.runtime import Runtime, export
from shelfwise.indexer.encoding.sentence import TEXTS_PER_PASS, SentenceEncoder
from shelfwise.indexer.item import Item, Words
from shelfwise.indexer.reading.files import open_records
from shelfwise.indexer.reading.listings import Listing, ListingReader
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.rejects import RejectFile
from shelfwise.indexer.rows import Rows
from shelfwise.indexer.searching.replica import space_of
from shelfwise.indexer.store.manifest import Change
from shelfwise.indexer.store.names import RUNTIMES
from shelfwise.indexer.store.snapshot import read_snapshot, writing
from shelfwise.indexer.threads import usable_threads

RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
PARTS = ("encode", "classify", "large", "memory", "start")
ENCODERS = ("minilm", "e5")
ROUNDS, FEW_ROUNDS = 5, 3  # the latter for measurements that take minutes
START_ROUNDS = 20  # for starting processes
ITEMS, LARGE = 40_000, 1_000_000
FEW, MANY = 100_000, 1_000_000  # listings of the measurements of peak memory
ENCODED, LISTINGS, STAGED = 4_096, 50_000, 8_192  # titles for each measurement
SIZES = (1024, 2048, 4096)  # of the square matrices to multiply
TEXT = "wireless earbuds"


def encoded(name: str, titles: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return the rates of the exported encoder and of sentence-transformers in turns.

    The result also has the worst cosine of their vectors and the rate limit of the machine's matrix products.
    """
    model = load_encoder(name, "cpu")
    assert isinstance(model, SentenceEncoder)
    with tempfile.TemporaryDirectory() as folder:
        export(model, Path(folder), titles[:64])
        runtime = Runtime(Path(folder)).loaded()
    tokens = int(model.token_counts(titles).sum())
    ours: list[float] = []
    theirs: list[float] = []

    def usual() -> Any:
        options = {"batch_size": TEXTS_PER_PASS, "normalize_embeddings": True, "show_progress_bar": False}
        return model.module.encode(titles, **options)

    usual(), runtime.encode(titles)
    for _ in range(rounds):
        expected, seconds = timed(usual)
        theirs.append(len(titles) / seconds)
        found, seconds = timed(lambda: runtime.encode(titles))
        ours.append(len(titles) / seconds)
    limit = product_rate(runtime.computes().precision) / (products_of(model, titles) / len(titles))
    return {
        "titles": len(titles),
        "tokens_per_title": tokens / len(titles),
        "rates": {"ours": ours, "sentence_transformers": theirs},
        "times": ratio(ours, theirs),
        "worst_cosine": float((expected * found).sum(axis=1).min()),
        "precision": runtime.computes().precision,
        "limit": limit,
        "share_of_limit": statistics.median(ours) / limit,
    }


def products_of(model: SentenceEncoder, titles: Sequence[str]) -> float:
    """Return the operations of a transformer's matrix products for the titles, without padding."""
    config = model.module[0].auto_model.config
    hidden, inner, lengths = config.hidden_size, config.intermediate_size, model.token_counts(titles)
    weights = 2 * (4 * hidden**2 + 2 * hidden * inner) * lengths
    attention = 2 * 2 * hidden * lengths.astype(float) ** 2
    return float(config.num_hidden_layers * (weights + attention).sum())


def product_rate(precision: str) -> float:
    """Return the operations per second of the fastest product of two square matrices in a precision, on all cores."""
    import torch

    torch.set_num_threads(usable_threads())
    kind = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[precision]
    best = 0.0
    for size in SIZES:
        left, right = (torch.randn(size, size).to(kind) for _ in range(2))
        for _ in range(ROUNDS):
            best = max(best, 2 * size**3 / timed(lambda left=left, right=right: left @ right)[1])
    return best


def classified(store: Path, titles: Sequence[str], folder: Path, rounds: int) -> dict[str, Any]:
    """Return the rates of classifying a file and of only encoding its titles in turns, and the time of each stage."""
    listings = write_catalog([Item(str(i), title) for i, title in enumerate(titles)], folder / "listings.csv")
    classifier = Classifier.open(store, "cpu")
    texts = [Item("", title).words.text() for title in titles]
    ours: list[float] = []
    alone: list[float] = []
    for _ in range(rounds):
        alone.append(len(titles) / timed(lambda: classifier.index.encoder.encode(texts))[1])
        ran = measured("classify", listings, "--store", store, "-o", folder / "decided.csv")
        ours.append(len(titles) / ran["seconds"])
    return {
        "items": len(classifier.index),
        "categories": len(classifier.labels),
        "engine": classifier.index.snapshot.manifest.replica.engine,
        "listings": len(titles),
        "rates": {"classify": ours, "encode": alone},
        "share_of_encode": ratio(ours, alone),
        "peak_mib": ran["peak_mib"],
        "stages": stages(classifier, listings),
    }


def peaks(store: Path, titles: Sequence[str], folder: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Return the peak memory (MiB) of classifying files of different sizes, by tier."""
    found: dict[str, dict[str, float]] = {tier: {} for tier in (FAST, AUTO, FULL)}
    for tier, size in itertools.product(found, sizes):
        items = [Item(str(i), f"{titles[i % len(titles)]} {i // len(titles)}") for i in range(size)]
        listings = write_catalog(items, folder / "listings.csv")
        ran = measured("classify", listings, "--store", store, "-o", folder / "decided.csv", "--tier", tier)
        found[tier][f"{size:,}"] = ran["peak_mib"]
    return {
        "peak_mib": found,
        "times": {tier: max(peak.values()) / next(iter(peak.values())) for tier, peak in found.items()},
    }


def stages(classifier: Classifier, file: Path) -> dict[str, float]:
    """Return the microseconds per listing of each stage, with the stages run one after the other."""
    seconds: dict[str, float] = {}
    many = 0

    def stage(name: str, work: Callable[[], Any]) -> Any:
        result, taken = timed(work)
        seconds[name] = seconds.get(name, 0.0) + taken
        return result

    with open_records(file) as records, RejectFile(file.with_suffix(".rejects")) as rejects:
        reader = stage("read", partial(ListingReader.of_file, records, ReadOptions()))
        batches = reader.batches(rejects, LISTINGS_AT_A_TIME[FULL])
        writer = writer_for(io.BytesIO(), layout_for(records, reader.columns, "csv"))
        while many < STAGED:
            listings: list[Listing] = stage("read", partial(next, batches, []))
            if not listings:
                break
            many += len(listings)
            items = [listing.item for listing in listings if listing.item is not None]
            words = stage("clean", partial(words_of, items))
            texts = [said.text() for said in words]
            counts = stage("n-grams", partial(ngram_counts, words))
            vectors = stage("encode", partial(classifier.index.embed, texts))
            found = stage("search", partial(classifier.index.search, vectors, K))
            features = Features(vectors, counts)
            scores = stage("vote and head", partial(classifier.judge, features, found))
            decisions = stage("decide", partial(classifier.decide, words, scores))
            stage("write", partial(writer.write, listings, decisions))
    return {name: 1e6 * taken / many for name, taken in seconds.items()}


def words_of(items: Sequence[Item]) -> list[Words]:
    """Return the cleaned words of items."""
    return [item.words for item in items]


def started(store: Path, rounds: int) -> dict[str, Any]:
    """Return the seconds of processes in turns: a look-up, the help, and imports of the library and of others."""
    similar = ["-m", "shelfwise", "similar", TEXT, "--store", str(store)]
    commands = {
        "similar": similar,
        "import sentence_transformers": ["-c", "import sentence_transformers"],
        "help": ["-m", "shelfwise", "--help"],
        "import click": ["-c", "import click"],
        "import shelfwise": ["-c", "import shelfwise"],
        "nothing": ["-c", "pass"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):  # the first round warms up
        for name, arguments in commands.items():
            seconds[name].append(timed(lambda arguments=arguments: run(arguments))[1])
    kept = {name: measurements[1:] for name, measurements in seconds.items()}
    return {
        "seconds": kept,
        "similar_to_import": ratio(kept["similar"], kept["import sentence_transformers"]),
        "help_to_import": ratio(kept["help"], kept["import click"]),
        "import_seconds": statistics.median(kept["import shelfwise"]) - statistics.median(kept["nothing"]),
    }


def run(arguments: Sequence[str]) -> None:
    """Run this Python interpreter with arguments."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)


def store_of(data: Path | None, folder: Path) -> Path:
    """Return a store of ITEMS items of the labelled sets, built in `folder` unless it exists."""
    store = folder / "store"
    if not store.exists():
        items = items_of(*sample_set().train) if data is None else one_catalog(data)
        items = mixed(items, lambda item: item.id)
        encoder = "hashing" if data is None else "minilm"
        measured("build", write_catalog(items[:ITEMS], folder / "catalog.csv"), "--store", store, "--encoder", encoder)
    return store


def grown_store(small: Path, folder: Path, n: int) -> Path:
    """Return a store of n items, created in `folder` unless it exists.

    It has the model and the items of a small store, and additional items with the titles and categories of nearby ones.
    """
    store = folder / "large"
    if not store.exists():
        snapshot = read_snapshot(small)
        vectors, of = grown(snapshot.rows.vectors, n)
        table = snapshot.rows.table.take(of)
        ids = pa.array([f"{i:08}" for i in range(n)])
        rows = Rows(table.set_column(table.schema.get_field_index("id"), table.schema.field("id"), ids), vectors)
        with writing(store, create=True) as draft:
            draft.table.upsert(rows)
            put_fitted(draft, rows, Fitted(space_of(snapshot), model_of(snapshot)))
            if snapshot.manifest.encoder.runtime:
                shutil.copytree(small / RUNTIMES, store / RUNTIMES)
            draft.commit(Change("build", n, 0, 0), snapshot.manifest.encoder)
    return store


def plot(sets: dict[str, Any], file: Path) -> None:
    """Plot the titles per second of each encoder, and the time of each stage of classifying."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "shelfwise"
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars = {"sentence-transformers": "sentence_transformers", "Shelfwise": "ours"}
    for i, name in enumerate(ENCODERS):
        entry = sets[f"encode, {name}"]
        for j, (label, who) in enumerate(bars.items()):
            rate = statistics.median(entry["rates"][who])
            left.bar(i + 0.3 * j, rate, 0.3, color=f"C{j}", label=label if i == 0 else None)
        left.bar(i + 0.6, entry["limit"], 0.3, color="none", edgecolor="C7", label="limit" if i == 0 else None)
    left.set_xticks([i + 0.3 for i in range(len(ENCODERS))], ENCODERS)
    left.set(ylabel="titles/s")
    left.legend(fontsize=8)
    shown = {"40,000 items": "classify", "1,000,000 items": "classify, large"}
    for i, name in enumerate(shown.values()):
        start = 0.0
        for j, (stage, microseconds) in enumerate(sets[name]["stages"].items()):
            right.barh(i, microseconds, 0.5, left=start, color=f"C{j}", label=stage if i == 0 else None)
            start += microseconds
    right.set_yticks(range(len(shown)), list(shown))
    right.set(xlabel="microseconds a listing, one stage after the other")
    figure.legend(*right.get_legend_handles_labels(), fontsize=8, ncols=8, loc="outside upper right")
    figure.savefig(file, metadata={"Date": None})


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, help="Run only this part.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Folder that keeps the store; an existing store is reused."
)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="File for the results.")
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, parts: tuple[str, ...], folder: Path | None, results: Path, quick: bool) -> None:
    """Measure, print and write the results."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    titles, rounds, encoders = (
        (sample_titles(), 1, ENCODERS[:1]) if data is None else (real_titles(data), ROUNDS, ENCODERS)
    )
    titles = mixed(titles, str)
    with tempfile.TemporaryDirectory() as work:
        kept = folder or Path(work)
        kept.mkdir(parents=True, exist_ok=True)
        figures: dict[str, dict[str, Any]] = {}
        if "encode" in parts:
            figures |= {f"encode, {name}": encoded(name, titles[:ENCODED], rounds) for name in encoders}
        if "classify" in parts:
            figures["classify"] = classified(
                store_of(data, kept), titles[:LISTINGS], Path(work), min(rounds, FEW_ROUNDS)
            )
        if "large" in parts:
            large = grown_store(store_of(data, kept), kept, LARGE if data else len(titles) * 2)
            figures["classify, large"] = classified(large, titles[:LISTINGS], Path(work), min(rounds, FEW_ROUNDS))
        if "memory" in parts:
            sizes = (FEW, MANY) if data else (len(titles), 4 * len(titles))
            figures["memory"] = peaks(store_of(data, kept), titles, Path(work), sizes)
        if "start" in parts:
            figures["start"] = started(store_of(data, kept), START_ROUNDS if data else rounds)
    click.echo(json.dumps(figures, indent=1))
    if quick:
        assert figures["encode, minilm"]["worst_cosine"] > 0.999
        assert len(figures["classify"]["stages"]) == 8
        assert figures["classify, large"]["items"] > figures["classify"]["items"]
        return
    for name, found in figures.items():
        record(results, name, found | {"threads": usable_threads()})
    if {"encode, e5", "classify, large"} <= recorded(results).keys():
        plot(recorded(results), results.with_suffix(".svg"))


if __name__ == "__main__":
    main()
