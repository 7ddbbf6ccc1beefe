"""Eight readers classify while a writer changes their store; then two writers change it at once.

    python benchmarks/readers.py [--changes 500]
    python benchmarks/readers.py --quick        a few changes, writes nothing

All are processes. Every batch of decisions must come from one version, whose rows, and an item that says in which
version it was written, are as they were when that version was made; what two writers were told is stored must be
there, and `check` must find nothing. Results go to benchmarks/results/readers.json.
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
PAUSE = 0.2  # seconds between two batches of a reader
MARKER = "marker"  # id of the item that every change but a removal writes with the number of its version
STOP = "stop"  # file that ends the readers


def sample() -> list[Item]:
    """Some of the sample catalog."""
    return sorted(items_of(ROOT / "data" / "catalog.csv"), key=lambda item: item.id)[:ITEMS]


def marker(version: int) -> Item:
    """The item that says when it was written."""
    return Item(MARKER, f"marker {version}", "", "", "", "Markers", "Markers")


def read(folder: Path) -> dict[str, Any]:
    """Classify until told to stop: batches, versions seen, and the seconds that it took to see a version."""
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
        time.sleep(PAUSE)  # else they leave the writer no core
    return {"batches": batches, "versions": len(seen), "refresh_seconds": statistics.median(refreshing)}


def write(folder: Path, changes: int) -> dict[str, int]:
    """Change the store so many times, then have the readers stop: how often in which way."""
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
    """Add items one by one: the ids that are acknowledged."""
    first, store = sample()[0], sw.open(folder / "store")
    added = []
    for i in range(changes):
        item = replace(first, id=f"{name}-{i}")
        store.add([item])
        added.append(item.id)
    return added


@click.command()
@click.option("--changes", default=500, show_default=True, help="Of the one writer; the two make a fifth of it each.")
@click.option("--quick", is_flag=True, help="Check the benchmark itself with a few changes; writes nothing.")
def main(changes: int, quick: bool) -> None:
    """Run, print and write the results."""
    changes = 10 if quick else changes
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes: there are more of them than cores
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
