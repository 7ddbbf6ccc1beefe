"""Exported encoders: a graph and a tokenizer that run without torch, transformers or sentence-transformers.

`export` writes them while the original encoder is loaded; `Runtime` reads them. The graph includes pooling and
normalising. OpenVINO runs it in bfloat16 if the CPU supports it, else in float32.
"""

import json
import sys
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.encoding.encoder import Trainable
from shelfwise.indexer.errors import EncoderError, first_line
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Progress, Vectors

RUNTIME_FACTS, GRAPH, TOKENIZER = "runtime.json", "graph.xml", "tokenizer.json"
TOKENS_PER_BATCH = 1024  # padding included: such a batch stays in the caches of a core
QUEUED_BATCHES = 2  # batches per inference request, the running one included: the next must not wait for Python
FEWEST_BATCHES = 4  # batches per stream if there are few texts: keeps all streams busy with little padding
FAILURE_SECONDS = 10.0  # seconds to wait for a batch before checking for a failed inference
TOKENIZED_TEXTS = 8192  # texts tokenized at a time
LEAST_COSINE = 0.999  # lowest cosine allowed between vectors of the graph and of the original model
EDGES = (
    "",
    "a",
    "9",
    "保温杯",
    "¿?",
    "word " * 600,
    "字" * 600,
    "🙂 mug\u0301 ½",
)  # edge cases that are compared in addition to the sample


@dataclass(frozen=True, slots=True)
class Facts:
    """Metadata of an exported encoder, stored next to graph and tokenizer.

    The original encoder's name, fingerprint, dimensions and prompt, the padding token, and the lowest cosine measured
    between original and exported vectors.
    """

    name: str
    fingerprint: str
    dimensions: int
    prompt: str
    padding: int
    worst_cosine: float = 1.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a machine computes.

    `precision` is bf16, f16 or f32. `streams` is the number of streams, which have equally many threads. `tokens` is
    the size of a batch, padding included. With an empty `precision` or 0 `streams`, OpenVINO chooses.
    """

    precision: str = ""
    streams: int = 0
    tokens: int = TOKENS_PER_BATCH

    def options(self) -> dict[str, object]:
        """Return the options for OpenVINO."""
        said: dict[str, object] = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": usable_threads()}
        if self.precision:
            said["INFERENCE_PRECISION_HINT"] = self.precision
        if self.streams:
            said["NUM_STREAMS"] = str(self.streams)
        return said


UNTUNED = Tuning()


class Loaded(NamedTuple):
    """A loaded encoder: its tokenizer, its queue of inferences, and their precision and number of streams."""

    tokenizer: Any
    queue: Any
    precision: str
    streams: int


class Call(NamedTuple):
    """One call of `encode`: its vectors, and a semaphore released once for each finished batch."""

    vectors: Vectors
    kept: Semaphore


def _keep(request: Any, sent: tuple[Call, NDArray[np.int64]]) -> None:
    call, rows = sent
    call.vectors[rows] = request.get_output_tensor().data
    call.kept.release()


class Runtime:
    """An exported encoder. It is an `Encoder`, and loads its files when it first encodes.

    Raise EncoderError, in the constructor or on loading, when `folder` has no encoder that loads.
    """

    def __init__(self, folder: Path, tuning: Tuning = UNTUNED) -> None:
        self.folder, self.tuning = folder, tuning
        with self._loading():
            self.facts = Facts(**json.loads((folder / RUNTIME_FACTS).read_bytes()))
        self._alone = Lock()
        self.name, self.fingerprint, self.dimensions = self.facts.name, self.facts.fingerprint, self.facts.dimensions

    def loaded(self) -> Self:
        """Load the encoder if needed, and return it."""
        with self._alone:
            _ = self._loaded
        return self

    def computes(self) -> Tuning:
        """Return the tuning in use, with OpenVINO's own choices filled in."""
        return Tuning(self._loaded.precision, self._loaded.streams, self.tuning.tokens)

    @cached_property
    def _loaded(self) -> Loaded:
        with self._loading():
            from tokenizers import Tokenizer

            openvino = import_openvino()
            compiled = openvino.Core().compile_model(self.folder / GRAPH, "CPU", self.tuning.options())
            at_once = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            queue = openvino.AsyncInferQueue(compiled, QUEUED_BATCHES * at_once)
            queue.set_callback(_keep)
            weakref.finalize(self, queue.wait_all)  # also at exit: no callback may run after Python has shut down
            return Loaded(
                Tokenizer.from_file(str(self.folder / TOKENIZER)),
                queue,
                compiled.get_property("INFERENCE_PRECISION_HINT").to_string(),
                compiled.get_property("NUM_STREAMS"),
            )

    @contextmanager
    def _loading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # tokenizers raises bare Exceptions
            raise EncoderError(
                "broken_encoder",
                f"the exported encoder in {self.folder} does not load ({first_line(error)})",
                "an intact exported encoder",
                "restore the store from a backup, or build it again",
            ) from None

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Return unit vectors; see `Encoder.encode`.

        Each text is encoded once, in order of length to limit padding. Concurrent calls share the cores.
        """
        unique = list(dict.fromkeys(texts))
        call = Call(np.empty((len(unique), self.dimensions), np.float32), Semaphore(0))
        queue, sent = self.loaded()._loaded.queue, 0
        for start in range(0, len(unique), TOKENIZED_TEXTS):
            part = unique[start : start + TOKENIZED_TEXTS]
            for rows, inputs in self.batches(part):
                with self._alone:
                    queue.start_async(inputs, (call, rows + start))
                sent += 1
            if progress:
                progress("encode", start + len(part), len(unique))
        for _ in range(sent):
            while not call.kept.acquire(timeout=FAILURE_SECONDS):
                queue.wait_all()  # raises the error of a failed inference
        vectors = call.vectors
        row = {text: i for i, text in enumerate(unique)}
        return vectors[[row[text] for text in texts]]

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]]:
        """Yield batches of texts, longest first: their rows (b,), ids and mask (b, width).

        A batch has at most `tuning.tokens` tokens or one text; with few texts, batches are smaller. A batch may repeat
        its last row.
        """
        tokens = [
            one.ids for one in self._loaded.tokenizer.encode_batch_fast([self.facts.prompt + text for text in texts])
        ]
        lengths = np.array([len(ids) for ids in tokens])
        order = np.argsort(-lengths, kind="stable")
        padded = len(lengths) * lengths.max(initial=0)  # tokens of a single batch
        most = min(self.tuning.tokens, padded // (FEWEST_BATCHES * self._loaded.streams))
        while len(order):
            width = lengths[order[0]]
            many = max(1, most // width)
            rows, order = order[:many], order[many:]
            if most == self.tuning.tokens:  # OpenVINO never frees the memory of a new shape
                rows = np.pad(rows, (0, many - len(rows)), "edge")
            mask = np.arange(width) < lengths[rows, None]
            ids = np.full(mask.shape, self.facts.padding, np.int64)
            ids[mask] = np.concatenate([tokens[row] for row in rows])
            yield rows, {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def export(encoder: Trainable, folder: Path, sample: Sequence[str]) -> None:
    """Write an encoder into the empty folder `folder`, and compare both encoders on a sample of texts.

    Raise EncoderError when it cannot be exported, or when the exported vectors differ from the encoder's.
    """
    module = encoder.module
    try:
        import_openvino().save_model(_graph_of(module), folder / GRAPH, compress_to_fp16=True)
        tokenizer = module.tokenizer.backend_tokenizer
        tokenizer.enable_truncation(module.max_seq_length)
        tokenizer.no_padding()
        tokenizer.save(str(folder / TOKENIZER))
        padding = module.tokenizer.pad_token_id
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise _not_exported(encoder, f"it cannot be exported ({first_line(error)})") from None
    facts = Facts(encoder.name, encoder.fingerprint, encoder.dimensions, encoder.prompt or "", padding)
    _write_facts(folder, facts)
    try:
        made = Runtime(folder).encode([*sample, *EDGES])
    except (RuntimeError, TypeError, ValueError) as error:  # for example, a shape that the tracer fixed
        raise _not_exported(encoder, f"its exported form does not run ({first_line(error)})") from None
    # Encoded apart: the library would pad many of the sample to the length of the longest edge case.
    vectors = np.concatenate([encoder.encode(sample), encoder.encode(EDGES)])
    cosines = (vectors * made).sum(axis=1)
    if not cosines.min() >= LEAST_COSINE:
        raise _not_exported(encoder, f"its exported form gives other vectors (cosine {cosines.min():.4f})")
    _write_facts(folder, replace(facts, worst_cosine=float(cosines.min())))


def _not_exported(encoder: Trainable, why: str) -> EncoderError:
    return EncoderError(
        "not_exported",
        f"encoder {encoder.name}: {why}",
        f"an exported form with a cosine of {LEAST_COSINE} or more",
        "use the model itself, which is slower",
    )


def import_openvino() -> Any:
    """Return the module openvino, without its telemetry, which reports each import to the vendor."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def whole_of(module: Any) -> tuple[Any, dict[str, Any]]:
    """Return a torch module from ids and mask (b, width) to unit vectors (b, d), and an example of its inputs.

    `module` is a sentence-transformers model.
    """
    import torch

    class Whole(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
            if "token_type_ids" in module.tokenizer.model_input_names:
                inputs["token_type_ids"] = torch.zeros_like(input_ids)
            return torch.nn.functional.normalize(module(inputs)["sentence_embedding"], dim=1)

    whole = Whole()
    whole.module = module
    example = module.tokenizer(["a mug", "shoes that are good to run in"], padding=True, return_tensors="pt")
    return whole.eval(), {name: example[name] for name in ("input_ids", "attention_mask")}


def _graph_of(module: Any) -> Any:
    """Return the OpenVINO graph of a sentence-transformers model."""
    import torch

    whole, example = whole_of(module)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracer warnings about input shapes, which EDGES tests
        return import_openvino().convert_model(whole, example_input=example)


def _write_facts(folder: Path, facts: Facts) -> None:
    (folder / RUNTIME_FACTS).write_text(json.dumps(asdict(facts), ensure_ascii=False), encoding="utf-8")
