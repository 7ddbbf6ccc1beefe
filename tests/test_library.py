"""The public API as a notebook uses it, and the errors of wrong calls."""

import pickle
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import KITCHEN, small_catalog

import shelfwise as sw
from shelfwise.indexer import errors
from shelfwise.indexer.reading.guard import COLUMNS


@pytest.fixture
def store(built, tmp_path):
    with sw.open(shutil.copytree(built, tmp_path / "store")) as opened:
        yield opened


def test_the_notebook_of_the_readme_runs(tmp_path, catalog_file):
    store = sw.build(tmp_path / "my.store", str(catalog_file), encoder="hashing")
    assert repr(store) == f"<Store {tmp_path / 'my.store'}: version 1, 50 items, 5 categories, hashing>"
    assert store.report.added == len(store) == 50
    one = store.classify("新款 蓝牙耳机")
    assert one.category_path == "Electronics > Audio > Headphones"
    many = store.classify(["red sandal", {"title": "coffee mug"}, sw.Item("", "雨靴")])
    assert [decision.category for decision in many] == ["Sandals", "Mugs", "Boots"]
    frame = pd.DataFrame({"name": ["red sandal", None], "price": [1.5, 2.0]}, index=["x", "y"])
    decided = store.classify(frame)
    assert list(decided.columns) == ["name", "price", *COLUMNS]
    assert list(decided.index) == ["x", "y"]
    assert decided["reason"].tolist()[1] == "empty_text"
    pd.testing.assert_frame_equal(decided[["name", "price"]], frame)
    assert len(store.similar("mug", k=5, where={"category": "Home>Kitchen"})) == 5
    report = store.add([{"title": "Air fryer 4 l", "category_path": "Home > Kitchen > Air Fryers"}])
    assert (report.version, store.version, len(store)) == (2, 2, 51)
    assert store.classify("air fryer").category == "Air Fryers"
    assert store.evaluate(catalog_file).accuracy > 0.9
    assert store.tag("before-sale", 1) == 1
    assert [version.tags for version in store.versions()] == [("before-sale",), ()]
    assert store.rollback("before-sale").number == store.version == 3
    assert store.diff("before-sale", 3).added.count == 0
    assert "Home > Kitchen > Air Fryers" not in store.categories
    assert store.refresh() is store


def test_a_closed_or_missing_store_raises_its_error(store):
    folder = store.path
    shutil.rmtree(folder)
    for call in (lambda: store.classify("mug"), lambda: store.similar("mug"), store.versions, store.refresh):
        with pytest.raises(sw.ShelfwiseError) as error:
            call()
        assert error.value.code == "no_store"
    assert "no_store" in repr(store)
    store.close()
    store.close()
    calls = [lambda: store.classify("mug"), lambda: len(store), store.check, store.info, lambda: store.get("x")]
    for call in (*calls, lambda: store.add([{"title": "a", "category": "b"}]), store.__enter__):
        with pytest.raises(sw.ShelfwiseError) as error:
            call()
        assert error.value.code == "store_closed"
    assert repr(store) == f"<Store {folder}: closed>"


class Unprintable:
    """An object whose repr raises an error."""

    def __repr__(self):
        raise RuntimeError


NESTED = []


NESTED.append(NESTED)


HUGE = 10**5000


WRONG = {
    # hostile arguments
    "a lone surrogate as text": (lambda s: s.similar("\ud800"), "invalid_character"),
    "a lone surrogate in a filter": (lambda s: s.similar("mug", where={"brand": "\ud800"}), "invalid_character"),
    "a lone surrogate as an id": (lambda s: s.remove("\ud800"), "invalid_character"),
    "a lone surrogate as a path": (lambda s: sw.open("\ud800"), "invalid_character"),
    "a text that cleans to nothing": (lambda s: s.similar("\u200b"), "empty_text"),
    "a category that cleans to nothing": (lambda s: s.similar("mug", where={"category": "\u200b"}), "empty_text"),
    "a filter with a placeholder": (lambda s: s.similar("mug", where="id = ?"), "bad_filter"),
    "a huge filter": (lambda s: s.similar("mug", where=" or ".join(["brand='x'"] * 200_000)), "too_long"),
    "a huge number": (lambda s: s.classify("mug", top=HUGE), "out_of_range"),
    "a huge negative number": (lambda s: s.similar("mug", k=-HUGE), "out_of_range"),
    "a huge version": (lambda s: s.rollback(HUGE), "out_of_range"),
    "a huge number as an id": (lambda s: s.get(HUGE), "wrong_type"),
    "a huge share": (lambda s: sw.build("x", KITCHEN, max_removed=HUGE), "wrong_type"),
    "a huge number as a title": (lambda s: s.classify({"title": HUGE}), "unusable_value"),
    "an object without a repr": (lambda s: s.get(Unprintable()), "wrong_type"),
    "a list that contains itself": (lambda s: s.classify({"title": NESTED}), "unusable_value"),
    "a function as a title": (lambda s: s.add({"title": len, "category": "Toys"}), "no_usable_row"),
    "bytes as a title": (lambda s: s.classify({"title": b"\xff"}), "unusable_value"),
    "a name that is too long": (lambda s: sw.build("x", "c" * 5000), "too_long"),
    "an encoder name that is too long": (lambda s: sw.build("x", KITCHEN, encoder="x" * 100_000), "too_long"),
    "the undefined encoding": (lambda s: s.add(__file__, encoding="undefined"), "unknown_encoding"),
    "an encoding with a NUL": (lambda s: s.add(KITCHEN, encoding="u\0"), "unknown_encoding"),
    "a frame of ids": (lambda s: s.remove(pd.DataFrame({"als-001": [1]})), "wrong_type"),
    "a frame without columns": (lambda s: s.classify(pd.DataFrame(index=[1, 2])), "no_title_column"),
    "an index of another length": (lambda s: sw.to_frame(s.classify(["a"]), [1, 2]), "out_of_range"),
    "an index that is a number": (lambda s: sw.to_frame(s.classify(["a"]), 5), "wrong_type"),
    "progress without arguments": (lambda s: s.classify("mug", progress=lambda: 1), "wrong_type"),
    "progress as a class": (lambda s: s.classify("mug", progress=dict), "wrong_type"),
    # opening and building
    "path of another type": (lambda s: sw.open(3), "wrong_type"),
    "empty path": (lambda s: sw.open(" "), "empty_text"),
    "path of bytes": (lambda s: sw.open(b"s"), "wrong_type"),
    "no store": (lambda s: sw.open("nowhere"), "no_store"),
    "a file as a store": (lambda s: sw.open(__file__), "not_a_store"),
    "unknown device": (lambda s: sw.open(s.path, device="tpu"), "unknown_choice"),
    "unknown encoder": (lambda s: sw.build("x", KITCHEN, encoder="word2vec"), "no_such_encoder"),
    "encoder of another type": (lambda s: sw.build("x", KITCHEN, encoder=None), "wrong_type"),
    "another encoder": (lambda s: sw.build(s.path, KITCHEN, encoder="minilm", force=True), "other_encoder"),
    "no rows": (lambda s: sw.build("x", []), "no_rows"),
    "an item without a category": (lambda s: sw.build("x", [sw.Item("1", "mug")]), "no_usable_row"),
    "rows without a title": (lambda s: sw.build("x", [{"category": "Mugs"}]), "no_title_column"),
    "a frame without a title to build": (lambda s: sw.build("x", pd.DataFrame({"aisle": ["a"]})), "no_title_column"),
    "a frame without a column": (
        lambda s: s.classify(pd.DataFrame({"a": ["b"]}), columns={"title": "x"}),
        "no_such_column",
    ),
    "a number as a catalog": (lambda s: sw.build("x", 3), "wrong_type"),
    "None as a catalog": (lambda s: sw.build("x", None), "wrong_type"),
    "numbers as rows": (lambda s: sw.build("x", [1, 2]), "wrong_type"),
    "a file that is missing": (lambda s: sw.build("x", "nowhere.csv"), "no_such_file"),
    "an unknown field": (lambda s: sw.build("x", KITCHEN, columns={"colour": "title"}), "unknown_field"),
    "a column that is missing": (lambda s: sw.build("x", KITCHEN, columns={"title": "name"}), "no_such_column"),
    "columns as text": (lambda s: sw.build("x", KITCHEN, columns="title=name"), "wrong_type"),
    "several titles": (lambda s: sw.build("x", KITCHEN, columns={"title": ["id", "title"]}), "bad_columns"),
    "unknown encoding": (lambda s: sw.build("x", __file__, encoding="klingon"), "unknown_encoding"),
    "unknown head": (lambda s: sw.build("x", KITCHEN, head="forest"), "unknown_choice"),
    "unknown measure": (lambda s: sw.build("x", KITCHEN, optimize="auc"), "unknown_choice"),
    "a target that is too low": (lambda s: sw.build("x", KITCHEN, target_precision=0.5), "out_of_range"),
    "a target that is no number": (lambda s: sw.build("x", KITCHEN, target_precision="high"), "wrong_type"),
    "a target that is an array": (lambda s: s.train(target_precision=pd.Series([0.9, 0.8])), "wrong_type"),
    "a target that is not finite": (lambda s: sw.build("x", KITCHEN, target_precision=float("nan")), "out_of_range"),
    "a share above 1": (lambda s: sw.build("x", KITCHEN, max_removed=20), "out_of_range"),
    "a negative share": (lambda s: sw.build("x", KITCHEN, max_flipped=-0.1), "out_of_range"),
    "force as text": (lambda s: sw.build("x", KITCHEN, force="yes"), "wrong_type"),
    "progress as text": (lambda s: sw.build("x", KITCHEN, progress="bar"), "wrong_type"),
    # classifying
    "unknown tier": (lambda s: s.classify("mug", tier="turbo"), "unknown_choice"),
    "no alternatives": (lambda s: s.classify("mug", top=0), "out_of_range"),
    "top as text": (lambda s: s.classify("mug", top="3"), "wrong_type"),
    "top as a bool": (lambda s: s.classify("mug", top=True), "wrong_type"),
    "negative neighbors": (lambda s: s.classify("mug", neighbors=-1), "out_of_range"),
    "more neighbors than items": (lambda s: s.classify("mug", neighbors=51), "k_too_large"),
    "a number as a listing": (lambda s: s.classify(7), "wrong_type"),
    "None among listings": (lambda s: s.classify(["mug", None]), "wrong_type"),
    "bytes as a listing": (lambda s: s.classify(b"mug"), "wrong_type"),
    "a listing without a title": (lambda s: s.classify({"brand": "VELORO"}), "no_title_column"),
    "a field of another type": (lambda s: s.classify(sw.Item("1", 5)), "wrong_type"),
    "a title that is too long": (lambda s: s.classify("x" * 2001), "too_long"),
    "a control character": (lambda s: s.classify(["mug", "a\x00b"]), "control_character"),
    "a lone surrogate in a title": (lambda s: s.classify("\ud83d"), "invalid_character"),
    "a frame without a title": (lambda s: s.classify(pd.DataFrame({"price": [1]})), "no_title_column"),
    "a column twice": (lambda s: s.classify(pd.DataFrame([["a", "b"]], columns=["title", "title"])), "repeated_column"),
    # looking up
    "empty text": (lambda s: s.similar("  "), "empty_text"),
    "neither text nor id": (lambda s: s.similar(), "text_or_id"),
    "text and id": (lambda s: s.similar("mug", id="als-001"), "text_or_id"),
    "text of another type": (lambda s: s.similar(5), "wrong_type"),
    "an unknown id": (lambda s: s.similar(id="nobody"), "no_such_item"),
    "k of zero": (lambda s: s.similar("mug", k=0), "out_of_range"),
    "k larger than the store": (lambda s: s.similar("mug", k=51), "k_too_large"),
    "k as a fraction": (lambda s: s.similar("mug", k=2.5), "wrong_type"),
    "an unknown filter": (lambda s: s.similar("mug", where={"colour": "red"}), "unknown_field"),
    "an empty filter": (lambda s: s.similar("mug", where={}), "empty_text"),
    "a filter of another type": (lambda s: s.similar("mug", where=["brand"]), "wrong_type"),
    "a filter that is not SQL": (lambda s: s.similar("mug", where="brand ="), "bad_filter"),
    "an id that is missing": (lambda s: s.get("nobody"), "no_such_item"),
    "an id of another type": (lambda s: s.get(1), "wrong_type"),
    # changing
    "nothing to add": (lambda s: s.add([]), "no_rows"),
    "an item to add without a category": (lambda s: s.add([{"title": "mug"}]), "no_category_column"),
    "nothing to remove": (lambda s: s.remove(), "one_of"),
    "two ways to remove": (lambda s: s.remove("als-001", category="Home"), "one_of"),
    "an id to remove that is missing": (lambda s: s.remove(["als-001", "nobody"]), "no_such_item"),
    "a category that is missing": (lambda s: s.remove(category="Fashion > Hats"), "no_such_category"),
    "a number to remove": (lambda s: s.remove(3), "wrong_type"),
    "nothing left": (lambda s: s.remove([item.id for item in small_catalog()]), "nothing_left"),
    "nothing was added": (lambda s: s.remove(added=True), "nothing_added"),
    "a goal of another type": (lambda s: s.train(head=3), "unknown_choice"),
    "zero minutes": (lambda s: s.finetune(minutes=0), "out_of_range"),
    "infinite minutes": (lambda s: s.finetune(minutes=float("inf")), "out_of_range"),
    "zero epochs": (lambda s: s.finetune(epochs=0), "out_of_range"),
    "an encoder without weights": (lambda s: s.finetune(), "nothing_to_finetune"),
    "nothing to tune": (lambda s: s.tune(), "nothing_to_tune"),
    # evaluating
    "no labels": (lambda s: s.evaluate([{"title": "mug"}]), "no_category_column"),
    "baselines as text": (lambda s: s.evaluate(KITCHEN, baselines="all"), "wrong_type"),
    "a tier that is None": (lambda s: s.evaluate(KITCHEN, tier=None), "unknown_choice"),
    # versions
    "an unknown version": (lambda s: s.rollback(9), "no_such_version"),
    "an unknown tag": (lambda s: s.rollback("before-sale"), "no_such_tag"),
    "the newest version": (lambda s: s.rollback(1), "current_version"),
    "version 0": (lambda s: s.diff(0, 1), "out_of_range"),
    "a version that is a fraction": (lambda s: s.diff(1, 1.5), "wrong_type"),
    "a tag that is a number": (lambda s: s.tag("7"), "bad_tag"),
    "an empty tag": (lambda s: s.tag(""), "empty_text"),
    "a tag to delete that is missing": (lambda s: s.tag("gone", delete=True), "no_such_tag"),
    "a version and delete": (lambda s: s.tag("a", 1, delete=True), "one_of"),
    "nothing to keep": (lambda s: s.compact(0), "out_of_range"),
    "numbers as results": (lambda s: sw.to_frame([3]), "wrong_type"),
    "a text as results": (lambda s: sw.to_frame("abc"), "wrong_type"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_raises_one_error_in_one_line(name, shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, code = WRONG[name]
    before = sorted(shared.path.rglob("*.json"))
    with pytest.raises(sw.ShelfwiseError) as raised:
        call(shared)
    error = raised.value
    assert error.code == code, str(error)
    assert error.found and error.expected and error.fix
    assert str(error) == f"{error.found}: expected {error.expected}; {error.fix}"
    assert len(str(error).splitlines()) == 1
    assert "--" not in str(error).replace("pip uninstall -y", "")
    assert sorted(shared.path.rglob("*.json")) == before
    assert not Path("x").exists()


def test_errors_can_be_pickled():
    error = errors.BusyError("store_busy", "a store that is held", "no other writer", "wait")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (type(error), str(error), error.code)


def test_line_breaks_in_a_value_do_not_break_the_error_line(shared):
    with pytest.raises(sw.ShelfwiseError) as error:
        shared.get("two\nlines\u2028more")
    assert len(str(error.value).splitlines()) == 1


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError):
        _ = sw.nothing
    assert set(dir(sw)) == set(sw.__all__)
