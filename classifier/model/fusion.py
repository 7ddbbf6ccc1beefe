"""The vote of the neighbours, and vote and trained opinions to one: the open-class split."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import NO_CATEGORY, Labels, Numbers, Probabilities, renormalised
from shelfwise.classifier.model.calibration import sharpened
from shelfwise.classifier.model.opinions import Features, Head, default_weights
from shelfwise.indexer.searching.search import Neighbors

K = 32  # neighbours that vote
Known = NDArray[np.bool_]  # (c,) the categories of which an opinion can speak


@dataclass(frozen=True, slots=True)
class VoteSettings:
    """How much a neighbour of category c counts: exp(similarity / `temperature`) · weight(c).

    `temperature` > 0: the smaller, the more the nearest decide. `prior_exponent` g in [0, 1] and
    `new_exponent` b in [-1, 1] make up for the number of rows n(c) that a category has in the index:
    weight(c) is n(c)^-g, and for a category that the head does not know yet also (typical n / n(c))^b,
    since its few examples stand for the many that it will have. A large b finds more of the new category's
    listings and takes more from the others.
    """

    temperature: float = 0.05
    prior_exponent: float = 0.25
    new_exponent: float = 0.5


def category_weights(counts: Numbers, known: NDArray[np.bool_], settings: VoteSettings) -> NDArray[np.float64]:
    """(c,) weight of every category from its rows in the index (c,) and whether the head knows it (c,).

    The typical number of rows is the median over the known categories.
    """
    rows = np.maximum(counts, 1).astype(np.float64)
    weights = rows**-settings.prior_exponent
    if known.any() and not known.all():
        few = np.maximum(np.median(rows[known]) / rows, 1.0)
        weights = np.where(known, weights, weights * few**settings.new_exponent)
    return weights


def vote(neighbors: Neighbors, labels: Numbers, weights: NDArray[np.float64], temperature: float) -> Probabilities:
    """(m, c) shares of the categories among the neighbours of m queries; each row sums to 1.

    `labels` (n,) is the category of every row of the index, `weights` (c,) is what `category_weights`
    gives. A query without any neighbour gets zeros.
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
    """What one way of looking says of m texts: `shares` (m, c), 0 for categories that are not `known` (c,) to it."""

    shares: Probabilities
    known: Known

    def sharpened(self, temperature: float) -> "Opinion":
        """Return the same at another temperature."""
        return replace(self, shares=sharpened(self.shares, temperature))

    def without(self, hidden: Known) -> "Opinion":
        """Return what it would say if it did not know some categories."""
        return Opinion(renormalised(self.shares * ~hidden), self.known & ~hidden)


Opinions = Mapping[str, Opinion]  # the trained ones, by name


@dataclass(frozen=True, slots=True)
class Mix:
    """How the opinions on a listing come to one.

    `vote` says how neighbours count, `vote_weight` in [0, 1] how much their vote is beside the trained opinions,
    `weights` how much each of these is among them (their sum is 1), and `balance` in [0, 1] lifts rare categories (see
    `balanced`).
    """

    vote: VoteSettings = field(default_factory=VoteSettings)
    vote_weight: float = 0.5
    weights: Mapping[str, float] = field(default_factory=default_weights)
    balance: float = 0.0


@dataclass(frozen=True)
class Mixed:
    """What the vote and the trained opinions together say of m texts, and what comes of both; each (m, c)."""

    vote: Probabilities
    head: Probabilities
    fused: Probabilities


@dataclass(frozen=True)
class Evidence:
    """What speaks for the categories of m texts before it is mixed.

    `labels` (n,) are the categories of the rows among which the neighbours are, `counts` (c,) their number by category,
    `opinions` what is trained, `known` (c,) the categories that were there to train on.
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
        """Return the same with each opinion at a temperature of its own."""
        return replace(self, opinions={name: one.sharpened(temperatures[name]) for name, one in self.opinions.items()})

    def mixed(self, mix: Mix) -> Mixed:
        """Return the opinions, and the one that they come to."""
        votes, blended = self.vote(mix.vote), blend(self.opinions, mix.weights)
        fused = fuse(votes, blended, mix.vote_weight)
        return Mixed(votes, blended.shares, balanced(fused, self.counts, mix.balance))


@dataclass(frozen=True)
class Blend:
    """Trained opinions mixed by weights: their `shares` (m, c), and by mask of what is known the part of them that is
    of such opinions, with its weight."""

    shares: Probabilities
    parts: tuple[tuple[float, Opinion], ...]


def opinions_of(
    head: Head | None, features: Features, labels: Labels, known: Known, temperatures: Mapping[str, float]
) -> Opinions:
    """Return what each opinion of a head says, each at its temperature, in the numbering of `labels`; see `opinion_of`.

    `known` (c,) is `known_to(head, labels)`.
    """
    names = head.learned if head else temperatures
    return {name: opinion_of(head, name, features, labels, known, temperatures[name]) for name in names}


def opinion_of(
    head: Head | None, name: str, features: Features, labels: Labels, known: Known, temperature: float
) -> Opinion:
    """Return what one opinion says.

    Categories that it does not know get 0. What it would give to categories without a row in the index goes to the
    others in proportion. Without a head it says nothing.
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
    """Return one or more trained opinions, mixed by weights."""
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
    """Return the (m, c) probabilities that come of the vote (m, c) and the trained opinions.

    With w = `vote_weight` in [0, 1] and u = the vote's share of what an opinion does not know, that opinion counts as
    (1 - u)·opinion(c) for a category that it knows, and as vote(c) for one that it does not: the mix is w·vote(c) +
    (1 - w)·that. A category that none of them knows so gets the vote's share, whatever w is; a fixed mix would never
    give it more than w.
    """
    mixed = vote_weight * vote
    for weight, opinion in blended.parts:
        unknown = vote[:, ~opinion.known].sum(axis=1, keepdims=True)
        heard = np.where(opinion.known, (1 - unknown) * opinion.shares, weight * vote)
        mixed = mixed + (1 - vote_weight) * heard
    return renormalised(mixed)


def balanced(probabilities: Probabilities, counts: Numbers, balance: float) -> Probabilities:
    """Return (m, c) probabilities times n(c)^-`balance`, normalised; `counts` (c,) are the rows of each category.

    0 leaves them alone, and is best for accuracy; more finds more of the rare categories, at some cost to the others,
    which is what macro-averaged measures ask for. Menon et al., "Long-Tail Learning via Logit Adjustment", ICLR 2021.
    """
    if not balance:
        return probabilities
    return renormalised(probabilities * np.maximum(counts, 1).astype(np.float64) ** -balance)
