"""Vote and head to one probability for each category: the open-class split."""

import numpy as np
from numpy.typing import NDArray

from classifier.head import Features, Head
from classifier.labels import Labels
from classifier.voting import Probabilities, renormalised


def known_to(head: Head | None, labels: Labels) -> NDArray[np.bool_]:
    """(c,) mask of the categories of `labels` that `head` was trained on."""
    trained = set(head.paths) if head else set()
    return np.array([path in trained for path in labels.paths], bool)


def head_shares(head: Head | None, features: Features, labels: Labels) -> Probabilities:
    """(m, c) probabilities of the head in the numbering of `labels`.

    Categories that the head does not know get 0. What it would give to categories without a row in the
    index goes to the others in proportion.
    """
    shares = np.zeros((len(features.vectors), len(labels)))
    if head is None:
        return shares
    columns = [(i, labels.number_of[path]) for i, path in enumerate(head.paths) if path in labels.number_of]
    if not columns:
        return shares
    own, theirs = map(list, zip(*columns, strict=True))
    shares[:, theirs] = head.probabilities(features)[:, own]
    return renormalised(shares)


def fuse(vote: Probabilities, head: Probabilities, known: NDArray[np.bool_], vote_weight: float) -> Probabilities:
    """(m, c) probabilities from the vote (m, c), the head (m, c) and the categories that the head knows (c,).

    With w = `vote_weight` in [0, 1] and u = the vote's share of unknown categories:
    an unknown category gets vote(c), a known one w·vote(c) + (1 - w)·(1 - u)·head(c). A fixed mix would
    never give a new category more than w.
    """
    unknown_share = vote[:, ~known].sum(axis=1, keepdims=True)
    mixed = vote_weight * vote + (1 - vote_weight) * (1 - unknown_share) * head
    return renormalised(np.where(known, mixed, vote))
