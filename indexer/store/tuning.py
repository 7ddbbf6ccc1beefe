"""Measure the fastest settings of a store's encoder on this machine, and save them in the store.

The settings belong to a machine, not to a version. They are stored next to the versions, by the machine's name.
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
from shelfwise.indexer.store.disk import locked, read_sealed, write_sealed
from shelfwise.indexer.store.names import TUNING
from shelfwise.indexer.store.snapshot import read_snapshot
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Progress, Vectors

TEXTS = 4096  # texts of the store to measure on: as many as one batch of classification
TUNING_ROUNDS = 3
LEAST_GAIN = 1.03  # factor over the best rate so far: a smaller gain can be chance
TRIED_TOKENS = (512, 1024, 2048)  # per batch
CPU_PRECISIONS = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}  # by OpenVINO's names for the capabilities of a CPU


@dataclass(frozen=True)
class TuningTrial:
    """A tuning that was tried: its `rate` in texts per second, and `times`, its rate over that of the best one so far.

    Both are measured in turns. `worst_cosine` is the lowest cosine of its vectors with the float32 ones, and `taken` is
    True if it became the best one.
    """

    tuning: Tuning
    rate: float
    times: float
    worst_cosine: float
    taken: bool


@dataclass(frozen=True)
class Tuned:
    """The trials on a machine and the chosen tuning. The first trial is the untuned encoder."""

    machine: str
    chosen: Tuning
    trials: list[TuningTrial]


def machine() -> str:
    """Return the name of this machine: its processor and the number of usable threads, which determine speed."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return f"{found[1] if found else platform.machine()}, {usable_threads()} threads"


def tuning_for(store: Path) -> Tuning:
    """Return the tuning saved for this machine, or the default. Raise StoreError when the file is damaged."""
    try:
        return Tuning(**_found(store).get(machine(), {}))
    except TypeError:  # saved by a shelfwise version with other settings
        return UNTUNED


def tune(store: Path, progress: Progress | None = None) -> Tuned:
    """Try precisions, streams and batch sizes on texts of the store, and save the fastest tuning.

    Its vectors must have a cosine of at least LEAST_COSINE with the float32 ones. Raise EncoderError when the store's
    encoder has no exported form, and StoreError when the store cannot be read or written.
    """
    snapshot = read_snapshot(store)
    identity = snapshot.manifest.encoder
    if not identity.runtime:
        raise EncoderError(
            "nothing_to_tune",
            f"encoder {identity.name} has no exported form",
            "an exported encoder",
            "use the store without tuning",
        )
    with locked(store):  # fail before the minutes of measuring
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
    """Measure a tuning in turns with the best one so far."""
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
    """Return the capabilities of the CPU, by OpenVINO's names."""
    found: list[str] = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def _found(store: Path) -> dict[str, Any]:
    try:
        return read_sealed(store / TUNING, "delete it, and tune the store again")
    except FileNotFoundError:
        return {}
