"""Run eight readers that classify while a writer changes their store; then run two writers at once.

    python benchmarks/readers.py [--changes 500]
    python benchmarks/readers.py --quick        smoke test with a few changes, writes no results

Readers and writers are processes. Every batch of decisions must come from a single version. The number of rows must be
that of the version, and a marker item must name the version that wrote it. All items acknowledged to the two writers
must be stored, and `check` must find no problem. Results go to benchmarks/results/readers.json.
"""

import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from harness import ROOT, items_of, record

import shelfwise as sw
from shelfwise import Item
from shelfwise.classifier.model.pipeline import Classifier

RESULTS = ROOT / "benchmarks" / "results" / "readers.json"
ITEMS, LISTINGS, READERS = 300, 20, 8
PAUSE = 0.2  # seconds between the batches of a reader
MARKER = "marker"  # id of the item that records the version; adds and builds write it
STOP = "stop"  # file that stops the readers


def sample() -> list[Item]:
    """Return the first ITEMS items of the sample catalog by id."""
    return sorted(items_of(ROOT / "data" / "catalog.csv"), key=lambda item: item.id)[:ITEMS]


def marker(version: int) -> Item:
    """Return the item that records the version which writes it."""
    return Item(MARKER, f"marker {version}", "", "", "", "Markers", "Markers")


def read(folder: Path) -> dict[str, Any]:
    """Classify until stopped; return the batches, the versions seen, and the median seconds of a refresh."""
    listings = [replace(item, category="", category_path="") for item in sample()[:LISTINGS]]
    classifier, seen, batches, refreshing = Classifier.open(folder / "store"), set[int](), 0, list[float]()
    while not (folder / STOP).exists():
        started, before = time.perf_counter(), classifier
        classifier = classifier.refreshed()
        if classifier is not before:
            refreshing.append(time.perf_counter() - started)
        manifest, segments = classifier.index.snapshot.manifest, classifier.index.segments
        decisions = classifier.classify(listings)
        assert {decision.store_version for decision in decisions} == {manifest.version}
        assert len(classifier.index) == manifest.rows
        if manifest.change.command in ("add", "build"):
            row = segments.row_of(MARKER)
            assert row is not None and segments.column("title")[row].as_py() == f"marker {manifest.version}"
        seen.add(manifest.version)
        batches += 1
        time.sleep(PAUSE)  # leaves a core to the writer
    return {"batches": batches, "versions": len(seen), "refresh_seconds": statistics.median(refreshing)}


def write(folder: Path, changes: int) -> dict[str, int]:
    """Make `changes` changes, then stop the readers; return the number of changes of each kind."""
    store, items, counts = sw.open(folder / "store"), sample(), dict[str, int]()
    try:
        for turn in range(changes):
            version = store.version + 1
            kind = ("add", "add", "remove", "build", "compact")[turn % 5]
            match kind:
                case "add":
                    some = [replace(item, id=f"{item.id}-{turn}") for item in items[turn % 200 : turn % 200 + 5]]
                    store.add([*some, marker(version)])
                case "remove":
                    store.remove(f"{items[(turn - 1) % 200].id}-{turn - 1}")
                case "build":
                    sw.build(store.path, [*items[turn % 50 :], marker(version)], force=True)
                    store.refresh()
                case _:
                    store.compact(3)
            counts[kind] = counts.get(kind, 0) + 1
    finally:
        (folder / STOP).touch()
    return counts


def add_own(folder: Path, name: str, changes: int) -> list[str]:
    """Add items one by one, and return the acknowledged ids."""
    first, store = sample()[0], sw.open(folder / "store")
    added = []
    for i in range(changes):
        item = replace(first, id=f"{name}-{i}")
        store.add([item])
        added.append(item.id)
    return added


@click.command()
@click.option(
    "--changes",
    default=500,
    show_default=True,
    help="Changes of the single writer; each of the two writers makes a fifth.",
)
@click.option("--quick", is_flag=True, help="Smoke test with a few changes; writes no results.")
def main(changes: int, quick: bool) -> None:
    """Run, print and write the results."""
    changes = 10 if quick else changes
    os.environ["OMP_NUM_THREADS"] = "1"  # there are more processes than cores
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(READERS + 1, get_context("spawn")) as pool:
        folder = Path(name)
        sw.build(folder / "store", [*sample(), marker(1)], encoder="hashing")
        readers = [pool.submit(read, folder) for _ in range(READERS)]
        started = time.perf_counter()
        counts = pool.submit(write, folder, changes).result()
        seconds = time.perf_counter() - started
        read_by = [reader.result() for reader in readers]
        writers = [pool.submit(add_own, folder, writer, changes // 5) for writer in ("a", "b")]
        acknowledged = {id_ for writer in writers for id_ in writer.result()}
        store = sw.open(folder / "store")
        lost = {id_ for id_ in acknowledged if id_ not in store}
        problems = store.check().problems
    figures = {"changes": counts, "seconds": seconds, "readers": read_by}
    figures |= {"two_writers": {"acknowledged": len(acknowledged), "lost": len(lost)}, "problems": problems}
    click.echo(json.dumps(figures, indent=1))
    assert not lost and not problems
    if not quick:
        record(RESULTS, "sample catalog", figures)


if __name__ == "__main__":
    main()
