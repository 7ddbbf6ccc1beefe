"""FAISS search compared with the float64 oracle."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfwise.indexer.errors import EngineError
from shelfwise.indexer.searching import search as search_module
from shelfwise.indexer.searching.search import (
    FLOAT16_ERROR,
    NONE,
    SPARE_CANDIDATES,
    Copy,
    ExactSearcher,
    FaissSearcher,
    import_faiss,
    resolve_engine,
)
from shelfwise.indexer.threads import usable_threads


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@st.composite
def collections(draw):
    """Draw vectors with many duplicates and near duplicates, queries (some are rows), k and a filter."""
    seed = draw(st.integers(0, 2**32 - 1))
    n, distinct, d = draw(st.integers(1, 120)), draw(st.integers(1, 30)), draw(st.sampled_from([2, 8, 33]))
    random = np.random.default_rng(seed)
    base = random.normal(size=(distinct, d))
    noise = random.choice([0.0, 1e-7, 1e-3], size=(n, 1))
    vectors = unit(base[random.integers(distinct, size=n)] + noise * random.normal(size=(n, d)))
    queries = np.concatenate([vectors[: min(n, 3)], unit(random.normal(size=(3, d)))])
    allowed = random.random(n) < draw(st.sampled_from([0.0, 0.2, 1.0])) if draw(st.booleans()) else None
    return vectors, queries, draw(st.integers(1, 60)), allowed


@settings(max_examples=200)
@given(collections())
def test_faiss_matches_the_rows_and_similarities_of_the_oracle(collection):
    vectors, queries, k, allowed = collection
    oracle = ExactSearcher(vectors).search(queries, k, allowed)
    found = FaissSearcher(vectors).search(queries, k, allowed)
    np.testing.assert_array_equal(found.rows, oracle.rows)
    np.testing.assert_allclose(found.similarities, oracle.similarities, atol=1e-5)


@given(collections())
def test_half_precision_candidates_are_ranked_in_double_precision(collection):
    """Use a float16 flat index of FAISS on the CPU in place of the one on a GPU."""
    vectors, queries, k, allowed = collection
    faiss = import_faiss()
    index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    found = FaissSearcher(vectors, Copy(index, FLOAT16_ERROR)).search(queries, k, allowed)
    np.testing.assert_array_equal(found.rows, ExactSearcher(vectors).search(queries, k, allowed).rows)


@given(collections())
def test_the_oracle_matches_a_plain_sort(collection):
    vectors, queries, k, allowed = collection
    found = ExactSearcher(vectors).search(queries, k, allowed)
    rows = range(len(vectors)) if allowed is None else np.flatnonzero(allowed)
    for i, query in enumerate(queries):
        similarity = {int(row): round(float(vectors[row].astype(float) @ query.astype(float)), 9) for row in rows}
        expected = sorted(similarity, key=lambda row: (-similarity[row], row))[:k]
        assert [row for row in found.rows[i] if row != NONE] == expected


def test_many_duplicates_still_come_in_row_order():
    vectors = unit(np.ones((SPARE_CANDIDATES * 20, 4)))
    found = FaissSearcher(vectors).search(vectors[:2], 5)
    np.testing.assert_array_equal(found.rows, [range(5)] * 2)


def test_places_without_a_row_are_none():
    found = FaissSearcher(unit(np.eye(2))).search(unit([[1, 0]]), 4, allowed=np.array([False, True]))
    np.testing.assert_array_equal(found.rows, [[1, NONE, NONE, NONE]])
    assert found.similarities[0, 1] == -np.inf


def test_no_queries_give_no_neighbors():
    for searcher in (ExactSearcher(unit(np.eye(3))), FaissSearcher(unit(np.eye(3)))):
        assert searcher.search(np.empty((0, 3), np.float32), 2).rows.shape == (0, 2)


def test_two_faiss_packages_are_refused(monkeypatch):
    monkeypatch.setattr(search_module, "_is_installed", lambda name: True)
    with pytest.raises(EngineError, match="pip uninstall -y faiss-cpu faiss-gpu"):
        import_faiss()


def test_a_missing_faiss_package_is_an_error(monkeypatch):
    monkeypatch.setattr(search_module, "_is_installed", lambda name: False)
    with pytest.raises(EngineError, match=r"shelfwise\[cpu\]"):
        import_faiss()


def test_cuda_without_a_gpu_is_refused_and_auto_uses_the_cpu(monkeypatch):
    monkeypatch.setattr(import_faiss(), "get_num_gpus", lambda: 0, raising=False)
    with pytest.raises(EngineError, match="use device cpu"):
        resolve_engine("cuda")
    assert resolve_engine("auto") == "cpu"


def test_usable_threads_follow_the_environment_and_the_affinity(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert usable_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert usable_threads() == len(os.sched_getaffinity(0))
