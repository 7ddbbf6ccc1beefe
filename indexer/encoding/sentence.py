"""Sentence-transformers models from a folder or a hub."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.encoding.encoder import PROGRESS_TEXTS, fingerprint_of
from shelfwise.indexer.encoding.runtime import export
from shelfwise.indexer.errors import EncoderError, first_line
from shelfwise.indexer.quiet import hush
from shelfwise.indexer.threads import usable_threads
from shelfwise.indexer.types import Progress, Vectors

PICKLED = "pytorch_model.bin"
TEXTS_PER_PASS = 64  # texts per forward pass: on two cores larger passes are no faster


def _require_safetensors(folder: Path) -> None:
    """Raise EncoderError if a module of a model has only pickled weights: the fingerprint does not cover them."""
    for pickled in sorted(folder.rglob(PICKLED)):
        if not pickled.with_name("model.safetensors").exists():
            raise EncoderError(
                "broken_encoder",
                f"the model in {folder} has pickled weights, {pickled.relative_to(folder)}",
                "a sentence-transformers model with safetensors weights",
                "save the model again, with safe_serialization=True",
            )


class SentenceEncoder:
    """A sentence-transformers model from a local folder; `module` is the model, for fine-tuning."""

    def __init__(self, name: str, folder: Path, device: str) -> None:
        """Load the model. Raise EncoderError when `folder` has no usable one, with all weights as safetensors."""
        import torch
        from sentence_transformers import SentenceTransformer

        _require_safetensors(folder)
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
        """Prefix of each text that the model was trained with (None if there is none)."""
        default = self.module.default_prompt_name
        return self.module.prompts[default] if default else None

    @property
    def exports(self) -> bool:
        """True on a CPU. On a GPU the model is used without an exported form."""
        return bool(self.module.device.type == "cpu")

    def export(self, folder: Path, sample: Sequence[str]) -> None:
        """Write the exported form; see `Exportable.export`."""
        export(self, folder, sample)

    def save(self, folder: Path) -> None:
        """Write the current model to an empty folder, and change its fingerprint to that of the folder."""
        self.module.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
        self.fingerprint = fingerprint_of(folder)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Return unit vectors; see `Encoder.encode`. Each text is encoded once, in order of length to limit padding."""
        unique = sorted(set(texts))
        unique = [unique[i] for i in np.argsort(-self.token_counts(unique), kind="stable")]
        vectors = np.empty((len(unique), self.dimensions), np.float32)
        for start in range(0, len(unique), PROGRESS_TEXTS):
            part = unique[start : start + PROGRESS_TEXTS]
            vectors[start : start + len(part)] = self.module.encode(
                part, batch_size=TEXTS_PER_PASS, normalize_embeddings=True, show_progress_bar=False
            )
            if progress:
                progress("encode", start + len(part), len(unique))
        row = {text: i for i, text in enumerate(unique)}
        return vectors[[row[text] for text in texts]]

    def token_counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of tokens the model reads of each text, (n,), or of characters if it has no mask."""
        counts = []
        for start in range(0, len(texts), PROGRESS_TEXTS):
            part = list(texts[start : start + PROGRESS_TEXTS])
            mask = self.module.preprocess(part, prompt=self.prompt).get("attention_mask")
            counts.append(np.array(list(map(len, part))) if mask is None else mask.sum(dim=1).cpu().numpy())
        return np.concatenate(counts) if counts else np.empty(0, np.int64)


def hub_folder(name: str) -> Path:
    """Return the folder of a hub model in the hub's own cache, downloading it if needed (never code or pickles).

    Raise EncoderError when it cannot be fetched.
    """
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
            "a reachable model of the hub",
            "check the name and the network, or use minilm, e5 or a local folder",
        ) from None
