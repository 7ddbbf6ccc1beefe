"""The demo keeps the promises of the README."""

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ROOT, open_page, serve_store

import shelfwise as sw
from shelfwise.commands.demo import sample
from shelfwise.commands.main import main
from shelfwise.indexer.item import beyond_latin

pytestmark = pytest.mark.slow


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


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory):
    """Run the demo once; return its output and its store."""
    store = tmp_path_factory.mktemp("demo") / "demo.store"
    result = CliRunner().invoke(main, ["demo", "--store", str(store), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    return result.stdout, store


def test_the_demo_prints_what_readme_shows(demonstrated):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```\n(1\. Build.*?)```", readme, re.DOTALL)
    assert shown and shown[1].rstrip() == demonstrated[0].rstrip()


def test_the_demo_reaches_its_accuracy(demonstrated):
    listings, newcomers = sample("listings.csv"), sample("new_listings.csv")
    with sw.open(demonstrated[1]) as store:
        for chinese in (True, False):
            own = [item for item in listings if beyond_latin(item.title) == chinese]
            assert share_right(store, own) >= 0.8
        assert share_right(store, listings) >= 0.85
        assert share_right(store, newcomers) >= 0.8


def share_right(store, items) -> float:
    decisions = store.classify(items)
    return sum(said.category_path == item.category_path for said, item in zip(decisions, items, strict=True)) / len(
        items
    )


def test_the_picture_of_the_documents_shows_right_decisions(demonstrated, browser, tmp_path):
    """With SHELFWISE_PICTURES=docs/pictures the picture is written there."""
    chosen = {item.id: item for item in sample("listings.csv") if item.id in ("L-103", "L-063")}
    with (
        serve_store(demonstrated[1]) as url,
        open_page(browser, url, viewport={"width": 1000, "height": 700}, device_scale_factor=2) as page,
    ):
        page.goto("/classify")
        page.get_by_label("Listings, a title on each line").fill("\n".join(item.title for item in chosen.values()))
        page.get_by_role("button", name="Classify", exact=True).click()
        decided = page.locator("#decided")
        for item in chosen.values():
            decided.get_by_text(item.category_path).first.wait_for()
        assert decided.get_by_text("accept", exact=True).count() == len(chosen)
        folder = Path(os.environ.get("SHELFWISE_PICTURES") or tmp_path)
        page.screenshot(path=folder / "decisions.png", full_page=True, caret="initial")
        assert (folder / "decisions.png").stat().st_size > 20_000


def test_the_broken_rows_of_the_sample_are_rejected(run, tmp_path):
    from importlib.resources import files

    result = run("build", files("shelfwise.data") / "broken.csv", "--store", "s", "--encoder", "hashing")
    assert result.exit_code == 0
    assert "rows rejected" in result.stderr
