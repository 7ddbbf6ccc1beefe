"""Write the tables of README.md and docs/ from benchmarks/results/*.json.

python benchmarks/tables.py            rewrites the text between the markers
python benchmarks/tables.py --check    fails if a document differs
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import click
from cells import (
    TIERS,
    cell_of,
    machine_line,
    median_of,
    our_row,
    resident_of,
    results_of,
    seconds_of,
    their_row,
)
from harness import ROOT
from summaries import accuracy_summary, costs_table, encodings_table, speed_summary

NAMES = {
    "linear_svc": "TF-IDF + LinearSVC",
    "frozen_logistic": "frozen encoder + logistic regression",
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
    """Return the accuracy table in Markdown."""
    content = results_of("accuracy")
    lines = [
        "| catalog | | accuracy | macro-F1 | F1 over levels, weighted / macro | ECE | accepted, right | at 98% "
        "| minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in content["sets"].items():
        lines.append(our_row(name, entry["shelfwise"]))
        lines += [their_row(label, entry[peer]) for peer, label in NAMES.items() if peer in entry]
    return "\n".join([*lines, "", machine_line(content)])


def new_categories_table() -> str:
    """Return the table of new categories in Markdown, with means over the seeds."""
    content = results_of("new_categories")
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
    return "\n".join([*lines, "", machine_line(content)])


def ablation_table() -> str:
    """Return the table of accuracy and macro-F1 with parts left out, in Markdown."""
    content = results_of("ablation")
    columns = [(name, state) for name, entry in content["sets"].items() for state in entry if state != "machine"]
    parts = dict.fromkeys(part for name, state in columns for part in content["sets"][name][state])
    lines = [
        "| | " + " | ".join(f"`{name}`, {state}" for name, state in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for part in parts:
        cells = [cell_of(content["sets"][name][state].get(part), "target" in part) for name, state in columns]
        label = f"{part}: accepted, right" if "target" in part else part
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", machine_line(content)])


def faults_table() -> str:
    """Return the results of killed writers in one sentence."""
    content = results_of("faults")
    (entry,) = content["sets"].values()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(entry["interrupted"].items()) if kind != "none")
    kills = f"{entry['kills']} kills, which broke off {kinds}: {len(entry['wrong'])} damaged stores."
    return "\n".join([kills, machine_line(content)])


def readers_table() -> str:
    """Return the results of readers and writers in sentences."""
    content = results_of("readers")
    (entry,) = content["sets"].values()
    readers, two = entry["readers"], entry["two_writers"]
    batches = sum(reader["batches"] for reader in readers)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(entry["changes"].items()))
    return (
        f"{len(readers)} readers classified {batches:,} batches while a writer made {sum(entry['changes'].values())} "
        f"changes ({kinds}): no error, no batch of two versions. Two writers at once: {two['acknowledged']} items "
        f"acknowledged, {two['lost']} lost.\n{machine_line(content)}"
    )


def rebuild_table() -> str:
    """Return the time and the decisions of a rebuild in sentences."""
    content = results_of("rebuild")
    (entry,) = content["sets"].values()
    builds = entry["builds"]
    return (
        f"{entry['rows']:,} items of four catalogs, {builds['again']['added']} of them new, "
        f"{builds['again']['updated']} changed and {builds['again']['removed']} gone: the first build took "
        f"{builds['first']['seconds']:,.0f} s, the next one {builds['again']['seconds']:.1f} s, "
        f"{entry['share_of_first']:.1%} of it. Of {entry['listings']:,} listings {entry['same_category']:.1%} get the "
        f"category, and {entry['same_decision']:.1%} the decision, that a build from scratch gives them; "
        f"{entry['accuracy']:.1%} of the categories are right, and {entry['scratch_accuracy']:.1%} from scratch.\n"
        f"{machine_line(content)}"
    )


def speed_table(file: str = "speed") -> str:
    """Return the speed of encoding, classifying and starting, in Markdown."""
    content = results_of(file)
    sets = content["sets"]
    lines = [
        "| encoder | titles/s | sentence-transformers | times | worst cosine | precision | of the limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (name for name in sets if name.startswith("encode, ")):
        entry = sets[name]
        ours, theirs = (median_of(entry["rates"][who]) for who in ("ours", "sentence_transformers"))
        lines.append(
            f"| {name.removeprefix('encode, ')} | {ours} | {theirs} | {entry['times']:.2f} | "
            f"{entry['worst_cosine']:.5f} | {entry['precision']} | {entry['share_of_limit']:.0%} |"
        )
    one, start = sets["classify"], sets["start"]
    total = sum(one["stages"].values())
    shares = ", ".join(f"{name} {microseconds / total:.0%}" for name, microseconds in one["stages"].items())
    lines += [
        "",
        f"Classifying {one['listings']:,} listings, file to file, with {one['items']:,} items of {one['categories']} "
        f"categories: {median_of(one['rates']['classify'])} listings/s from start to end of the process, "
        f"{one['share_of_encode']:.2f} of the {median_of(one['rates']['encode'])} titles/s of encoding alone. Time by "
        f"stage, one after the other: {shares}.",
        *_large_classified(sets),
        "",
        f"From process start to answer `similar` takes {statistics.median(start['seconds']['similar']):.1f} s, "
        f"{start['similar_to_import']:.2f} of what `import sentence_transformers` takes, and `--help` "
        f"{start['help_to_import']:.2f} times `import click`."
        + (f" `import shelfwise` takes {1000 * start['import_seconds']:.0f} ms." if "import_seconds" in start else ""),
        "",
    ]
    if "memory" in sets:
        few, *_, many = sets["memory"]["peak_mib"]["auto"]
        parts = (
            f"{peak[few]:,.0f} and {peak[many]:,.0f} MiB in tier {tier} ({sets['memory']['times'][tier]:.2f} times)"
            for tier, peak in sets["memory"]["peak_mib"].items()
        )
        lines += [f"Classifying {few} and {many} listings takes at most " + ", ".join(parts) + " of memory.", ""]
    lines.append(machine_line(content))
    return "\n".join(lines)


def _large_classified(sets: dict[str, Any]) -> list[str]:
    large = sets.get("classify, large")
    if large is None:
        return []
    rates = large["rates"]
    return [
        f"With {large['items']:,} items: {median_of(rates['classify'])} listings/s, {large['share_of_encode']:.2f} of "
        f"{median_of(rates['encode'])} titles/s."
    ]


def runtimes_table() -> str:
    """Return the table of runtimes in Markdown: rate and exactness of each runtime with each encoder."""
    content = results_of("runtimes")
    sets = content["sets"]
    lines = [
        "| | "
        + " | ".join(f"{name}: titles/s, times" for name in sets)
        + " | "
        + " | ".join(f"{name}: worst cosine, nearest item changed, accuracy" for name in sets)
        + " |",
        "|---" * (1 + 2 * len(sets)) + "|",
    ]
    for way in next(iter(sets.values()))["ways"]:
        ways = [entry["ways"][way] for entry in sets.values()]
        rates = [f"{median_of(figures['rates'])}, {figures['times']:.2f}" for figures in ways]
        exact = [
            f"{figures['worst_cosine']:.5f}, {figures['nearest_changed']:.1%}, {figures['accuracy']:.3f}"
            for figures in ways
        ]
        lines.append(f"| {way} | " + " | ".join([*rates, *exact]) + " |")
    return "\n".join([*lines, "", machine_line(content)])


def tiers_table() -> str:
    """Return the table of rate and accuracy of the tiers and of the peers, in Markdown."""
    content = results_of("tiers")
    lines = ["| catalog | | listings/s | times full | accuracy | by n-grams |", "|---|---|---|---|---|---|"]
    for name, entry in content["sets"].items():
        catalog = f"`{name}`, {entry['items']:,} items, {entry['encoder']}"
        for way, label in TIERS.items():
            if figures := entry.get(way):
                by_fast = "-" if figures["by_fast"] is None else f"{figures['by_fast']:.0%}"
                accuracy = f"{figures['accuracy']:.3f}" if way != "transformers" else "-"
                lines.append(
                    f"| {catalog} | {label} | {median_of(figures['rates'])} | {figures['times_full']:.2f} | {accuracy} "
                    f"| {by_fast} |"
                )
    return "\n".join([*lines, "", machine_line(content)])


def scale_table() -> str:
    """Return the table of the cost of a store as it grows, in Markdown."""
    content = results_of("scale")
    entries = sorted(content["sets"].values(), key=lambda entry: entry["rows"])
    lines = {
        "engine": [entry["engine"]["engine"] for entry in entries],
        "queries/s, 1,000 at once": [median_of(entry["search"]["rates"]["ours_at_once"]) for entry in entries],
        "queries/s, one by one": [median_of(entry["search"]["rates"]["ours_alone"]) for entry in entries],
        "times faiss's exact search: at once, one by one": [
            f"{entry['search']['times_faiss_at_once']:.1f}, {entry['search']['times_faiss_alone']:.1f}"
            for entry in entries
        ],
        "recall@32, same vote as exact": [
            f"{entry['search']['recall']:.4f}, {entry['search']['vote_agreement']:.3f}" for entry in entries
        ],
        "opening, s (times reading the vectors)": [
            f"{statistics.median(entry['open']['seconds']['open']):.2f} ({entry['open']['times_reading']:.2f})"
            for entry in entries
        ],
        "memory of the process, of the vectors' size: exact, own engine": [resident_of(entry) for entry in entries],
        "building the engine, s (times faiss's own)": [
            f"{median_of(entry['build']['seconds']['ours'])} ({entry['build']['times_faiss']:.2f})"
            if "build" in entry
            else "-"
            for entry in entries
        ],
        "added, and found by a reader, s: median, worst": [seconds_of(entry, "add") for entry in entries],
        "removed, and found no more, s: median, worst": [seconds_of(entry, "remove") for entry in entries],
    }
    return "\n".join(
        [
            "| rows of 384 dimensions | " + " | ".join(f"{entry['rows']:,}" for entry in entries) + " |",
            "|---" * (len(entries) + 1) + "|",
            *(f"| {label} | " + " | ".join(cells) + " |" for label, cells in lines.items()),
            "",
            machine_line(content),
        ]
    )


def engines_table() -> str:
    """Return the comparison of faiss's engines in Markdown."""
    content = results_of("engines")
    (entry,) = content["sets"].values()
    lines = [
        f"| {entry['rows']:,} titles | queries/s, 1,000 at once | recall@32 | built in | size, of the vectors |",
        "|---|---|---|---|---|",
    ]
    for name, figures in entry["engines"].items():
        lines.append(
            f"| {name} | {median_of(figures['rates'])} | {figures['recall']:.4f} | {figures['build_seconds']:.0f} s "
            f"| {figures['size']:.2f} |"
        )
    return "\n".join([*lines, "", machine_line(content)])


def serving_table(file: str = "serving") -> str:
    """Return the results of the service under load and during writes, in sentences."""
    content = results_of(file)
    load, writes = content["sets"]["load"], content["sets"].get("writes")
    rounds, over, memory = load["rounds"], load["over"], load["resident_mib"]

    def middle(name: str, figure: str) -> str:
        return f"{statistics.median(one[figure] for one in rounds[name]):,.0f}"

    together, alone, one_by_one = middle("together", "rate"), middle("alone", "rate"), middle("one_by_one", "rate")
    said = (
        f"One client that calls one by one gets {alone} listings/s, each call in {middle('alone', 'p50')} ms; "
        f"32 clients get {together}, and "
        f"{one_by_one} where nothing is answered together ({load['times_one_by_one']:.1f} times). Of their calls "
        f"99 in 100 take at most {middle('together', 'p99')} ms, {load['p99_times_single']:.1f} times a single call. "
        f"Asked for twice as much as it can do, the service answers {over['rate']:,.0f} listings/s, 99 in 100 within "
        f"{over['p99']:.0f} ms, and refuses the others. {memory['requests']:,} requests took "
        f"{memory['after'] - memory['before']:+.0f} MiB of memory."
    )
    if writes:
        said += (
            f" {writes['acknowledged']:,} adds and corrections were acknowledged in {writes['seconds']:.0f} s while 16 "
            "clients classified and the catalog was built again, and the server was then killed: "
            f"{len(writes['failed'])} writes and {sum(one['failed'] for one in writes['reads'])} of the other requests "
            f"failed, {len(writes['lost'])} writes were lost."
        )
    return f"{said}\n\n{machine_line(content)}"


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"accuracy-summary": accuracy_summary, "speed-summary": speed_summary, "costs": costs_table},
    "docs/benchmarks.md": {
        "accuracy": accuracy_table,
        "new-categories": new_categories_table,
        "tiers": tiers_table,
        "speed": speed_table,
        "speed-amx": partial(speed_table, "speed-amx"),
        "serving": serving_table,
        "serving-amx": partial(serving_table, "serving-amx"),
        "faults": faults_table,
        "readers": readers_table,
        "encodings": encodings_table,
    },
    "docs/operations.md": {"costs": costs_table},
    "docs/choices.md": {
        "rebuild": rebuild_table,
        "scale": scale_table,
        "engines": engines_table,
        "runtimes": runtimes_table,
        "ablation": ablation_table,
    },
}


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail if a document differs.")
def main(check: bool) -> None:
    """Rewrite or check the tables."""
    for name, tables in TABLES.items():
        text = made = (ROOT / name).read_text(encoding="utf-8")
        for marker, table in tables.items():
            before, found, rest = made.partition(f"<!-- {marker} -->\n")
            _, end, after = rest.partition(f"\n<!-- /{marker} -->")
            if not found or not end:
                raise click.ClickException(f"{name} has no markers of {marker}")
            made = before + found + table() + end + after
        if check and made != text:
            raise click.ClickException(f"{name} differs from the results: run python benchmarks/tables.py")
        if made != text:
            (ROOT / name).write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
