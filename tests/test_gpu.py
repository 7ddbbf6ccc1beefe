"""GPU search compared with the oracle; run with `pytest -m gpu` on a machine with a GPU."""

import numpy as np
import pytest

from shelfwise.indexer.searching import search
from shelfwise.indexer.searching.engine import Engine, searcher_of
from shelfwise.indexer.searching.search import (
    FLOAT16_ERROR,
    GPU_MAX_K,
    ExactSearcher,
    FaissSearcher,
    copy_on_gpu,
    import_faiss,
)

pytestmark = pytest.mark.gpu


def count_gpus() -> int:
    faiss = import_faiss()
    return faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0


@pytest.fixture(scope="module")
def vectors():
    if not count_gpus():
        pytest.skip("no GPU, or faiss-gpu is not installed")
    rows = np.random.default_rng(7).normal(size=(20_000, 384)).astype(np.float32)
    rows[10_000:10_100] = rows[0]  # duplicates
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 32, GPU_MAX_K, GPU_MAX_K + 1])
def test_the_gpu_finds_the_rows_of_the_oracle(vectors, k):
    queries = vectors[::2500]
    oracle, found = (
        ExactSearcher(vectors).search(queries, k),
        FaissSearcher(vectors, copy_on_gpu(vectors)).search(queries, k),
    )
    np.testing.assert_array_equal(found.rows, oracle.rows)
    np.testing.assert_allclose(found.similarities, oracle.similarities, atol=1e-5)


def test_filters_apply_on_the_gpu(vectors):
    allowed = np.arange(len(vectors)) % 7 == 0
    found = FaissSearcher(vectors, copy_on_gpu(vectors)).search(vectors[:8], 10, allowed)
    assert allowed[found.rows].all()
    np.testing.assert_array_equal(found.rows, ExactSearcher(vectors).search(vectors[:8], 10, allowed).rows)


def test_half_precision_finds_the_rows_of_the_oracle(vectors, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (vectors.nbytes / search.GPU_SHARE - 1, 0))
    copy = copy_on_gpu(vectors)
    assert copy.error == FLOAT16_ERROR
    found = FaissSearcher(vectors, copy).search(vectors[::2500], 32)
    np.testing.assert_array_equal(found.rows, ExactSearcher(vectors).search(vectors[::2500], 32).rows)


def test_vectors_too_large_for_the_gpu_stay_on_the_cpu(vectors, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (vectors.nbytes / 4, 0))
    assert copy_on_gpu(vectors) is None


def test_a_store_with_an_engine_is_searched_exactly_on_the_gpu(vectors):
    copied = searcher_of(vectors, Engine(None, 1, 4, 1.0), None, "cuda")
    np.testing.assert_array_equal(
        copied.search(vectors[:9], 5).rows, ExactSearcher(vectors).search(vectors[:9], 5).rows
    )
