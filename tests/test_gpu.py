"""The GPU against the oracle; run with `pytest -m gpu` where there is one."""

import numpy as np
import pytest

from indexer.search import GPU_MAX_K, ExactSearcher, FaissSearcher, import_faiss

pytestmark = pytest.mark.gpu


def gpus() -> int:
    faiss = import_faiss()
    return faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0


@pytest.fixture(scope="module")
def vectors():
    if not gpus():
        pytest.skip("no GPU, or not the faiss-gpu package")
    rows = np.random.default_rng(7).normal(size=(20_000, 384)).astype(np.float32)
    rows[10_000:10_100] = rows[0]  # twins
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 32, GPU_MAX_K, GPU_MAX_K + 1])
def test_gpu_equals_oracle(vectors, k):
    queries = vectors[::2500]
    oracle, found = ExactSearcher(vectors).search(queries, k), FaissSearcher(vectors, "cuda").search(queries, k)
    np.testing.assert_array_equal(found.rows, oracle.rows)
    np.testing.assert_allclose(found.similarities, oracle.similarities, atol=1e-5)


def test_filters_are_kept_on_the_gpu(vectors):
    allowed = np.arange(len(vectors)) % 7 == 0
    found = FaissSearcher(vectors, "cuda").search(vectors[:8], 10, allowed)
    assert allowed[found.rows].all()
    np.testing.assert_array_equal(found.rows, ExactSearcher(vectors).search(vectors[:8], 10, allowed).rows)
