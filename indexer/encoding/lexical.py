"""Strings to hashed n-grams: what an encoder smooths over, such as model codes, units and shelf words."""

import re
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import mmh3
import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.item import Words

Counts = Any  # scipy.sparse.csr_array, (n, FEATURES) float32
Rarity = NDArray[np.float32]  # (FEATURES,) inverse document frequency of every n-gram

FEATURES = 1 << 16
CHARACTERS = 4  # at most, between two spaces; a run of Chinese has none, so its single characters are seen
WORD = re.compile(r"\w+")  # these alone and in pairs
RUN = re.compile(r"\S+")
CACHED = 1 << 16  # runs that are remembered: a catalog says the same words again and again
LONGEST_RUN = 32  # characters: longer runs, such as whole Chinese sentences, hardly come twice, and are large to keep
COUNTED_ROWS = 20_000  # rows counted at a time: the hashing needs several times the memory of what it gives
REST_SHARE = 0.7  # of brand, attributes and description beside the title; see ARCHITECTURE.md for what others gave


def ngram_counts(rows: Sequence[Words]) -> Counts:
    """(n, FEATURES) weights of the n-grams of each row: those of its title, and REST_SHARE times those of the rest.

    However long the rest is, it says no more than that. Hashed without a vocabulary, so a catalog may change without
    its features changing. Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009.
    """
    from scipy.sparse import vstack

    parts = []
    for start in range(0, max(len(rows), 1), COUNTED_ROWS):
        some = rows[start : start + COUNTED_ROWS]
        title = _unit(_log_counts([words.title for words in some]))
        rest = _unit(_log_counts([words.rest() for words in some]))
        parts.append(title + REST_SHARE * rest)
    return vstack(parts, format="csr")


def _log_counts(texts: Sequence[str]) -> Counts:
    """(n, FEATURES) 1 + ln(count) of the character and word n-grams of each text, in lower case.

    An n-gram's place is that of scikit-learn's HashingVectorizer.
    """
    from scipy.sparse import csr_array

    hashes, ends = array("i"), array("i", [0])
    for text in map(str.lower, texts):
        for run in text.split():
            hashes.extend(_remembered(run) if len(run) <= LONGEST_RUN else _characters(run))
        words = WORD.findall(text)
        hashes.extend(map(mmh3.hash, words))
        hashes.extend(map(mmh3.hash, map(" ".join, pairwise(words))))
        ends.append(len(hashes))
    places = np.abs(np.array(hashes, np.int64)) % FEATURES
    ones = np.ones(len(places), np.float32)
    counts = csr_array((ones, places.astype(np.int32), np.array(ends)), shape=(len(texts), FEATURES))
    counts.sum_duplicates()
    counts.data = 1 + np.log(counts.data)
    return counts


def _characters(run: str) -> "array[int]":
    """The hashes of the n-grams of 1 to CHARACTERS characters of a run, which has a space before and after it."""
    padded = f" {run} "
    grams = (padded[i : i + n] for n in range(1, CHARACTERS + 1) for i in range(len(padded) - n + 1))
    return array("i", map(mmh3.hash, grams))


def placed_ngrams(text: str) -> Iterator[tuple[int, int, int]]:
    """The place among FEATURES of each n-gram of a text in lower case, and where it begins and ends there."""
    words = list(WORD.finditer(text))
    spans = [(word.group(), word.start(), word.end()) for word in words]
    spans += [(f"{one.group()} {other.group()}", one.start(), other.end()) for one, other in pairwise(words)]
    for run in RUN.finditer(text):
        padded, start, end = f" {run.group()} ", run.start(), run.end()
        for n in range(1, CHARACTERS + 1):
            for i in range(len(padded) - n + 1):
                spans.append((padded[i : i + n], max(start, start + i - 1), min(end, start + i - 1 + n)))
    for gram, start, end in spans:
        yield abs(mmh3.hash(gram)) % FEATURES, start, end


_remembered = lru_cache(CACHED)(_characters)


def rarity_of(counts: Counts) -> Rarity:
    """ln((1 + n) / (1 + rows with the n-gram)) + 1 for each n-gram."""
    n, features = counts.shape
    rows_with = np.bincount(counts.indices, minlength=features)
    return np.asarray(np.log((1 + n) / (1 + rows_with)) + 1, np.float32)


def weighted(counts: Counts, rarity: Rarity) -> Counts:
    """`counts` times `rarity`, rows at unit length."""
    product = counts.copy()
    product.data = product.data * rarity[product.indices]
    return _unit(product)


def _unit(counts: Counts) -> Counts:
    """`counts` themselves, rows brought to unit length; rows of zeros stay."""
    many = np.diff(counts.indptr)
    length = np.ones(counts.shape[0])
    if len(counts.data):
        length[many > 0] = np.sqrt(np.add.reduceat(counts.data**2, counts.indptr[:-1][many > 0], dtype=np.float64))
    counts.data = (counts.data / np.repeat(length, many)).astype(np.float32)
    return counts
