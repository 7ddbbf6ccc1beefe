"""Measure a rebuild after 1% of a catalog has changed, and compare its decisions with a build from scratch.

    python benchmarks/rebuild.py --data DIR [--rows 100000] [--listings 4000]
    python benchmarks/rebuild.py --quick        smoke test on the sample catalog, writes no results

DIR has the labelled sets of benchmarks/accuracy.py, which form one catalog with a branch for each set. A quarter of the
changes are removals, a quarter are new items and half are new titles. Shelfwise runs as users run it: each command in
its own process. Results go to benchmarks/results/rebuild.json.
"""

import csv
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from harness import ROOT, items_of, measured, one_catalog, record, sample_set, write_catalog
from titles import mixed

from shelfwise import Item

RESULTS = ROOT / "benchmarks" / "results" / "rebuild.json"
EVERY = 400  # items per four changes, that is 1%


def a_day_later(items: Sequence[Item], new: Sequence[Item]) -> list[Item]:
    """Return the catalog with 1% of its items changed."""
    kept = []
    for i, item in enumerate(items):
        if i % EVERY in (1, 2):
            kept.append(replace(item, title=f"{item.title}, 2 pcs"))
        elif i % EVERY:
            kept.append(item)
    return kept + list(new[: len(items) - len(kept)])


def built(catalog: Path, store: Path, encoder: str) -> dict[str, Any]:
    """Build a store, and return the reported counts, the seconds and the peak memory."""
    made = measured("build", catalog, "--store", store, "--encoder", encoder, "--json")
    said = json.loads(made["stdout"])
    kept = {name: said[name] for name in ("added", "updated", "removed", "embedded", "fitted")}
    return kept | {name: made[name] for name in ("seconds", "peak_mib")}


def decided(listings: Path, store: Path, out: Path) -> list[dict[str, str]]:
    """Classify listings with a store, and return the rows of the output."""
    measured("classify", listings, "--store", store, "-o", out, "--raw")
    with out.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def compared(
    folder: Path, before: Sequence[Item], after: Sequence[Item], listings: Sequence[Item], encoder: str
) -> dict[str, Any]:
    """Return all figures of the builds before and after a change, and of the decisions after it."""
    catalogs = [write_catalog(before, folder / "before.csv"), write_catalog(after, folder / "after.csv")]
    first = built(catalogs[0], folder / "store", encoder)
    again = built(catalogs[1], folder / "store", encoder)
    scratch = built(catalogs[1], folder / "scratch", encoder)
    asked = write_catalog(listings, folder / "listings.csv")
    said = [decided(asked, folder / name, folder / f"{name}.csv") for name in ("store", "scratch")]
    paths, decisions = ([[row[name] for row in rows] for rows in said] for name in ("predicted_path", "decision"))
    truth = [item.category_path for item in listings]
    return {
        "rows": len(before),
        "listings": len(listings),
        "builds": {"first": first, "again": again, "scratch": scratch},
        "share_of_first": again["seconds"] / first["seconds"],
        "same_category": same(*paths),
        "same_decision": same(*decisions),
        "accuracy": same(paths[0], truth),
        "scratch_accuracy": same(paths[1], truth),
    }


def same(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Return the share of positions where two sequences agree."""
    return statistics.fmean(a == b for a, b in zip(ours, theirs, strict=True))


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", type=click.IntRange(1000), default=100_000, show_default=True)
@click.option("--listings", type=click.IntRange(100), default=4_000, show_default=True)
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, rows: int, listings: int, quick: bool) -> None:
    """Measure, print and write the results."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    items, encoder = (items_of(*sample_set().train), "hashing") if data is None else (one_catalog(data), "minilm")
    items = mixed(items, lambda item: item.id)
    if quick:
        rows, listings = 1000, 100
    asked, new, before = items[:listings], items[listings:-rows], items[-rows:]
    with tempfile.TemporaryDirectory() as folder:
        figures = compared(Path(folder), before, a_day_later(before, new), asked, encoder)
    click.echo(json.dumps(figures, indent=1))
    if quick:
        assert figures["builds"]["again"]["embedded"] < figures["builds"]["first"]["embedded"] / 50
        assert figures["same_category"] > 0.9
    else:
        record(RESULTS, f"{rows:,} rows", figures)


if __name__ == "__main__":
    main()
