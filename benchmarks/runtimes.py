"""Compare runtimes of the encoder on a CPU: OpenVINO and ONNX Runtime, in float32, bfloat16 and int8, with streams.

    python benchmarks/runtimes.py --data DIR
    python benchmarks/runtimes.py --quick        smoke test on the sample catalog, without NNCF and ONNX Runtime

DIR has the labelled sets of benchmarks/accuracy.py, and scale_mix. Rates and cosines are measured on the titles of
scale_mix, in turns with sentence-transformers in float32. int8 is static and calibrated on titles of the catalog, by
NNCF for OpenVINO and by its own quantizer for ONNX Runtime. Accuracy is that of the nearest item's category for each
listing of a labelled set. Results go to benchmarks/results/runtimes.json.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from harness import ROOT, Set, items_of, ratio, real_sets, record, sample_set
from titles import mixed, real_titles, sample_titles

from shelfwise.classifier.measuring.baselines import timed
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.runtime import GRAPH, LEAST_COSINE, Runtime, Tuning, export, import_openvino, whole_of
from shelfwise.indexer.encoding.sentence import TEXTS_PER_PASS, SentenceEncoder
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Vectors

RESULTS = ROOT / "benchmarks" / "results" / "runtimes.json"
SETS = ("instacart", "zh_retail30")  # one for each encoder
USUAL = "sentence-transformers, f32"
ROUNDS, TIMED, CALIBRATION = 5, 1024, 512
SIZES = (3000, 1000)  # items and listings of a labelled set
QUICK_SIZES, QUICK_TITLES = (100, 50), 50
Encode = Callable[[Sequence[str]], Vectors]


class OnnxRuntime:
    """ONNX Runtime on the batches of a `Runtime`, in streams with equal numbers of threads."""

    def __init__(self, file: Path, batches: Runtime, streams: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, usable_threads() // streams)
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self._batches, self._streams = batches, streams

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts; see `Encoder.encode`."""
        vectors = np.empty((len(texts), self._batches.dimensions), np.float32)

        def work(batch: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
            rows, inputs = batch
            vectors[rows] = self._session.run(None, inputs)[0]

        with ThreadPoolExecutor(self._streams) as pool:
            list(pool.map(work, self._batches.batches(texts)))
        return vectors


def ways(model: SentenceEncoder, titles: Sequence[str], folder: Path, others: bool) -> dict[str, Encode]:
    """Return the encode functions by name, with `others` also those that Shelfwise does not use.

    int8 is calibrated on the titles.
    """
    plain, quantized = folder / "plain", folder / "int8"
    plain.mkdir()
    export(model, plain, titles[:64])
    batches, threads = Runtime(plain), usable_threads()
    if others:
        shutil.copytree(plain, quantized)
        _openvino_int8(plain / GRAPH, quantized / GRAPH, batches, titles)
        _onnx(model, folder / "f32.onnx")
        _onnx_int8(folder / "f32.onnx", folder / "int8.onnx", batches, titles)

    def usual(texts: Sequence[str]) -> Vectors:
        found: Vectors = model.module.encode(
            list(texts), batch_size=TEXTS_PER_PASS, normalize_embeddings=True, show_progress_bar=False
        )
        return found

    found: dict[str, Callable[[Sequence[str]], Vectors]] = {USUAL: usual}
    for streams in sorted({1, threads}):
        told = f"{streams} x {threads // streams}"
        for precision in ("f32", "bf16"):
            found[f"OpenVINO, {precision}, {told}"] = Runtime(plain, Tuning(precision, streams)).encode
        if not others:
            continue
        found[f"OpenVINO, int8, {told}"] = Runtime(quantized, Tuning("f32", streams)).encode
        for precision in ("f32", "int8"):
            file = folder / f"{precision}.onnx"
            found[f"ONNX Runtime, {precision}, {told}"] = OnnxRuntime(file, batches, streams).encode
    return found


def _onnx(model: SentenceEncoder, file: Path) -> None:
    """Export the encoder, with pooling and normalisation, as an ONNX graph."""
    import torch

    whole, example = whole_of(model.module)
    names, axes = list(example), {0: "texts", 1: "tokens"}
    with torch.no_grad():
        torch.onnx.export(
            whole,
            tuple(example.values()),
            file,
            input_names=names,
            output_names=["vectors"],
            dynamic_axes=dict.fromkeys(names, axes) | {"vectors": {0: "texts"}},
            dynamo=False,
        )


def _onnx_int8(source: Path, target: Path, batches: Runtime, titles: Sequence[str]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Titles(CalibrationDataReader):
        def __init__(self) -> None:
            self._inputs: Iterator[dict[str, Any]] = (inputs for _, inputs in batches.batches(titles))

        def get_next(self) -> dict[str, Any] | None:
            return next(self._inputs, None)

    prepared = target.with_suffix(".prepared")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        Titles(),
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _openvino_int8(source: Path, target: Path, batches: Runtime, titles: Sequence[str]) -> None:
    openvino = import_openvino()
    import nncf

    inputs = [inputs for _, inputs in batches.batches(titles)]
    made = nncf.quantize(
        openvino.Core().read_model(source),
        nncf.Dataset(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(inputs),
    )
    openvino.save_model(made, target)


def measure(
    one: Set, titles: Sequence[str], rounds: int, sizes: tuple[int, int] = SIZES, others: bool = True
) -> dict[str, Any]:
    """Return rates measured in turns, cosines with the float32 vectors, and changes of the listings' nearest items."""
    model = load_encoder(one.encoder, "cpu")
    assert isinstance(model, SentenceEncoder)
    items, listings = (_some(items_of(*files), n) for files, n in zip((one.train, (one.test,)), sizes, strict=True))
    texts, asked = ([item.words.text() for item in some] for some in (items, listings))
    paths, truth = (np.array([item.category_path for item in some]) for some in (items, listings))
    with tempfile.TemporaryDirectory() as folder:
        encoders = ways(model, texts[:CALIBRATION], Path(folder), others)
        rates: dict[str, list[float]] = {name: [] for name in encoders}
        vectors = {name: encode(titles) for name, encode in encoders.items()}
        for _ in range(rounds):
            for name, encode in encoders.items():
                rates[name].append(len(titles) / timed(lambda encode=encode: encode(titles))[1])
        nearest = {name: (encode(asked) @ encode(texts).T).argmax(axis=1) for name, encode in encoders.items()}
    found = {}
    for name in encoders:
        cosines = (vectors[name] * vectors[USUAL]).sum(axis=1)
        found[name] = {
            "rates": rates[name],
            "times": ratio(rates[name], rates[USUAL]),
            "worst_cosine": float(cosines.min()),
            "mean_cosine": float(cosines.mean()),
            "nearest_changed": float((nearest[name] != nearest[USUAL]).mean()),
            "accuracy": float((paths[nearest[name]] == truth).mean()),
        }
    return {"set": one.name, "titles": len(titles), "items": len(items), "listings": len(listings), "ways": found}


def _some(items: list[Any], n: int) -> list[Any]:
    """Return a fixed pseudo-random sample of n items."""
    return mixed(items, lambda item: item.title)[:n]


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--quick", is_flag=True, help="Smoke test on the sample catalog; writes no results.")
def main(data: Path | None, quick: bool) -> None:
    """Measure, print and write the results."""
    if (data is None) != quick:
        raise click.UsageError("Pass either --data DIR or --quick.")
    if data is None:
        sample, titles = replace(sample_set(), encoder="minilm"), sample_titles()[:QUICK_TITLES]
        figures = measure(sample, titles, 1, QUICK_SIZES, others=False)["ways"]
        click.echo(json.dumps(figures, indent=1))
        assert all(way["worst_cosine"] > LEAST_COSINE for way in figures.values())
        return
    titles = mixed(real_titles(data), str)[:TIMED]
    for one in (one for one in real_sets(data) if one.name in SETS):
        found = measure(one, titles, ROUNDS)
        click.echo(json.dumps(found, indent=1))
        record(RESULTS, one.encoder, found)


if __name__ == "__main__":
    main()
