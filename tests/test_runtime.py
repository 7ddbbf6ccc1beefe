"""The exported encoder compared with its original."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import small_catalog

from shelfwise.indexer.encoding import runtime
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.runtime import EDGES, LEAST_COSINE, Runtime, Tuning, export
from shelfwise.indexer.errors import EncoderError

pytestmark = pytest.mark.slow

TEXTS = [item.words.text() for item in small_catalog()]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("minilm", "cpu")


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    export(encoder, folder, TEXTS[:9])
    return folder


def test_the_export_gives_the_vectors_of_its_encoder(encoder, folder):
    made, texts = Runtime(folder), [*TEXTS, *EDGES]
    vectors = made.encode(texts)
    assert (vectors * encoder.encode(texts)).sum(axis=1).min() >= LEAST_COSINE
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert (made.name, made.fingerprint, made.dimensions) == (encoder.name, encoder.fingerprint, 384)
    assert LEAST_COSINE <= made.facts.worst_cosine < 1


def test_vectors_keep_the_order_of_texts_and_equal_texts_share_a_vector(folder):
    made = Runtime(folder)
    vectors = made.encode(["a mug", *TEXTS, "a mug"])
    np.testing.assert_array_equal(vectors[0], vectors[-1])
    alone = np.concatenate([made.encode([text]) for text in ["a mug", *TEXTS]])
    assert (vectors[:-1] * alone).sum(axis=1).min() >= LEAST_COSINE
    assert made.encode([]).shape == (0, 384)


def test_batches_contain_all_rows_and_have_one_shape_per_width(folder):
    made = Runtime(folder, Tuning(tokens=24))
    batches = list(made.loaded().batches([*TEXTS, *(["a mug"] * 3)]))
    assert set(np.concatenate([rows for rows, _ in batches])) == set(range(len(TEXTS) + 3))
    shapes = {inputs["input_ids"].shape for _, inputs in batches}
    assert all(rows == max(1, 24 // width) for rows, width in shapes)
    vectors, alone = made.encode(TEXTS), Runtime(folder).encode(TEXTS)
    assert (vectors * alone).sum(axis=1).min() >= LEAST_COSINE


def test_progress_is_reported(folder, monkeypatch):
    monkeypatch.setattr(runtime, "TOKENIZED_TEXTS", 20)
    told = []
    Runtime(folder).encode(TEXTS, lambda *said: told.append(said[:3]))
    assert told[0] == ("encode", 20, len(set(TEXTS)))
    assert told[-1] == ("encode", len(set(TEXTS)), len(set(TEXTS)))


def test_an_export_with_other_vectors_is_refused(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "LEAST_COSINE", 1.1)
    with pytest.raises(EncoderError, match="gives other vectors"):
        export(encoder, tmp_path, TEXTS[:9])


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin", "tokenizer.json", "runtime.json"])
def test_a_damaged_export_is_refused(folder, tmp_path, name):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() if file.name != name else b"{}")
    with pytest.raises(EncoderError, match=r"exported encoder in .+ does not load \(.+\)"):
        Runtime(tmp_path).encode(["a mug"])


def test_the_export_loads_no_torch_and_no_telemetry(folder):
    code = f"""
import sys
from pathlib import Path
from shelfwise.indexer.encoding.runtime import Runtime
Runtime(Path({str(folder)!r})).encode(["a mug"])
print([name for name in ("torch", "transformers", "sentence_transformers", "openvino_telemetry") if sys.modules.get(name)])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
