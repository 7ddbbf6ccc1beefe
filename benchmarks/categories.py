"""Check that the rule of each category column gives exactly the categories of the column.

    python benchmarks/categories.py --data DIR
    python benchmarks/categories.py --quick        check the sample catalog

The columns `category` and `category_path` of these catalogs are known to be right: names in them have hyphens, slashes
and commas, and levels are split at " > " alone. A rule that splits another sign, or that changes a name, fails.
"""

import csv
import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from harness import ROOT

from shelfwise.indexer.item import normal_path
from shelfwise.indexer.reading.categories import decide

COLUMNS = ("category", "category_path")


@contextmanager
def rows_of(file: Path) -> Iterator[Iterator[Mapping[str, str]]]:
    """Yield the rows of a CSV file, or of a compressed TSV file without quotes."""
    if file.suffix == ".gz":
        with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
            yield csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        with file.open(encoding="utf-8", newline="") as text:
            yield csv.DictReader(text)


def values_of(file: Path) -> dict[str, list[str]]:
    """Return the distinct values of each category column of a file."""
    values: dict[str, dict[str, None]] = {}
    with rows_of(file) as rows:
        for row in rows:
            for column in COLUMNS:
                if row.get(column):
                    values.setdefault(column, {})[row[column]] = None
    return {column: list(found) for column, found in values.items()}


def differing(file: Path) -> int:
    """Print the rule of each column of a file, and return how many values it gives another category."""
    different = 0
    for column, values in values_of(file).items():
        rule = decide(values)
        wrong = [value for value in values if (normal_path(value), ()) != rule.split(value)]
        said = f"{len(wrong)} differ, such as {wrong[0]!r}" if wrong else "equal"
        click.echo(f"{file.parent.name}/{file.name} {column}: {len(values):,} values, {rule.words()}: {said}")
        different += len(wrong)
    return different


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--quick", is_flag=True, help="Check the sample catalog.")
def main(data: Path | None, quick: bool) -> None:
    """Print the rule of each column, and fail if a category differs."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    files = sorted(data.glob("*/*.tsv.gz")) if data else [ROOT / "data" / "catalog.csv"]
    if sum(map(differing, files)):
        raise click.ClickException("some categories differ")


if __name__ == "__main__":
    main()
