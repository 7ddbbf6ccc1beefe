"""The opinion of a text's vector, by one of several kinds of vector classifiers."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from shelfwise.classifier.labels import Numbers
from shelfwise.classifier.model.opinions import FIT_SEED, Features, RawScores, Tensors
from shelfwise.indexer.types import Vectors

DEFAULT_TEMPERATURE, DEFAULT_WEIGHT = 1.0, 0.5
SPREAD = 4.0  # factor for unit vectors: their components are too small for a network's first steps
SVM_C, LOGISTIC_C = 1.0, 20.0  # inverse strength of the L2 penalty
HIDDEN, EPOCHS, BATCH, RATE, DROPOUT, DECAY, SMOOTHING = 512, 20, 256, 2e-3, 0.3, 0.01, 0.1
RANDOM, BANDWIDTH, RIDGE, CHUNK = 2048, 3.0, 1.0, 8192


def fit_svm(vectors: Vectors, numbers: Numbers, c: int) -> Tensors:
    """Fit one-vs-rest support vector machines (squared hinge loss) by LIBLINEAR: Fan et al., JMLR 9 (2008)."""
    from sklearn.svm import LinearSVC

    return linear_tensors(LinearSVC(C=SVM_C, tol=1e-2, random_state=FIT_SEED), vectors, numbers)


def fit_logistic(vectors: Vectors, numbers: Numbers, c: int) -> Tensors:
    """Fit a multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return linear_tensors(LogisticRegression(C=LOGISTIC_C, max_iter=500), vectors, numbers)


def linear_tensors(model: Any, features: Any, numbers: Numbers) -> Tensors:
    """Fit a linear scikit-learn model to features (n, d); return its weights (d, c) and bias (c,)."""
    with warnings.catch_warnings():  # a catalog may have only one row in each category
        warnings.filterwarnings("ignore", "The number of unique classes")
        warnings.filterwarnings("ignore", ".*failed to converge")
        model.fit(features, numbers)
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:  # scikit-learn keeps one row for two categories
        weights, bias = np.vstack((-weights, weights)), np.append(-bias, bias)
    return {"weights": weights.T.astype(np.float32, order="C"), "bias": bias.astype(np.float32)}


def linear_scores(tensors: Tensors, features: Any) -> RawScores:
    """Return the (m, c) scores of a linear model."""
    return np.asarray(features @ tensors["weights"] + tensors["bias"])


def fit_mlp(vectors: Vectors, numbers: Numbers, c: int) -> Tensors:
    """Train a network with one hidden layer by cross-entropy on smoothed labels."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(FIT_SEED)
        hidden, out = nn.Linear(vectors.shape[1], HIDDEN), nn.Linear(HIDDEN, c)
        network = nn.Sequential(hidden, nn.ReLU(), nn.Dropout(DROPOUT), out)
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, EPOCHS * -(-len(vectors) // BATCH))
        seen, truth = torch.from_numpy(vectors * np.float32(SPREAD)), torch.from_numpy(numbers)
        for _ in range(EPOCHS):
            for rows in torch.split(torch.randperm(len(seen)), BATCH):
                loss = nn.functional.cross_entropy(network(seen[rows]), truth[rows], label_smoothing=SMOOTHING)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    learned = {"inner": hidden.weight.T, "inner_bias": hidden.bias, "weights": out.weight.T, "bias": out.bias}
    return {name: value.detach().numpy().copy(order="C") for name, value in learned.items()}


def mlp_scores(tensors: Tensors, vectors: Vectors) -> RawScores:
    """Return the (m, c) scores of the network."""
    inner = np.maximum(SPREAD * vectors @ tensors["inner"] + tensors["inner_bias"], 0)
    return linear_scores(tensors, inner)


def fit_closed_form(vectors: Vectors, numbers: Numbers, c: int) -> Tensors:
    """Fit a ridge regression on random features.

    Rahimi and Recht, "Weighted Sums of Random Kitchen Sinks", NeurIPS 2008.
    """
    from scipy.linalg import solve

    random = np.random.default_rng(FIT_SEED)
    tensors = {
        "random": (BANDWIDTH * random.normal(size=(vectors.shape[1], RANDOM))).astype(np.float32),
        "offsets": random.normal(size=RANDOM).astype(np.float32),
    }
    gram, cross = RIDGE * np.eye(RANDOM), np.zeros((RANDOM, c))
    for start in range(0, len(vectors), CHUNK):
        seen = _random_features(tensors, vectors[start : start + CHUNK])
        gram += seen.T @ seen
        cross += seen.T @ np.eye(c, dtype=np.float32)[numbers[start : start + CHUNK]]
    return tensors | {"weights": np.asarray(solve(gram, cross, assume_a="pos"), np.float32, order="C")}


def closed_form_scores(tensors: Tensors, vectors: Vectors) -> RawScores:
    """Return the (m, c) scores of the regression."""
    return np.asarray(_random_features(tensors, vectors) @ tensors["weights"])


def _random_features(tensors: Tensors, vectors: Vectors) -> Vectors:
    features = np.maximum(vectors @ tensors["random"] + tensors["offsets"], 0)
    return np.asarray(features / np.float32(np.sqrt(RANDOM)), np.float32)


class VectorKind(NamedTuple):
    """A kind of vector classifier: fit it to n rows with category numbers, and score m other rows."""

    fit: Callable[[Vectors, Numbers, int], Tensors]
    scores: Callable[[Tensors, Vectors], RawScores]


KINDS = {
    "mlp": VectorKind(fit_mlp, mlp_scores),
    "svm": VectorKind(fit_svm, linear_scores),
    "logistic": VectorKind(fit_logistic, linear_scores),
    "closed-form": VectorKind(fit_closed_form, closed_form_scores),
}


def fit(features: Features, numbers: Numbers, c: int, head: str) -> Tensors:
    """Return the tensors of a classifier of the kind `head`, one of KINDS."""
    return KINDS[head].fit(features.vectors, numbers, c)


def scores(tensors: Tensors, features: Features, head: str) -> RawScores:
    """Return the (m, c) scores of m texts."""
    return KINDS[head].scores(tensors, features.vectors)
