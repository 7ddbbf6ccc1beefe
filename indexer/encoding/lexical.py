"""Hashed n-grams of strings. They keep details an encoder blurs: model codes, units and shelf words."""

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
Rarity = NDArray[np.float32]  # (FEATURES,) inverse document frequency of each n-gram

FEATURES = 1 << 16
CHARACTERS = 4  # of the longest n-gram of a run; single characters count too, since Chinese has no spaces
WORD = re.compile(r"\w+")  # words are counted alone and in adjacent pairs
RUN = re.compile(r"\S+")
CACHED = 1 << 16  # cached runs: a catalog repeats the same words
LONGEST_RUN = 32  # characters; longer runs, such as Chinese sentences, rarely repeat and are too large to cache
COUNTED_ROWS = 20_000  # rows counted at a time: hashing needs several times the memory of its result
REST_SHARE = 0.7  # weight of brand, attributes and description; the title has 1. docs/choices.md compares others


def ngram_counts(rows: Sequence[Words]) -> Counts:
    """Return (n, FEATURES) n-gram weights of each row: those of its title plus REST_SHARE times those of the rest.

    Both parts have unit length first, so a long rest gets no more weight than a short one. N-grams are hashed without a
    vocabulary, so the features stay the same when the catalog changes. Source of the method: Weinberger et al.,
    "Feature Hashing for Large Scale Multitask Learning", ICML 2009.
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
    """Return (n, FEATURES) values 1 + ln(count) of the character and word n-grams of each text in lower case.

    Each n-gram has the same feature number as in scikit-learn's HashingVectorizer.
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
    """Return the hashes of the n-grams of 1 to CHARACTERS characters of a run with a space at both ends."""
    padded = f" {run} "
    grams = (padded[i : i + n] for n in range(1, CHARACTERS + 1) for i in range(len(padded) - n + 1))
    return array("i", map(mmh3.hash, grams))


def placed_ngrams(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield the feature number, start and end of each n-gram of a text in lower case."""
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
    """Return ln((1 + n) / (1 + rows with the n-gram)) + 1 for each n-gram, (FEATURES,)."""
    n, features = counts.shape
    rows_with = np.bincount(counts.indices, minlength=features)
    return np.asarray(np.log((1 + n) / (1 + rows_with)) + 1, np.float32)


def weighted(counts: Counts, rarity: Rarity) -> Counts:
    """Return `counts` times `rarity`, with rows of unit length."""
    product = counts.copy()
    product.data = product.data * rarity[product.indices]
    return _unit(product)


def _unit(counts: Counts) -> Counts:
    """Scale the rows of `counts` to unit length in place and return it. Rows of zeros stay."""
    many = np.diff(counts.indptr)
    length = np.ones(counts.shape[0])
    if len(counts.data):
        length[many > 0] = np.sqrt(np.add.reduceat(counts.data**2, counts.indptr[:-1][many > 0], dtype=np.float64))
    counts.data = (counts.data / np.repeat(length, many)).astype(np.float32)
    return counts
