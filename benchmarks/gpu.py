"""Measure encoding, copying, search and vote on a GPU at 1 and 10 million rows, relative to its matrix products.

    python benchmarks/gpu.py --data DIR [--rows 1000000 --rows 10000000] [--vectors FILE]
    python benchmarks/gpu.py --quick        smoke test on the sample catalog and the CPU, writes no results

Rows and queries are those of benchmarks/scale.py. The GPU must find the same rows as exact search on the CPU. Results
go to benchmarks/results/gpu.json, with the name of the device.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from harness import ROOT, record
from titles import Titles, grown, read_titles

from shelfwise.classifier.model.fusion import VoteSettings, vote
from shelfwise.indexer.encoding.encoder import Encoder
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.searching.engine import RECALL_K
from shelfwise.indexer.searching.search import FLOAT32_ERROR, FaissSearcher, copy_on_gpu

RESULTS = ROOT / "benchmarks" / "results" / "gpu.json"
CHECKED = 200  # queries whose nearest rows are compared with the CPU's
ENCODED = 20_000  # titles
PRODUCT = 4096  # rows and columns of the matrices in the timed product
CATEGORIES = 500
ROUNDS = 5


def figures_of(titles: Titles, encoder: Encoder, rows: int, device: str) -> dict[str, Any]:
    """Return all figures for a catalog of `rows` rows."""
    vectors, queries = grown(titles.vectors, rows)[0], titles.queries
    started = time.perf_counter()
    copy = copy_on_gpu(vectors) if device == "cuda" else None
    seconds = time.perf_counter() - started
    searcher, some = FaissSearcher(vectors, copy), queries[:CHECKED]
    found, exact = searcher.search(some, RECALL_K), FaissSearcher(vectors).search(some, RECALL_K)
    assert (found.rows == exact.rows).all(), "the GPU finds other rows than the CPU"
    texts, numbers = titles.titles[:ENCODED], np.arange(rows) % CATEGORIES

    def classify() -> None:
        neighbors = searcher.search(encoder.encode(texts), RECALL_K)
        vote(neighbors, numbers, np.ones(CATEGORIES), VoteSettings().temperature)

    searched = rate(lambda: searcher.search(queries, RECALL_K), len(queries))
    return {
        "rows": rows,
        "dimensions": vectors.shape[1],
        "copied": None if copy is None else ("float32" if copy.error == FLOAT32_ERROR else "float16"),
        "copy_seconds": seconds,
        "encode_rate": rate(lambda: encoder.encode(texts), len(texts)),
        "search_rate": searched,
        "search_of_products": searched * 2 * vectors.size / products(device),
        "classify_rate": rate(classify, len(texts)),
    }


def rate(work: Callable[[], object], many: int) -> float:
    """Return `many` divided by the median seconds of ROUNDS rounds, after one round of warm-up."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return many / float(np.median(seconds))


def products(device: str) -> float:
    """Return the operations per second of a float32 matrix product."""
    matrix = torch.rand(PRODUCT, PRODUCT, device=device)

    def multiply() -> None:
        _ = (matrix @ matrix)[0, 0].item()  # waits for the result

    return rate(multiply, 2 * PRODUCT**3)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", "sizes", multiple=True, type=click.IntRange(1000), default=(1_000_000, 10_000_000))
@click.option("--vectors", type=click.Path(path_type=Path), help="File that caches the vectors of the titles (.npy).")
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, sizes: tuple[int, ...], vectors: Path | None, quick: bool) -> None:
    """Measure, print and write the results."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    device = "cpu" if quick else "cuda"
    titles = read_titles(data, vectors)
    encoder = load_encoder("hashing" if quick else "minilm", device)
    for rows in (1200,) if quick else sizes:
        figures = figures_of(titles, encoder, rows, device)
        click.echo(json.dumps(figures, indent=1))
        if not quick:
            record(RESULTS, f"{rows:,} rows", figures | {"device": torch.cuda.get_device_name()})


if __name__ == "__main__":
    main()
