"""Hashed character n-grams: no model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shelfwise.indexer.encoding.encoder import PROGRESS_TEXTS, Encoder
from shelfwise.indexer.types import Progress, Vectors

DESCRIPTION = "hashed character n-grams, any language, no model, 1024 dimensions: fast, compares spelling only"


class HashingEncoder:
    """Character n-grams (1 to 4, within words) hashed with signs into 1,024 dimensions.

    Deterministic, without a model and about a hundred times faster than a transformer. Compares spelling, not meaning.
    Source of the method: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009
    (scikit-learn's HashingVectorizer).
    """

    name = "hashing"
    dimensions = 1024
    fingerprint = "char_wb-1-4-signed-1024"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Return unit vectors; see `Encoder.encode`. A text without n-grams gets the first unit vector."""
        from sklearn.feature_extraction.text import HashingVectorizer

        hasher = HashingVectorizer(
            analyzer="char_wb", ngram_range=(1, 4), n_features=self.dimensions, norm="l2", dtype=np.float32
        )
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), PROGRESS_TEXTS):
            part = texts[start : start + PROGRESS_TEXTS]
            vectors[start : start + len(part)] = hasher.transform(part).toarray()
            if progress:
                progress("encode", start + len(part), len(texts))
        vectors[~vectors.any(axis=1), 0] = 1
        return vectors


def load(device: str, cache: Path | None) -> Encoder:
    """Return the encoder. It computes on the CPU and needs no files, so both arguments are ignored."""
    return HashingEncoder()
