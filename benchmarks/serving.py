"""Measure the service under load: batched and single requests, overload, and writes during reads and a rebuild.

    python benchmarks/serving.py --data DIR [--part load --part writes] [--folder FOLDER]
    python benchmarks/serving.py --quick      smoke test on the sample catalog, writes no results

DIR has the labelled sets of benchmarks/accuracy.py and scale_mix. ITEMS items of the sets are the catalog, and the
titles of scale_mix are the listings. `wrk` sends the requests over loopback, on the same cores. FOLDER keeps the store.
Results go to benchmarks/results/serving.json, or to the file of --results, for example for another machine.
"""

import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import uvicorn
from harness import ROOT, items_of, measured, one_catalog, record, sample_set, write_catalog
from titles import mixed, real_titles, sample_titles

from shelfwise.indexer.store.names import DESK
from shelfwise.service.app import Config, create_app
from shelfwise.service.batching import ASKS_AT_ONCE

RESULTS = ROOT / "benchmarks" / "results" / "serving.json"
PARTS = ("load", "writes")
ITEMS, LISTINGS = 50_000, 20_000
CLIENTS, READERS, WRITERS, MANY = 32, 16, 8, 400  # connections; the last number causes overload
WRITES = 2_000
ROUNDS, SECONDS = 9, 10
SETTLE = 1.0  # seconds until the last requests of `wrk`, for which it does not wait, have ended
WARM, FLAT = 10_000, 20_000  # requests that fill the caches, and requests during which memory must stay flat
PORT = 18_417
URL = f"http://127.0.0.1:{PORT}"
# The id of each listing is the time of its request. The response repeats it, which gives the latency. Between a
# response and the next request a connection waits DELAY ms, plus or minus up to half of it.
SCRIPT = """
local ffi = require("ffi")
ffi.cdef[[typedef struct { long seconds; long micros; } moment; int gettimeofday(moment*, void*);]]
local moment = ffi.new("moment")
local function now()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.seconds % 1000000) * 1000000 + tonumber(moment.micros)
end
local titles, pause = {}, tonumber(os.getenv("DELAY"))
for line in io.lines(os.getenv("TITLES")) do titles[#titles + 1] = line end
local out = io.open(os.getenv("OUT"), "a")
out:setvbuf("line")
wrk.headers["content-type"] = "application/json"
function request()
  local listing = string.format('{"id": "%.0f", "title": %s}', now(), titles[math.random(#titles)])
  return wrk.format("POST", "/v1/classify", nil, '{"review": false, "listings": [' .. listing .. "]}")
end
function response(status, headers, body)
  local sent = tonumber(string.match(body, '"id":"(%d+)"') or now())
  out:write(status, " ", now() - sent, "\\n")
end
if pause > 0 then
  function delay() return math.floor(pause * (0.5 + math.random())) end
end
"""


@contextmanager
def serving(store: Path, at_once: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in its own process, and yield the process when it is ready."""
    with subprocess.Popen([sys.executable, __file__, "--run", store, "--at-once", str(at_once)], cwd=ROOT) as process:
        until = time.monotonic() + 120
        while True:
            try:
                ask("/readyz")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None and time.monotonic() < until, "the server does not come up"
                time.sleep(0.1)
        try:
            yield process
        finally:
            process.terminate()


def ask(path: str, content: object = None) -> dict[str, Any]:
    """Send a request and return the JSON response. Raise HTTPError for an error status."""
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(
        urllib.request.Request(URL + path, body, {"content-type": "application/json"})
    ) as answer:
        return dict(json.load(answer))


def load(folder: Path, clients: int, seconds: float, delay: int = 0) -> dict[str, Any]:
    """Run `clients` clients, and return the rate and latency (ms) of answered requests and the rate of refused ones."""
    out = folder / "answers.txt"
    out.unlink(missing_ok=True)
    environment = os.environ | {"TITLES": str(folder / "titles.txt"), "OUT": str(out), "DELAY": str(delay)}
    command = [
        "wrk",
        "-t1",
        f"-c{clients}",
        f"-d{seconds:.0f}s",
        "--timeout",
        "30s",
        "-s",
        str(folder / "ask.lua"),
        URL,
    ]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    time.sleep(SETTLE)
    status, micros = np.loadtxt(out, dtype=np.int64, unpack=True, ndmin=2)
    answered = micros[status == 200] / 1000
    return {
        "clients": clients,
        "rate": len(answered) / seconds,
        "refused_rate": int((status == 503).sum()) / seconds,
        "failed": int(((status != 200) & (status != 503)).sum()),
        "socket_errors": [line.strip() for line in said.splitlines() if "Socket errors" in line],
        "p50": float(np.percentile(answered, 50)),
        "p99": float(np.percentile(answered, 99)),
    }


def loaded(store: Path, folder: Path, rounds: int, seconds: float, flat: int) -> dict[str, Any]:
    """Measure batched and single requests in turns, then a load of twice the capacity, then memory."""
    kept: dict[str, list[dict[str, Any]]] = {name: [] for name in ("alone", "one_by_one", "together")}
    for _ in range(rounds):
        with serving(store, 1):
            load(folder, CLIENTS, 2)
            kept["one_by_one"].append(load(folder, CLIENTS, seconds))
        with serving(store, ASKS_AT_ONCE):
            load(folder, CLIENTS, 2)
            kept["alone"].append(load(folder, 1, seconds))
            kept["together"].append(load(folder, CLIENTS, seconds))
    capacity = statistics.median(one["rate"] for one in kept["together"])
    with serving(store, ASKS_AT_ONCE) as process:
        load(folder, CLIENTS, 2)
        over = load(folder, MANY, 2 * seconds, delay=round(1000 * MANY / (2 * capacity)))
        load(folder, CLIENTS, max(1, WARM / capacity))
        before = resident(process.pid)
        load(folder, CLIENTS, max(1, flat / capacity))
        after = resident(process.pid)
    pairs = zip(kept["together"], kept["one_by_one"], kept["alone"], strict=True)
    times = [(one["rate"] / other["rate"], one["p99"] / alone["p50"]) for one, other, alone in pairs]
    return {
        "rounds": kept,
        "times_one_by_one": statistics.median(rate for rate, _ in times),
        "p99_times_single": statistics.median(p99 for _, p99 in times),
        "over": over | {"capacity": capacity},
        "resident_mib": {"before": before, "after": after, "requests": flat},
    }


def written(store: Path, work: Path, writes: int) -> dict[str, Any]:
    """Write while clients classify and the catalog is rebuilt, kill the server, and look for lost writes."""
    changed = shutil.copytree(store, work / "written")
    acknowledged, failed, reads = dict[str, str](), list[str](), list[dict[str, Any]]()
    rows = list(csv.reader((store.parent / "catalog.csv").open(encoding="utf-8")))
    del rows[1 : 1 + len(rows) // 200]
    with (work / "next.csv").open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)
    with serving(changed, ASKS_AT_ONCE) as process:
        reviewed = doubtful(store.parent, writes // 2)
        paths = [one["category_path"] for one in ask("/v1/categories")["categories"]]

        def put(i: int) -> None:
            path = paths[i % len(paths)]
            id_ = reviewed[i // 2] if i % 2 else f"added-{i}"
            item = {"id": id_, "title": f"thing {i}", "category_path": path}
            answer = {"action": "correct", "category_path": path}
            try:
                ask(f"/v1/reviews/{id_}", answer) if i % 2 else ask("/v1/items", {"items": [item]})
                acknowledged[id_] = path
            except (urllib.error.URLError, ConnectionError) as error:
                failed.append(f"{id_}: {error}")

        def read() -> None:
            while writing.is_alive():
                reads.append(load(store.parent, READERS, SECONDS))

        def write_all() -> None:
            with ThreadPoolExecutor(WRITERS) as pool:
                list(pool.map(put, range(2 * len(reviewed))))

        writing, reading = threading.Thread(target=write_all), threading.Thread(target=read)
        command = [sys.executable, "-m", "shelfwise", "build", str(work / "next.csv"), "--store", str(changed)]
        start = time.monotonic()
        writing.start()
        reading.start()
        built = subprocess.run([*command, "--max-flipped", "1"], cwd=ROOT, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        writing.join()
        took = time.monotonic() - start
        reading.join()
        for i in range(2 * len(reviewed), 2 * len(reviewed) + 10, 2):  # the index may lack these at the kill
            put(i)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serving(changed, ASKS_AT_ONCE):
        until = time.monotonic() + 60
        while ask("/readyz")["writes_waiting"] and time.monotonic() < until:
            time.sleep(0.1)
        lost = [id_ for id_, path in acknowledged.items() if found(id_) != path]
    return {
        "acknowledged": len(acknowledged),
        "failed": failed,
        "lost": lost,
        "seconds": took,
        "build": built.stdout.splitlines()[-1],
        "reads": reads,
    }


def doubtful(folder: Path, wanted: int) -> list[str]:
    """Return the ids of up to `wanted` listings that wait for a review, after classifying enough of them."""
    titles = [json.loads(line) for line in (folder / "titles.txt").read_text(encoding="utf-8").splitlines()]
    for start in range(0, len(titles), 500):
        listings = [
            {"id": f"listing-{start + i}", "title": title} for i, title in enumerate(titles[start : start + 500])
        ]
        ask("/v1/classify", {"listings": listings})
        found = ask(f"/v1/reviews?limit={min(wanted, 1000)}")
        if found["counts"]["open"] >= wanted:
            break
    return [one["listing"]["id"] for one in found["reviews"]][:wanted]


def found(id_: str) -> str | None:
    """Return the category of an item (None if there is no such item)."""
    try:
        return str(ask(f"/v1/items/{id_}")["category_path"])
    except urllib.error.HTTPError:
        return None


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def prepare(data: Path | None, folder: Path) -> Path:
    """Prepare the store and the titles and script for `wrk`; return the store.

    An existing store is reused, without the writes of an earlier run.
    """
    store = folder / "store"
    for left in store.glob(f"{DESK}*"):
        left.unlink()
    # The titles of the sample are in the store. They are reversed, so that some decisions need a review.
    titles = [title[::-1] for title in sample_titles()] if data is None else real_titles(data)
    lines = [json.dumps(title[:2000], ensure_ascii=False) for title in mixed(titles, str)[:LISTINGS]]
    (folder / "titles.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "ask.lua").write_text(SCRIPT, encoding="utf-8")
    if not store.exists():
        items = items_of(*sample_set().train) if data is None else one_catalog(data)
        catalog = write_catalog(mixed(items, lambda item: item.id)[:ITEMS], folder / "catalog.csv")
        measured("build", catalog, "--store", store, "--encoder", "hashing" if data is None else "minilm")
    return store


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, help="Run only this part.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Folder that keeps the store; an existing store is reused."
)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="File for the results.")
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
@click.option("--run", type=click.Path(path_type=Path), hidden=True)
@click.option("--at-once", type=int, hidden=True)
def main(
    data: Path | None,
    parts: tuple[str, ...],
    folder: Path | None,
    results: Path,
    quick: bool,
    run: Path | None,
    at_once: int,
) -> None:
    """Measure, print and write the results."""
    if run:
        uvicorn.run(create_app(Config(run, at_once=at_once)), port=PORT, log_level="warning", access_log=False)
        return
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as work:
        kept = folder or Path(work)
        kept.mkdir(parents=True, exist_ok=True)
        store = prepare(data, kept)
        for part in parts:
            if part == "load":
                figures = loaded(store, kept, *((1, 2, 500) if quick else (ROUNDS, SECONDS, FLAT)))
                assert figures["times_one_by_one"] > 0 and figures["over"]["failed"] == 0
            else:
                figures = written(store, Path(work), 40 if quick else WRITES)
                assert not (quick and (figures["failed"] or figures["lost"]))
            click.echo(json.dumps({part: figures}, indent=1))
            if not quick:
                record(results, part, {"set": part, **figures})


if __name__ == "__main__":
    main()
