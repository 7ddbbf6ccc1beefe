"""Compare the engines of faiss on a large catalog: queries/s at a recall of 0.99 at k = 32, build time and size.

    python benchmarks/engines.py --data DIR [--rows 190000] [--vectors FILE]
    python benchmarks/engines.py --quick        smoke test on the sample catalog, writes no results

Rows and queries are those of benchmarks/scale.py. The search effort of each engine is raised until its recall suffices
or the maximum effort is reached. Shelfwise uses the effort that it chose on its own rows. Then all engines are timed in
turns. Results go to benchmarks/results/engines.json.
"""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from harness import ROOT, record
from titles import grown, read_titles

from shelfwise.indexer.searching.engine import (
    PROPOSED,
    RECALL,
    RECALL_K,
    EngineSearcher,
    build_engine,
    cells_for,
    layout,
    recalls_of,
    typical,
)
from shelfwise.indexer.searching.search import FaissSearcher, import_faiss
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Vectors

RESULTS = ROOT / "benchmarks" / "results" / "engines.json"
SHARES = [1.25**step / 64 for step in range(13)]  # of all cells, probed for a query: up to a quarter
VIEWS = [int(48 * 2 ** (step / 2)) for step in range(9)]  # efSearch of a graph: up to 768
ROUNDS = 5

Rows = np.ndarray[Any, np.dtype[np.int64]]
Search = Callable[[Vectors], Rows]  # returns the nearest RECALL_K rows of each query


def contenders(n: int, d: int) -> dict[str, tuple[str, list[Any]]]:
    """Return faiss's engines for n vectors of d dimensions, each with the search efforts to try, lowest first."""
    faiss, cells = import_faiss(), cells_for(n)
    views = [faiss.SearchParametersHNSW(efSearch=view) for view in VIEWS]
    probes = [faiss.SearchParametersIVF(nprobe=max(1, int(share * cells))) for share in SHARES]
    refined = [
        faiss.IndexRefineSearchParameters(k_factor=proposed, base_index_params=probe)
        for probe, proposed in itertools.product(probes, PROPOSED)
    ]
    return {
        "HNSW, 32 links": ("HNSW32", views),
        "HNSW, 32 links, 8 bits": ("HNSW32_SQ8", views),
        "inverted file": (f"IVF{cells},Flat", probes),
        "inverted file, 8 bits": (f"IVF{cells},SQ8", probes),
        "inverted file, fast-scan, refined": (f"{layout(n, d)},RFlat", refined),
    }


def built(vectors: Vectors, queries: Vectors, exact: Rows) -> Iterator[tuple[str, Search, dict[str, float]]]:
    """Yield the name, search function, build time and relative size of each engine; exact search comes first."""
    faiss = import_faiss()
    n, d = vectors.shape
    flat = faiss.IndexFlatIP(d)
    flat.add(vectors)
    yield "exact", lambda some: flat.search(some, RECALL_K)[1], {"build_seconds": 0.0, "size": 1.0}
    for name, (factory, efforts) in contenders(n, d).items():
        started = time.perf_counter()
        index = faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(typical(vectors))
        index.add(vectors)
        seconds = time.perf_counter() - started
        found = (effort for effort in efforts if recalls_of(found_by(index, effort)(queries), exact).mean() >= RECALL)
        search = found_by(index, next(found, efforts[-1]))
        yield name, search, {"build_seconds": seconds, "size": size_of(index) / vectors.nbytes}
    started = time.perf_counter()
    engine = build_engine(vectors)
    seconds = time.perf_counter() - started
    if engine:
        searcher, size = EngineSearcher(vectors, engine, None), size_of(engine.index) / vectors.nbytes
        yield "Shelfwise", lambda some: searcher.search(some, RECALL_K).rows, {"build_seconds": seconds, "size": size}


def found_by(index: Any, effort: Any) -> Search:
    """Return the search function of an engine at a given effort."""
    return lambda some: index.search(some, RECALL_K, params=effort)[1]


def size_of(index: Any) -> int:
    """Return the serialized size of an engine in bytes."""
    return int(import_faiss().serialize_index(index).nbytes)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", type=click.IntRange(1000), default=190_000, show_default=True)
@click.option("--vectors", type=click.Path(path_type=Path), help="File that caches the vectors of the titles (.npy).")
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, rows: int, vectors: Path | None, quick: bool) -> None:
    """Measure, print and write the results."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    titles = read_titles(data, vectors)
    made, queries = grown(titles.vectors, 1200 if quick else rows)[0], titles.queries
    exact = FaissSearcher(made).search(queries, RECALL_K).rows
    searches, figures = dict[str, Search](), dict[str, dict[str, Any]]()
    for name, search, known in built(made, queries, exact):
        recall = float(recalls_of(search(queries), exact).mean())
        searches[name], figures[name] = search, known | {"recall": recall, "rates": []}
        click.echo(json.dumps({name: figures[name]}))
    for _ in range(ROUNDS):
        for name, search in searches.items():
            started = time.perf_counter()
            search(queries)
            figures[name]["rates"].append(len(queries) / (time.perf_counter() - started))
    for name, entry in figures.items():
        click.echo(f"{name}: {statistics.median(entry['rates']):,.0f} queries/s at recall {entry['recall']:.4f}")
    if quick:
        assert all(entry["recall"] >= 0.9 for entry in figures.values())
    else:
        content = {"engines": figures, "rows": rows, "dimensions": made.shape[1], "threads": usable_threads()}
        record(RESULTS, f"{rows:,} rows", content)


if __name__ == "__main__":
    main()
