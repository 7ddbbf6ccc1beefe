"""Short tables for README.md and docs/operations.md: accuracy, speed and cost."""

from cells import TIERS, accepted_of, gib_of, machine_line, median_of, results_of, time_of


def encodings_table() -> str:
    """Return how many files with letters of each language and encoding are refused, in Markdown."""
    content = results_of("encodings")
    lines = ["| letters, encoding | refused of 100 files with 5 rows | with 50 | with 500 |", "|---|---|---|---|"]
    for name, sizes in content["sets"]["main"].items():
        if name != "machine":
            refused = " | ".join(f"{sizes[rows]['refused']}" for rows in ("5", "50", "500"))
            lines.append(f"| {name} | {refused} |")
    return "\n".join([*lines, "", machine_line(content)])


def accuracy_summary() -> str:
    """Return the accuracy of Shelfwise next to that of others, one row a catalog, in Markdown."""
    content = results_of("accuracy")
    peers = ("linear_svc", "fasttext", "bert")
    lines = [
        "| catalog | Shelfwise | TF-IDF + LinearSVC | fastText | fine-tuned classifier | accepted, of these right |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in content["sets"].items():
        if all(peer in entry for peer in peers):
            ours = entry["shelfwise"]
            others = " | ".join(f"{entry[peer]['accuracy']:.3f}" for peer in peers)
            lines.append(
                f"| `{name}`, {ours['items']:,} items | **{ours['accuracy']:.3f}** | {others} | {accepted_of(ours)} |"
            )
    return "\n".join([*lines, "", f"Source: `benchmarks/results/accuracy.json`; {machine_line(content)}"])


def speed_summary() -> str:
    """Return rates and accuracies of the tiers and of others on one catalog, in Markdown."""
    content = results_of("tiers")
    name = "instacart"
    entry = content["sets"][name]
    lines = [f"| `{name}`, {entry['items']:,} items | listings/s | accuracy |", "|---|---|---|"]
    for way, label in TIERS.items():
        if way in entry and way != "transformers":  # that loop is not trained
            figures = entry[way]
            lines.append(f"| {label} | {median_of(figures['rates'])} | {figures['accuracy']:.3f} |")
    return "\n".join([*lines, "", f"Source: `benchmarks/results/tiers.json`; {machine_line(content)}"])


def costs_table() -> str:
    """Return the time and memory that a user has to plan for, in Markdown."""
    rebuild, memory, speed = results_of("rebuild"), results_of("memory"), results_of("speed")
    (built,) = rebuild["sets"].values()
    largest = max(memory["sets"].values(), key=lambda entry: entry["rows"])
    peaks = speed["sets"]["memory"]["peak_mib"]
    listings = list(peaks["fast"])[-1]
    changed = sum(built["builds"]["again"][kind] for kind in ("added", "updated", "removed"))
    rows = [
        (f"first build, {built['rows']:,} items", built["builds"]["first"]["seconds"], "first"),
        (f"next build, {changed / built['rows']:.0%} of them changed", built["builds"]["again"]["seconds"], "again"),
    ]
    lines = ["| | time | memory |", "|---|---|---|"]
    for label, seconds, build in rows:
        lines.append(f"| {label} | {time_of(seconds)} | {gib_of(built['builds'][build]['peak_mib'])} |")
    tuned = largest["finetune"]
    lines.append(
        f"| fine-tuning, {largest['rows']:,} items | {time_of(tuned['seconds'])} | {gib_of(tuned['peak_mib'])} |"
    )
    by_tier = ", ".join(f"{gib_of(peak[listings])} (`{tier}`)" for tier, peak in peaks.items())
    lines.append(f"| classifying {listings} listings, 40,000 items | - | {by_tier} |")
    sources = ", ".join(f"`benchmarks/results/{name}.json`" for name in ("rebuild", "memory", "speed"))
    return "\n".join([*lines, "", f"Source: {sources}; {machine_line(rebuild)}"])
