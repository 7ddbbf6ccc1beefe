"""The command line: parse, one library call, print."""

import contextlib
import gc
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shelfwise import __version__
from shelfwise.commands import upkeep
from shelfwise.commands.options import (
    AS_JSON,
    DEVICE,
    STORE,
    TIER,
    FiniteRange,
    InputOptions,
    goal_options,
    guarded,
    reads_input,
)
from shelfwise.commands.terminal import (
    ShelfwiseGroup,
    load_catalog,
    output_file,
    print_json,
    progress_display,
    show_difference,
    show_dry_run,
    show_evaluation,
    show_finetuned,
    show_flips,
    show_notices,
    show_rejects,
    show_report,
    show_unlearned,
)
from shelfwise.indexer.reading import formats

if TYPE_CHECKING:
    from shelfwise.classifier.changing.maintenance import GoalOverrides
    from shelfwise.classifier.changing.release import Guard

DEFAULT_NEIGHBORS = 3
NOT_WRITTEN = (".parquet", ".gz", ".xlsx", ".xls")  # endings of files that decisions are not written to


@click.group(cls=ShelfwiseGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="shelfwise")
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
@reads_input
@goal_options
@guarded
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@AS_JSON
def build(
    catalogs: tuple[str, ...],
    store: Path,
    encoder: str,
    device: str,
    source: InputOptions,
    overrides: "GoalOverrides",
    guard: "Guard | None",
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the store equal to the catalog: add, update and remove items, then fit the head. What was added stays.

    What changes is said first, with how many of 500 known items would get another category. A catalog that looks broken
    is refused.

    \b
    Only items whose text changed are embedded. CSV, TSV, JSONL and Parquet, also .gz:
      shelfwise build catalog.csv --store my.store
      shelfwise build part1.csv part2.jsonl.gz --store my.store --encoder e5
      shelfwise build items.tsv --store my.store --columns title=name,category=aisle
      shelfwise build catalog.csv --store my.store --dry-run
    """
    from shelfwise.classifier.changing.release import releasing
    from shelfwise.indexer.store.migration import migrate

    start = time.monotonic()
    catalog = load_catalog(catalogs, source)
    migrate(store)
    with (
        progress_display() as progress,
        releasing(store, catalog.items, encoder, device, overrides, progress) as release,
    ):
        if not as_json and not release.first:
            show_difference(release.difference)
        if guard and not dry_run:
            release.refuse_beyond(guard)
        flips = release.flips() if guard or dry_run or not as_json else None
        if not as_json and flips:
            show_flips(flips)
        if dry_run:
            show_dry_run(release, flips, catalog, as_json)
            return
        if guard:
            release.refuse_beyond(guard, flips)
        report = release.publish()
    show_report(report, catalog, time.monotonic() - start, as_json)


@main.command()
@click.argument("examples", nargs=-1, required=True, type=click.Path(), metavar="EXAMPLES...")
@STORE
@DEVICE
@reads_input
@AS_JSON
def add(
    examples: tuple[str, ...],
    store: Path,
    device: str,
    source: InputOptions,
    as_json: bool,
) -> None:
    """Insert labelled examples, or update those with the same id; a new category works at once.

    They stay when the store is built again, until a catalog names their ids or they are removed.

    \b
      shelfwise add examples.csv --store my.store
    """
    import shelfwise

    start = time.monotonic()
    catalog = load_catalog(examples, source)
    with progress_display() as progress:
        report = shelfwise.open(store, device=device).add(catalog.items.values(), progress=progress)
    show_report(report, catalog, time.monotonic() - start, as_json)


@main.command()
@STORE
@click.option("--id", "ids", multiple=True, help="Id of an item; can be given more than once.")
@click.option("--category", default=None, metavar="PATH", help="A category path: all its items, and those below it.")
@click.option("--added", is_flag=True, help="All that were added and that no catalog has named since.")
@AS_JSON
def remove(store: Path, ids: tuple[str, ...], category: str | None, added: bool, as_json: bool) -> None:
    """Take items out of the store: by id, by category, or all that were added beside the catalog.

    \b
      shelfwise remove --store my.store --id A-17 --id A-18
      shelfwise remove --store my.store --category "Fashion > Shoes"
    """
    import shelfwise

    if bool(ids) + (category is not None) + added != 1:
        raise click.UsageError("Name items with --id, or a category with --category, or say --added.")
    start = time.monotonic()
    report = shelfwise.open(store).remove(ids, category=category, added=added)
    show_report(report, None, time.monotonic() - start, as_json)


@main.command()
@STORE
@goal_options
@AS_JSON
def train(store: Path, overrides: "GoalOverrides", as_json: bool) -> None:
    """Fit head, fusion, temperature and thresholds again to the items that the store holds.

    \b
    What is wished here stays with the store:
      shelfwise train --store my.store
      shelfwise train --store my.store --target-precision 0.98
      shelfwise train --store my.store --optimize macro-f1 --head svm
    """
    import shelfwise

    start = time.monotonic()
    with progress_display() as progress:
        report = shelfwise.open(store).train(**asdict(overrides), progress=progress)
    show_report(report, None, time.monotonic() - start, as_json)


@main.command()
@STORE
@click.option("--minutes", default=20.0, show_default=True, type=FiniteRange(0, min_open=True), help="In all.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the items at most.  [default: 4 to 8]")
@DEVICE
@AS_JSON
def finetune(store: Path, minutes: float, epochs: int | None, device: str, as_json: bool) -> None:
    """Train the store's encoder on its items, embed them again, and keep what is better on items kept back.

    \b
    Broken off, it goes on from where it was when it is called again:
      shelfwise finetune --store my.store
      shelfwise finetune --store my.store --minutes 40
    """
    import shelfwise

    start = time.monotonic()
    with progress_display() as progress:
        done = shelfwise.open(store, device=device).finetune(minutes=minutes, epochs=epochs, progress=progress)
    show_finetuned(done, time.monotonic() - start, as_json)


@main.command()
@click.argument("listings", type=click.Path(), metavar="LISTINGS|-")
@STORE
@click.option("-o", "--output", default=None, type=click.Path(path_type=Path), help="Output file instead of stdout.")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="Alternatives for each listing.")
@click.option("--neighbors", type=click.IntRange(0), help="Similar items as evidence.  [default: 3]")
@click.option("--raw", is_flag=True, help="Leave what a spreadsheet would run as a formula live in CSV output.")
@click.option("--format", "fmt", default=None, type=click.Choice(formats.names()))
@TIER
@DEVICE
@reads_input
def classify(
    listings: str,
    store: Path,
    output: Path | None,
    top: int,
    neighbors: int | None,
    raw: bool,
    fmt: str | None,
    tier: str,
    device: str,
    source: InputOptions,
) -> None:
    """Give every listing a category, a probability and the evidence. CSV in, CSV out; JSONL in, JSONL out.

    \b
    Every input column is kept, the order of rows too. "-" reads standard input:
      shelfwise classify new.csv --store my.store -o decided.csv
      shelfwise classify million.csv --store my.store -o decided.csv --tier auto
      shelfwise classify new.jsonl --store my.store --neighbors 5 | head
      echo '{"title": "wireless earbuds"}' | shelfwise classify - --store my.store
    """
    import shelfwise
    from shelfwise.classifier.measuring.output import DecisionWriter
    from shelfwise.classifier.model.pipeline import BATCHES
    from shelfwise.indexer.reading.catalog import read_listings
    from shelfwise.indexer.reading.files import open_records
    from shelfwise.indexer.reading.rejects import RejectFile

    if output is not None and output.suffix.lower() in NOT_WRITTEN:
        raise click.UsageError(
            f"{output} would hold CSV, TSV or JSONL, as the input does: name it with such an ending."
        )
    options = source.read(fmt)
    counts: Counter[str] = Counter()
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        gc.disable()  # decisions are in no cycles: looking for some in them took a tenth of the time of --tier fast
        stack.callback(gc.enable)
        records = stack.enter_context(open_records(listings, sys.stdin.buffer, options.encoding, options.format))
        rejects = stack.enter_context(RejectFile(source.rejects))
        with_mark = output is not None and records.encoding == "utf-8-sig"
        out = stack.enter_context(output_file(output, "utf-8-sig" if with_mark else "utf-8"))
        progress = stack.enter_context(progress_display())
        show_notices(records.notices)
        batches = read_listings(records, rejects, options, BATCHES[tier])
        first = next(batches)  # what is wrong with the input is said before the models are loaded
        classifier = stack.enter_context(shelfwise.open(store, device=device)).classifier
        shown = DEFAULT_NEIGHBORS if neighbors is None else classifier.index.require_k(neighbors, "neighbors")
        show_unlearned(classifier, tier)
        writer = DecisionWriter(out, records.format, records.columns, records.delimiter, raw)
        for batch, decisions in classifier.stream(itertools.chain([first], batches), top, shown, tier):
            writer.write(batch, decisions)
            counts.update(decision.decision for decision in decisions)
            if progress:
                progress("classify", counts.total(), 0)
    shares = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.items()))
    click.echo(f"{counts.total()} listings in {time.monotonic() - start:.1f} s: {shares}", err=True)
    show_rejects(rejects.count, rejects.path)


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
    import shelfwise
    from shelfwise.indexer.text import clean, words_of

    if (text is None) == (id_ is None):
        raise click.UsageError("Give a TEXT to look for, or an item with --id.")
    if text is not None and not words_of(text).text():
        raise click.UsageError("TEXT is empty: give a title to look for.")
    items = shelfwise.open(store, device=device).similar(text, id=id_, k=k, where=where)
    if as_json:
        print_json([asdict(item) for item in items])
        return
    for item in items:
        click.echo(f"{item.similarity:7.4f}  {item.category_path}  |  {clean(item.title)}  [{item.id}]")
    if not items:
        click.echo("No item fulfils the condition." if where else "The store has no other item.", err=True)


@main.command()
@click.argument("labelled", type=click.Path(), metavar="LABELLED|-")
@STORE
@click.option(
    "--json",
    "json_file",
    default=None,
    metavar="FILE|-",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Also write figures here; - prints them alone.",
)
@click.option("--baselines", is_flag=True, help="Also fit what others would use to the same items, and compare.")
@TIER
@DEVICE
@reads_input
def evaluate(
    labelled: str,
    store: Path,
    json_file: Path | None,
    baselines: bool,
    tier: str,
    device: str,
    source: InputOptions,
) -> None:
    """Classify labelled listings and say how many are right, how sure, and how honestly.

    \b
    The file of --json has more: every category, the most confused pairs, the curve of risk and coverage:
      shelfwise evaluate test.csv --store my.store --json figures.json --baselines
      shelfwise evaluate test.csv --store my.store --json - | jq .accuracy
    """
    import shelfwise
    from shelfwise.classifier.measuring.evaluation import evaluate as measure
    from shelfwise.classifier.model.pipeline import BATCHES
    from shelfwise.indexer.reading.catalog import read_listings
    from shelfwise.indexer.reading.files import open_records
    from shelfwise.indexer.reading.rejects import RejectFile

    options, alone = source.read(), json_file == Path("-")
    with contextlib.ExitStack() as stack:
        records = stack.enter_context(open_records(labelled, sys.stdin.buffer, options.encoding))
        rejects = stack.enter_context(RejectFile(source.rejects))
        out = stack.enter_context(output_file(json_file)) if json_file else None
        progress = stack.enter_context(progress_display())
        show_notices(records.notices)
        batches = read_listings(records, rejects, options, BATCHES[tier], labelled=True)
        first = next(batches)
        classifier = stack.enter_context(shelfwise.open(store, device=device)).classifier
        show_unlearned(classifier, tier)
        result = measure(classifier, itertools.chain([first], batches), baselines, tier, progress)
        if out:
            more = asdict(result)
            del more["rejects"]  # they are in a file of their own
            json.dump(more.pop("figures") | more, out, ensure_ascii=False, indent=1)
            out.write("\n")
    if not alone:
        show_evaluation(result)
    show_rejects(rejects.count, rejects.path)


@main.command()
@click.option("--store", default=None, type=click.Path(path_type=Path), help="Keep the store in this folder.")
@DEVICE
def demo(store: Path | None, device: str) -> None:
    """The four uses on the sample catalog: build, classify, add a category, look up similar items.

    \b
      shelfwise demo
      shelfwise demo --store demo.store
    """
    from shelfwise.commands.demo import narrate

    with tempfile.TemporaryDirectory() as folder, progress_display() as progress:
        for line in narrate(store or Path(folder) / "demo.store", device, progress):
            click.echo(line)


for command in upkeep.COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
