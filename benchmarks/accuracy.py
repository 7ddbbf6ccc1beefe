"""Accuracy, speed and memory of the main job on real catalogs, beside TF-IDF + LinearSVC in the same run.

    python benchmarks/accuracy.py --data DIR [--set instacart] [--minutes 20] [--stores DIR]
    python benchmarks/accuracy.py --quick        checks itself on the sample catalog

DIR has a folder for each set with train.tsv.gz and test.tsv.gz. Shelfwise runs as its users run it: the
command line in a process of its own. Results go to benchmarks/results/accuracy.json.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from classifier.metrics import precision_recall_f1
from indexer.catalog import Item, read_catalog
from indexer.rejects import RejectFile

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accuracy.json"


@dataclass(frozen=True)
class Set:
    """A labelled catalog and listings to classify; `chinese` decides about encoder and n-grams."""

    name: str
    train: tuple[Path, ...]
    test: Path
    encoder: str
    chinese: bool = False


def real_sets(data: Path) -> list[Set]:
    """The sets of which the figures are published."""

    def of(folder: str, encoder: str, chinese: bool = False, more: tuple[str, ...] = ()) -> Set:
        files = tuple(data / folder / f"{part}.tsv.gz" for part in ("train", *more))
        return Set("+".join((folder, *more)), files, data / folder / "test.tsv.gz", encoder, chinese)

    return [
        of("instacart", "minilm"),
        of("mwpd_gpc", "minilm"),
        of("zh_retail30", "e5", chinese=True),
        of("myntra_fashion", "minilm"),
        of("mwpd_gpc", "minilm", more=("val",)),
    ]


def sample_set() -> Set:
    """The sample catalog, with the encoder that needs no model: quick."""
    return Set("sample", (ROOT / "data" / "catalog.csv",), ROOT / "data" / "listings.csv", "hashing", True)


def run_shelfwise(one: Set, folder: Path, minutes: float) -> dict[str, Any]:
    """Build from train, fine-tune for `minutes` (not at all for 0) and evaluate on test, each in a process of its own.

    A store that is in `folder` already is taken as it is, and only its head is fitted again.
    """
    store, notes = folder / one.name, folder / f"{one.name}.json"
    if notes.exists():
        made = json.loads(notes.read_text(encoding="utf-8"))
        _measured("train", "--store", store, "--json")
    else:
        built = _measured("build", *one.train, "--store", store, "--encoder", one.encoder, "--json")
        made = {"build_seconds": built["seconds"], "build_peak_mib": built["peak_mib"]}
        if minutes:
            tuned = _measured("finetune", "--store", store, "--minutes", minutes, "--json")
            report = json.loads(tuned["stdout"])
            made |= {"finetune_seconds": tuned["seconds"], "finetune_peak_mib": tuned["peak_mib"]}
            made |= {name: report[name] for name in ("trained", "before", "after", "switched")}
        notes.write_text(json.dumps(made), encoding="utf-8")
    tested = _measured("evaluate", one.test, "--store", store, "--json", folder / "figures.json")
    found = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    info = json.loads(_measured("info", "--store", store, "--json")["stdout"])
    del found["categories"]
    return found | {
        "items": info["rows"],
        "encoder": one.encoder,
        "settings": info["settings"],
        **made,
        "evaluate_seconds": tested["seconds"],
        "evaluate_peak_mib": tested["peak_mib"],
    }


def _measured(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "cli", *map(str, arguments)]
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}")
    return {"stdout": stdout, "seconds": time.perf_counter() - start, "peak_mib": usage.ru_maxrss / 1024}


def run_linear_svc(one: Set) -> dict[str, Any]:
    """TF-IDF (words 1-2 and characters 2-5 within words; Chinese: characters 1-3) and LinearSVC, C = 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    train, test = _items(*one.train), _items(one.test)
    shared = {"sublinear_tf": True, "min_df": 1, "lowercase": True}
    if one.chinese:
        grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), **shared)
    else:
        grams = make_union(
            TfidfVectorizer(analyzer="word", ngram_range=(1, 2), **shared),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **shared),
        )
    start = time.perf_counter()
    model = make_pipeline(grams, LinearSVC(C=1.0)).fit([i.title for i in train], [i.category_path for i in train])
    fitted = time.perf_counter()
    said = model.predict([item.title for item in test])
    seconds = time.perf_counter() - fitted
    right = [item.category_path for item in test]
    return {
        "accuracy": sum(a == b for a, b in zip(right, said, strict=True)) / len(right),
        **precision_recall_f1(right, said),
        "fit_seconds": fitted - start,
        "listings_per_second": len(test) / seconds,
    }


def _items(*paths: Path) -> list[Item]:
    with tempfile.TemporaryDirectory() as folder, RejectFile(Path(folder) / "rejects") as rejects:
        return list(read_catalog(list(map(str, paths)), rejects).items.values())


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": model[0].partition(": ")[2] if model else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("torch", "faiss-cpu", "scikit-learn", "sentence-transformers")},
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--set", "names", multiple=True, help="Only this set; can be given more than once.")
@click.option("--minutes", default=20.0, show_default=True, help="Of fine-tuning a set; 0 for none.")
@click.option("--stores", type=click.Path(path_type=Path), help="Keep the stores here; those that are here are used.")
@click.option("--quick", is_flag=True, help="Check the benchmark itself on the sample catalog; writes nothing.")
def main(data: Path | None, names: tuple[str, ...], minutes: float, stores: Path | None, quick: bool) -> None:
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
            found = {"shelfwise": run_shelfwise(one, kept, 0 if quick else minutes), "linear_svc": run_linear_svc(one)}
        for name, figures in found.items():
            shown = ("accuracy", "macro_f1", "listings_per_second")
            click.echo(f"{one.name:14} {name:10} " + "  ".join(f"{key} {figures[key]:.4g}" for key in shown))
        if quick:
            assert all(0.5 < figures["accuracy"] <= 1 for figures in found.values())
        else:
            _write(one.name, found)


def _write(name: str, found: dict[str, Any]) -> None:
    before = json.loads(RESULTS.read_text())["sets"] if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({"machine": machine(), "sets": before | {name: found}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
