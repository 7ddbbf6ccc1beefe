"""Writes the README's tables from benchmarks/results/*.json.

python benchmarks/readme.py            rewrites what stands between the markers
python benchmarks/readme.py --check    fails where the README says something else
"""

import json
import re
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


NAMES = {
    "linear_svc": "TF-IDF + LinearSVC",
    "frozen_logistic": "the encoder as it comes + logistic regression",
    "fasttext": "fastText, autotuned",
    "lstm": "embedding + LSTM + dense",
    "bert": "the encoder with a classification layer, fine-tuned",
}


def accuracy_table() -> str:
    """The accuracy table, in Markdown."""
    content = json.loads((ROOT / "benchmarks" / "results" / "accuracy.json").read_text())
    lines = [
        "| catalog | | accuracy | macro-F1 | F1 over levels, weighted / macro | ECE | accepted, right | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in content["sets"].items():
        lines.append(_row(name, entry["shelfwise"]))
        lines += [_baseline(label, entry[peer]) for peer, label in NAMES.items() if peer in entry]
    machine = content["machine"]
    return "\n".join([*lines, "", f"{machine['cores']} cores ({machine['cpu']}), {machine['date']}."])


def _row(name: str, ours: dict[str, Any]) -> str:
    tuned = "fine-tuned" if ours.get("switched") else "as it comes"
    low, high = ours["intervals"]["accuracy"]
    minutes = (ours["build_seconds"] + ours.get("finetune_seconds", 0)) / 60
    return (
        f"| `{name}`, {ours['items']:,} items, {ours['n']:,} listings | **Shelfwise**, {ours['encoder']} {tuned} "
        f"| **{ours['accuracy']:.3f}** ({low:.3f} to {high:.3f}) | **{ours['macro_f1']:.3f}** | {_levels(ours)} "
        f"| {ours['ece']:.3f} | {ours['accepted']:.0%}, {ours['accepted_accuracy']:.1%} | {minutes:.0f} |"
    )


def _baseline(label: str, theirs: dict[str, Any]) -> str:
    return (
        f"| | {label} | {theirs['accuracy']:.3f} | {theirs['macro_f1']:.3f} | {_levels(theirs)} | - | - "
        f"| {theirs['seconds'] / 60:.0f} |"
    )


def _levels(figures: dict[str, Any]) -> str:
    return f"{figures['levels_weighted_f1']:.3f} / {figures['levels_macro_f1']:.3f}"


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail where the README differs.")
def main(check: bool) -> None:
    """Rewrite or check the README's tables."""
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- accuracy -->\n).*?(\n<!-- /accuracy -->)", re.DOTALL)
    if not pattern.search(text):
        raise click.ClickException("README.md lacks the accuracy markers")
    made = pattern.sub(lambda match: match[1] + accuracy_table() + match[2], text)
    if check and made != text:
        raise click.ClickException("README.md differs from the results: run python benchmarks/readme.py")
    README.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
