"""The opinion of a text's n-grams: one-vs-rest support vector machines."""

from shelfwise.classifier.labels import Numbers
from shelfwise.classifier.model.opinions import FIT_SEED, Features, RawScores, Tensors
from shelfwise.classifier.model.opinions.vectors import linear_scores, linear_tensors
from shelfwise.indexer.encoding.lexical import rarity_of, weighted

DEFAULT_TEMPERATURE, DEFAULT_WEIGHT = 0.2, 0.5
PENALTY = 1.0  # inverse strength of the L2 penalty
TOLERANCE = 1e-2


def fit(features: Features, numbers: Numbers, c: int, head: str) -> Tensors:
    """Return weights (FEATURES, c), bias (c,) and rarity (FEATURES,).

    Fitted by LIBLINEAR with squared hinge loss: Fan et al., JMLR 9 (2008).
    """
    from sklearn.svm import LinearSVC

    rarity = rarity_of(features.counts)
    machines = LinearSVC(C=PENALTY, tol=TOLERANCE, dual=True, random_state=FIT_SEED)
    return {**linear_tensors(machines, weighted(features.counts, rarity), numbers), "rarity": rarity}


def scores(tensors: Tensors, features: Features, head: str) -> RawScores:
    """Return the (m, c) margins of m texts."""
    grams = weighted(features.counts, tensors["rarity"])
    # The weights do not fit in the CPU caches. By column, each n-gram's weights are read once for all texts.
    return linear_scores(tensors, grams.tocsc())
