"""Measure the cost of a store as it grows: search, opening, memory, building its index, and finding an added item.

    python benchmarks/scale.py --data DIR [--rows 10000 --rows 100000 --rows 1000000] [--vectors FILE]
    python benchmarks/scale.py --quick        smoke test on the sample catalog, writes no results

DIR has a folder scale_mix with titles.tsv.gz: real titles without labels. 1,000 of them are queries, the rest are rows.
Additional rows lie between two nearby rows, with some noise, and have the title of one of them. Categories are clusters
of the vectors. FILE caches the vectors of the titles, which take long to compute. Opening and memory are measured in
separate processes. Results go to benchmarks/results/scale.json, a plot to scale.svg.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import click
import numpy as np
from harness import ROOT, ratio, record, recorded
from titles import Titles, grown, read_titles

from shelfwise.classifier.changing.maintenance import Edit, apply, put_fitted, remove
from shelfwise.classifier.fitting.training import Fitted
from shelfwise.classifier.model.fusion import VoteSettings, category_weights, vote
from shelfwise.classifier.model.model import Model, Settings
from shelfwise.indexer.encoding.encoder import Encoder
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.item import Item
from shelfwise.indexer.rows import TEXT_COLUMNS, Rows
from shelfwise.indexer.searching.engine import RECALL_K, build_engine, layout, recalls_of, searcher_of, typical
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.searching.replica import VECTORS, Replica, replica_of, space_of
from shelfwise.indexer.searching.search import FaissSearcher, Neighbors, import_faiss
from shelfwise.indexer.searching.segments import Segment, segments_of
from shelfwise.indexer.store.manifest import Change
from shelfwise.indexer.store.snapshot import read_snapshot, writing
from shelfwise.indexer.store.store_encoder import Prepared
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Vectors

RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
ALONE = 50  # queries that are searched one by one
ROUNDS = 5  # of every timed measurement; compared methods take turns
CLUSTERS = 200
MIB = 1 << 20

P = ParamSpec("P")
R = TypeVar("R")


def figures_of(folder: Path, rows: Rows, queries: Vectors, encoder: Encoder, quick: bool) -> dict[str, Any]:
    """Create a store with these rows in `folder`, and return all its figures."""
    space = Space.fit(rows.vectors)
    store, seconds = folder / "store", dict[str, float]()
    started = time.perf_counter()
    with writing(store, create=True) as draft:
        draft.table.upsert(rows)
        seconds["write_table"] = time.perf_counter() - started
        put_fitted(draft, rows, Fitted(space, Model(None, Settings())))
        manifest = draft.commit(Change("build", len(rows), 0, 0), Prepared(encoder).identity())
    seconds["write_all"] = time.perf_counter() - started
    replica = replica_of(read_snapshot(store))
    found: dict[str, Any] = {"rows": len(rows), "dimensions": rows.vectors.shape[1], "seconds": seconds}
    found["engine"] = asdict(manifest.replica) | {"folder": ""}
    found["raw_mib"] = replica.vectors.nbytes / MIB
    found["search"] = searched(replica, space.project(queries), list(rows.column("category_path")))
    found["open"] = in_child(opened, store, ROUNDS)
    found["resident"] = {
        engine: in_child(resident, store, space.project(queries), engine) for engine in engines(replica)
    }
    found["votable"] = votable(store, encoder, 3 if quick else 20)
    if replica.engine:
        found["build"] = built(replica.vectors)
    return found


def engines(replica: Replica) -> list[str]:
    """Return "exact", and "own" if the replica has an engine other than exact search."""
    return ["exact"] if replica.engine is None else ["exact", "own"]


def searched(replica: Replica, queries: Vectors, paths: Sequence[str]) -> dict[str, Any]:
    """Return the rates of the store's search and of faiss's exact search in turns, and how far their results agree."""
    faiss = import_faiss()
    flat = faiss.IndexFlatIP(queries.shape[1])
    flat.add(replica.vectors)
    ours = searcher_of(replica.vectors, replica.engine, replica.memory, "cpu")
    pairs: dict[str, list[float]] = {"ours_at_once": [], "faiss_at_once": [], "ours_alone": [], "faiss_alone": []}
    one_by_one = [queries[[i]] for i in range(min(ALONE, len(queries)))]
    for _ in range(ROUNDS):
        pairs["faiss_at_once"].append(len(queries) / taken(lambda: flat.search(queries, RECALL_K)))
        pairs["ours_at_once"].append(len(queries) / taken(lambda: ours.search(queries, RECALL_K)))
        pairs["faiss_alone"].append(len(one_by_one) / taken(lambda: [flat.search(q, RECALL_K) for q in one_by_one]))
        pairs["ours_alone"].append(len(one_by_one) / taken(lambda: [ours.search(q, RECALL_K) for q in one_by_one]))
    exact, found = (s.search(queries, RECALL_K) for s in (FaissSearcher(replica.vectors), ours))
    return {
        "queries": len(queries),
        "rates": pairs,
        "times_faiss_at_once": ratio(pairs["ours_at_once"], pairs["faiss_at_once"]),
        "times_faiss_alone": ratio(pairs["ours_alone"], pairs["faiss_alone"]),
        "recall": float(recalls_of(found.rows, exact.rows).mean()),
        "vote_agreement": agreement(exact, found, paths),
    }


def agreement(exact: Neighbors, found: Neighbors, paths: Sequence[str]) -> float:
    """Return the share of queries that get the same category from the votes of both sets of neighbours."""
    names, numbers = np.unique(np.asarray(paths, str), return_inverse=True)
    settings = VoteSettings()
    weights = category_weights(np.bincount(numbers), np.ones(len(names), bool), settings)
    said = [vote(neighbors, numbers, weights, settings.temperature).argmax(axis=1) for neighbors in (exact, found)]
    return float((said[0] == said[1]).mean())


def built(vectors: Vectors) -> dict[str, Any]:
    """Return the seconds of building the store's engine, and of faiss's build of the same index and parameters."""
    faiss = import_faiss()
    n, d = vectors.shape

    def theirs() -> None:
        index = faiss.index_factory(d, layout(n, d), faiss.METRIC_INNER_PRODUCT)
        index.train(typical(vectors))
        index.add(vectors)

    seconds: dict[str, list[float]] = {"ours": [], "faiss": []}
    for _ in range(1 if n > 500_000 else 3):
        seconds["faiss"].append(taken(theirs))
        seconds["ours"].append(taken(lambda: build_engine(vectors)))
    return {"seconds": seconds, "times_faiss": ratio(seconds["ours"], seconds["faiss"])}


def opened(store: Path, rounds: int) -> dict[str, Any]:
    """Return the seconds of opening a store without its encoder and of reading its vectors into memory, in turns.

    The page cache of the files is dropped before each measurement.
    """
    vectors = store / read_snapshot(store).manifest.replica.folder / VECTORS
    seconds: dict[str, list[float]] = {"open": [], "read": []}
    open_store(store)  # loads the imports
    for _ in range(rounds):
        forget(store)
        seconds["read"].append(taken(lambda: np.fromfile(vectors, np.float32)))
        forget(store)
        seconds["open"].append(taken(lambda: open_store(store)))
    return {"seconds": seconds, "times_reading": ratio(seconds["open"], seconds["read"])}


def open_store(store: Path, engine: str = "own") -> Segment:
    """Open a store like `Index.open` but without its encoder, with its own engine or with exact search."""
    snapshot = read_snapshot(store)
    replica = replica_of(snapshot)
    base = Segment.of_replica(replica if engine == "own" else replace(replica, engine=None), "cpu")
    segments_of(snapshot, base, replica.items.data_files, space_of(snapshot))
    return base


def forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(store: Path, queries: Vectors, engine: str) -> dict[str, float]:
    """Return the resident MiB of this process, its own and mapped: before opening, after searching, and at the peak."""
    figures = {"before": memory("VmRSS")}
    (view,) = open_store(store, engine).views
    for start in range(0, len(queries), 100):
        view.searcher.search(queries[start : start + 100], RECALL_K)
    return figures | {"after": memory("VmRSS"), "peak": memory("VmHWM")}


def memory(name: str) -> float:
    """Return a memory figure of this process from /proc/self/status, in MiB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1024


def votable(store: Path, encoder: Encoder, times: int) -> dict[str, Any]:
    """Return the seconds from the start of `add` until an open reader finds the item, and the same for `remove`."""
    index = Index.open(store)
    seconds: dict[str, list[float]] = {"add": [], "remove": []}
    for i in range(times):
        item = Item(f"new {i}", f"unheard of article {i}", "", "", "", "new", "new")
        query = index.space.project(encoder.encode([item.words.text()]))
        started = time.perf_counter()
        apply(store, Edit({item.id: item}), reuse=index)
        index = index.refreshed()
        assert nearest(index, query) == item.id
        seconds["add"].append(time.perf_counter() - started)
        started = time.perf_counter()
        remove(store, [item.id])
        index = index.refreshed()
        assert nearest(index, query) != item.id
        seconds["remove"].append(time.perf_counter() - started)
    return {"seconds": seconds, "worst_add": max(seconds["add"]), "worst_remove": max(seconds["remove"])}


def nearest(index: Index, query: Vectors) -> str:
    """Return the id of the item nearest to a query (1, d)."""
    return index.segments.texts(["id"], index.search(query, 1).rows[0])[0][0]


def taken(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_child(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `work` in a new process and return its result."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()


def rows_of(titles: Titles, clusters: Sequence[str], n: int) -> Rows:
    """Return n rows in the order of their ids."""
    made, of = grown(titles.vectors, n)
    columns = {name: [""] * n for name in TEXT_COLUMNS}
    columns |= {"id": [f"{i:08}" for i in range(n)], "title": [titles.titles[row] for row in of]}
    columns["category"] = columns["category_path"] = [clusters[row] for row in of]
    return Rows.from_columns(columns, made)


def clusters_of(vectors: Vectors) -> list[str]:
    """Return the name of the k-means cluster of each vector (n, d)."""
    faiss = import_faiss()
    kmeans = faiss.Kmeans(vectors.shape[1], min(CLUSTERS, len(vectors) // 40), spherical=True, seed=1)
    kmeans.train(vectors)
    return [f"cluster {number:03}" for number in kmeans.index.search(vectors, 1)[1][:, 0]]


def plot(entries: Sequence[dict[str, Any]], file: Path) -> None:
    """Plot cost against size in three panels: milliseconds per query, seconds of opening and building, memory."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "shelfwise"
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    n = [entry["rows"] for entry in entries]

    def median(entry: dict[str, Any], *path: str) -> float:
        for name in path:
            entry = entry[name]
        return float(np.median(cast(Sequence[float], entry)))

    def per_query(who: str) -> list[float]:
        return [1000 / median(entry, "search", "rates", who) for entry in entries]

    panels: dict[str, dict[str, list[float]]] = {
        "milliseconds a query": {
            "faiss exact, one by one": per_query("faiss_alone"),
            "faiss exact, 1,000 at once": per_query("faiss_at_once"),
            "Shelfwise, one by one": per_query("ours_alone"),
            "Shelfwise, 1,000 at once": per_query("ours_at_once"),
        },
        "seconds": {
            "writing table and index": [entry["seconds"]["write_all"] for entry in entries],
            "opening": [median(entry, "open", "seconds", "open") for entry in entries],
            "reading the vectors": [median(entry, "open", "seconds", "read") for entry in entries],
            "added, and found": [median(entry, "votable", "seconds", "add") for entry in entries],
        },
        "MiB": {
            "vectors": [entry["raw_mib"] for entry in entries],
            "resident, exact": [entry["resident"]["exact"]["after"] for entry in entries],
            "resident, store's engine": [list(entry["resident"].values())[-1]["after"] for entry in entries],
        },
    }
    for axes, (unit, lines) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for label, values in lines.items():
            axes.loglog(n, values, marker="o", label=label)
        axes.set(xlabel="rows", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(file, metadata={"Date": None})


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", "sizes", multiple=True, type=click.IntRange(1000), default=(10_000, 100_000, 1_000_000))
@click.option("--vectors", type=click.Path(path_type=Path), help="File that caches the vectors of the titles (.npy).")
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, sizes: tuple[int, ...], vectors: Path | None, quick: bool) -> None:
    """Measure, print and write the results."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    titles = read_titles(data, vectors)
    clusters = clusters_of(titles.vectors)
    for n in (1200,) if quick else sizes:
        with tempfile.TemporaryDirectory() as folder:
            figures = figures_of(Path(folder), rows_of(titles, clusters, n), titles.queries, titles.encoder, quick)
        click.echo(json.dumps(figures, indent=1))
        if quick:
            assert figures["search"]["recall"] == figures["search"]["vote_agreement"] == 1
        else:
            record(RESULTS, f"{n:,} rows", figures | {"threads": usable_threads()})
            entries = sorted(recorded(RESULTS).values(), key=lambda entry: entry["rows"])
            plot(entries, RESULTS.with_suffix(".svg"))


if __name__ == "__main__":
    main()
