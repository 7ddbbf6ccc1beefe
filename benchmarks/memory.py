"""Measure time and memory of building and fine-tuning a large catalog, each in its own process.

    python benchmarks/memory.py --data DIR [--rows 100000] [--minutes 30] [--categories 20]
    python benchmarks/memory.py --quick        smoke test on the titles of the sample catalog, writes no results

DIR has a folder scale_mix with titles.tsv.gz: real titles without labels. Artificial categories are made from their
first letters, which is good enough for time and memory only. Results go to benchmarks/results/memory.json.
"""

import csv
import gzip
import json
import tempfile
import zlib
from pathlib import Path
from typing import Any

import click
from harness import ROOT, machine, measured, record

RESULTS = ROOT / "benchmarks" / "results" / "memory.json"
FIRST_LETTERS = 2


def run(titles: list[str], categories: int, encoder: str, minutes: float) -> dict[str, Any]:
    """Return the figures of building and, unless `minutes` is 0, of fine-tuning."""
    with tempfile.TemporaryDirectory() as folder:
        catalog, store = Path(folder) / "catalog.tsv", Path(folder) / "store"
        with catalog.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t")
            writer.writerow(("id", "title", "category"))
            for i, title in enumerate(titles):
                writer.writerow((i, title, f"category {zlib.crc32(title[:FIRST_LETTERS].encode()) % categories}"))
        built = measured("build", catalog, "--store", store, "--encoder", encoder, "--json")
        found = {name: built[name] for name in ("seconds", "peak_mib")}
        figures: dict[str, Any] = {"rows": json.loads(built["stdout"])["rows"], "categories": categories}
        figures |= {"encoder": encoder, "commit": machine()["commit"], "build": found}
        if minutes:
            tuned = measured("finetune", "--store", store, "--minutes", minutes, "--json")
            found = {name: tuned[name] for name in ("seconds", "peak_mib")}
            figures["finetune"] = found | {"minutes": minutes, "trained": json.loads(tuned["stdout"])["trained"]}
        return figures


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", type=click.IntRange(1000), help="Approximate number of titles to use.  [default: all]")
@click.option("--minutes", default=30.0, show_default=True, help="Minutes of fine-tuning.")
@click.option("--categories", default=20, show_default=True)
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, rows: int | None, minutes: float, categories: int, quick: bool) -> None:
    """Measure, print and write the results."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    if data is None:
        with (ROOT / "data" / "catalog.csv").open(encoding="utf-8", newline="") as stream:
            figures = run([row["title"] for row in csv.DictReader(stream)], categories, "hashing", 0)
        assert figures["rows"] > 1000 and figures["build"]["peak_mib"] > 0
    else:
        with gzip.open(data / "scale_mix" / "titles.tsv.gz", "rt", encoding="utf-8") as lines:
            titles = [line.rstrip("\n").split("\t")[1] for line in lines][1:]
        titles = titles[:: max(1, len(titles) // (rows or len(titles)))]
        figures = run(titles, categories, "minilm", minutes)
        record(RESULTS, f"scale_mix, {figures['rows']:,} rows", figures)
    click.echo(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
