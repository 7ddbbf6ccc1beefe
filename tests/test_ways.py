"""The processing of a row and of a listing: each text is cleaned as rarely as possible."""

import csv
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import shelfwise as sw
from shelfwise.indexer import item

PARTS = ("title", "brand", "attributes", "description")


@contextmanager
def counted_calls(function):
    """Count the calls of a function in all threads, by first argument."""
    counts: Counter[str] = Counter()

    def profile(frame, event, _):
        if event == "call" and frame.f_code is function.__code__:
            counts[frame.f_locals[function.__code__.co_varnames[0]]] += 1

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield counts
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def rows(many):
    words = ("mug", "kettle", "pan")
    return [
        {"id": f"i{i}"}
        | {part: f"{part} {i} of a <b>{words[i % 3]}</b>" for part in PARTS}
        | {"category_path": f"Kitchen > {words[i % 3]}"}
        for i in range(many)
    ]


def write(path, table):
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


def test_each_field_of_a_row_is_cleaned_once(run, tmp_path):
    catalog = rows(60)
    file = write(tmp_path / "catalog.csv", catalog)
    with counted_calls(item.clean) as counts:
        assert run("build", file, "--store", tmp_path / "store", "--encoder", "hashing").exit_code == 0
    cleaned = Counter({said: many for said, many in counts.items() if said})
    paths = {row["category_path"] for row in catalog}
    assert Counter({said: many for said, many in cleaned.items() if said not in paths}) == Counter(
        row[name] for row in catalog for name in PARTS
    )
    assert all(cleaned[path] < 20 for path in paths)  # 20 rows have each path: it is cleaned for its rule alone


def test_a_small_rebuild_cleans_each_changed_field_once(run, tmp_path):
    catalog = rows(60)
    sw.build(tmp_path / "store", catalog, encoder="hashing").close()
    catalog[0]["title"] = "a new title"
    file = write(tmp_path / "catalog.csv", catalog)
    with counted_calls(item.clean) as counts:
        assert run("build", file, "--store", tmp_path / "store").exit_code == 0
    assert counts["a new title"] == 1
    # A catalog row is cleaned when it is read, and a stored row when its category is predicted again.
    assert all(counts[row[name]] <= 2 for row in catalog for name in PARTS)


def test_each_field_of_a_listing_is_cleaned_once(run, tmp_path):
    sw.build(tmp_path / "store", rows(60), encoder="hashing").close()
    listings = [{name: value for name, value in row.items() if name != "category_path"} for row in rows(20)]
    file = write(tmp_path / "new.csv", listings)
    for tier in ("full", "auto", "fast"):
        with counted_calls(item.clean) as counts:
            out = tmp_path / "out.csv"
            assert run("classify", file, "--store", tmp_path / "store", "-o", out, "--tier", tier).exit_code == 0
        cleaned = Counter({said: many for said, many in counts.items() if said})
        assert cleaned == Counter(row[name] for row in listings for name in PARTS)
