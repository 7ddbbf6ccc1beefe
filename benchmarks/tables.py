"""Writes the tables of README.md and ARCHITECTURE.md from benchmarks/results/*.json.

python benchmarks/tables.py            rewrites what stands between the markers
python benchmarks/tables.py --check    fails where a document says something else
"""

import json
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"

NAMES = {
    "linear_svc": "TF-IDF + LinearSVC",
    "frozen_logistic": "the encoder as it comes + logistic regression",
    "fasttext": "fastText, autotuned",
    "lstm": "embedding + LSTM + dense",
    "bert": "the encoder with a classification layer, fine-tuned",
}
WAYS = {
    "shelfwise": "**Shelfwise**, nothing trained",
    "refitted_head": "head fitted again",
    "refitted_head_and_vote": "head fitted again, with the vote",
    "fixed_mix": "fixed mix of vote and head",
}


def accuracy_table() -> str:
    """The accuracy table, in Markdown."""
    content = _results("accuracy")
    lines = [
        "| catalog | | accuracy | macro-F1 | F1 over levels, weighted / macro | ECE | accepted, right | at 98 % "
        "| minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in content["sets"].items():
        lines.append(_row(name, entry["shelfwise"]))
        lines += [_baseline(label, entry[peer]) for peer, label in NAMES.items() if peer in entry]
    return "\n".join([*lines, "", _machine(content)])


def new_categories_table() -> str:
    """What a new category is found by, in Markdown: means over the seeds."""
    content = _results("new_categories")
    lines = ["| catalog | examples | | old categories, lost | new categories | H |", "|---|---|---|---|---|---|"]
    for name, entry in content["sets"].items():
        catalog = f"`{name}`, {len(entry['seeds'])} seeds"
        for examples, ways in entry["means"].items():
            for way, label in WAYS.items():
                figures = ways[way]
                old = f"{figures['old']:.3f}, {100 * figures['old_loss']:.1f} points"
                lines.append(
                    f"| {catalog} | {examples} | {label} | {old} | {figures['new']:.3f} | {figures['harmonic']:.3f} |"
                )
    return "\n".join([*lines, "", _machine(content)])


def ablation_table() -> str:
    """Accuracy and macro-F1 with parts left out, in Markdown."""
    content = _results("ablation")
    columns = [(name, state) for name, entry in content["sets"].items() for state in entry if state != "machine"]
    parts = dict.fromkeys(part for name, state in columns for part in content["sets"][name][state])
    lines = [
        "| | " + " | ".join(f"`{name}`, {state}" for name, state in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for part in parts:
        cells = [_cell(content["sets"][name][state].get(part), "target" in part) for name, state in columns]
        label = f"{part}: accepted, right" if "target" in part else part
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _machine(content)])


def faults_table() -> str:
    """What killed writers left, in one sentence."""
    content = _results("faults")
    (entry,) = content["sets"].values()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(entry["interrupted"].items()) if kind != "none")
    return (
        f"{entry['kills']} kills, which broke off {kinds}: {len(entry['wrong'])} stores not whole.\n{_machine(content)}"
    )


def _cell(figures: dict[str, Any] | None, target: bool) -> str:
    if figures is None:
        return "-"
    if target:
        return _accepted(figures)
    return f"{figures['accuracy']:.3f} / {figures['macro_f1']:.3f}"


def _results(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return content


def _machine(content: dict[str, Any]) -> str:
    machines = [entry["machine"] for entry in content["sets"].values()]
    kinds = sorted({f"{machine['cores']} cores ({machine['cpu']})" for machine in machines})
    dates = sorted({machine["date"] for machine in machines})
    return f"{', '.join(kinds)}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."


def _row(name: str, ours: dict[str, Any]) -> str:
    tuned = "fine-tuned" if ours.get("switched") else "as it comes"
    low, high = ours["intervals"]["accuracy"]
    minutes = (ours["build_seconds"] + ours.get("finetune_seconds", 0)) / 60
    return (
        f"| `{name}`, {ours['items']:,} items, {ours['n']:,} listings | **Shelfwise**, {ours['encoder']} {tuned} "
        f"| **{ours['accuracy']:.3f}** ({low:.3f} to {high:.3f}) | **{ours['macro_f1']:.3f}** | {_levels(ours)} "
        f"| {ours['ece']:.3f} | {_accepted(ours)} | {_accepted(ours['strict']) if 'strict' in ours else '-'} "
        f"| {minutes:.0f} |"
    )


def _baseline(label: str, theirs: dict[str, Any]) -> str:
    return (
        f"| | {label} | {theirs['accuracy']:.3f} | {theirs['macro_f1']:.3f} | {_levels(theirs)} | - | - | - "
        f"| {theirs['seconds'] / 60:.0f} |"
    )


def _accepted(figures: dict[str, Any]) -> str:
    right = figures["accepted_accuracy"]
    return f"{figures['accepted']:.0%}, " + ("-" if right is None else f"{right:.1%}")


def _levels(figures: dict[str, Any]) -> str:
    return f"{figures['levels_weighted_f1']:.3f} / {figures['levels_macro_f1']:.3f}"


TABLES = {
    "README.md": {"accuracy": accuracy_table, "new-categories": new_categories_table},
    "ARCHITECTURE.md": {"ablation": ablation_table, "faults": faults_table},
}


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail where a document differs.")
def main(check: bool) -> None:
    """Rewrite or check the tables."""
    for name, tables in TABLES.items():
        text = made = (ROOT / name).read_text(encoding="utf-8")
        for marker, table in tables.items():
            before, found, rest = made.partition(f"<!-- {marker} -->\n")
            _, end, after = rest.partition(f"\n<!-- /{marker} -->")
            if not found or not end:
                raise click.ClickException(f"{name} lacks the markers of {marker}")
            made = before + found + table() + end + after
        if check and made != text:
            raise click.ClickException(f"{name} differs from the results: run python benchmarks/tables.py")
        if made != text:
            (ROOT / name).write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
