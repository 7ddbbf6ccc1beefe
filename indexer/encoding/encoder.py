"""Interfaces of encoders, the device they compute on, and the fingerprint of a model."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.errors import EncoderError, EngineError
from shelfwise.indexer.types import Progress, Vectors

PROGRESS_TEXTS = 2048  # texts between two calls of `progress`
LENGTH_ERROR = 0.01  # largest deviation of a length from 1: computing in bfloat16 gives up to 0.004
DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # GPU drivers on Linux: if there are none, torch is not loaded
_SETTINGS = ("config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
_PROVENANCE = ("__version__", "transformers_version", "_name_or_path")


class Encoder(Protocol):
    """Anything that turns texts into unit vectors.

    `name` is the encoder's name for users, `fingerprint` changes whenever its vectors would change, and `dimensions` is
    their length d.
    """

    name: str
    fingerprint: str
    dimensions: int

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Return (n, d) float32 rows of unit length, in the order of `texts`. Equal texts get equal rows."""
        ...


def unit_vectors(encoder: Encoder, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
    """Return what an encoder makes of `texts`: unit vectors (n, d).

    Raise EncoderError if it makes anything else, such as NaN or zero vectors of damaged weights.
    """
    vectors = encoder.encode(texts, progress)
    if vectors.shape != (len(texts), encoder.dimensions):
        raise _bad_vectors(encoder, f"gave vectors of shape {vectors.shape} for {len(texts)} texts")
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    wrong = np.flatnonzero(~(abs(lengths - 1) <= LENGTH_ERROR))  # NaN is wrong, too
    if wrong.size:
        raise _bad_vectors(encoder, f"gave a vector of length {lengths[wrong[0]]:.3g} for {texts[wrong[0]][:60]!r}")
    return vectors


def _bad_vectors(encoder: Encoder, found: str) -> EncoderError:
    return EncoderError(
        "bad_vectors",
        f"encoder {encoder.name} {found}",
        f"vectors of unit length with {encoder.dimensions} dimensions",
        "use a model with intact weights (nothing was changed)",
    )


@runtime_checkable
class Exportable(Encoder, Protocol):
    """An encoder with an exported form that serves without torch.

    `exports` is False if the encoder cannot be exported from its current device.
    """

    exports: bool

    def export(self, folder: Path, sample: Sequence[str]) -> None:
        """Write the exported form into an empty folder and compare both encoders on some texts.

        Raise EncoderError when the export fails or its vectors differ.
        """
        ...


@runtime_checkable
class Trainable(Encoder, Protocol):
    """An encoder whose weights can be trained.

    `module` is a sentence-transformers model; `prompt` is put before each text.
    """

    module: Any

    @property
    def prompt(self) -> str | None:
        """Prefix of each text that the model was trained with (None if there is none)."""
        ...

    def token_counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of tokens the model reads of each text, (n,)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the current model to an empty folder, and change its fingerprint to that of the folder."""
        ...


def resolve_device(device: str) -> str:
    """Return `device` with auto resolved to cuda or cpu.

    Raise EngineError for cuda if there is no CUDA device.
    """
    if device == "cpu":
        return device
    if sys.platform != "linux" or any(Path(driver).exists() for driver in DRIVERS):
        import torch

        if torch.cuda.is_available():
            return "cuda"
    if device == "cuda":
        raise EngineError(
            "no_gpu", "device 'cuda', but no CUDA device was found", "an NVIDIA GPU", "use device cpu or auto"
        )
    return "cpu"


def fingerprint_of(folder: Path) -> str:
    """Return the SHA-256 of a model folder's weights, tokenizer and settings, which determine its vectors.

    Settings are compared as values, without the versions of the libraries that wrote them.
    """
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors" or path.name in ("tokenizer.json", "vocab.txt"):
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").digest()
        elif path.name in _SETTINGS:
            settings = json.loads(path.read_bytes())
            if isinstance(settings, dict):
                settings = {key: value for key, value in settings.items() if key not in _PROVENANCE}
            content = json.dumps(settings, sort_keys=True).encode()
        else:
            continue
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + content)
    return total.hexdigest()
