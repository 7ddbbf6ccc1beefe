"""Explain which words of a listing support its category: by the head's n-grams, and by the neighbours' titles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.model.model import FAST_OPINION
from shelfwise.classifier.model.opinions import Head
from shelfwise.indexer.encoding.lexical import placed_ngrams

PIECE = re.compile(r"[㐀-䶿一-鿿豈-﫿]|[^\W㐀-䶿一-鿿豈-﫿]+|[\W]+")  # a Chinese character, a word, or what is between
BETWEEN = re.compile(r"\W")  # first character of a piece between words
STRONG = 0.25  # share of the strongest piece's weight from which a piece is marked as strong


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a title: `strong` if the head counts it for the category, `shared` if another title contains it."""

    text: str
    strong: bool
    shared: bool


def explain(title: str, head: Head | None, category_path: str, others: Sequence[str] = ()) -> list[Piece]:
    """Return the pieces of a title, in order. `others` are the neighbours' titles; all titles must be cleaned."""
    if len(title.lower()) != len(title):  # the lower case of some letters has several characters
        title = title.lower()
    found = list(PIECE.finditer(title))
    weights = _weights(title.lower(), head, category_path)
    sums = np.array([weights[piece.start() : piece.end()].sum() for piece in found])
    strong = sums >= STRONG * max(sums.max(initial=0.0), 1e-9)
    theirs = set[str]().union(*(_kept(other.lower()) for other in others))
    shared = _shared(title.lower(), [piece.span() for piece in found], theirs)
    return [
        Piece(piece.group(), bool(strong[i]) and BETWEEN.match(piece.group()) is None, shared[i])
        for i, piece in enumerate(found)
    ]


def _weights(text: str, head: Head | None, category_path: str) -> NDArray[np.float64]:
    """Return how much each character adds to the score of a category, (characters,): its share of each n-gram."""
    weights = np.zeros(len(text))
    if head is None or category_path not in head.paths:
        return weights
    column, grams = head.paths.index(category_path), head.learned[FAST_OPINION]
    for place, start, end in placed_ngrams(text):
        weight = grams["weights"][place, column] * grams["rarity"][place]
        weights[start:end] += weight / max(end - start, 1)
    return weights


def _kept(text: str) -> set[str]:
    """Return the units that two texts can share: words, and pairs of adjacent Chinese characters."""
    pieces = [piece.group() for piece in PIECE.finditer(text)]
    pairs = {one + other for one, other in pairwise(pieces) if len(one) == len(other) == 1}
    return pairs | {piece for piece in pieces if len(piece) > 1 and BETWEEN.match(piece) is None}


def _shared(text: str, spans: Sequence[tuple[int, int]], theirs: set[str]) -> list[bool]:
    shared = [text[start:end] in theirs for start, end in spans]
    for i, ((start, middle), (next_start, end)) in enumerate(pairwise(spans)):
        if end - start == 2 and middle == next_start and text[start:end] in theirs and text[start:end].isalnum():
            shared[i] = shared[i + 1] = True
    return shared
