"""Strings to hashed n-grams: what an encoder smooths over, such as model codes, units and shelf words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = Any  # scipy.sparse.csr_array, (n, FEATURES) float32
Rarity = NDArray[np.float32]  # (FEATURES,) inverse document frequency of every n-gram

FEATURES = 1 << 16
CHARACTERS = (1, 4)  # within words; a run of Chinese counts as one word, so its single characters are seen
WORDS = (1, 2)


def ngram_counts(texts: Sequence[str]) -> Counts:
    """(n, FEATURES) weights 1 + ln(count) of the character and word n-grams of each text, case folded.

    Hashed without a vocabulary, so a catalog may change without its features changing. Weinberger et al.,
    "Feature Hashing for Large Scale Multitask Learning", ICML 2009.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    shared = {"n_features": FEATURES, "alternate_sign": False, "norm": None, "dtype": np.float32}
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=CHARACTERS, **shared)
    words = HashingVectorizer(analyzer="word", ngram_range=WORDS, token_pattern=r"(?u)\w+", **shared)
    counts = (characters.transform(texts) + words.transform(texts)).tocsr()
    counts.data = 1 + np.log(counts.data)
    return counts


def rarity_of(counts: Counts) -> Rarity:
    """ln((1 + n) / (1 + rows with the n-gram)) + 1 for each n-gram."""
    n, features = counts.shape
    rows_with = np.bincount(counts.indices, minlength=features)
    return np.asarray(np.log((1 + n) / (1 + rows_with)) + 1, np.float32)


def weighted(counts: Counts, rarity: Rarity) -> Counts:
    """`counts` times `rarity`, rows at unit length."""
    product = counts.copy()
    product.data = product.data * rarity[product.indices]
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    length = np.sqrt(np.bincount(row, weights=product.data.astype(np.float64) ** 2, minlength=counts.shape[0]))
    product.data = (product.data / np.maximum(length, 1e-12)[row]).astype(np.float32)
    return product
