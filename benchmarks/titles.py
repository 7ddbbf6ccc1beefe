"""Rows and queries in any number for search benchmarks: real titles, and vectors close to those of real titles."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from shelfwise.indexer.encoding.encoder import Encoder
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.searching.engine import EngineSearcher, build_engine
from shelfwise.indexer.searching.search import FaissSearcher
from shelfwise.indexer.types import Vectors

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
QUERIES = 1000  # titles used as queries, not as rows
NOISE = 0.15  # length of the noise added to an additional row
NEAR = 8  # nearest neighbours of a row, one of which an additional row lies towards


@dataclass(frozen=True)
class Titles:
    """Titles with their vectors (n, d), the vectors of the queries (m, d), and the encoder of both."""

    titles: list[str]
    vectors: Vectors
    queries: Vectors
    encoder: Encoder


def read_titles(data: Path | None, vectors: Path | None) -> Titles:
    """Return the titles of scale_mix in the folder `data`, or of the sample catalog if `data` is None.

    The file `vectors` caches their vectors.
    """
    encoder = load_encoder("hashing" if data is None else "minilm", "cpu")
    titles = sample_titles() if data is None else real_titles(data)
    every = _vectors_of(titles, encoder, vectors)
    asked = np.zeros(len(titles), bool)
    asked[np.linspace(0, len(titles) - 1, min(QUERIES, len(titles) // 10)).astype(np.int64)] = True
    kept = [title for title, query in zip(titles, asked, strict=True) if not query]
    return Titles(kept, every[~asked], every[asked], encoder)


def grown(vectors: Vectors, n: int) -> tuple[Vectors, np.ndarray[Any, Any]]:
    """Return n unit vectors (n, d) made from vectors (m, d), and the original row of each (n,).

    Up to m vectors are originals. Additional ones lie between an original row and one of its NEAR neighbours.
    """
    if n <= len(vectors):
        kept = np.linspace(0, len(vectors) - 1, n).astype(np.int64)
        return vectors[kept], kept
    random = np.random.default_rng(0)
    engine = build_engine(vectors)
    searcher = EngineSearcher(vectors, engine, None) if engine else FaissSearcher(vectors)
    neighbors = searcher.search(vectors, NEAR + 1).without(np.arange(len(vectors))).rows
    of = np.concatenate((np.arange(len(vectors)), random.integers(0, len(vectors), n - len(vectors))))
    made = np.empty((n, vectors.shape[1]), np.float32)
    made[: len(vectors)] = vectors
    for start in range(len(vectors), n, 65_536):
        own = of[start : start + 65_536]
        other = neighbors[own, random.integers(0, neighbors.shape[1], len(own))]
        share = random.random((len(own), 1), np.float32)
        noise = random.standard_normal((len(own), vectors.shape[1]), np.float32)
        moved = share * vectors[own] + (1 - share) * vectors[other]
        moved += NOISE / np.sqrt(vectors.shape[1]).astype(np.float32) * noise
        made[start : start + len(own)] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return made, of


def mixed(values: Iterable[T], text: Callable[[T], str]) -> list[T]:
    """Return the values in a fixed pseudo-random order (by the CRC-32 of their text)."""
    return sorted(values, key=lambda value: zlib.crc32(text(value).encode()))


def real_titles(data: Path) -> list[str]:
    """Return the distinct titles of scale_mix in the folder `data`."""
    with gzip.open(data / "scale_mix" / "titles.tsv.gz", "rt", encoding="utf-8") as lines:
        return list(dict.fromkeys(line.rstrip("\n").split("\t")[1] for line in lines))[1:]


def sample_titles() -> list[str]:
    """Return the distinct titles of the sample catalog."""
    with (ROOT / "data" / "catalog.csv").open(encoding="utf-8", newline="") as stream:
        return list(dict.fromkeys(row["title"] for row in csv.DictReader(stream)))


def _vectors_of(titles: list[str], encoder: Encoder, file: Path | None) -> Vectors:
    if file and file.exists():
        kept: Vectors = np.load(file)
        if len(kept) != len(titles):
            raise click.UsageError(
                f"{file} has {len(kept):,} vectors, but there are {len(titles):,} titles: pass another file"
            )
        return kept
    vectors = encoder.encode(titles)
    if file:
        np.save(file, vectors)
    return vectors
