"""Vote and head to one probability for each category: the open-class split."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import UNKNOWN, Labels, Numbers, Probabilities
from shelfwise.classifier.model.calibration import sharpened
from shelfwise.classifier.model.head import Features, Head
from shelfwise.classifier.model.voting import VoteSettings, category_weights, renormalised, vote
from shelfwise.indexer.encoding.lexical import Counts
from shelfwise.indexer.searching.search import Neighbors


def known_to(head: Head | None, labels: Labels) -> NDArray[np.bool_]:
    """(c,) mask of the categories of `labels` that `head` was trained on."""
    trained = set(head.paths) if head else set()
    return np.array([path in trained for path in labels.paths], bool)


@dataclass(frozen=True)
class HeadShares:
    """What the two halves of a head say of m texts, each (m, c)."""

    dense: Probabilities
    lexical: Probabilities

    def sharpened(self, dense: float, lexical: float) -> "HeadShares":
        """The same with each half at its own temperature."""
        return HeadShares(sharpened(self.dense, dense), sharpened(self.lexical, lexical))

    def mixed(self, lexical_weight: float) -> Probabilities:
        """(m, c) one share for each category, `lexical_weight` in [0, 1] of it the n-grams'."""
        return (1 - lexical_weight) * self.dense + lexical_weight * self.lexical


@dataclass(frozen=True, slots=True)
class Mix:
    """How the opinions on a listing come to one.

    `vote` says how neighbours count, `vote_weight` in [0, 1] how much their vote is beside the head, `lexical_weight`
    in [0, 1] how much of the head the n-grams are, and `balance` in [0, 1] lifts rare categories (see `balanced`).
    """

    vote: VoteSettings = field(default_factory=VoteSettings)
    vote_weight: float = 0.5
    lexical_weight: float = 0.5
    balance: float = 0.0


@dataclass(frozen=True)
class Opinions:
    """What vote and head say of m texts, and what comes of both; each (m, c)."""

    vote: Probabilities
    head: Probabilities
    fused: Probabilities


@dataclass(frozen=True)
class Evidence:
    """What speaks for the categories of m texts before it is mixed.

    `labels` (n,) are the categories of the rows among which the neighbours are, `counts` (c,) their number by category,
    `head` what the head says, `known` (c,) the categories that it was trained on.
    """

    neighbors: Neighbors
    labels: Numbers
    counts: Numbers
    head: HeadShares
    known: NDArray[np.bool_]

    def vote(self, settings: VoteSettings) -> Probabilities:
        """(m, c) shares of the vote."""
        weights = category_weights(self.counts, self.known, settings)
        return vote(self.neighbors, self.labels, weights, settings.temperature)

    def mixed(self, mix: Mix) -> Opinions:
        """The opinions, and the one that they come to."""
        votes, head = self.vote(mix.vote), self.head.mixed(mix.lexical_weight)
        fused = fuse(votes, head, self.known, mix.vote_weight)
        return Opinions(votes, head, balanced(fused, self.counts, mix.balance))


def head_shares(
    head: Head | None, features: Features, labels: Labels, temperatures: tuple[float, float] = (1.0, 1.0)
) -> HeadShares:
    """What the dense and the lexical half of a head say, each at its temperature, in the numbering of `labels`.

    Categories that the head does not know get 0. What it would give to categories without a row in the index goes to
    the others in proportion.
    """
    if head is None:
        nothing = np.zeros((len(features.vectors), len(labels)))
        return HeadShares(nothing, nothing)
    dense = _numbered(head, head.dense_shares(features.vectors, temperatures[0]), labels)
    return HeadShares(dense, lexical_shares(head, features.counts, labels, temperatures[1]))


def lexical_shares(head: Head | None, counts: Counts, labels: Labels, temperature: float = 1.0) -> Probabilities:
    """(m, c) what the lexical half alone says, in the same way."""
    if head is None:
        return np.zeros((counts.shape[0], len(labels)))
    return _numbered(head, head.lexical_shares(counts, temperature), labels)


def _numbered(head: Head, shares: Probabilities, labels: Labels) -> Probabilities:
    """(m, c) shares in the numbering of `labels`, from shares (m, categories of the head)."""
    if head.paths == labels.paths:
        return shares
    numbers = labels.numbers(head.paths)
    stored = numbers != UNKNOWN
    placed = np.zeros((len(shares), len(labels)))
    placed[:, numbers[stored]] = shares[:, stored]
    return renormalised(placed)


def balanced(probabilities: Probabilities, counts: Numbers, balance: float) -> Probabilities:
    """(m, c) probabilities times n(c)^-`balance`, normalised; `counts` (c,) are the rows of each category.

    0 leaves them alone, and is best for accuracy; more finds more of the rare categories, at some cost to the others,
    which is what macro-averaged measures ask for. Menon et al., "Long-Tail Learning via Logit Adjustment", ICLR 2021.
    """
    if not balance:
        return probabilities
    return renormalised(probabilities * np.maximum(counts, 1).astype(np.float64) ** -balance)


def fuse(vote: Probabilities, head: Probabilities, known: NDArray[np.bool_], vote_weight: float) -> Probabilities:
    """(m, c) probabilities from the vote (m, c), the head (m, c) and the categories that the head knows (c,).

    With w = `vote_weight` in [0, 1] and u = the vote's share of unknown categories:
    an unknown category gets vote(c), a known one w·vote(c) + (1 - w)·(1 - u)·head(c). A fixed mix would
    never give a new category more than w.
    """
    unknown_share = vote[:, ~known].sum(axis=1, keepdims=True)
    mixed = vote_weight * vote + (1 - vote_weight) * (1 - unknown_share) * head
    return renormalised(np.where(known, mixed, vote))
