"""Measure whether a write through the service costs the same after thousands of them as at first.

    python benchmarks/writes.py [--writes 4000] [--encoder minilm]
    python benchmarks/writes.py --quick        smoke test with a few writes, writes no results

One client writes to a service of the sample catalog, one write after another, each of which becomes its own version.
Of ten writes seven add an item, two replace one, and one removes one. The figures are the time of a write, the bytes
that the service wrote for it (counted by the system, including its log and its answers), the size of the store, and the
seconds until the service is ready again after a restart. Results go to benchmarks/results/writes.json.
"""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from harness import ROOT, measured, record, sample_set
from titles import sample_titles

from shelfwise.indexer.store.disk import bytes_of

RESULTS = ROOT / "benchmarks" / "results" / "writes.json"
WRITES, PART, TIMED = 4_000, 400, 100  # writes in all, in a part whose bytes are compared, and whose time is
STARTS = 5
PORT = 18_419


@contextmanager
def serving(store: Path, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Run the service in its own process, and yield it with the seconds it took to be ready."""
    command = [sys.executable, "-m", "shelfwise", "serve", "--store", str(store), "--port", str(PORT)]
    start = time.monotonic()
    with log.open("ab") as out, subprocess.Popen(command, cwd=ROOT, stderr=out) as process:
        try:
            while True:
                with suppress(ConnectionError), connected() as client:
                    client.request("GET", "/readyz")
                    if client.getresponse().status == 200:
                        break
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            yield process, time.monotonic() - start
        finally:
            process.terminate()


@contextmanager
def connected() -> Iterator[http.client.HTTPConnection]:
    """Yield a connection to the service."""
    client = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        yield client
    finally:
        client.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, content: object = None) -> dict[str, Any]:
    """Send a request and return the JSON response."""
    client.request(method, path, json.dumps(content), {"content-type": "application/json"})
    response = client.getresponse()
    said = dict(json.loads(response.read()))
    assert response.status == 200, said
    return said


def written_by(process: subprocess.Popen[bytes]) -> int:
    """Return the bytes that a process has written."""
    counts = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
    return int(counts["wchar"])


def write_one(client: http.client.HTTPConnection, number: int, title: str, paths: list[str]) -> dict[str, Any]:
    """Make write `number`."""
    if number % 10 == 9:
        return ask(client, "DELETE", f"/v1/items/written-{number - 5}")
    known = number - 1 if number % 10 in (3, 8) else number
    item = {"id": f"written-{known}", "title": f"{title} {number}", "category_path": paths[known % len(paths)]}
    return ask(client, "POST", "/v1/items", {"items": [item]})


def write_all(store: Path, writes: int, part: int, log: Path) -> dict[str, Any]:
    """Write, and return the figures."""
    seconds, sizes, versions = list[float](), list[int](), set[int]()
    titles = sample_titles()
    with serving(store, log) as (process, _), connected() as client:
        paths = [one["category_path"] for one in ask(client, "GET", "/v1/categories")["categories"]]
        written = [written_by(process)]
        for number in range(writes):
            start = time.perf_counter()
            said = write_one(client, number, titles[number % len(titles)], paths)
            seconds.append(time.perf_counter() - start)
            versions.add(said["version"])
            if (number + 1) % part == 0:
                written.append(written_by(process))
                sizes.append(bytes_of(store))
                click.echo(
                    f"{number + 1:6,}: {(written[-1] - written[-2]) / part / 1e3:.1f} kB a write, "
                    f"{1000 * statistics.median(seconds[-part:]):.1f} ms, store {sizes[-1] / 1e6:.1f} MB"
                )
    starts = list[float]()
    for _ in range(STARTS):
        with serving(store, log) as (_, ready):
            starts.append(ready)
    timed = min(TIMED, part)
    first, last = (statistics.median(some) for some in (seconds[:timed], seconds[-timed:]))
    bytes_ = [(after - before) / part for before, after in pairwise(written)]
    return {
        "writes": writes,
        "versions": len(versions),
        "milliseconds": {"first": 1000 * first, "last": 1000 * last, "ratio": last / first},
        "bytes": {"first": bytes_[0], "last": bytes_[-1], "ratio": bytes_[-1] / bytes_[0]},
        "store_bytes": sizes,
        "seconds_to_ready": {"median": statistics.median(starts), "all": starts},
    }


@click.command()
@click.option("--writes", default=WRITES, show_default=True)
@click.option("--encoder", default="minilm", show_default=True)
@click.option("--quick", is_flag=True, help="Smoke test with a few writes; writes no results.")
def main(writes: int, encoder: str, quick: bool) -> None:
    """Measure, print and write the results."""
    encoder, writes = ("hashing", 20) if quick else (encoder, writes)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        measured("build", *sample_set().train, "--store", store, "--encoder", encoder)
        part = PART if writes >= PART else writes // 10
        figures = {"encoder": encoder} | write_all(store, writes, part, Path(folder) / "log.txt")
    click.echo(json.dumps(figures, indent=1))
    assert figures["versions"] == writes
    if not quick:
        record(RESULTS, "sample catalog", figures)


if __name__ == "__main__":
    main()
