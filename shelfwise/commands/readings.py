"""The reading report on the terminal, and the command `inspect`."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shelfwise.commands.options import AS_JSON, MERGE_SPELLINGS, InputOptions, reads_input
from shelfwise.commands.terminal import ShelfwiseCommand, counted, print_json, show_rejects

if TYPE_CHECKING:
    from shelfwise.indexer.reading.catalog import Catalog
    from shelfwise.indexer.reading.report import FileReport, ReadingReport

SHOWN_COLUMNS = 8  # unused columns to name
SHOWN_TEXT = 100  # characters of a text


@click.command(cls=ShelfwiseCommand)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE|-...")
@reads_input
@MERGE_SPELLINGS
@AS_JSON
def inspect(files: tuple[str, ...], source: InputOptions, as_json: bool) -> None:
    """Show what is understood of catalog files, without building a store.

    The report has the column of each field, rows and rejects, categories and their levels, some texts as the encoder
    will read them, and what looks wrong. A finding marked with ! would stop `shelfwise build`.

    \b
    Examples:
      shelfwise inspect catalog.csv
      shelfwise inspect export.xlsx --sheet Products --json
    """
    from shelfwise.commands.outputs import refuse_overwriting, standard_input
    from shelfwise.indexer.reading.catalog import survey_files
    from shelfwise.indexer.reading.rejects import RejectFile

    refuse_overwriting(files, source.rejects, source.mapping)
    with RejectFile(source.rejects) as rejects:
        report = survey_files(files, rejects, source.read(), standard_input())
    if as_json:
        print_json(asdict(report))
    else:
        for line in lines_of(report):
            click.echo(line)
    show_rejects(rejects.count, source.rejects)


def load_catalog(paths: tuple[str, ...], source: "InputOptions", store: Path) -> "Catalog":
    """Read labelled files and return their items. What was understood and the rejects are reported on stderr."""
    from shelfwise.commands.outputs import refuse_overwriting, standard_input
    from shelfwise.indexer.reading.catalog import read_catalog
    from shelfwise.indexer.reading.rejects import RejectFile

    refuse_overwriting(paths, source.rejects, source.mapping)
    with RejectFile(source.rejects) as rejects:
        catalog = read_catalog(paths, rejects, source.read(store), standard_input())
    show_reading(catalog.report)
    show_rejects(rejects.count, source.rejects)
    return catalog


def show_reading(report: "ReadingReport") -> None:
    """Print a reading report on stderr."""
    for line in lines_of(report):
        click.echo(line, err=True)


def show_end(report: "ReadingReport") -> None:
    """Print on stderr what a report of the first rows could not say yet: findings and remarks on later rows."""
    for finding in report.findings:
        click.echo(f"{'!' if finding.stops else 'Note:'} {finding.text}", err=True)


def lines_of(report: "ReadingReport") -> Iterator[str]:
    """Yield the lines of a reading report."""
    for file in report.files:
        yield from _lines_of_file(file)
    counts = [counted(report.items, "item")]
    if report.categories:
        low, high = report.levels
        levels = counted(low, "level") if low == high else f"{low} to {high} levels"
        counts.append(f"{report.categories} categories of {levels}" if report.categories > 1 else "1 category")
    counts += [
        f"{number} {words}"
        for number, words in (
            (report.repeated, "repeated rows"),
            (report.conflicting, "rows that repeat an id with other content (the last one counts)"),
            (report.two_categories, "titles in a second category"),
        )
        if number
    ]
    yield ", ".join(counts) + ("" if report.complete else " so far")
    for path, rows in report.largest:
        yield f"  {rows:6}  {path}"
    for text in report.embedded:
        yield f"  as embedded: {text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + '...'}"
    for finding in report.findings:
        yield f"{'!' if finding.stops else 'Note:'} {finding.text}"


def _lines_of_file(file: "FileReport") -> Iterator[str]:
    kind = ", ".join(filter(None, [file.format.upper(), file.encoding, file.profile]))
    yield f"{file.name} ({kind}): {counted(file.rows, 'row')}" + "".join(
        f", {number} {words}"
        for number, words in ((file.variants, "variants of a product"), (sum(file.rejected.values()), "rejected"))
        if number
    )
    for use in file.columns:
        split = next((file.splitting[column] for column in use.columns if column in file.splitting), "")
        yield f"  {use.field:14} {' + '.join(use.columns)} ({use.why}{'; ' + split if split else ''})"
    if file.unused:
        more = len(file.unused) - SHOWN_COLUMNS
        yield f"  not used: {', '.join(file.unused[:SHOWN_COLUMNS])}" + (f" and {more} more" if more > 0 else "")
    for code, rows in file.rejected.items():
        yield f"  rejected as {code}: {rows}"
    for notice in file.notices:
        yield f"  Note: {notice}"
