"""Commands that query a store: classify, similar, evaluate."""

import contextlib
import gc
import itertools
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from shelfwise.commands.options import (
    AS_JSON,
    DEVICE,
    MERGE_SPELLINGS,
    OUTPUT_FORMATS,
    STORE,
    TIER,
    Encoding,
    InputOptions,
    Utf8,
    as_one,
    reads_input,
)
from shelfwise.commands.readings import show_end, show_reading
from shelfwise.commands.terminal import (
    ShelfwiseCommand,
    counted,
    print_json,
    progress_display,
    show_evaluation,
    show_rejects,
    show_unlearned,
)

DEFAULT_NEIGHBORS = 3


@dataclass(frozen=True)
class ClassifyCommand:
    """The arguments of `classify`."""

    listings: str
    store: Path
    output: Path | None
    top: int
    neighbors: int | None
    raw: bool
    output_format: str | None
    output_encoding: str | None
    tier: str
    device: str
    source: InputOptions


@dataclass(frozen=True)
class SimilarCommand:
    """The arguments of `similar`."""

    text: str | None
    store: Path
    k: int | None
    id_: str | None
    where: str | None
    device: str
    as_json: bool


@dataclass(frozen=True)
class EvaluateCommand:
    """The arguments of `evaluate`."""

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
@click.option(
    "-o", "--output", default=None, type=click.Path(path_type=Path), help="Write to this file.  [default: stdout]"
)
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="Most probable categories to list.")
@click.option("--neighbors", type=click.IntRange(0), help="Similar items to show as evidence.  [default: 3]")
@click.option("--raw", is_flag=True, help="Do not escape CSV cells that a spreadsheet would run as formulas.")
@click.option(
    "--output-format",
    default=None,
    type=click.Choice(OUTPUT_FORMATS),
    help="Format of the output.  [default: by the ending of its name, else the input's]",
)
@click.option(
    "--output-encoding",
    default=None,
    type=Encoding(),
    help="Encoding of CSV, TSV and JSONL output.  [default: the input's]",
)
@TIER
@DEVICE
@reads_input
@as_one(ClassifyCommand)
def classify(asked: ClassifyCommand) -> None:
    """Assign a category, a confidence and evidence to each listing.

    LISTINGS is a CSV, TSV, JSON, Parquet, Excel or XML file, also compressed; "-" reads standard input. The output
    keeps the order of the rows and all input columns, and adds the columns of the decision, in place of those of an
    earlier output. It is CSV, TSV, JSONL (also gzipped), Parquet or Excel. Rows that cannot be used are written to the
    file of --rejects.

    \b
    Examples:
      shelfwise classify new.csv --store my.store -o decided.csv
      shelfwise classify million.csv --store my.store -o decided.parquet --tier auto
      shelfwise classify new.jsonl --store my.store --neighbors 5 | head
      echo '{"title": "wireless earbuds"}' | shelfwise classify - --store my.store
    """
    import shelfwise
    from shelfwise.classifier.measuring.writers import writer_for
    from shelfwise.classifier.model.pipeline import LISTINGS_AT_A_TIME
    from shelfwise.commands.outputs import binary_output, output_layout, refuse_overwriting, standard_input
    from shelfwise.indexer.reading.files import open_records
    from shelfwise.indexer.reading.listings import ListingReader
    from shelfwise.indexer.reading.rejects import RejectFile

    refuse_overwriting((asked.listings,), asked.source.rejects, asked.output, asked.source.mapping)
    options = asked.source.read(asked.store)
    counts: Counter[str] = Counter()
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        gc.disable()  # decisions form no reference cycles; collecting them took a tenth of the time of --tier fast
        stack.callback(gc.enable)
        records = stack.enter_context(open_records(asked.listings, standard_input(), options.file))
        rejects = stack.enter_context(RejectFile(asked.source.rejects))
        reader = ListingReader.of_file(records, options)
        layout = output_layout(
            records, reader.columns, asked.output, asked.output_format, asked.output_encoding, asked.raw
        )
        out = stack.enter_context(binary_output(asked.output))
        progress = stack.enter_context(progress_display())
        show_reading(reader.report())
        batches = reader.batches(rejects, LISTINGS_AT_A_TIME[asked.tier])
        first = next(batches)  # report errors of the input before the models are loaded
        classifier = stack.enter_context(shelfwise.open(asked.store, device=asked.device)).classifier
        shown = (
            DEFAULT_NEIGHBORS if asked.neighbors is None else classifier.index.require_k(asked.neighbors, "neighbors")
        )
        show_unlearned(classifier, asked.tier)
        writer = stack.enter_context(writer_for(out, layout, classifier.labels.paths))
        for batch, decisions in classifier.stream(itertools.chain([first], batches), asked.top, shown, asked.tier):
            writer.write(batch, decisions)
            counts.update(decision.decision for decision in decisions if decision)
            if progress:
                progress("classify", counts.total(), 0)
    shares = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.items()))
    for notice in writer.notices:
        click.echo(f"Note: {notice}", err=True)
    click.echo(f"{counted(counts.total(), 'listing')} in {time.monotonic() - start:.1f} s: {shares}", err=True)
    show_end(reader.report())
    show_rejects(rejects.count, rejects.path)


@click.command(cls=ShelfwiseCommand)
@click.argument("text", required=False, type=Utf8())
@STORE
@click.option("-k", "k", default=None, type=click.IntRange(1), help="Number of items to show.  [default: 10]")
@click.option(
    "--id", "id_", default=None, type=Utf8(), metavar="ID", help="Compare with this stored item instead of TEXT."
)
@click.option(
    "--where", default=None, type=Utf8(), metavar="SQL", help="Only items that match, e.g. \"brand = 'VELORO'\"."
)
@DEVICE
@AS_JSON
@as_one(SimilarCommand)
def similar(asked: SimilarCommand) -> None:
    """Find the stored items most similar to a text or an item.

    Pass either TEXT or --id. Each line shows the cosine similarity, category path, title and id of an item, the most
    similar item first.

    \b
    Examples:
      shelfwise similar "无线蓝牙耳机" --store my.store
      shelfwise similar --id A-17 --store my.store -k 5
      shelfwise similar "t-shirt" --store my.store --where "category_path LIKE 'Fashion%'"
    """
    import shelfwise
    from shelfwise.indexer.item import clean, words_of

    if (asked.text is None) == (asked.id_ is None):
        raise click.UsageError("Pass either TEXT or --id.")
    if asked.text is not None and not words_of(asked.text).text():
        raise click.UsageError("TEXT is empty: pass a title or some words.")
    store = shelfwise.open(asked.store, device=asked.device)
    items = store.similar(asked.text, id=asked.id_, k=asked.k, where=asked.where)
    if asked.as_json:
        print_json([asdict(item) for item in items])
        return
    for item in items:
        click.echo(f"{item.similarity:7.4f}  {item.category_path}  |  {clean(item.title)}  [{item.id}]")
    if not items:
        click.echo(
            "No item matches the condition of --where." if asked.where else "The store has no other item.", err=True
        )


@click.command(cls=ShelfwiseCommand)
@click.argument("labelled", type=click.Path(), metavar="LABELLED|-")
@STORE
@click.option(
    "--json",
    "json_file",
    default=None,
    metavar="FILE|-",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Also write the figures to this file as JSON; - prints only the JSON.",
)
@click.option("--baselines", is_flag=True, help="Also fit and compare two common classifiers.")
@TIER
@DEVICE
@reads_input
@MERGE_SPELLINGS
@as_one(EvaluateCommand)
def evaluate(asked: EvaluateCommand) -> None:
    """Measure accuracy and calibration on labelled listings.

    LABELLED is a file of listings with their right categories; "-" reads standard input. The JSON output also has the
    figures of every category, the most confused pairs and the risk-coverage curve. --baselines fits a linear SVM on
    n-grams and a logistic regression on the vectors to the items of the store.

    \b
    Examples:
      shelfwise evaluate test.csv --store my.store --json figures.json --baselines
      shelfwise evaluate test.csv --store my.store --json - | jq .accuracy
    """
    import shelfwise
    from shelfwise.classifier.measuring.evaluation import evaluate as measure
    from shelfwise.classifier.model.pipeline import LISTINGS_AT_A_TIME
    from shelfwise.commands.outputs import output_file, refuse_overwriting, standard_input
    from shelfwise.indexer.reading.files import open_records
    from shelfwise.indexer.reading.listings import ListingReader
    from shelfwise.indexer.reading.rejects import RejectFile

    refuse_overwriting((asked.labelled,), asked.source.rejects, asked.json_file, asked.source.mapping)
    options, alone = asked.source.read(asked.store), asked.json_file == Path("-")
    with contextlib.ExitStack() as stack:
        records = stack.enter_context(open_records(asked.labelled, standard_input(), options.file))
        rejects = stack.enter_context(RejectFile(asked.source.rejects))
        out = stack.enter_context(output_file(asked.json_file)) if asked.json_file else None
        progress = stack.enter_context(progress_display())
        reader = ListingReader.of_file(records, options, labelled=True)
        show_reading(reader.report())
        batches = reader.batches(rejects, LISTINGS_AT_A_TIME[asked.tier])
        first = next(batches)
        classifier = stack.enter_context(shelfwise.open(asked.store, device=asked.device)).classifier
        show_unlearned(classifier, asked.tier)
        result = measure(classifier, itertools.chain([first], batches), asked.baselines, asked.tier, progress)
        if out:
            more = asdict(result)
            del more["rejects"]  # written to their own file
            more["reading"] = asdict(reader.report())
            json.dump(more.pop("figures") | more, out, ensure_ascii=False, indent=1)
            out.write("\n")
    if not alone:
        show_evaluation(result)
    show_end(reader.report())
    show_rejects(rejects.count, rejects.path)


QUESTIONS = (classify, similar, evaluate)
