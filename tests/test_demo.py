"""The demo keeps the promises of the README."""

import re

from shelfwise.commands.demo import sample
from shelfwise.indexer.item import beyond_latin


def test_the_sample_data_has_the_documented_size_and_languages():
    catalog, listings = sample("catalog.csv"), sample("listings.csv")
    examples, newcomers = sample("new_categories.csv"), sample("new_listings.csv")
    paths = {item.category_path for item in catalog}
    assert len(catalog) >= 600
    assert len(paths) >= 45
    assert len(listings) >= 150
    assert all(path.count(" > ") == 2 for path in paths)
    assert 0.45 < sum(beyond_latin(item.title) for item in catalog) / len(catalog) < 0.55
    assert {item.category_path for item in listings} == paths
    new = {item.category_path for item in examples}
    assert len(new) == 2
    assert not new & paths
    assert {item.category_path for item in newcomers} == new
    assert not {item.title for item in catalog + examples} & {item.title for item in listings + newcomers}


def test_the_demo_reaches_its_accuracy(run):
    result = run("demo", "--store", "kept.store", "--device", "cpu")
    assert result.exit_code == 0, result.output
    text = result.stdout
    languages = [tuple(map(int, found)) for found in re.findall(r"(?:Chinese|English): (\d+) of (\d+) right", text)]
    assert len(languages) == 2
    assert sum(right for right, _ in languages) / sum(total for _, total in languages) >= 0.85
    assert all(right / total >= 0.8 for right, total in languages)
    found = [tuple(map(int, pair)) for pair in re.findall(r": (\d+) of its (\d+) listings found", text)]
    assert len(found) == 2
    assert sum(right for right, _ in found) / sum(total for _, total in found) >= 0.8
    total, changed = map(int, re.search(r"of the (\d+) listings of step 2, (\d+) changed", text).groups())
    assert changed <= total / 50
    assert "rows: " in run("info", "--store", "kept.store").stdout


def test_the_broken_rows_of_the_sample_are_rejected(run, tmp_path):
    from importlib.resources import files

    result = run("build", files("shelfwise.data") / "broken.csv", "--store", "s", "--encoder", "hashing")
    assert result.exit_code == 0
    assert "rows rejected" in result.stderr
