"""Cells and rows of the tables in the documents, made from benchmark results."""

import json
import statistics
from typing import Any

from harness import ROOT

RESULTS = ROOT / "benchmarks" / "results"
TIERS = {
    "full": "**Shelfwise**, `--tier full`",
    "auto": "**Shelfwise**, `--tier auto`",
    "fast": "**Shelfwise**, `--tier fast`",
    "knn": "sentence-transformers, nearest neighbours of scikit-learn",
    "setfit": "SetFit",
    "fasttext": "fastText, autotuned",
    "transformers": "a loop over transformers' sequence classification",
}


def median_of(values: list[float]) -> str:
    """Return the median of some numbers, rounded to an integer."""
    return f"{statistics.median(values):,.0f}"


def time_of(seconds: float) -> str:
    """Return a time in seconds, or in minutes if it is long."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def gib_of(mib: float) -> str:
    """Return a size in GiB."""
    return f"{mib / 1024:.1f} GiB"


def seconds_of(entry: dict[str, Any], change: str) -> str:
    """Return the median and the maximum of the seconds that a change took."""
    seconds = entry["votable"]["seconds"][change]
    return f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"


def resident_of(entry: dict[str, Any]) -> str:
    """Return the resident memory of each reader, as a multiple of the size of the vectors."""
    return ", ".join(f"{figures['after'] / entry['raw_mib']:.2f}" for figures in entry["resident"].values())


def cell_of(figures: dict[str, Any] | None, target: bool) -> str:
    """Return the figures of a cell, or a dash if nothing was measured."""
    if figures is None:
        return "-"
    if target:
        return accepted_of(figures)
    return f"{figures['accuracy']:.3f} / {figures['macro_f1']:.3f}"


def results_of(name: str) -> dict[str, Any]:
    """Return the results of a benchmark."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return content


def machine_line(content: dict[str, Any]) -> str:
    """Return the machines and the dates of the measurements."""
    machines = [entry["machine"] for entry in content["sets"].values()]
    kinds = sorted({f"{machine['cores']} cores ({machine['cpu']})" for machine in machines})
    dates = sorted({machine["date"] for machine in machines})
    return f"{', '.join(kinds)}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."


def our_row(name: str, ours: dict[str, Any]) -> str:
    """Return the row of Shelfwise on a catalog."""
    tuned = "fine-tuned" if ours.get("switched") else "frozen"
    low, high = ours["intervals"]["accuracy"]
    minutes = (ours["build_seconds"] + ours.get("finetune_seconds", 0)) / 60
    return (
        f"| `{name}`, {ours['items']:,} items, {ours['n']:,} listings | **Shelfwise**, {ours['encoder']} {tuned} "
        f"| **{ours['accuracy']:.3f}** ({low:.3f} to {high:.3f}) | **{ours['macro_f1']:.3f}** | {levels_of(ours)} "
        f"| {ours['ece']:.3f} | {accepted_of(ours)} | {accepted_of(ours['strict']) if 'strict' in ours else '-'} "
        f"| {minutes:.0f} |"
    )


def their_row(label: str, theirs: dict[str, Any]) -> str:
    """Return the row of a peer on the same catalog."""
    return (
        f"| | {label} | {theirs['accuracy']:.3f} | {theirs['macro_f1']:.3f} | {levels_of(theirs)} | - | - | - "
        f"| {theirs['seconds'] / 60:.0f} |"
    )


def accepted_of(figures: dict[str, Any]) -> str:
    """Return the share of accepted decisions, and their accuracy."""
    right = figures["accepted_accuracy"]
    return f"{figures['accepted']:.0%}, " + ("-" if right is None else f"{right:.1%}")


def levels_of(figures: dict[str, Any]) -> str:
    """Return weighted and macro F1 over levels."""
    return f"{figures['levels_weighted_f1']:.3f} / {figures['levels_macro_f1']:.3f}"
