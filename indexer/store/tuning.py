"""Finds out how this machine computes a store's encoder fastest, and remembers it in the store.

What was found is of a machine and not of a version, so it lies beside the versions, by the machine's name.
"""

import platform
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shelfwise.indexer.encoding.runtime import LEAST_COSINE, UNTUNED, Runtime, Tuning, import_openvino
from shelfwise.indexer.errors import EncoderError
from shelfwise.indexer.store.disk import TUNING, locked, read_sealed, write_sealed
from shelfwise.indexer.store.snapshot import read_snapshot
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Progress, Vectors

TEXTS = 4096  # of the store, on which it is measured: as many as are classified at a time
TUNING_ROUNDS = 3
LEAST_GAIN = 1.03  # times the rate of what was the best before: less can be chance
TRIED_TOKENS = (512, 1024, 2048)  # in a batch
CPU_PRECISIONS = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}  # of what OpenVINO says that a CPU can


@dataclass(frozen=True)
class TuningTrial:
    """A tuning that was tried: its texts a second, how many times those of the best before it that is in turns with it,
    the worst cosine of its vectors with float32's, and whether it is the best from then on."""

    tuning: Tuning
    rate: float
    times: float
    worst_cosine: float
    taken: bool


@dataclass(frozen=True)
class Tuned:
    """What was tried on a machine, and what was chosen of it. The first trial is of what it does untuned."""

    machine: str
    chosen: Tuning
    trials: list[TuningTrial]


def machine() -> str:
    """What speed depends on: the processor, and how many threads may be used of it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return f"{found[1] if found else platform.machine()}, {usable_threads()} threads"


def tuning_for(store: Path) -> Tuning:
    """What was found for this machine, the default where nothing was. Raises StoreError for a damaged file."""
    try:
        return Tuning(**_found(store).get(machine(), {}))
    except TypeError:  # of a version that tunes something else
        return UNTUNED


def tune(store: Path, progress: Progress | None = None) -> Tuned:
    """Try on texts of the store what precision, streams and batches can be, and remember the fastest whose vectors have
    a cosine of at least LEAST_COSINE with float32's.

    Raises EncoderError where the store's encoder has no exported form, StoreError where it cannot be written.
    """
    snapshot = read_snapshot(store)
    identity = snapshot.manifest.encoder
    if not identity.runtime:
        raise EncoderError(
            "nothing_to_tune",
            f"encoder {identity.name}, which runs as it is",
            "an exported encoder",
            "leave it: there is nothing to tune",
        )
    with locked(store):  # before minutes are spent
        _found(store)
    folder, numbers = store / identity.runtime, snapshot.reader.row_ids()
    spread = np.unique(np.linspace(0, len(numbers) - 1, TEXTS).astype(np.int64))
    texts = list(dict.fromkeys(snapshot.reader.take(numbers[spread])[0].texts()))
    texts = [f"{text} {i}" if i else text for i in range(-(-TEXTS // len(texts))) for text in texts][:TEXTS]
    exact = Runtime(folder, Tuning("f32")).encode(texts)
    best = Runtime(folder).loaded()
    trials = [_trial(best, best, texts, exact)]
    threads = usable_threads()
    choices: dict[str, Sequence[Any]] = {
        "precision": [name for capability, name in CPU_PRECISIONS.items() if capability in _capabilities()],
        "streams": sorted({1, max(1, threads // 2), threads}),
        "tokens": TRIED_TOKENS,
    }
    tries = [(name, value) for name, values in choices.items() for value in values]
    for done, (name, value) in enumerate(tries):
        if progress:
            progress("tune", done, len(tries), f"{name} {value}")
        other = Runtime(folder, replace(best.computes(), **{name: value})).loaded()
        if other.computes() in [trial.tuning for trial in trials]:
            continue
        trials.append(_trial(other, best, texts, exact))
        best = other if trials[-1].taken else best
    with locked(store):
        write_sealed(store / TUNING, _found(store) | {machine(): asdict(best.computes())})
    return Tuned(machine(), best.computes(), trials)


def _trial(runtime: Runtime, before: Runtime, texts: list[str], exact: Vectors) -> TuningTrial:
    """One tuning in turns with another."""
    worst = float(np.einsum("nd,nd->n", runtime.encode(texts), exact).min())
    rates: dict[Runtime, list[float]] = {runtime: [], before: []}
    for _ in range(TUNING_ROUNDS):
        for each, seen in rates.items():
            start = time.perf_counter()
            each.encode(texts)
            seen.append(len(texts) / (time.perf_counter() - start))
    times = statistics.median(ours / theirs for ours, theirs in zip(rates[runtime], rates[before], strict=True))
    taken = runtime is before or (times >= LEAST_GAIN and worst >= LEAST_COSINE)
    return TuningTrial(runtime.computes(), statistics.median(rates[runtime]), times, worst, taken)


def _capabilities() -> list[str]:
    """What the CPU can, as OpenVINO names it."""
    found: list[str] = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def _found(store: Path) -> dict[str, Any]:
    try:
        return read_sealed(store / TUNING, "delete it, and tune the store again")
    except FileNotFoundError:
        return {}
