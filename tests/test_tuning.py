"""Tuning of the encoder: measured, stored under the name of the machine, and used when the store is opened."""

import json
import shutil

import numpy as np
import pytest
from conftest import small_catalog, write_catalog

from shelfwise.indexer.encoding.runtime import LEAST_COSINE, UNTUNED, Runtime, Tuning
from shelfwise.indexer.store import disk, tuning
from shelfwise.indexer.store.disk import write_sealed
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.store.names import TUNING
from shelfwise.indexer.store.store_encoder import encoder_for
from shelfwise.indexer.store.tuning import machine, tune, tuning_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported_store(tmp_path_factory):
    from click.testing import CliRunner

    from shelfwise.commands.main import main

    folder = tmp_path_factory.mktemp("tuning")
    catalog = write_catalog(folder / "catalog.csv", small_catalog())
    arguments = ["build", str(catalog), "--store", str(folder / "store"), "--encoder", "minilm"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return folder / "store"


@pytest.fixture
def tunable(exported_store, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "TEXTS", 20)
    monkeypatch.setattr(tuning, "TUNING_ROUNDS", 1)
    return shutil.copytree(exported_store, tmp_path / "store")


def test_the_chosen_tuning_is_used_when_the_store_is_opened(tunable, run, monkeypatch):
    monkeypatch.setattr(tuning, "LEAST_GAIN", 0.0)  # any gain is enough, so the last trial is chosen
    told = []
    found = tune(tunable, lambda *said: told.append(said[:3]))
    assert tuning_for(tunable) == found.chosen != found.trials[0].tuning
    assert found.chosen in [trial.tuning for trial in found.trials if trial.taken]
    assert len({trial.tuning for trial in found.trials}) == len(found.trials) > 2
    assert told
    encoder = encoder_for(tunable, read_manifest(tunable))
    assert isinstance(encoder, Runtime)
    assert encoder.tuning == encoder.computes() == found.chosen
    assert run("check", "--store", tunable).exit_code == 0
    assert run("compact", "--store", tunable).exit_code == 0
    assert tuning_for(tunable) == found.chosen


def test_a_tuning_that_changes_the_vectors_is_not_chosen(tunable, monkeypatch):
    monkeypatch.setattr(tuning, "LEAST_GAIN", 0.0)
    monkeypatch.setattr(tuning, "LEAST_COSINE", 1.1)
    found = tune(tunable)
    assert found.chosen == found.trials[0].tuning
    assert [trial.taken for trial in found.trials] == [True] + [False] * (len(found.trials) - 1)


def test_a_tuning_applies_to_its_machine_only(tunable, monkeypatch):
    first, here = tune(tunable).chosen, machine()
    monkeypatch.setattr(tuning, "machine", lambda: "another")
    assert tuning_for(tunable) == UNTUNED
    tune(tunable)
    assert set(json.loads((tunable / TUNING).read_text())) == {here, "another", "seal"}
    monkeypatch.setattr(tuning, "machine", lambda: here)
    assert tuning_for(tunable) == first


@pytest.mark.parametrize("tuned", [Tuning("f32", 1, 64), Tuning("", 2, 4096)])
def test_a_tuning_does_not_change_the_vectors(exported_store, tuned):
    folder = exported_store / read_manifest(exported_store).encoder.runtime
    texts = [item.words.text() for item in small_catalog()]
    expected, vectors = Runtime(folder).encode(texts), Runtime(folder, tuned).encode(texts)
    assert np.einsum("nd,nd->n", vectors, expected).min() >= LEAST_COSINE


def test_the_tune_command_lists_its_trials(tunable, run):
    result = run("tune", "--store", tunable)
    assert result.exit_code == 0
    assert result.stdout.startswith(machine())
    assert "  best so far\n" in result.stdout
    found = json.loads(run("tune", "--store", tunable, "--json").stdout)
    assert found["chosen"] in [trial["tuning"] for trial in found["trials"]]


def test_an_encoder_without_an_export_cannot_be_tuned(store, run):
    result = run("tune", "--store", store)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "Error: encoder hashing has no exported form: expected an exported encoder; use the store without tuning"
    ]
    assert not (store / TUNING).exists()


def test_a_tuning_of_another_version_is_ignored(tunable):
    write_sealed(tunable / TUNING, {machine(): {"warp": 9}})
    assert tuning_for(tunable) == UNTUNED


def test_a_locked_store_is_not_measured(tunable, run, monkeypatch):
    monkeypatch.setattr(disk, "LOCK_SECONDS", 0.1)
    with disk.locked(tunable):
        result = run("tune", "--store", tunable)
    assert result.exit_code == 1
    assert "is being written by" in result.stderr
    assert not (tunable / TUNING).exists()


def test_a_damaged_tuning_file_is_an_error(tunable, run):
    (tunable / TUNING).write_text("{")
    result = run("similar", "mug", "--store", tunable)
    assert result.exit_code == 1
    assert "delete it, and tune the store again" in result.stderr
