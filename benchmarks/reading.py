"""Measure how fast catalogs are read, and that memory does not grow with the number of rows.

    python benchmarks/reading.py [--rows 1000000] [--before CHECKOUT] [--format csv ...]
    python benchmarks/reading.py --quick        smoke test on a few rows, writes no results

The catalogs are invented rows of random words, with five columns. `inspect` reads, cleans and reports on a catalog, and
`classify` decides on it with the hashing encoder and a small store. Each format is measured at a tenth of the rows and
at all rows, each command in its own process; `growth` is the ratio of their peaks of memory. `speed` compares the rows
a second of CPU time of `inspect` and of `read_catalog` of an older CHECKOUT on the same CSV file, in turns. Results go
to benchmarks/results/reading.json; formats that it has at the same commit are not measured again.
"""

import csv
import html
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from harness import ROOT, machine, measured, record, recorded
from pyarrow import parquet

RESULTS = ROOT / "benchmarks" / "results" / "reading.json"
COLUMNS = ("id", "title", "brand", "description", "category_path")
SPEED, TURNS = "speed", 3
STORE_ROWS, QUICK_ROWS = 500, 400
OURS = """
from shelfwise.indexer.reading.catalog import survey_files
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.rejects import RejectList
def read(path): return survey_files([path], RejectList(), ReadOptions()).items
"""
BEFORE = """
from pathlib import Path
from indexer.catalog import read_catalog
from indexer.rejects import RejectFile
def read(path): return len(read_catalog([path], RejectFile(Path(path + ".rejects"))).items)
"""
TIMED = """
import sys, time
start = time.process_time()
items = read(sys.argv[1])
print(items, time.process_time() - start)
"""
Row = tuple[str, ...]


def rows_of(count: int) -> Iterator[Row]:
    """Yield `count` invented rows, the same ones each time."""
    chance = random.Random(1)
    words = [f"word{number}" for number in range(3000)]
    paths = [f"Branch {number % 9} > Twig {number % 60} > Leaf {number}" for number in range(500)]
    for number in range(count):
        title, description = (" ".join(chance.choices(words, k=size)) for size in (8, 15))
        yield f"A-{number}", title, chance.choice(words), description, chance.choice(paths)


def write_table(rows: Iterator[Row], path: Path, delimiter: str) -> None:
    """Write delimited text."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def write_jsonl(rows: Iterator[Row], path: Path) -> None:
    """Write JSON lines."""
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{json.dumps(dict(zip(COLUMNS, row, strict=True)))}\n" for row in rows)


def write_parquet(rows: Iterator[Row], path: Path) -> None:
    """Write Parquet with row groups of the usual size."""
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, 1 << 16)):
            columns = zip(*some, strict=True)
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


def write_xml(rows: Iterator[Row], path: Path) -> None:
    """Write a Google Merchant feed."""
    fields = ("g:id", "g:title", "g:brand", "g:description", "g:product_type")
    with path.open("w", encoding="utf-8") as stream:
        stream.write('<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>\n')
        for row in rows:
            cells = (f"<{one}>{html.escape(cell)}</{one}>" for one, cell in zip(fields, row, strict=True))
            stream.write(f"<item>{''.join(cells)}</item>\n")
        stream.write("</channel></rss>\n")


WRITERS: dict[str, Callable[[Iterator[Row], Path], None]] = {
    "csv": partial(write_table, delimiter=","),
    "tsv": partial(write_table, delimiter="\t"),
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "xml": write_xml,
}


def memory(fmt: str, rows: int, store: Path, folder: Path) -> dict[str, Any]:
    """Return the seconds and peaks of memory of both commands at a tenth of the rows and at all rows."""
    found: dict[str, Any] = {"commit": machine()["commit"], "rows": rows}
    for count in (rows // 10, rows):
        path = folder / f"{count}.{fmt}"
        WRITERS[fmt](rows_of(count), path)
        ran = {
            "inspect": measured("inspect", path, "--json"),
            "classify": measured("classify", path, "--store", store, "-o", folder / "out.csv", "--tier", "fast"),
        }
        assert json.loads(ran["inspect"]["stdout"])["items"] == count
        for name, one in ran.items():
            found[f"{name} {count}"] = {"seconds": one["seconds"], "peak_mib": one["peak_mib"]}
        path.unlink()
    for name in ("inspect", "classify"):
        found[f"{name} growth"] = found[f"{name} {rows}"]["peak_mib"] / found[f"{name} {rows // 10}"]["peak_mib"]
    return found


def timed(code: str, path: Path, checkout: Path) -> float:
    """Return the rows a second of CPU time that a fresh process reads."""
    command = [sys.executable, "-c", code + TIMED, str(path)]
    ran = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True)
    items, seconds = ran.stdout.split()
    return int(items) / float(seconds)


def speed(rows: int, before: Path, folder: Path) -> dict[str, Any]:
    """Return the rows a second of this commit and of an older one, measured in turns."""
    path = folder / "catalog.csv"
    write_table(rows_of(rows), path, ",")
    found: dict[str, Any] = {"rows": rows, "inspect": [], "read_catalog before": []}
    for _ in range(TURNS):
        found["inspect"].append(timed(OURS, path, ROOT))
        found["read_catalog before"].append(timed(BEFORE, path, before))
    pairs = zip(found["inspect"], found["read_catalog before"], strict=True)
    return found | {"ratio": statistics.median(ours / theirs for ours, theirs in pairs)}


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Rows of the large catalog.")
@click.option("--before", type=click.Path(exists=True, file_okay=False, path_type=Path), help="An older checkout.")
@click.option("--format", "wanted", type=click.Choice(list(WRITERS)), multiple=True, help="Measure this format only.")
@click.option("--quick", is_flag=True, help="Smoke test on a few rows; writes no results.")
def main(rows: int, before: Path | None, wanted: tuple[str, ...], quick: bool) -> None:
    """Measure, print and write the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if before is not None:
            figures = speed(rows, before, folder)
            click.echo(json.dumps(figures, indent=1))
            record(RESULTS, SPEED, figures)
        write_table(rows_of(STORE_ROWS), folder / "some.csv", ",")
        measured("build", folder / "some.csv", "--store", folder / "store", "--encoder", "hashing", "--json")
        for fmt in wanted or WRITERS:
            if not quick and recorded(RESULTS).get(fmt, {}).get("commit") == machine()["commit"]:
                continue
            figures = memory(fmt, QUICK_ROWS if quick else rows, folder / "store", folder)
            click.echo(f"{fmt} {json.dumps(figures)}")
            if not quick:
                record(RESULTS, fmt, figures)


if __name__ == "__main__":
    main()
