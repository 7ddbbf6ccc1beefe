"""The command line: parse, one library call, print."""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shelfwise import __version__
from shelfwise.commands import asking, readings, upkeep
from shelfwise.commands.options import (
    AS_JSON,
    DEVICE,
    MERGE_SPELLINGS,
    STORE,
    VERBOSE,
    FiniteRange,
    InputOptions,
    Utf8,
    as_one,
    goal_options,
    limit_options,
    reads_input,
)
from shelfwise.commands.readings import load_catalog
from shelfwise.commands.terminal import (
    ShelfwiseGroup,
    progress_display,
    show_difference,
    show_dry_run,
    show_finetuned,
    show_flips,
    show_report,
)

if TYPE_CHECKING:
    from shelfwise.classifier.changing.maintenance import GoalOverrides
    from shelfwise.classifier.changing.release import ReleaseLimits


@dataclass(frozen=True)
class BuildCommand:
    """The arguments of `build`; with `limits` None any change is published."""

    catalogs: tuple[str, ...]
    store: Path
    encoder: str
    device: str
    source: InputOptions
    overrides: "GoalOverrides"
    limits: "ReleaseLimits | None"
    accept_report: bool
    dry_run: bool
    verbose: bool
    as_json: bool


main = ShelfwiseGroup(
    "shelfwise",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Classify shop listings into the categories of a labelled catalog.

    Build a store from the catalog once, then classify new listings with it. Run `shelfwise COMMAND --help` for the
    options and examples of a command.

    \b
    Start here:
      shelfwise demo
      shelfwise build catalog.csv --store my.store
      shelfwise classify new.csv --store my.store -o decided.csv
    """,
)
click.version_option(__version__, prog_name="shelfwise")(main)


@main.command()
@click.argument("catalogs", nargs=-1, required=True, type=click.Path(), metavar="CATALOG...")
@STORE
@click.option(
    "--encoder",
    default="auto",
    show_default=True,
    help="Encoder of a new store: minilm, e5, hashing, a model folder or a hub name.",
)
@DEVICE
@reads_input
@MERGE_SPELLINGS
@click.option("--accept-report", is_flag=True, help="Build although the reading report has findings marked with !.")
@goal_options
@limit_options
@click.option("--dry-run", is_flag=True, help="Show what would change without changing the store.")
@VERBOSE
@AS_JSON
@as_one(BuildCommand)
def build(asked: BuildCommand) -> None:
    """Build a store from catalog files, or update it to match them.

    CATALOG is a CSV, TSV, JSON, Parquet, Excel or XML file, also compressed. What is understood of it is shown first;
    see `shelfwise inspect`. Items that it no longer lists are removed.
    Items from `shelfwise add` or the service stay. Only new and changed texts are embedded. The model is retrained if
    more than 2% of the items have changed since it was last trained, or if a goal changes (--head, --optimize,
    --target-precision).

    An update first shows the changes, and how many of up to 500 known items would get a different category. A catalog
    that changes too much is refused; see --max-removed, --max-flipped and --force.

    \b
    Examples:
      shelfwise build catalog.csv --store my.store
      shelfwise build part1.csv part2.jsonl.gz --store my.store --encoder e5
      shelfwise build items.tsv --store my.store --columns title=name,category=aisle
      shelfwise build catalog.csv --store my.store --dry-run
    """
    from shelfwise.classifier.changing.release import releasing
    from shelfwise.indexer.store.memory import memory_of
    from shelfwise.indexer.store.migration import migrate

    start = time.monotonic()
    catalog = load_catalog(asked.catalogs, asked.source, asked.store)
    memory = catalog.report.remembered(memory_of(asked.store), asked.source.named(), asked.accept_report)
    migrate(asked.store)
    planned = (asked.store, catalog.items, asked.encoder, asked.device, asked.overrides)
    with progress_display() as progress, releasing(*planned, progress, memory) as release:
        if not asked.as_json and not release.first:
            show_difference(release.difference)
        if asked.limits and not asked.dry_run:
            release.refuse_beyond(asked.limits)
        flips = release.flips() if asked.limits or asked.dry_run or not asked.as_json else None
        if not asked.as_json and flips:
            show_flips(flips)
        if asked.dry_run:
            show_dry_run(release, flips, catalog, asked.as_json)
            return
        if asked.limits:
            release.refuse_beyond(asked.limits, flips)
        report = release.publish()
    show_report(report, catalog, time.monotonic() - start, asked.as_json, asked.verbose)


@main.command()
@click.argument("examples", nargs=-1, required=True, type=click.Path(), metavar="EXAMPLES...")
@STORE
@DEVICE
@reads_input
@MERGE_SPELLINGS
@AS_JSON
def add(
    examples: tuple[str, ...],
    store: Path,
    device: str,
    source: InputOptions,
    as_json: bool,
) -> None:
    """Add labelled items, or replace stored items with the same id.

    A new category works at once, without retraining. Added items stay when the store is built again, until they are
    removed. Once a catalog lists an id, the item belongs to that catalog.

    \b
    Examples:
      shelfwise add examples.csv --store my.store
      shelfwise add new.jsonl --store my.store --columns title=name,category=aisle
    """
    import shelfwise

    start = time.monotonic()
    catalog = load_catalog(examples, source, store)
    with progress_display() as progress:
        report = shelfwise.open(store, device=device).add(catalog.items.values(), progress=progress)
    show_report(report, catalog, time.monotonic() - start, as_json)


@main.command()
@STORE
@click.option("--id", "ids", multiple=True, type=Utf8(), help="Id of an item to remove; repeat it for several items.")
@click.option(
    "--category",
    default=None,
    type=Utf8(),
    metavar="PATH",
    help="Category path: remove its items and all items below it.",
)
@click.option("--added", is_flag=True, help="Remove all added items that no catalog has listed since.")
@AS_JSON
def remove(store: Path, ids: tuple[str, ...], category: str | None, added: bool, as_json: bool) -> None:
    """Remove items by id, by category, or all added items.

    Pass exactly one of --id, --category and --added. The command fails and removes nothing if an id or the category
    does not exist, or if no item would be left.

    \b
    Examples:
      shelfwise remove --store my.store --id A-17 --id A-18
      shelfwise remove --store my.store --category "Fashion > Shoes"
      shelfwise remove --store my.store --added
    """
    import shelfwise

    if bool(ids) + (category is not None) + added != 1:
        raise click.UsageError("Pass exactly one of --id, --category and --added.")
    start = time.monotonic()
    report = shelfwise.open(store).remove(ids, category=category, added=added)
    show_report(report, None, time.monotonic() - start, as_json)


@main.command()
@STORE
@goal_options
@VERBOSE
@AS_JSON
def train(store: Path, overrides: "GoalOverrides", verbose: bool, as_json: bool) -> None:
    """Retrain the model on the items of the store.

    The classifier is fitted again, and its weights, temperature and thresholds are chosen again. The encoder stays the
    same (see `shelfwise finetune`). Retrain after adding many items or new categories, or to change a goal. The goals
    are saved in the store and also apply to later builds.

    \b
    Examples:
      shelfwise train --store my.store
      shelfwise train --store my.store --target-precision 0.98
      shelfwise train --store my.store --optimize macro-f1 --head svm
    """
    import shelfwise

    start = time.monotonic()
    with progress_display() as progress:
        report = shelfwise.open(store).train(**asdict(overrides), progress=progress)
    show_report(report, None, time.monotonic() - start, as_json, verbose)


@main.command()
@STORE
@click.option(
    "--minutes",
    default=20.0,
    show_default=True,
    type=FiniteRange(0, min_open=True),
    help="Time limit of the whole run, in minutes.",
)
@click.option("--epochs", type=click.IntRange(1), help="Maximum number of passes over the items.  [default: 4 to 8]")
@DEVICE
@VERBOSE
@AS_JSON
def finetune(store: Path, minutes: float, epochs: int | None, device: str, verbose: bool, as_json: bool) -> None:
    """Fine-tune the encoder of a store on the items of the store.

    The items are embedded again and the model is retrained. The new encoder is kept only if it is better on held-out
    items; otherwise the store stays as it was. Encoders with weights can be fine-tuned: minilm, e5 and other
    sentence-transformers models. An interrupted run resumes when you run the command again.

    \b
    Examples:
      shelfwise finetune --store my.store
      shelfwise finetune --store my.store --minutes 40
    """
    import shelfwise

    start = time.monotonic()
    with progress_display() as progress:
        done = shelfwise.open(store, device=device).finetune(minutes=minutes, epochs=epochs, progress=progress)
    show_finetuned(done, time.monotonic() - start, as_json, verbose)


@main.command()
@click.option(
    "--store",
    default=None,
    type=click.Path(path_type=Path),
    help="Keep the store of the demo in this folder.  [default: a temporary folder]",
)
@DEVICE
def demo(store: Path | None, device: str) -> None:
    """Show the main uses of Shelfwise on a sample catalog.

    The demo builds a store, classifies listings, adds new categories and looks up similar items.

    \b
    Examples:
      shelfwise demo
      shelfwise demo --store demo.store
    """
    from shelfwise.commands.demo import narrate

    with tempfile.TemporaryDirectory() as folder, progress_display() as progress:
        for line in narrate(store or Path(folder) / "demo.store", device, progress):
            click.echo(line)


for command in (readings.inspect, *asking.QUESTIONS, *upkeep.UPKEEP):
    main.add_command(command)


if __name__ == "__main__":
    main()
