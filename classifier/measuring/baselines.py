"""Common alternatives to Shelfwise, fitted to the same rows for comparison."""

import re
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from shelfwise.classifier.metrics import Names
from shelfwise.indexer.types import Vectors

T = TypeVar("T")
MIN_SHARE_UNSPACED = 0.5  # share of texts in scripts without spaces from which characters serve better than words
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")  # Thai to Chinese


def linear_svc(texts: Sequence[str], paths: Sequence[str], asked: Sequence[str]) -> Names:
    """Predict the paths of `asked` texts by LinearSVC (C = 1) on TF-IDF of words 1-2 and characters 2-5.

    If words are not separated by spaces, characters 1-3 are used alone.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    if len(set(paths)) < 2:
        return _only(paths, len(asked))
    shared = {"sublinear_tf": True, "lowercase": True}
    if np.mean([bool(_UNSPACED.search(text)) for text in texts]) >= MIN_SHARE_UNSPACED:
        grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), **shared)
    else:
        grams = make_union(
            TfidfVectorizer(analyzer="word", ngram_range=(1, 2), **shared),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **shared),
        )
    model = make_pipeline(grams, LinearSVC(C=1.0)).fit(texts, paths)
    return np.asarray(model.predict(asked), dtype=object)


def vector_logistic(vectors: Vectors, paths: Sequence[str], asked: Vectors) -> Names:
    """Predict the paths of `asked` vectors by logistic regression on standardised sentence vectors."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(set(paths)) < 2:
        return _only(paths, len(asked))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300)).fit(vectors, paths)
    return np.asarray(model.predict(asked), dtype=object)


def _only(paths: Sequence[str], m: int) -> Names:
    """Return the only category for each of m listings."""
    return np.full(m, paths[0], dtype=object)


def timed(work: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """Return the result of a call, and its time in seconds."""
    start = perf_counter()
    result = work(*arguments)
    return result, perf_counter() - start
