"""Kill writers of a store at random moments, and check the state of the store afterwards.

    python benchmarks/faults.py [--kills 200]
    python benchmarks/faults.py --quick        smoke test with a few kills, writes no results

One process changes a store repeatedly (build, add, remove, train, roll back, compact, tag) and acknowledges each
change. Another process kills it with SIGKILL. Then the store must open, and `check` must find no problem. Its state
must be that of the last acknowledged change or of the next one. Results go to benchmarks/results/faults.json.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from harness import ROOT, items_of, record

import shelfwise as sw
from shelfwise import Item
from shelfwise.indexer.store.history import tags_of
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.store.snapshot import read_snapshot

RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
ITEMS = 300  # of the sample catalog; few, so that writing takes most of the time
KINDS = ("add", "build", "remove", "train", "add", "rollback", "tag", "compact")
LONGEST = 4.0  # maximum seconds until the kill


def change(store: Path, items: list[Item], step: int) -> None:
    """Make the change that belongs to `step`."""
    opened = sw.open(store)
    match KINDS[step % len(KINDS)]:
        case "add":
            opened.add(replace(item, id=f"{item.id}-{step}", title=f"{item.title} {step}") for item in items[:5])
        case "build":
            sw.build(store, items[step % 50 :], force=True)
        case "remove":
            opened.remove(read_snapshot(store).rows.column("id")[:3])
        case "train":
            opened.train()
        case "rollback":
            oldest = opened.versions()[0].number
            if oldest != opened.version:
                opened.rollback(oldest)
        case "tag":
            opened.tag(f"tag-{step % 3}")
        case _:
            opened.compact(3)


def write_on(store: Path, step: int) -> None:
    """Change the store until killed, and print a line before and after each change."""
    items = sample()
    while True:
        print(json.dumps({"begin": step, "kind": step % len(KINDS)}), flush=True)
        change(store, items, step)
        print(json.dumps({"done": step, "state": state_of(store)}), flush=True)
        step += 1


def state_of(store: Path) -> list[Any]:
    """Return values that identify the state of a store after any change."""
    manifest = read_manifest(store)
    return [manifest.version, read_snapshot(store).rows.digest(), dict(manifest.blobs), tags_of(store)]


def sample() -> list[Item]:
    """Return the first ITEMS items of the sample catalog by id."""
    return sorted(items_of(ROOT / "data" / "catalog.csv"), key=lambda item: item.id)[:ITEMS]


def kill_one(store: Path, step: int, seconds: float) -> tuple[int, str, dict[str, Any]]:
    """Run a writer from `step` and kill it after the given seconds of work.

    Return the next step, the kind of change that was interrupted, and the faults found.
    """
    before = state_of(store)
    with subprocess.Popen(
        [sys.executable, __file__, "--write", str(store), "--step", str(step)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]  # printed when the writer is ready
        time.sleep(seconds)
        writer.kill()
        lines += writer.stdout.readlines()
    told = [json.loads(line) for line in lines if line.endswith("\n")]
    done = [entry for entry in told if "done" in entry]
    interrupted = told[-1]["kind"] if told and "begin" in told[-1] else None
    acknowledged = done[-1]["state"] if done else before
    wrong: dict[str, Any] = {}
    if writer.returncode != -signal.SIGKILL:
        wrong["ended by itself"] = writer.returncode
    if problems := sw.open(store).check().problems:
        wrong["problems"] = problems
    now = state_of(store)
    tagging = interrupted == KINDS.index("tag")
    same = now == acknowledged or (tagging and now[:3] == acknowledged[:3])
    if not same and now[0] != acknowledged[0] + 1:  # the interrupted change may be committed or not
        wrong["state"] = [acknowledged, now]
    if not told:
        return step, "none", wrong
    last = told[-1].get("done", told[-1].get("begin"))
    return last + 1, "none" if interrupted is None else KINDS[interrupted], wrong


@click.command()
@click.option("--kills", default=200, show_default=True)
@click.option("--quick", is_flag=True, help="Smoke test with a few kills; writes no results.")
@click.option("--write", "store", type=click.Path(path_type=Path), hidden=True)
@click.option("--step", default=0, hidden=True)
def main(kills: int, quick: bool, store: Path | None, step: int) -> None:
    """Measure, print and write the results."""
    if store is not None:
        write_on(store, step)
    chance, counts, wrong = random.Random(5), Counter[str](), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        sw.build(store, sample(), encoder="hashing")
        for _ in range(3 if quick else kills):
            step, interrupted, found = kill_one(store, step, chance.random() * LONGEST)
            counts[interrupted] += 1
            if found:
                wrong.append(found | {"interrupted": interrupted})
                click.echo(json.dumps(wrong[-1], default=str))
    figures = {"kills": sum(counts.values()), "interrupted": dict(counts), "wrong": wrong}
    click.echo(json.dumps(figures, indent=1, default=str))
    assert not wrong
    if not quick:
        record(RESULTS, "sample catalog", figures)


if __name__ == "__main__":
    main()
