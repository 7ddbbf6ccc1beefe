"""The commands that ask a store: classify, similar, evaluate."""

import contextlib
import gc
import itertools
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from shelfwise.commands.options import AS_JSON, DEVICE, FORMATS, STORE, TIER, InputOptions, as_one, reads_input
from shelfwise.commands.terminal import (
    ShelfwiseCommand,
    output_file,
    print_json,
    progress_display,
    show_evaluation,
    show_notices,
    show_rejects,
    show_unlearned,
)

DEFAULT_NEIGHBORS = 3
NOT_WRITTEN = (".parquet", ".gz", ".xlsx", ".xls")  # endings of files that decisions are not written to


@dataclass(frozen=True)
class ClassifyCommand:
    """What `classify` was asked for."""

    listings: str
    store: Path
    output: Path | None
    top: int
    neighbors: int | None
    raw: bool
    fmt: str | None
    tier: str
    device: str
    source: InputOptions


@dataclass(frozen=True)
class SimilarCommand:
    """What `similar` was asked for."""

    text: str | None
    store: Path
    k: int | None
    id_: str | None
    where: str | None
    device: str
    as_json: bool


@dataclass(frozen=True)
class EvaluateCommand:
    """What `evaluate` was asked for."""

    labelled: str
    store: Path
    json_file: Path | None
    baselines: bool
    tier: str
    device: str
    source: InputOptions


@click.command(cls=ShelfwiseCommand)
@click.argument("listings", type=click.Path(), metavar="LISTINGS|-")
@STORE
@click.option("-o", "--output", default=None, type=click.Path(path_type=Path), help="Output file instead of stdout.")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="Alternatives for each listing.")
@click.option("--neighbors", type=click.IntRange(0), help="Similar items as evidence.  [default: 3]")
@click.option("--raw", is_flag=True, help="Leave what a spreadsheet would run as a formula live in CSV output.")
@click.option("--format", "fmt", default=None, type=click.Choice(FORMATS))
@TIER
@DEVICE
@reads_input
@as_one(ClassifyCommand)
def classify(asked: ClassifyCommand) -> None:
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
    from shelfwise.classifier.model.pipeline import LISTINGS_AT_A_TIME
    from shelfwise.indexer.reading.catalog import read_listings
    from shelfwise.indexer.reading.files import open_records
    from shelfwise.indexer.reading.rejects import RejectFile

    if asked.output is not None and asked.output.suffix.lower() in NOT_WRITTEN:
        raise click.UsageError(
            f"{asked.output} would hold CSV, TSV or JSONL, as the input does: name it with such an ending."
        )
    options = asked.source.read(asked.fmt)
    counts: Counter[str] = Counter()
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        gc.disable()  # decisions are in no cycles: looking for some in them took a tenth of the time of --tier fast
        stack.callback(gc.enable)
        records = stack.enter_context(open_records(asked.listings, sys.stdin.buffer, options.encoding, options.format))
        rejects = stack.enter_context(RejectFile(asked.source.rejects))
        with_mark = asked.output is not None and records.encoding == "utf-8-sig"
        out = stack.enter_context(output_file(asked.output, "utf-8-sig" if with_mark else "utf-8"))
        progress = stack.enter_context(progress_display())
        show_notices(records.notices)
        batches = read_listings(records, rejects, options, LISTINGS_AT_A_TIME[asked.tier])
        first = next(batches)  # what is wrong with the input is said before the models are loaded
        classifier = stack.enter_context(shelfwise.open(asked.store, device=asked.device)).classifier
        shown = (
            DEFAULT_NEIGHBORS if asked.neighbors is None else classifier.index.require_k(asked.neighbors, "neighbors")
        )
        show_unlearned(classifier, asked.tier)
        writer = DecisionWriter(out, records.format, records.columns, records.delimiter, asked.raw)
        for batch, decisions in classifier.stream(itertools.chain([first], batches), asked.top, shown, asked.tier):
            writer.write(batch, decisions)
            counts.update(decision.decision for decision in decisions)
            if progress:
                progress("classify", counts.total(), 0)
    shares = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.items()))
    click.echo(f"{counts.total()} listings in {time.monotonic() - start:.1f} s: {shares}", err=True)
    show_rejects(rejects.count, rejects.path)


@click.command(cls=ShelfwiseCommand)
@click.argument("text", required=False)
@STORE
@click.option("-k", "k", default=None, type=click.IntRange(1), help="How many items.  [default: 10]")
@click.option("--id", "id_", default=None, metavar="ID", help="Look for items like this stored one, instead of TEXT.")
@click.option("--where", default=None, metavar="SQL", help="Only items for which this holds, e.g. \"brand = 'X'\".")
@DEVICE
@AS_JSON
@as_one(SimilarCommand)
def similar(asked: SimilarCommand) -> None:
    """Show the stored items most like a text or a stored item.

    \b
      shelfwise similar "无线蓝牙耳机" --store my.store
      shelfwise similar --id A-17 --store my.store -k 5
      shelfwise similar "t-shirt" --store my.store --where "category_path LIKE 'Fashion%'"
    """
    import shelfwise
    from shelfwise.indexer.item import clean, words_of

    if (asked.text is None) == (asked.id_ is None):
        raise click.UsageError("Give a TEXT to look for, or an item with --id.")
    if asked.text is not None and not words_of(asked.text).text():
        raise click.UsageError("TEXT is empty: give a title to look for.")
    store = shelfwise.open(asked.store, device=asked.device)
    items = store.similar(asked.text, id=asked.id_, k=asked.k, where=asked.where)
    if asked.as_json:
        print_json([asdict(item) for item in items])
        return
    for item in items:
        click.echo(f"{item.similarity:7.4f}  {item.category_path}  |  {clean(item.title)}  [{item.id}]")
    if not items:
        click.echo("No item fulfils the condition." if asked.where else "The store has no other item.", err=True)


@click.command(cls=ShelfwiseCommand)
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
@as_one(EvaluateCommand)
def evaluate(asked: EvaluateCommand) -> None:
    """Classify labelled listings and say how many are right, how sure, and how honestly.

    \b
    The file of --json has more: every category, the most confused pairs, the curve of risk and coverage:
      shelfwise evaluate test.csv --store my.store --json figures.json --baselines
      shelfwise evaluate test.csv --store my.store --json - | jq .accuracy
    """
    import shelfwise
    from shelfwise.classifier.measuring.evaluation import evaluate as measure
    from shelfwise.classifier.model.pipeline import LISTINGS_AT_A_TIME
    from shelfwise.indexer.reading.catalog import read_listings
    from shelfwise.indexer.reading.files import open_records
    from shelfwise.indexer.reading.rejects import RejectFile

    options, alone = asked.source.read(), asked.json_file == Path("-")
    with contextlib.ExitStack() as stack:
        records = stack.enter_context(open_records(asked.labelled, sys.stdin.buffer, options.encoding))
        rejects = stack.enter_context(RejectFile(asked.source.rejects))
        out = stack.enter_context(output_file(asked.json_file)) if asked.json_file else None
        progress = stack.enter_context(progress_display())
        show_notices(records.notices)
        batches = read_listings(records, rejects, options, LISTINGS_AT_A_TIME[asked.tier], labelled=True)
        first = next(batches)
        classifier = stack.enter_context(shelfwise.open(asked.store, device=asked.device)).classifier
        show_unlearned(classifier, asked.tier)
        result = measure(classifier, itertools.chain([first], batches), asked.baselines, asked.tier, progress)
        if out:
            more = asdict(result)
            del more["rejects"]  # they are in a file of their own
            json.dump(more.pop("figures") | more, out, ensure_ascii=False, indent=1)
            out.write("\n")
    if not alone:
        show_evaluation(result)
    show_rejects(rejects.count, rejects.path)


QUESTIONS = (classify, similar, evaluate)
