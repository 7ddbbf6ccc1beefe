"""The command line: parse, one library call, print."""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shelfwise import __version__
from shelfwise.commands import asking, upkeep
from shelfwise.commands.options import (
    AS_JSON,
    DEVICE,
    STORE,
    FiniteRange,
    InputOptions,
    as_one,
    goal_options,
    limit_options,
    reads_input,
)
from shelfwise.commands.terminal import (
    ShelfwiseGroup,
    load_catalog,
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
    """What `build` was asked for; without `limits` whatever changes is published."""

    catalogs: tuple[str, ...]
    store: Path
    encoder: str
    device: str
    source: InputOptions
    overrides: "GoalOverrides"
    limits: "ReleaseLimits | None"
    dry_run: bool
    as_json: bool


main = ShelfwiseGroup(
    "shelfwise",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Put listings into the right category by the labelled items most like them.

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
@click.option("--encoder", default="auto", show_default=True, help="minilm, e5, hashing, a local folder or a hub name.")
@DEVICE
@reads_input
@goal_options
@limit_options
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@AS_JSON
@as_one(BuildCommand)
def build(asked: BuildCommand) -> None:
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
    catalog = load_catalog(asked.catalogs, asked.source)
    migrate(asked.store)
    planned = (asked.store, catalog.items, asked.encoder, asked.device, asked.overrides)
    with progress_display() as progress, releasing(*planned, progress) as release:
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
    show_report(report, catalog, time.monotonic() - start, asked.as_json)


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


for command in (*asking.QUESTIONS, *upkeep.UPKEEP):
    main.add_command(command)


if __name__ == "__main__":
    main()
