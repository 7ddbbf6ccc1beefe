"""The command line: parse, one library call, print."""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from classifier.maintenance import Report
    from classifier.model import Settings
    from indexer.catalog import Catalog, ReadOptions
    from indexer.encoder import Progress
    from indexer.sync import Changes

CLASSIFY_BATCH = 1024  # listings that are in memory at a time

STORE = click.option("--store", required=True, type=click.Path(path_type=Path), help="Folder of the store.")
DEVICE = click.option(
    "--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]), help="Where to compute."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
COLUMNS = click.option(
    "--columns", default="", metavar="FIELD=COLUMN,...", help="Which column is what, e.g. title=name,category=aisle."
)
ENCODING = click.option("--encoding", default=None, help="Encoding of the input, where detection is wrong.")
REJECTS = click.option(
    "--rejects",
    default="REJECTS.jsonl",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where rows that cannot be used go, with line and reason.",
)


class ShelfwiseGroup(click.Group):
    """Turns the library's failures into one line and exit code 1, and an interrupt into exit code 130."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from indexer.errors import ShelfwiseError

        try:
            return super().invoke(ctx)
        except ShelfwiseError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted: the store is as it was before.", err=True)
            ctx.exit(130)


@click.group(cls=ShelfwiseGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shelfwise")
def main() -> None:
    """Put listings into the right category by the labelled items most like them.

    \b
    Start here:
      shelfwise demo
      shelfwise build catalog.csv --store my.store
      shelfwise classify new.csv --store my.store -o decided.csv
    """


@main.command()
@click.argument("catalogs", nargs=-1, required=True, type=click.Path(), metavar="CATALOG...")
@STORE
@click.option("--encoder", default="auto", show_default=True, help="minilm, e5, hashing, a local folder or a hub name.")
@DEVICE
@COLUMNS
@ENCODING
@REJECTS
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@AS_JSON
def build(
    catalogs: tuple[str, ...],
    store: Path,
    encoder: str,
    device: str,
    columns: str,
    encoding: str | None,
    rejects: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the store equal to the catalog: add, update and remove items, then fit the head.

    \b
    Only items whose text changed are embedded. CSV, TSV, JSONL and Parquet, also .gz:
      shelfwise build catalog.csv --store my.store
      shelfwise build part1.csv part2.jsonl.gz --store my.store --encoder e5
      shelfwise build items.tsv --store my.store --columns title=name,category=aisle
      shelfwise build catalog.csv --store my.store --dry-run
    """
    from classifier import maintenance

    start = time.monotonic()
    catalog = _read_catalog(catalogs, columns, encoding, rejects)
    if dry_run:
        _show_changes(maintenance.plan(store, catalog.items), catalog, as_json)
        return
    with _progress() as progress:
        report = maintenance.build(store, catalog.items, encoder, device, progress)
    _show_report(report, catalog, time.monotonic() - start, as_json, fitted=True)


@main.command()
@click.argument("examples", nargs=-1, required=True, type=click.Path(), metavar="EXAMPLES...")
@STORE
@DEVICE
@COLUMNS
@ENCODING
@REJECTS
@AS_JSON
def add(
    examples: tuple[str, ...],
    store: Path,
    device: str,
    columns: str,
    encoding: str | None,
    rejects: Path,
    as_json: bool,
) -> None:
    """Insert labelled examples, or update those with the same id; a new category works at once.

    \b
      shelfwise add examples.csv --store my.store
    """
    from classifier import maintenance

    start = time.monotonic()
    catalog = _read_catalog(examples, columns, encoding, rejects)
    with _progress() as progress:
        report = maintenance.add(store, catalog.items, device, progress)
    _show_report(report, catalog, time.monotonic() - start, as_json)


@main.command()
@STORE
@click.option("--id", "ids", multiple=True, help="Id of an item; can be given more than once.")
@click.option("--category", default=None, metavar="PATH", help="A category path: all its items, and those below it.")
@AS_JSON
def remove(store: Path, ids: tuple[str, ...], category: str | None, as_json: bool) -> None:
    """Take items out of the store, by id or by category.

    \b
      shelfwise remove --store my.store --id A-17 --id A-18
      shelfwise remove --store my.store --category "Fashion > Shoes"
    """
    from classifier import maintenance

    if bool(ids) == (category is not None):
        raise click.UsageError("Name items with --id, or a category with --category.")
    start = time.monotonic()
    report = maintenance.remove(store, ids, category)
    _show_report(report, None, time.monotonic() - start, as_json)


@main.command()
@STORE
@AS_JSON
def train(store: Path, as_json: bool) -> None:
    """Fit head, fusion, temperature and thresholds again to the items that the store holds.

    \b
      shelfwise train --store my.store
    """
    from classifier import maintenance

    start = time.monotonic()
    with _progress() as progress:
        report = maintenance.train(store, progress)
    _show_report(report, None, time.monotonic() - start, as_json, fitted=True)


@main.command()
@click.argument("listings", type=click.Path(), metavar="LISTINGS|-")
@STORE
@click.option("-o", "--output", default=None, type=click.Path(path_type=Path), help="Output file instead of stdout.")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="Alternatives for each listing.")
@click.option("--neighbors", default=3, show_default=True, type=click.IntRange(0), help="Similar items as evidence.")
@click.option("--raw", is_flag=True, help="Leave spreadsheet formulas in titles live in CSV output.")
@click.option("--format", "fmt", default=None, type=click.Choice(["csv", "tsv", "jsonl", "parquet"]))
@DEVICE
@COLUMNS
@ENCODING
@REJECTS
def classify(
    listings: str,
    store: Path,
    output: Path | None,
    top: int,
    neighbors: int,
    raw: bool,
    fmt: str | None,
    device: str,
    columns: str,
    encoding: str | None,
    rejects: Path,
) -> None:
    """Give every listing a category, a probability and the evidence. CSV in, CSV out; JSONL in, JSONL out.

    \b
    Every input column is kept, the order of rows too. "-" reads standard input:
      shelfwise classify new.csv --store my.store -o decided.csv
      shelfwise classify new.jsonl --store my.store --neighbors 5 | head
      echo '{"title": "wireless earbuds"}' | shelfwise classify - --store my.store
    """
    from classifier.output import DecisionWriter
    from classifier.pipeline import Classifier
    from indexer.catalog import read_listings
    from indexer.files import open_records
    from indexer.rejects import RejectFile

    options = _options(columns, encoding, fmt)
    counts: dict[str, int] = {}
    start = time.monotonic()
    stdin = click.get_binary_stream("stdin")
    with open_records(listings, stdin, options.encoding, options.format) as source, RejectFile(rejects) as bad:
        _notices(source.notices)
        bom = source.encoding == "utf-8-sig" and output is not None
        with _output(output, "utf-8-sig" if bom else "utf-8") as out, _progress() as progress:
            batches = read_listings(source, bad, options, CLASSIFY_BATCH)
            first = next(batches, [])
            classifier = Classifier.open(store, device)
            if click.get_current_context().get_parameter_source("neighbors") is not click.core.ParameterSource.DEFAULT:
                classifier.index.require_k(neighbors, "--neighbors")
            writer = DecisionWriter(out, source.format, source.columns, source.delimiter, raw)
            while first:
                decisions = classifier.classify([listing.item for listing in first], top, neighbors)
                writer.write(first, decisions)
                for decision in decisions:
                    counts[decision.decision] = counts.get(decision.decision, 0) + 1
                if progress:
                    progress("classify", sum(counts.values()), 0)
                first = next(batches, [])
    seconds = time.monotonic() - start
    shares = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.items()))
    click.echo(f"{sum(counts.values())} listings in {seconds:.1f} s: {shares}", err=True)
    _show_rejects(bad.count, bad.path)


@main.command()
@click.argument("text", required=False)
@STORE
@click.option("-k", "k", default=None, type=click.IntRange(1), help="How many items.  [default: 10]")
@click.option("--id", "id_", default=None, metavar="ID", help="Look for items like this stored one, instead of TEXT.")
@click.option("--where", default=None, metavar="SQL", help="Only items for which this holds, e.g. \"brand = 'X'\".")
@DEVICE
@AS_JSON
def similar(
    text: str | None, store: Path, k: int | None, id_: str | None, where: str | None, device: str, as_json: bool
) -> None:
    """Show the stored items most like a text or a stored item.

    \b
      shelfwise similar "无线蓝牙耳机" --store my.store
      shelfwise similar --id A-17 --store my.store -k 5
      shelfwise similar "t-shirt" --store my.store --where "category_path LIKE 'Fashion%'"
    """
    from dataclasses import asdict

    from classifier.pipeline import Classifier

    if (text is None) == (id_ is None):
        raise click.UsageError("Give a TEXT to look for, or an item with --id.")
    if text is not None and not text.strip():
        raise click.UsageError("TEXT is empty: give a title to look for.")
    items = Classifier.open(store, device).similar(text, id_, k, where)
    if as_json:
        _print_json([asdict(item) for item in items])
        return
    for item in items:
        click.echo(f"{item.similarity:7.4f}  {item.category_path}  |  {item.title}  [{item.id}]")
    if not items:
        click.echo("No item fulfils the condition.", err=True)


@main.command()
@click.argument("labelled", type=click.Path())
@STORE
@click.option("--json", "json_file", default=None, type=click.Path(path_type=Path), help="Also write figures here.")
@DEVICE
@COLUMNS
@ENCODING
@REJECTS
def evaluate(
    labelled: str,
    store: Path,
    json_file: Path | None,
    device: str,
    columns: str,
    encoding: str | None,
    rejects: Path,
) -> None:
    """Classify labelled listings and say how many are right, how sure, and how honestly.

    \b
      shelfwise evaluate test.csv --store my.store --json figures.json
    """
    from classifier.evaluation import evaluate as measure
    from classifier.pipeline import Classifier
    from indexer.catalog import read_listings
    from indexer.files import open_records
    from indexer.rejects import RejectFile

    options = _options(columns, encoding, None)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_records(labelled, None, options.encoding))
        bad = stack.enter_context(RejectFile(rejects))
        out = stack.enter_context(_output(json_file)) if json_file else None
        progress = stack.enter_context(_progress())
        _notices(source.notices)
        batches = read_listings(source, bad, options, CLASSIFY_BATCH, labelled=True)
        classifier = Classifier.open(store, device)
        result = measure(classifier, ([listing.item for listing in batch] for batch in batches), progress)
        if out:
            json.dump(result.figures | {"categories": result.categories}, out, ensure_ascii=False, indent=1)
    for name, value in result.figures.items():
        click.echo(f"{name:20} {value:.4f}" if value != int(value) or value <= 1 else f"{name:20} {value:.0f}")
    _show_rejects(bad.count, bad.path)


@main.command()
@STORE
@AS_JSON
def info(store: Path, as_json: bool) -> None:
    """Say what a store holds and how it was made.

    \b
      shelfwise info --store my.store
      shelfwise info --store my.store --json
    """
    from classifier.maintenance import describe

    found = describe(store)
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, entry in value.items():
                click.echo(f"  {key}: {json.dumps(entry, ensure_ascii=False)}")
        else:
            click.echo(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


@main.command()
@click.option("--store", default=None, type=click.Path(path_type=Path), help="Keep the store in this folder.")
@DEVICE
def demo(store: Path | None, device: str) -> None:
    """The four uses on the sample catalog: build, classify, add a category, look up similar items.

    \b
      shelfwise demo
      shelfwise demo --store demo.store
    """
    from classifier.demo import narrate

    with tempfile.TemporaryDirectory() as folder, _progress() as progress:
        for line in narrate(store or Path(folder) / "demo.store", device, progress):
            click.echo(line)


def _options(columns: str, encoding: str | None, fmt: str | None) -> "ReadOptions":
    from indexer.catalog import ReadOptions, parse_columns
    from indexer.errors import InputError

    try:
        return ReadOptions(parse_columns(columns), encoding, fmt)
    except InputError as error:
        raise click.UsageError(str(error)) from None


def _read_catalog(paths: tuple[str, ...], columns: str, encoding: str | None, rejects: Path) -> "Catalog":
    from indexer.catalog import read_catalog
    from indexer.rejects import RejectFile

    with RejectFile(rejects) as bad:
        catalog = read_catalog(paths, bad, _options(columns, encoding, None))
    _notices(catalog.notices)
    _show_rejects(bad.count, bad.path)
    if catalog.conflicting:
        click.echo(f"{catalog.conflicting} rows repeat an id with other content: the last one counts", err=True)
    return catalog


def _notices(notices: list[str]) -> None:
    for notice in notices:
        click.echo(f"Note: {notice}", err=True)


def _show_rejects(count: int, path: Path) -> None:
    if count:
        click.echo(f"{count} rows rejected, with line and reason in {path}", err=True)


def _counts(catalog: "Catalog | None") -> dict[str, int]:
    if catalog is None:
        return {}
    return {"rejected": catalog.rejected, "repeated": catalog.repeated, "conflicting": catalog.conflicting}


def _show_changes(changes: "Changes", catalog: "Catalog", as_json: bool) -> None:
    counts = {
        "added": changes.added,
        "updated": changes.updated,
        "removed": len(changes.removed),
        "unchanged": changes.unchanged,
        **_counts(catalog),
    }
    if as_json:
        _print_json(counts | {"dry_run": True})
    else:
        click.echo("would be: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


def _show_report(
    report: "Report", catalog: "Catalog | None", seconds: float, as_json: bool, fitted: bool = False
) -> None:
    from dataclasses import asdict

    counts = {
        "added": report.added,
        "updated": report.updated,
        "removed": report.removed,
        "unchanged": report.unchanged,
        **_counts(catalog),
        "embedded": report.embedded,
    }
    if as_json:
        more = {"version": report.version, "rows": report.rows, "seconds": round(seconds, 2)}
        _print_json(
            counts
            | more
            | {"encoder": asdict(report.encoder), "new_categories": report.new_categories}
            | {"settings": asdict(report.settings)}
        )
        return
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
    click.echo(f"encoder {report.encoder.name} ({report.encoder.reason})")
    for category in report.new_categories:
        click.echo(f"new category: {category}")
    if fitted:
        _show_settings(report.settings)
    click.echo(f"version {report.version} with {report.rows} items, {seconds:.1f} s")


def _show_settings(settings: "Settings") -> None:
    if not settings.held_out:
        click.echo("too few items to hold any out: default settings, nothing is accepted without review")
        return
    vote = settings.vote
    click.echo(
        f"chosen: vote temperature {vote.temperature}, prior exponent {vote.prior_exponent}, new-category exponent "
        f"{vote.new_exponent}, vote weight {settings.vote_weight}, temperature {settings.temperature:.2f}, accept from "
        f"{settings.accept_from:.3f}, far below {settings.far_below:.3f}"
    )
    held_out = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in settings.held_out.items() if name != "rows"
    )
    click.echo(f"on {settings.held_out['rows']:.0f} held-out items: {held_out}")


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))


@contextlib.contextmanager
def _output(path: Path | None, encoding: str = "utf-8") -> Iterator[IO[str]]:
    """Standard output, or `path` by way of `path`.partial, which stays where the work is interrupted."""
    from indexer.errors import InputError

    if path is None:
        yield click.get_text_stream("stdout", encoding="utf-8")
        return
    regular = not path.exists() or path.is_file()
    work = path.with_name(path.name + ".partial") if regular else path
    try:
        if path.is_file() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
        out = work.open("w", encoding=encoding, errors="backslashreplace", newline="")
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): name a file in a folder that is writable") from None
    try:
        with out:
            yield out
    except KeyboardInterrupt:
        click.echo(f"Interrupted: what was done so far is in {work}", err=True)
        raise
    except BaseException:
        if regular:
            work.unlink(missing_ok=True)
        raise
    if regular:
        work.replace(path)


@contextlib.contextmanager
def _progress() -> "Iterator[Progress | None]":
    """A progress display on stderr where that is a terminal: items, rate and time left."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed or 0:.0f}/s")

    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as display:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = display.add_task(stage, total=total or None)
            display.update(tasks[stage], completed=done)

        yield update


if __name__ == "__main__":
    main()
