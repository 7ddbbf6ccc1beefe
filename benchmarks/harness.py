"""What benchmarks share: labelled sets, commands of the product in processes of their own, and files of results."""

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
    """A labelled catalog and listings to classify; `chinese` decides about encoder and n-grams."""

    name: str
    train: tuple[Path, ...]
    test: Path
    encoder: str
    chinese: bool = False


def real_sets(data: Path) -> list[Set]:
    """The sets of which the figures are published."""

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
    """The sample catalog, with the encoder that needs no model: quick."""
    return Set("sample", (ROOT / "data" / "catalog.csv",), ROOT / "data" / "listings.csv", "hashing", True)


def measured(*arguments: object) -> dict[str, Any]:
    """What a command of the product prints, its seconds, and the peak of its memory.

    A small process starts it: one that a large one starts is said to have had the large one's memory.
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
    """The items of labelled files."""
    return list(read_catalog(list(map(str, paths)), RejectList()).items.values())


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
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
    """What a file of results has of each set; nothing where there is no such file yet."""
    sets: dict[str, Any] = json.loads(results.read_text())["sets"] if results.exists() else {}
    return sets


def record(results: Path, name: str, content: dict[str, Any]) -> None:
    """Put what was measured of a set, and on what, into a file of results, beside the other sets."""
    results.parent.mkdir(exist_ok=True)
    sets = recorded(results) | {name: content | {"machine": machine()}}
    results.write_text(json.dumps({"sets": sets}, indent=1) + "\n")


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of what was measured in turns, one by the other."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def one_catalog(data: Path) -> list[Item]:
    """The items of all sets."""
    items = {}
    for one in real_sets(data):
        name = one.name.partition("+")[0]
        for item in items_of(*one.train, one.test):
            id_, path = f"{name} {item.id}", f"{name}{PATH_SEPARATOR}{item.category_path}"
            items[id_] = replace(item, id=id_, category_path=path)
    return list(items.values())


def write_catalog(items: Sequence[Item], file: Path) -> Path:
    """A catalog as a file."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(asdict(items[0])))
        writer.writeheader()
        writer.writerows(map(asdict, items))
    return file
