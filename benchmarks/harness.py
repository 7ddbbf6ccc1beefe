"""Shared code of the benchmarks: labelled sets, product commands in their own processes, and result files."""

import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from shelfwise.indexer.item import PATH_SEPARATOR, Item
from shelfwise.indexer.reading.catalog import read_catalog
from shelfwise.indexer.reading.rejects import RejectList

ROOT = Path(__file__).parent.parent
STARTER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as peak:
    peak.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


@dataclass(frozen=True)
class Set:
    """A labelled catalog and listings to classify; with `chinese`, peers split the text into characters."""

    name: str
    train: tuple[Path, ...]
    test: Path
    encoder: str
    chinese: bool = False


def real_sets(data: Path) -> list[Set]:
    """Return the sets whose figures are published."""

    def of(folder: str, encoder: str, chinese: bool = False, more: tuple[str, ...] = ()) -> Set:
        files = tuple(data / folder / f"{part}.tsv.gz" for part in ("train", *more))
        return Set("+".join((folder, *more)), files, data / folder / "test.tsv.gz", encoder, chinese)

    return [
        of("instacart", "minilm"),
        of("mwpd_gpc", "minilm"),
        of("zh_retail30", "e5", chinese=True),
        of("myntra_fashion", "minilm"),
        of("mwpd_gpc", "minilm", more=("val",)),
    ]


def sample_set() -> Set:
    """Return the sample catalog as a set, with the hashing encoder, which needs no model."""
    return Set("sample", (ROOT / "data" / "catalog.csv",), ROOT / "data" / "listings.csv", "hashing", True)


def measured(*arguments: object) -> dict[str, Any]:
    """Run a command of the product, and return its output, its seconds and its peak memory in MiB.

    A small process starts the command, because the peak of a child includes the memory of the process that forked it.
    """
    command = [sys.executable, "-m", "shelfwise", *map(str, arguments)]
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile("r") as peak:
        started = [sys.executable, "-I", "-S", "-c", STARTER, peak.name, *command]
        ran = subprocess.run(started, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        if ran.returncode:
            raise click.ClickException(f"{' '.join(command)} ended with {ran.returncode}")
        return {"stdout": ran.stdout, "seconds": seconds, "peak_mib": int(peak.read()) / 1024}


def items_of(*paths: Path) -> list[Item]:
    """Return the items of labelled files."""
    return list(read_catalog(list(map(str, paths)), RejectList()).items.values())


def machine() -> dict[str, Any]:
    """Return the CPU, library versions, commit and date of a measurement."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": model[0].partition(": ")[2] if model else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("torch", "faiss-cpu", "scikit-learn", "sentence-transformers")},
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def recorded(results: Path) -> dict[str, Any]:
    """Return the results of each set in a result file; empty if the file does not exist."""
    sets: dict[str, Any] = json.loads(results.read_text())["sets"] if results.exists() else {}
    return sets


def record(results: Path, name: str, content: dict[str, Any]) -> None:
    """Write the results and the machine of a set into a result file, and keep the other sets."""
    results.parent.mkdir(exist_ok=True)
    sets = recorded(results) | {name: content | {"machine": machine()}}
    results.write_text(json.dumps({"sets": sets}, indent=1) + "\n")


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median ratio of two series that were measured in turns."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def one_catalog(data: Path) -> list[Item]:
    """Return the items of all sets as one catalog, with a branch of the category tree for each set."""
    items = {}
    for one in real_sets(data):
        name = one.name.partition("+")[0]
        for item in items_of(*one.train, one.test):
            id_, path = f"{name} {item.id}", f"{name}{PATH_SEPARATOR}{item.category_path}"
            items[id_] = replace(item, id=id_, category_path=path)
    return list(items.values())


def write_catalog(items: Sequence[Item], file: Path) -> Path:
    """Write a catalog to a CSV file and return the file."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(asdict(items[0])))
        writer.writeheader()
        writer.writerows(map(asdict, items))
    return file
