"""The main commands, run through the command line with the hashing encoder."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT, small_catalog, write_catalog
from pyarrow import parquet

from shelfwise.classifier.model.decision import REASONS
from shelfwise.classifier.model.pipeline import LISTINGS_AT_A_TIME
from shelfwise.indexer.reading.guard import COLUMNS

LISTINGS = ["red sandal", "加厚 雨靴", "electric kettle 1.5 l", "蓝牙耳机 新款", "quantum flux capacitor", "travel mug"]


@pytest.fixture
def listings(tmp_path):
    path = tmp_path / "listings.csv"
    path.write_text(
        "sku,title,price\n" + "".join(f"{i},{t},-{i}.5\n" for i, t in enumerate(LISTINGS)), encoding="utf-8"
    )
    return path


def parse_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_build_classify_add_similar_train_and_remove(run, store, listings, tmp_path):
    rows = parse_csv(run("classify", listings, "--store", store).stdout)
    assert [row["title"] for row in rows] == LISTINGS
    assert list(rows[0]) == ["sku", "title", "price", *COLUMNS]
    assert [row["predicted_category"] for row in rows[:4]] == ["Sandals", "Boots", "Kettles", "Headphones"]
    for row in rows:
        assert REASONS[row["reason"]] == row["decision"]
        alternatives, evidence = json.loads(row["alternatives"]), json.loads(row["evidence"])
        assert alternatives[0] == {"category_path": row["predicted_path"], "probability": float(row["confidence"])}
        assert len(evidence) == 3
        assert set(evidence[0]) == {"id", "title", "brand", "category_path", "similarity"}

    (tmp_path / "new.csv").write_text(
        "title,category_path\nflux capacitor 88,Parts > Flux\nflux capacitor mini,Parts > Flux\n"
    )
    added = run("add", "new.csv", "--store", store)
    assert "new category: Parts > Flux" in added.stdout
    after = parse_csv(run("classify", listings, "--store", store).stdout)
    assert after[4]["predicted_path"] == "Parts > Flux"
    assert (after[4]["decision"], after[4]["reason"]) == ("review", "new_category")
    assert [row["predicted_path"] for row in after[:4]] == [row["predicted_path"] for row in rows[:4]]

    found = json.loads(run("similar", "flux", "--store", store, "-k", 2, "--json").stdout)
    assert {item["category_path"] for item in found} == {"Parts > Flux"}
    assert "Parts > Flux" in run("info", "--store", store).stdout

    trained = run("train", "--store", store)
    assert "held-out items" in trained.stdout
    assert parse_csv(run("classify", listings, "--store", store).stdout)[4]["reason"] != "new_category"

    removed = run("remove", "--store", store, "--category", "Parts", "--json")
    assert json.loads(removed.stdout)["removed"] == 2
    assert parse_csv(run("classify", listings, "--store", store).stdout)[4]["predicted_path"] != "Parts > Flux"


def test_two_runs_are_byte_identical(run, store, listings, tmp_path):
    for name in ("a.csv", "b.csv"):
        assert run("classify", listings, "--store", store, "-o", name).exit_code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_decisions_do_not_depend_on_the_batch_size(run, store, listings, tmp_path, monkeypatch):
    run("classify", listings, "--store", store, "-o", tmp_path / "one.csv")
    monkeypatch.setitem(LISTINGS_AT_A_TIME, "full", 2)
    run("classify", listings, "--store", store, "-o", tmp_path / "several.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "several.csv").read_bytes()


@pytest.mark.slow
def test_a_rebuild_decides_like_a_build_from_scratch(run, store, listings, tmp_path):
    items = small_catalog()
    items[3] = replace(items[3], title="another sandal")
    items = [
        *items[:10],
        *items[11:],
        replace(items[0], id="zz", title="brand new boot", category_path=items[15].category_path),
    ]
    write_catalog(tmp_path / "changed.csv", items)
    dry = json.loads(run("build", "changed.csv", "--store", store, "--dry-run", "--json").stdout)
    assert [dry[name]["count"] for name in ("added", "reworded", "relabelled", "moved", "removed")] == [1, 1, 0, 0, 1]
    assert (dry["before"], dry["after"]) == (50, 50)
    report = json.loads(run("build", "changed.csv", "--store", store, "--json").stdout)
    assert (report["added"], report["updated"], report["removed"], report["embedded"]) == (1, 1, 1, 2)
    run("build", "changed.csv", "--store", "fresh", "--encoder", "hashing")
    rebuilt, scratch = (run("classify", listings, "--store", name).stdout for name in (store, "fresh"))
    assert rebuilt.replace(",2\n", ",1\n") == scratch  # equal except for the store version


def test_a_dry_run_of_a_first_build_writes_nothing(run, catalog_file, tmp_path):
    assert "50 added" in run("build", catalog_file, "--store", "new", "--dry-run").stdout
    assert not (tmp_path / "new").exists()


def test_jsonl_input_gives_jsonl_output(run, store):
    lines = [{"title": "red sandal", "price": 3, "decision": "mine"}, {"title": "", "tags": ["a"]}]
    given = "\n".join(map(json.dumps, lines)).encode()
    result = run("classify", "-", "--store", store, "--neighbors", 1, "--top", 1, stdin=given)
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["price"], first["input_decision"], first["predicted_category"]) == (3, "mine", "Sandals")
    assert len(first["alternatives"]) == len(first["evidence"]) == 1
    assert (second["tags"], second["reason"]) == (["a"], "empty_text")


def test_parquet_input_gives_csv_output(run, store, tmp_path):
    parquet.write_table(pa.table({"title": ["red sandal"], "n": [7]}), tmp_path / "l.parquet")
    (row,) = parse_csv(run("classify", "l.parquet", "--store", store).stdout)
    assert (row["n"], row["predicted_category"]) == ("7", "Sandals")


def test_a_byte_order_mark_is_kept_so_that_spreadsheets_show_chinese(run, store, tmp_path):
    (tmp_path / "l.csv").write_text("标题\n新款 凉鞋\n", encoding="utf-8-sig")
    run("classify", "l.csv", "--store", store, "-o", "out.csv")
    assert (tmp_path / "out.csv").read_bytes().startswith("\ufeff标题,".encode())


def test_similar_finds_items_by_id_filter_and_text(run, store):
    lines = run("similar", "--id", "als-001", "--store", store, "-k", 4).stdout.splitlines()
    assert len(lines) == 4
    assert not any("[als-001]" in line for line in lines)
    only = run("similar", "sandal", "--store", store, "--where", "category_path LIKE 'Home%'", "-k", 3).stdout
    assert all("Home > Kitchen" in line for line in only.splitlines())
    none = run("similar", "sandal", "--store", store, "--where", "brand = 'nobody'")
    assert (none.stdout, none.exit_code) == ("", 0)
    assert len(run("similar", "sandal", "--store", store).stdout.splitlines()) == 10


def test_evaluate_writes_its_figures_as_json(run, store, catalog_file, tmp_path):
    result = run("evaluate", catalog_file, "--store", store, "--json", "figures.json")
    assert result.exit_code == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    expected = {"accuracy", "top3", "weighted_f1", "macro_f1", "ece", "accepted", "accepted_accuracy", "n"}
    assert expected <= set(figures)
    assert figures["n"] == 50
    assert figures["accuracy"] > 0.9  # on the items it was built from
    assert sum(entry["rows"] for entry in figures["categories"]) == 50
    assert [level["nodes"] for level in figures["levels"]] == [3, 3, 5]
    assert figures["levels"][-1]["accuracy"] == figures["accuracy"]
    assert figures["baselines"] == {}


def test_baselines_of_a_one_category_store_predict_that_category(run, tmp_path):
    (tmp_path / "one.csv").write_text(
        "title,category\n" + "".join(f"mug {i},Mugs\n" for i in range(6)), encoding="utf-8"
    )
    assert run("build", tmp_path / "one.csv", "--store", "one.store", "--encoder", "hashing").exit_code == 0
    listings = tmp_path / "listings.csv"
    listings.write_text("title,category\nred mug,Mugs\n", encoding="utf-8")
    result = run("evaluate", listings, "--store", "one.store", "--json", tmp_path / "f.json", "--baselines")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert [found["accuracy"] for found in figures["baselines"].values()] == [1.0, 1.0]


def test_evaluate_compares_with_baselines(run, store, tmp_path):
    rows = [
        "red sandal,Fashion > Shoes > Sandals",
        "green boot,Fashion > Shoes > Boots",
        "mug,Home > Kitchen > Kettles",
    ]
    (tmp_path / "l.csv").write_text("\n".join(["title,category_path", *rows]) + "\n")
    shown = run("evaluate", "l.csv", "--store", store, "--json", "f.json", "--baselines").stdout
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["confusions"] == [
        {"truth": "Home > Kitchen > Kettles", "predicted": "Home > Kitchen > Mugs", "rows": 1}
    ]
    assert "1 of Home > Kitchen > Kettles classified as Home > Kitchen > Mugs" in shown
    assert figures["hierarchical_f1"] == pytest.approx(8 / 9)
    low, high = figures["intervals"]["accuracy"]
    assert low < figures["accuracy"] < high
    assert set(figures["baselines"]) == {"linear_svc", "vector_logistic"}
    assert all(name in shown for name in figures["baselines"])


def test_a_build_after_additions_trains_on_the_new_categories(run, store, catalog_file, tmp_path):
    (tmp_path / "more.csv").write_text("id,title,category_path\n" + "".join(f"t{i},toy {i},Toys\n" for i in range(6)))
    run("add", "more.csv", "--store", store)
    assert json.loads(run("info", "--store", store, "--json").stdout)["new_categories"] == ["Toys"]
    built = json.loads(run("build", catalog_file, "more.csv", "--store", store, "--json").stdout)
    assert (built["unchanged"], built["embedded"], built["version"]) == (56, 0, 3)
    assert json.loads(run("info", "--store", store, "--json").stdout)["new_categories"] == []
    assert json.loads(run("build", catalog_file, "more.csv", "--store", store, "--json").stdout)["version"] == 3


@pytest.mark.slow
def test_training_goals_are_stored(run, store, catalog_file, tmp_path):
    wished = ("--head", "closed-form", "--optimize", "macro-f1", "--target-precision", 0.8)
    trained = json.loads(run("train", "--store", store, *wished, "--json").stdout)["settings"]
    assert trained["goals"] == {"head": "closed-form", "optimize": "macro-f1", "target_precision": 0.8}
    assert json.loads(run("build", catalog_file, "--store", store, "--json").stdout)["settings"] == trained
    (tmp_path / "one.csv").write_text("title,category_path\nblack boot,Fashion > Shoes > Boots\n")
    rebuilt = json.loads(run("build", catalog_file, "one.csv", "--store", store, "--json").stdout)["settings"]
    assert rebuilt["goals"] == trained["goals"]
    again = json.loads(run("build", catalog_file, "one.csv", "--store", store, "--head", "mlp", "--json").stdout)
    assert again["settings"]["goals"] == {**trained["goals"], "head": "mlp"}
    assert run("train", "--store", store, "--target-precision", 1.5).exit_code == 2
    assert run("train", "--store", store, "--target-precision", "nan").exit_code == 2


def test_a_parent_node_is_sure_if_no_leaf_is(run, tmp_path):
    """Use two indistinguishable leaves under a node that is easy to distinguish."""
    random = np.random.default_rng(1)
    items = [
        replace(item, category=leaf, category_path=f"Fashion > Shoes > {leaf}")
        if "Shoes" in item.category_path
        else item
        for item, leaf in zip(small_catalog(80), random.choice(["Left", "Right"], 400), strict=True)
    ]
    write_catalog(tmp_path / "c.csv", items)
    run("build", "c.csv", "--store", "s", "--encoder", "hashing", "--target-precision", 0.95)
    (tmp_path / "l.csv").write_text("title\nred sandal 3\nblue ankle boot\nred mug 115\n", encoding="utf-8")
    sandal, boot, mug = parse_csv(run("classify", "l.csv", "--store", "s").stdout)
    for row in (sandal, boot):
        assert (row["decision"], row["reason"], row["sure_path"]) == ("review", "sure_above", "Fashion > Shoes")
        assert set(json.loads(row["prediction_set"])) <= {"Fashion > Shoes > Left", "Fashion > Shoes > Right"}
        top, middle = json.loads(row["levels"])
        assert (top["category_path"], middle["category_path"]) == ("Fashion", "Fashion > Shoes")
        assert top["probability"] >= middle["probability"] > float(row["confidence"])
    assert (mug["decision"], mug["sure_path"]) == ("accept", "Home > Kitchen > Mugs")
    assert json.loads(mug["prediction_set"]) == ["Home > Kitchen > Mugs"]


def test_evaluate_accepts_leaf_names_and_counts_unknown_categories(run, store, tmp_path):
    (tmp_path / "l.csv").write_text("title,category\nred sandal,Sandals\nblue boot,Boots\nred sandal,Nowhere\n")
    run("evaluate", "l.csv", "--store", store, "--json", "f.json")
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["unknown_categories"] == 1


def test_an_ambiguous_leaf_name_is_left_out_and_counted(run, tmp_path):
    items = small_catalog()
    twice = [replace(i, id=f"t{i.id}", title=f"toy {i.title}", category_path=f"Toys > {i.category}") for i in items]
    write_catalog(tmp_path / "c.csv", [*items, *twice])
    run("build", "c.csv", "--store", "s", "--encoder", "hashing")
    lines = ["title,category,category_path", "red sandal 100,Sandals,", "toy boot 101,Boots,Toys > Boots", "mug,Mugs,"]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    figures = json.loads(run("evaluate", "l.csv", "--store", "s", "--json", "-").stdout)
    assert (figures["n"], figures["ambiguous_names"], figures["unknown_categories"]) == (1, 2, 0)
    assert figures["accuracy"] == 1
    assert not (tmp_path / "-").exists()
    (tmp_path / "l.csv").write_text("\n".join(lines[:2]))
    failed = run("evaluate", "l.csv", "--store", "s")
    assert failed.exit_code == 1
    assert "only category names that match several paths of the store (1 of them)" in failed.output


def test_an_unknown_path_is_wrong_even_if_its_leaf_name_is_known(run, store, tmp_path):
    (tmp_path / "l.csv").write_text(
        "title,category_path\nred sandal,Fashion > Shoes > Sandals\nred sandal,Toys > Sandals\n"
    )
    run("evaluate", "l.csv", "--store", store, "--json", "f.json")
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["accuracy"], figures["unknown_categories"]) == (0.5, 1)


def test_a_listing_far_from_the_catalog_is_unknown(run, tmp_path):
    write_catalog(tmp_path / "c.csv", small_catalog(40))
    run("build", "c.csv", "--store", "s", "--encoder", "hashing")
    (tmp_path / "l.csv").write_text("title\nЖЩЮЭЪ ФЫЦЧ\nred sandal 117\n", encoding="utf-8")
    far, near = parse_csv(run("classify", "l.csv", "--store", "s").stdout)
    assert (far["decision"], far["reason"]) == ("unknown", "far_from_catalog")
    assert near["decision"] == "accept"


def test_a_dash_writes_to_standard_output(run, store, listings, tmp_path):
    said = run("classify", listings, "--store", store, "-o", "-").stdout
    assert said == run("classify", listings, "--store", store).stdout
    assert not (tmp_path / "-").exists()
    assert not (tmp_path / "-.partial").exists()


def test_a_build_ends_with_its_quality_and_verbose_adds_the_settings(run, catalog_file):
    shown = run("build", catalog_file, "--store", "s", "--encoder", "hashing")
    assert re.search(r"^\d+% of \d+ held-out items right; ", shown.stdout, re.MULTILINE)
    assert "settings:" not in shown.stdout
    shown = run("train", "--store", "s", "--verbose")
    assert "settings: vote temperature" in shown.stdout
    assert "held out: rows 50, accuracy" in shown.stdout


def test_a_store_too_small_to_measure_says_so(run):
    shown = run("build", ROOT / "data" / "survey.csv", "--store", "s", "--encoder", "hashing", "--verbose")
    assert "too few items or categories to hold any out: no decision is accepted without review" in shown.stdout
    assert "held out: -" in shown.stdout
