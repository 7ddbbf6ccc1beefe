"""Fuse the kNN vote with the trained opinions: the open-class split."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import NO_CATEGORY, Labels, Numbers, Probabilities, renormalised
from shelfwise.classifier.model.calibration import sharpened
from shelfwise.classifier.model.opinions import Features, Head, default_weights
from shelfwise.indexer.searching.search import Neighbors

K = 32  # neighbours that vote
Known = NDArray[np.bool_]  # (c,) mask of the categories that an opinion knows


@dataclass(frozen=True, slots=True)
class VoteSettings:
    """Settings of the vote: a neighbour of category c counts exp(similarity / `temperature`) · weight(c).

    `temperature` > 0: the smaller it is, the more the nearest neighbours decide. `prior_exponent` g in [0, 1] and
    `new_exponent` b in [-1, 1] correct for n(c), the number of rows of a category in the index. weight(c) is n(c)^-g.
    For a category new to the head, it is multiplied by max(1, typical n / n(c))^b, since its few examples stand for
    the many that it will have. A larger b finds more listings of new categories and takes more from the others.
    """

    temperature: float = 0.05
    prior_exponent: float = 0.25
    new_exponent: float = 0.5


def category_weights(counts: Numbers, known: NDArray[np.bool_], settings: VoteSettings) -> NDArray[np.float64]:
    """Return the (c,) weight of each category.

    `counts` (c,) are its rows in the index; `known` (c,) masks the categories that the head knows. The typical number
    of rows is the median over the known categories.
    """
    rows = np.maximum(counts, 1).astype(np.float64)
    weights = rows**-settings.prior_exponent
    if known.any() and not known.all():
        few = np.maximum(np.median(rows[known]) / rows, 1.0)
        weights = np.where(known, weights, weights * few**settings.new_exponent)
    return weights


def vote(neighbors: Neighbors, labels: Numbers, weights: NDArray[np.float64], temperature: float) -> Probabilities:
    """Return the (m, c) shares of the categories among the neighbours of m queries; each row sums to 1.

    `labels` (n,) is the category of every row of the index, `weights` (c,) comes from `category_weights`. A query
    without neighbours gets zeros.
    """
    m, c = len(neighbors.rows), len(weights)
    found = neighbors.found
    category = np.where(found, labels[neighbors.rows], 0)
    similarities = np.where(found, neighbors.similarities, -1.0)
    behind = similarities - similarities.max(axis=1, initial=-1.0, keepdims=True)
    share = np.where(found, np.exp(behind / temperature) * weights[category], 0.0)
    cell = np.arange(m)[:, None] * c + category
    shares = np.bincount(cell.ravel(), weights=share.ravel(), minlength=m * c)
    return renormalised(shares.astype(np.float64).reshape(m, c))


def known_to(head: Head | None, labels: Labels) -> Known:
    """Return the mask of the categories of `labels` that `head` was trained on."""
    trained = set(head.paths) if head else set()
    return np.array([path in trained for path in labels.paths], bool)


@dataclass(frozen=True)
class Opinion:
    """One classifier's opinion on m texts: `shares` (m, c), 0 for categories that are not `known` (c,) to it."""

    shares: Probabilities
    known: Known

    def sharpened(self, temperature: float) -> "Opinion":
        """Return the opinion at another temperature."""
        return replace(self, shares=sharpened(self.shares, temperature))

    def without(self, hidden: Known) -> "Opinion":
        """Return the opinion as if the `hidden` categories were unknown to it."""
        return Opinion(renormalised(self.shares * ~hidden), self.known & ~hidden)


Opinions = Mapping[str, Opinion]  # the trained opinions by name


@dataclass(frozen=True, slots=True)
class Mix:
    """Settings that fuse the opinions on a listing.

    `vote` sets how neighbours count, `vote_weight` in [0, 1] the weight of the vote against the trained opinions.
    `weights` divides the rest among the trained opinions (the sum is 1). `balance` in [0, 1] raises rare categories
    (see `balanced`).
    """

    vote: VoteSettings = field(default_factory=VoteSettings)
    vote_weight: float = 0.5
    weights: Mapping[str, float] = field(default_factory=default_weights)
    balance: float = 0.0


@dataclass(frozen=True)
class Mixed:
    """The vote on m texts, the blend of the trained opinions (`head`), and their fusion; each (m, c)."""

    vote: Probabilities
    head: Probabilities
    fused: Probabilities


@dataclass(frozen=True)
class Evidence:
    """The evidence for the categories of m texts, before it is mixed.

    `labels` (n,) are the categories of the rows that the neighbours come from, `counts` (c,) the rows of each category.
    `opinions` are the trained opinions, `known` (c,) masks the categories that they were trained on.
    """

    neighbors: Neighbors
    labels: Numbers
    counts: Numbers
    opinions: Opinions
    known: Known

    def vote(self, settings: VoteSettings) -> Probabilities:
        """Return the (m, c) shares of the vote."""
        weights = category_weights(self.counts, self.known, settings)
        return vote(self.neighbors, self.labels, weights, settings.temperature)

    def sharpened(self, temperatures: Mapping[str, float]) -> "Evidence":
        """Return the evidence with each opinion at its own temperature."""
        return replace(self, opinions={name: one.sharpened(temperatures[name]) for name, one in self.opinions.items()})

    def mixed(self, mix: Mix) -> Mixed:
        """Return the vote, the blended opinions and their fusion."""
        votes, blended = self.vote(mix.vote), blend(self.opinions, mix.weights)
        fused = fuse(votes, blended, mix.vote_weight)
        return Mixed(votes, blended.shares, balanced(fused, self.counts, mix.balance))


@dataclass(frozen=True)
class Blend:
    """Trained opinions mixed by weights: their `shares` (m, c), and the `parts` of the mix.

    A part sums the weighted opinions that know the same categories. It is stored with their total weight.
    """

    shares: Probabilities
    parts: tuple[tuple[float, Opinion], ...]


def opinions_of(
    head: Head | None, features: Features, labels: Labels, known: Known, temperatures: Mapping[str, float]
) -> Opinions:
    """Return each opinion of a head at its temperature, in the numbering of `labels`; see `opinion_of`.

    `known` (c,) is `known_to(head, labels)`.
    """
    names = head.learned if head else temperatures
    return {name: opinion_of(head, name, features, labels, known, temperatures[name]) for name in names}


def opinion_of(
    head: Head | None, name: str, features: Features, labels: Labels, known: Known, temperature: float
) -> Opinion:
    """Return one opinion of a head at a temperature, in the numbering of `labels`.

    Categories unknown to the head get 0. Shares of categories without a row in the index are divided among the other
    categories in proportion. Without a head, all shares are 0.
    """
    if head is None:
        return Opinion(np.zeros((features.counts.shape[0], len(labels))), known)
    shares = head.shares(name, features, temperature)
    if head.paths == labels.paths:
        return Opinion(shares, known)
    numbers = labels.numbers(head.paths)
    stored = numbers != NO_CATEGORY
    placed = np.zeros((len(shares), len(labels)))
    placed[:, numbers[stored]] = shares[:, stored]
    return Opinion(renormalised(placed), known)


def blend(opinions: Opinions, weights: Mapping[str, float]) -> Blend:
    """Mix one or more trained opinions by weights."""
    parts = list[tuple[float, Opinion]]()
    for name, opinion in opinions.items():
        weight = weights.get(name, 0.0)
        share = weight * opinion.shares
        for place, (before, other) in enumerate(parts):
            if other.known is opinion.known or np.array_equal(other.known, opinion.known):
                parts[place] = before + weight, Opinion(other.shares + share, other.known)
                break
        else:
            parts.append((weight, Opinion(share, opinion.known)))
    shares = parts[0][1].shares
    for _, other in parts[1:]:
        shares = shares + other.shares
    return Blend(shares, tuple(parts))


def fuse(vote: Probabilities, blended: Blend, vote_weight: float) -> Probabilities:
    """Return (m, c) probabilities from the vote (m, c) and the blended trained opinions.

    w is `vote_weight` in [0, 1], and u is the vote's share of the categories that an opinion does not know. The opinion
    counts as o(c) = (1 - u)·opinion(c) for a category that it knows, and as o(c) = vote(c) for an unknown one. The
    result is w·vote(c) + (1 - w)·o(c). A category that no opinion knows thus gets the vote's share for any w; a fixed
    mix would never give it more than w.
    """
    mixed = vote_weight * vote
    for weight, opinion in blended.parts:
        unknown = vote[:, ~opinion.known].sum(axis=1, keepdims=True)
        heard = np.where(opinion.known, (1 - unknown) * opinion.shares, weight * vote)
        mixed = mixed + (1 - vote_weight) * heard
    return renormalised(mixed)


def balanced(probabilities: Probabilities, counts: Numbers, balance: float) -> Probabilities:
    """Return (m, c) probabilities times n(c)^-`balance`, normalised; `counts` (c,) are the rows of each category.

    A balance of 0 changes nothing and is best for accuracy. A larger one finds more listings of rare categories at some
    cost to the others, which macro-averaged measures reward. Menon et al., "Long-Tail Learning via Logit Adjustment",
    ICLR 2021.
    """
    if not balance:
        return probabilities
    return renormalised(probabilities * np.maximum(counts, 1).astype(np.float64) ** -balance)
