"""What turns texts into unit vectors, what more some of them can do, and where they compute."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.errors import EngineError
from shelfwise.indexer.types import Progress, Vectors

PROGRESS_TEXTS = 2048  # texts between two calls of `progress`
DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # of a GPU, on Linux: without one torch need not be asked, nor loaded
_SETTINGS = ("config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
_PROVENANCE = ("__version__", "transformers_version", "_name_or_path")


class Encoder(Protocol):
    """Anything that turns texts into unit vectors.

    `name` is how a user names it, `fingerprint` changes with everything that changes its vectors, and
    `dimensions` is their length d.
    """

    name: str
    fingerprint: str
    dimensions: int

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """(n, d) float32 rows of unit length, in the order of `texts`; equal texts, equal rows."""
        ...


@runtime_checkable
class Exportable(Encoder, Protocol):
    """An encoder that can be written down in a form that serves without torch; where it lies now, `exports` says."""

    exports: bool

    def export(self, folder: Path, sample: Sequence[str]) -> None:
        """Write the exported form into an empty folder, and compare the two on some texts. Raises EncoderError."""
        ...


@runtime_checkable
class Trainable(Encoder, Protocol):
    """An encoder whose weights can be trained: `module` is a sentence-transformers model, and `prompt` what it sees
    before every text."""

    module: Any

    @property
    def prompt(self) -> str | None:
        """What the model was trained to see before every text."""
        ...

    def token_counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return how many tokens the model reads of each text, (n,)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model as it is now to an empty folder; from then on its fingerprint is that of the folder."""
        ...


def resolve_device(device: str) -> str:
    """`device` with auto resolved to cuda or cpu. Raises EngineError for cuda where there is none."""
    if device == "cpu":
        return device
    if sys.platform != "linux" or any(Path(driver).exists() for driver in DRIVERS):
        import torch

        if torch.cuda.is_available():
            return "cuda"
    if device == "cuda":
        raise EngineError(
            "no_gpu", "device 'cuda', but torch finds no CUDA device here", "an NVIDIA GPU", "use device cpu or auto"
        )
    return "cpu"


def fingerprint_of(folder: Path) -> str:
    """SHA-256 over weights, tokenizer and settings of a model folder: what decides its vectors.

    Settings are compared as values, without the library versions that wrote them.
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
