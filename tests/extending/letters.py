"""An encoder kind: letter counts of a text in 256 dimensions.

Copy it to `indexer/encoding/kinds/` and select it with `--encoder letters`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shelfwise.indexer.encoding.encoder import Encoder
from shelfwise.indexer.types import Progress, Vectors

DESCRIPTION = "letters, any language, no model, 256 dimensions"


class Letters:
    """An encoder that counts letters by their code, modulo 256."""

    name, fingerprint, dimensions = "letters", "letters-256", 256

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Return (n, 256) unit vectors; an empty text gets the first unit vector."""
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            np.add.at(vectors[row], [ord(char) % 256 for char in text.lower()], 1)
        vectors[~vectors.any(axis=1), 0] = 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def load(device: str, cache: Path | None) -> Encoder:
    """Return the encoder."""
    return Letters()
