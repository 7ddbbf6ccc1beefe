"""The public API in use: inputs, outputs, and concurrent changes by other threads and processes."""

import doctest
import inspect
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from decimal import Decimal
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from conftest import KITCHEN, small_catalog, write_catalog
from test_imports import FILES, module_of

import shelfwise as sw
from shelfwise.indexer.reading.guard import COLUMNS

pytestmark = pytest.mark.slow


@pytest.fixture
def store(built, tmp_path):
    with sw.open(shutil.copytree(built, tmp_path / "store")) as opened:
        yield opened


WITH_EXAMPLES = [module_of(path) for path in FILES if "    >>> " in path.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kitchen") / "kitchen.store"
    sw.build(folder, KITCHEN, encoder="hashing").close()
    return folder


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_docstring_examples_run_as_shown(name, kitchen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = [test for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(name)) if test.examples]
    assert found
    for test in found:
        shutil.rmtree("kitchen.store", ignore_errors=True)
        shutil.copytree(kitchen, "kitchen.store")
        output = []
        doctest.DocTestRunner().run(test, out=output.append)
        assert not output, "".join(output)


def test_every_public_function_has_an_example():
    methods = [value for name, value in inspect.getmembers(sw.Store, inspect.isfunction) if not name.startswith("_")]
    assert len(methods) > 15
    for function in (sw.open, sw.build, sw.to_frame, *methods):
        assert ">>>" in inspect.getdoc(function), function


def test_every_public_object_has_a_one_line_repr(store, catalog_file):
    made = [store, store.classify("mug"), store.get("als-001"), *store.similar("mug", k=1), *store.versions()]
    made += [store.train(), store.evaluate(catalog_file), store.check(), store.diff(1, 1), store.compact()]
    made += [sw.build(store.path, catalog_file, dry_run=True), sw.ShelfwiseError("a", "b\nc", "d", "e")]
    for one in made:
        assert repr(one).count("\n") == 0 and type(one).__name__ in repr(one), repr(one)
        assert len(repr(one)) < 300


def test_build_and_add_accept_files_frames_dicts_and_items(tmp_path, catalog_file):
    items = small_catalog()
    forms = [
        str(catalog_file),
        catalog_file,
        [catalog_file, catalog_file],
        pd.read_csv(catalog_file),
        items,
        iter(items),
        ({"编号": item.id, "标题": item.title, "类目路径": item.category_path} for item in items),
    ]
    with sw.build(tmp_path / "s", forms[0], encoder="hashing") as store:
        assert (len(store), store.get("als-003").title) == (50, items[3].title)
        for form in forms[1:]:
            assert store.add(form).unchanged == len(small_catalog())
    assert sw.build(tmp_path / "s", items, dry_run=True).difference.after == 50
    renamed = pd.read_csv(catalog_file).rename(columns={"title": "what", "category_path": "aisle"})
    columns = {"title": "what", "category_path": "aisle"}
    with sw.build(tmp_path / "renamed", renamed, encoder="hashing", columns=columns) as store:
        assert len(store) == 50
        assert len(store.classify(renamed.head(3), columns=columns)) == 3
        assert store.classify({"what": "red sandal"}, columns={"title": "what"}).category == "Sandals"


def test_rejected_rows_are_in_the_report(store, tmp_path):
    report = store.add(
        pd.DataFrame({
            "id": [7.0, None, 9.0],  # pandas stores integers with a missing value as floats
            "title": ["toy boat", "", "bell\x07"],
            "category": ["Toys", "Toys", "Toys"],
        })
    )  # fmt: skip
    assert [(reject.line, reject.code) for reject in report.rejects] == [
        (1, "empty_title"), (2, "control_character")
    ]  # fmt: skip
    assert report.added == 1
    assert store.get("7").category_path == "Toys"
    twice = [{"id": "t", "title": title, "category": "Toys"} for title in ("kite", "kite", "yo-yo")]
    report = store.add(twice)
    assert (report.added, report.repeated, report.conflicting, store.get("t").title) == (1, 1, 1, "yo-yo")
    mixed = store.add([{"title": "kite", "category": "Toys"}, {"name": "yo-yo"}, sw.Item("x", "ball")])
    assert [reject.code for reject in mixed.rejects] == ["empty_title", "empty_category"]
    file = tmp_path / "f.csv"
    file.write_text("title,category\nrobot,Toys\n,Toys\n")
    assert [(reject.file, reject.line) for reject in store.add(file).rejects] == [(str(file), 3)]
    evaluated = store.evaluate([{"title": "red sandal", "category": "Sandals"}, {"title": "", "category": "Sandals"}])
    assert len(evaluated.rejects) == 1


def test_limits_and_dry_runs_work_as_on_the_command_line(store, catalog_file):
    few = small_catalog()[:20]
    with pytest.raises(sw.ShelfwiseError) as refused:
        sw.build(store.path, few)
    assert refused.value.code == "too_many_removed"
    assert refused.value.found == "30 of 50 items would be removed"
    preview = sw.build(store.path, few, dry_run=True)
    assert preview.difference.removed.count == 30
    assert store.refresh().version == 1
    first = sw.build(store.path.with_name("first"), few, encoder="hashing", dry_run=True)
    assert (first.difference.added.count, first.flips) == (20, None)
    assert not store.path.with_name("first").exists()
    moved = [replace(item, category_path="Toys", category="Toys") for item in small_catalog()]
    with pytest.raises(sw.ShelfwiseError) as refused:
        sw.build(store.path, moved, accept_report=True)
    assert refused.value.code == "too_many_flipped"
    assert len(sw.build(store.path, few, max_removed=0.7, max_flipped=1.0)) == 20
    assert len(sw.build(store.path, small_catalog()[:2], force=True)) == 2


def test_frame_columns_named_like_decision_columns_are_kept(shared):
    decided = shared.classify(pd.DataFrame({"title": ["mug"], "confidence": ["high"]}))
    assert decided["input_confidence"].tolist() == ["high"]
    assert 0 <= decided["confidence"].iloc[0] <= 1
    empty = shared.classify(pd.DataFrame({"title": []}))
    assert list(empty.columns) == ["title", *COLUMNS] and empty.empty
    assert shared.classify([]) == []


def test_frames_with_arrow_columns_and_odd_indexes_are_classified(shared):
    kinds = {"id": pd.array([1.0, None, 3.0], dtype="double[pyarrow]"), "size": pd.Categorical(["s", "m", None])}
    frame = pd.DataFrame({"title": ["mug", "boot", "kettle"], **kinds}, index=[5, 5, 1])
    decided = shared.classify(frame)
    assert list(decided.index) == [5, 5, 1]
    assert decided["predicted_category"].tolist() == ["Mugs", "Boots", "Kettles"]


def test_missing_values_of_every_type_are_empty(store):
    nothing = [float("nan"), np.float32("nan"), Decimal("nan"), np.datetime64("NaT"), pd.NaT, pd.NA, None]
    report = store.add([{"id": str(i), "title": "kite", "category": value} for i, value in enumerate(nothing)]
                       + [{"id": "k", "title": "kite", "category": "Toys", "brand": np.float64(2.5)}])  # fmt: skip
    assert {reject.code for reject in report.rejects} == {"empty_category"}
    assert (report.added, len(report.rejects), store.get("k").brand) == (1, 7, "2.5")


def test_closing_a_store_during_a_change_finishes_the_change(store):
    report = store.add([{"title": f"toy {i}", "category": "Toys"} for i in range(3)], progress=lambda *_: store.close())
    assert report.added == 3
    assert repr(store).endswith("closed>")
    assert len(sw.open(store.path)) == 53


def test_a_store_is_read_while_another_process_compacts(store):
    code = f"""
import shelfwise as sw
store = sw.open({str(store.path)!r})
for i in range(15):
    store.add([{{"id": str(i), "title": f"toy {{i}}", "category": "Toys"}}])
    store.compact(1)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as other:
        while other.poll() is None:
            assert store.info()["rows"] >= 50
            assert store.versions()
            assert len(store.similar("mug", k=3, where="brand = ''")) == 3
    assert other.returncode == 0


def test_results_become_frames(shared):
    similar = sw.to_frame(shared.similar("mug", k=2))
    assert list(similar.columns) == ["id", "title", "brand", "category_path", "similarity"]
    decided = sw.to_frame(shared.classify(["mug", "boot"]), index=[3, 4])
    assert list(decided.index) == [3, 4]
    assert decided["alternatives"].iloc[0][0].keys() == {"category_path", "probability"}
    assert list(sw.to_frame(shared.versions())["number"]) == [1]


def test_progress_is_passed_to_a_function_or_shown(store, capfd):
    told = []
    store.classify(["mug"] * 3, progress=lambda *said: told.append(said))
    assert told[-1] == ("encode", 3, 3, "")
    assert store.train(progress=True).fitted


def test_several_threads_classify_and_add_at_once(store):
    wrong, counts = [], []

    def ask():
        said = [store.classify("travel mug").category for _ in range(5)]
        wrong.extend(category for category in said if category != "Mugs")

    def change(name):
        toys = [{"id": f"{name}{i}", "title": f"toy {name} {i}", "category": "Toys"} for i in range(3)]
        counts.extend(store.add(toy).added for toy in toys)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    threads += [threading.Thread(target=change, args=[name]) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert counts == [1] * 6
    assert len(store) == 56
    assert store.version == 7


def test_changes_by_another_process_are_seen(store, catalog_file):
    assert len(store) == 50
    assert sw.open(store.path).remove("als-001").removed == 1
    assert (store.version, len(store)) == (1, 50)
    assert len(store.refresh()) == 49
    with sw.open(store.path) as other:
        other.compact(1)
    assert store.similar("mug", where="brand = ''")  # the open version was removed


def test_a_killed_build_leaves_the_same_state_as_on_the_command_line(tmp_path, catalog_file):
    code = f"""
import os, signal, shelfwise as sw
from shelfwise.classifier.changing import release
release.train = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sw.build({str(tmp_path / "s")!r}, {str(catalog_file)!r}, encoder="hashing")
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with pytest.raises(sw.ShelfwiseError) as error:
        sw.open(tmp_path / "s")
    assert error.value.code == "half_written"
    assert len(sw.build(tmp_path / "s", catalog_file, encoder="hashing")) == 50


def test_a_path_like_object_is_accepted_as_a_path(tmp_path):
    file = write_catalog(tmp_path / "c.csv", small_catalog(2))

    class Like:
        def __fspath__(self):
            return str(file)

    assert len(sw.build(tmp_path / "s", Like(), encoder="hashing")) == 10


def test_a_frame_with_results_gets_new_ones_in_their_place(shared):
    once = shared.classify(pd.DataFrame({"title": ["red sandal", "blue mug"], "note": ["a", "b"]}))
    again = shared.classify(once)
    assert list(again.columns) == list(once.columns)
    assert list(again["predicted_path"]) == list(once["predicted_path"])
    assert list(again["note"]) == ["a", "b"]


def test_the_columns_that_a_user_named_are_remembered(tmp_path):
    rows = [{"product": f"red mug {i}", "aisle": "Mugs"} for i in range(4)]
    store = sw.build(tmp_path / "store", rows, encoder="hashing", columns={"title": "product", "category": "aisle"})
    assert store.report.reading.files[0].columns[0].why == "named"
    again = sw.build(store.path, [*rows, {"product": "blue mug", "aisle": "Mugs"}])
    assert (len(again), again.report.reading.files[0].columns[0].why) == (5, "as before")
    assert again.add([{"product": "green mug", "aisle": "Mugs"}]).added == 1
    assert again.classify({"product": "white mug"}).evidence
    assert again.evaluate([{"product": "white mug", "aisle": "Mugs"}]).accuracy == 1


def test_an_accepted_finding_does_not_stop_the_next_build(tmp_path):
    rows = [{"title": f"mug {i}", "category": "Mugs"} for i in range(60)]
    with pytest.raises(sw.ShelfwiseError) as refused:
        sw.build(tmp_path / "store", rows, encoder="hashing")
    assert (refused.value.code, (tmp_path / "store").exists()) == ("suspicious_catalog", False)
    sw.build(tmp_path / "store", rows, encoder="hashing", accept_report=True)
    assert len(sw.build(tmp_path / "store", [*rows, {"title": "cup", "category": "Mugs"}])) == 61
    assert [finding.key for finding in sw.inspect(rows).findings] == ["one_category category"]
