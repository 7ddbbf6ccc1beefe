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


def accuracy_table() -> str:
    """The accuracy table, in Markdown."""
    content = json.loads((ROOT / "benchmarks" / "results" / "accuracy.json").read_text())
    lines = [
        "| catalog | | accuracy | macro-F1 | top 3 | ECE | accepted, right | titles/s | build s | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in content["sets"].items():
        lines += [_row(name, entry["shelfwise"]), _baseline(entry["linear_svc"])]
    machine = content["machine"]
    return "\n".join([*lines, "", f"{machine['cores']} cores ({machine['cpu']}), {machine['date']}."])


def _row(name: str, ours: dict[str, Any]) -> str:
    return (
        f"| `{name}`, {ours['items']:,} items, {ours['n']:,} listings | Shelfwise, {ours['encoder']} as it comes "
        f"| {ours['accuracy']:.3f} | {ours['macro_f1']:.3f} | {ours['top3']:.3f} | {ours['ece']:.3f} "
        f"| {ours['accepted']:.0%}, {ours['accepted_accuracy']:.1%} | {ours['listings_per_second']:,.0f} "
        f"| {ours['build_process_seconds']:.0f} | {max(ours['build_peak_mib'], ours['evaluate_peak_mib']):,.0f} |"
    )


def _baseline(theirs: dict[str, Any]) -> str:
    return (
        f"| | TF-IDF + LinearSVC | {theirs['accuracy']:.3f} | {theirs['macro_f1']:.3f} | - | - | - "
        f"| {theirs['listings_per_second']:,.0f} | {theirs['fit_seconds']:.0f} | - |"
    )


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
