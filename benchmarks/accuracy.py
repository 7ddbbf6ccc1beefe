"""Measure accuracy, speed and memory on real catalogs, and compare with alternative classifiers in the same run.

    python benchmarks/accuracy.py --data DIR [--set instacart] [--minutes 20] [--stores DIR]
    python benchmarks/accuracy.py --quick        smoke test on the sample catalog, writes no results

DIR has a folder for each set with train.tsv.gz and test.tsv.gz. Shelfwise runs as users run it: each command in its own
process. Results go to benchmarks/results/accuracy.json.
"""

import csv
import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import peers as peer
from harness import ROOT, Set, items_of, machine, measured, real_sets, record, recorded, sample_set

from shelfwise.classifier.labels import depth_of, node_of
from shelfwise.classifier.measuring.baselines import linear_svc, timed, vector_logistic
from shelfwise.classifier.measuring.evaluation import compare
from shelfwise.classifier.metrics import Names, macro_f1, precision_recall_f1
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.item import PATH_SEPARATOR, Item

RESULTS = ROOT / "benchmarks" / "results" / "accuracy.json"
TARGET, STRICT_TARGET = 0.95, 0.98  # target precisions of accepted decisions: the main one, and a stricter one
PEERS = ("linear_svc", "frozen_logistic", "fasttext", "lstm", "bert")


def run_shelfwise(one: Set, folder: Path, minutes: float) -> dict[str, Any]:
    """Build from train, fine-tune for `minutes` (0 for no fine-tuning) and evaluate on test, each in its own process.

    An existing store in `folder` is reused, and only its model is retrained.
    """
    store, notes = folder / one.name, folder / f"{one.name}.json"
    if notes.exists():
        made = json.loads(notes.read_text(encoding="utf-8"))
        measured("train", "--store", store, "--target-precision", TARGET, "--json")
    else:
        built = measured("build", *one.train, "--store", store, "--encoder", one.encoder, "--json")
        made = {"build_seconds": built["seconds"], "build_peak_mib": built["peak_mib"]}
        made["encoder_commit"] = machine()["commit"]
        if minutes:
            tuned = measured("finetune", "--store", store, "--minutes", minutes, "--json")
            report = json.loads(tuned["stdout"])
            made |= {"finetune_seconds": tuned["seconds"], "finetune_peak_mib": tuned["peak_mib"]}
            made |= {name: report[name] for name in ("trained", "before", "after", "switched")}
        notes.write_text(json.dumps(made), encoding="utf-8")
    measured("classify", one.test, "--store", store, "-o", folder / "classified", "--neighbors", 0, "--raw")
    tested = measured("evaluate", one.test, "--store", store, "--json", folder / "figures.json")
    found: dict[str, Any] = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    info = json.loads(measured("info", "--store", store, "--json")["stdout"])
    for large in ("categories", "baselines", "reading"):
        del found[large]
    for name in ("weighted_f1", "macro_f1"):
        found[f"levels_{name}"] = float(np.mean([level[name] for level in found["levels"]]))
    truth, said = answers(one, items_of(one.test), folder)
    return (
        found
        | by_name(truth, said)
        | {f"cut_{name}": value for name, value in over_levels(truth, said).items()}
        | {
            "items": info["rows"],
            "encoder": one.encoder,
            "commit": machine()["commit"],
            "settings": info["settings"],
            **made,
            "evaluate_seconds": tested["seconds"],
            "evaluate_peak_mib": tested["peak_mib"],
            "strict": accepted_at(STRICT_TARGET, one, store, folder),
        }
    )


def accepted_at(target: float, one: Set, store: Path, folder: Path) -> dict[str, Any]:
    """Retrain a store for a target precision, and return its acceptance rate and accuracy on the test file."""
    measured("train", "--store", store, "--target-precision", target)
    measured("evaluate", one.test, "--store", store, "--json", folder / "strict.json")
    found = json.loads((folder / "strict.json").read_text(encoding="utf-8"))
    return {"target": target} | {name: found[name] for name in ("accepted", "accepted_accuracy")}


def run_peers(one: Set, folder: Path, wanted: Sequence[str], minutes: float) -> dict[str, Any]:
    """Fit the peers in `wanted` to the same rows, and compare each with the predictions of Shelfwise in `folder`."""
    rows, listings = items_of(*one.train), items_of(one.test)
    truth, ours = answers(one, listings, folder)
    paths = [item.category_path for item in rows]
    texts, asked = ([item.words.text() for item in part] for part in (rows, listings))
    encoder = functools.cache(lambda: load_encoder(one.encoder))
    peers = {
        "linear_svc": lambda: linear_svc(texts, paths, asked),
        "frozen_logistic": lambda: vector_logistic(encoder().encode(texts), paths, encoder().encode(asked)),
        "fasttext": lambda: peer.fasttext(texts, paths, one.chinese)(asked),
        "lstm": lambda: peer.lstm(texts, paths, asked, one.chinese),
        "bert": lambda: peer.bert(texts, paths, asked, one.encoder, minutes),
    }
    found = {}
    for name in wanted:
        theirs, seconds = timed(peers[name])
        found[name] = compare(truth, ours, theirs, seconds) | over_levels(truth, theirs) | by_name(truth, theirs)
        found[name]["commit"] = machine()["commit"]
    return found


def answers(one: Set, listings: Sequence[Item], folder: Path) -> tuple[Names, Names]:
    """Return the right path of each listing, and the path that Shelfwise predicted, read from `folder`."""
    with (folder / "classified").open(encoding="utf-8", newline="") as stream:
        delimiter = "," if ".csv" in one.test.name else "\t"
        said = {row["id"]: row["predicted_path"] for row in csv.DictReader(stream, delimiter=delimiter)}
    paths = [[item.category_path for item in listings], [said[item.id] for item in listings]]
    return np.array(paths[0], dtype=object), np.array(paths[1], dtype=object)


def by_name(truth: Names, predicted: Names) -> dict[str, float]:
    """Return accuracy and macro-F1 if categories are distinguished only by the last part of their paths."""
    right, said = (np.array([path.split(PATH_SEPARATOR)[-1] for path in part]) for part in (truth, predicted))
    return {"name_accuracy": float((right == said).mean()), "name_macro_f1": macro_f1(right, said)}


def over_levels(truth: Names, predicted: Names) -> dict[str, float]:
    """Return weighted and macro F1 with the paths cut to each level of the category tree, averaged over the levels."""
    figures = [
        precision_recall_f1(
            *(np.array([node_of(path, depth) for path in part], dtype=object) for part in (truth, predicted))
        )
        for depth in range(1, depth_of(truth) + 1)
    ]
    return {f"levels_{name}": float(np.mean([f[name] for f in figures])) for name in ("weighted_f1", "macro_f1")}


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--set", "names", multiple=True, help="Run only this set; repeat it for several sets.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(PEERS), default=PEERS, help="Compare with this peer.")
@click.option("--minutes", default=20.0, show_default=True, help="Minutes of fine-tuning per set; 0 for none.")
@click.option(
    "--stores", type=click.Path(path_type=Path), help="Folder that keeps the stores; existing ones are reused."
)
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(
    data: Path | None, names: tuple[str, ...], peers: tuple[str, ...], minutes: float, stores: Path | None, quick: bool
) -> None:
    """Measure, print and write the results, set by set."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    sets = [sample_set()] if data is None else real_sets(data)
    for one in sets:
        if names and one.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            kept = stores or Path(folder)
            kept.mkdir(parents=True, exist_ok=True)
            ours = run_shelfwise(one, kept, 0 if quick else minutes)
            found = {"shelfwise": ours} | run_peers(one, kept, PEERS[:1] if quick else peers, minutes)
        for name, figures in found.items():
            shown = ("accuracy", "macro_f1", "levels_weighted_f1", "levels_macro_f1")
            click.echo(f"{one.name:14} {name:15} " + "  ".join(f"{key} {figures[key]:.4f}" for key in shown))
        if quick:
            assert all(0.5 < figures["accuracy"] <= 1 for figures in found.values())
        else:
            record(RESULTS, one.name, recorded(RESULTS).get(one.name, {}) | found)


if __name__ == "__main__":
    main()
