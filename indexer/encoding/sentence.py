"""Sentence-transformers models, from a folder or a hub."""

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

TEXTS_PER_PASS = 64  # texts a forward pass: on two cores larger ones are no faster


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

    @property
    def exports(self) -> bool:
        """Whether it has an exported form: one on a GPU runs as it is."""
        return bool(self.module.device.type == "cpu")

    def export(self, folder: Path, sample: Sequence[str]) -> None:
        """See `Exportable.export`."""
        export(self, folder, sample)

    def save(self, folder: Path) -> None:
        """Write the model as it is now to an empty folder; from then on its fingerprint is that of the folder."""
        self.module.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
        self.fingerprint = fingerprint_of(folder)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """See `Encoder.encode`. Each text is encoded once, in order of length so that little is padded."""
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
        """(n,) how many tokens the model reads of each text; their characters where it does not say."""
        counts = []
        for start in range(0, len(texts), PROGRESS_TEXTS):
            part = list(texts[start : start + PROGRESS_TEXTS])
            mask = self.module.preprocess(part, prompt=self.prompt).get("attention_mask")
            counts.append(np.array(list(map(len, part))) if mask is None else mask.sum(dim=1).cpu().numpy())
        return np.concatenate(counts) if counts else np.empty(0, np.int64)


def hub_folder(name: str) -> Path:
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
