"""Accuracy, speed and memory of the main job on real catalogs, beside what others would use, in the same run.

    python benchmarks/accuracy.py --data DIR [--set instacart] [--minutes 20] [--stores DIR]
    python benchmarks/accuracy.py --quick        checks itself on the sample catalog

DIR has a folder for each set with train.tsv.gz and test.tsv.gz. Shelfwise runs as its users run it: the
command line in a process of its own. Results go to benchmarks/results/accuracy.json.
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
TARGET, STRICT_TARGET = 0.95, 0.98  # precision of what is accepted: what the figures are for, and what else is told
PEERS = ("linear_svc", "frozen_logistic", "fasttext", "lstm", "bert")


def run_shelfwise(one: Set, folder: Path, minutes: float) -> dict[str, Any]:
    """Build from train, fine-tune for `minutes` (not at all for 0) and evaluate on test, each in a process of its own.

    A store that is in `folder` already is taken as it is, and only its head is fitted again.
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
    for large in ("categories", "baselines"):
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
    """What a store accepts of the test file once it is fitted for a target precision, and how much of that is right."""
    measured("train", "--store", store, "--target-precision", target)
    measured("evaluate", one.test, "--store", store, "--json", folder / "strict.json")
    found = json.loads((folder / "strict.json").read_text(encoding="utf-8"))
    return {"target": target} | {name: found[name] for name in ("accepted", "accepted_accuracy")}


def run_peers(one: Set, folder: Path, wanted: Sequence[str], minutes: float) -> dict[str, Any]:
    """What the others in `wanted` make of the same rows, each compared with what Shelfwise left in `folder`."""
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
    """The right path of each listing, and the one that Shelfwise left in `folder`."""
    with (folder / "classified").open(encoding="utf-8", newline="") as stream:
        delimiter = "," if ".csv" in one.test.name else "\t"
        said = {row["id"]: row["predicted_path"] for row in csv.DictReader(stream, delimiter=delimiter)}
    paths = [[item.category_path for item in listings], [said[item.id] for item in listings]]
    return np.array(paths[0], dtype=object), np.array(paths[1], dtype=object)


def by_name(truth: Names, predicted: Names) -> dict[str, float]:
    """Accuracy and macro-F1 where categories are told apart by the last part of their paths alone."""
    right, said = (np.array([path.split(PATH_SEPARATOR)[-1] for path in part]) for part in (truth, predicted))
    return {"name_accuracy": float((right == said).mean()), "name_macro_f1": macro_f1(right, said)}


def over_levels(truth: Names, predicted: Names) -> dict[str, float]:
    """Weighted and macro F1, each the mean over the levels of the category tree, to which the paths are cut."""
    figures = [
        precision_recall_f1(
            *(np.array([node_of(path, depth) for path in part], dtype=object) for part in (truth, predicted))
        )
        for depth in range(1, depth_of(truth) + 1)
    ]
    return {f"levels_{name}": float(np.mean([f[name] for f in figures])) for name in ("weighted_f1", "macro_f1")}


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--set", "names", multiple=True, help="Only this set; can be given more than once.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(PEERS), default=PEERS, help="Whom to compare with.")
@click.option("--minutes", default=20.0, show_default=True, help="Of fine-tuning a set; 0 for none.")
@click.option("--stores", type=click.Path(path_type=Path), help="Keep the stores here; those that are here are used.")
@click.option("--quick", is_flag=True, help="Check the benchmark itself on the sample catalog; writes nothing.")
def main(
    data: Path | None, names: tuple[str, ...], peers: tuple[str, ...], minutes: float, stores: Path | None, quick: bool
) -> None:
    """Measure, print and write the results, set by set."""
    if (data is None) != quick:
        raise click.UsageError("Give --data DIR or --quick.")
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
