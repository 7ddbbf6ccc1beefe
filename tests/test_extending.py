"""One file adds a file format, an encoder kind or an opinion; each is copied into a copy of the package."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import small_catalog, write_catalog
from test_imports import PACKAGES, ROOT

import shelfwise as sw

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent / "extending"
PLACES = {
    "ltsv.py": "indexer/reading/files",
    "letters.py": "indexer/encoding/kinds",
    "prior.py": "classifier/model/opinions",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Copy the package in its installed layout, with the three extension files."""
    folder = tmp_path_factory.mktemp("site")
    for source, package in {**PACKAGES, "data": "shelfwise.data"}.items():
        shutil.copytree(ROOT / source, folder.joinpath(*package.split(".")), dirs_exist_ok=True)
    for file, place in PLACES.items():
        shutil.copy(EXAMPLES / file, folder / "shelfwise" / place)
    return folder


@pytest.fixture(scope="module")
def shelfwise(site, tmp_path_factory):
    """Run the command line of the copy and return its output."""

    def call(*arguments):
        command = [sys.executable, "-m", "shelfwise", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        ran = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return call


def to_ltsv(items, *names):
    return "".join("\t".join(f"{name}:{getattr(item, name)}" for name in names) + "\n" for item in items)


def test_one_file_adds_a_format_an_encoder_or_an_opinion(shelfwise, site, tmp_path):
    catalog, listings, store = tmp_path / "catalog.ltsv", tmp_path / "new.ltsv", tmp_path / "store"
    catalog.write_text(to_ltsv(small_catalog(), "id", "title", "category_path"), encoding="utf-8")
    listings.write_text(to_ltsv(small_catalog()[:5], "id", "title"), encoding="utf-8")
    shelfwise("build", catalog, "--store", store, "--encoder", "letters")
    info = json.loads(shelfwise("info", "--store", store, "--json"))
    assert (info["rows"], info["encoder"]["name"]) == (50, "letters")
    assert info["settings"]["mix"]["weights"].keys() == {"ngrams", "prior", "vectors"}
    assert info["settings"]["temperatures"].keys() == {"ngrams", "prior", "vectors"}
    decided = list(csv.DictReader(io.StringIO(shelfwise("classify", listings, "--store", store))))
    assert [row["predicted_path"] for row in decided] == [item.category_path for item in small_catalog()[:5]]
    catalog.write_text("id:1\ttitle:red mug\tcategory:Mugs\njunk\nid:2\ttitle:blue pan\tbrand:VELORO\tcategory:Pans\n")
    rejects = tmp_path / "rejects.jsonl"
    shelfwise("build", catalog, "--store", tmp_path / "other", "--encoder", "hashing", "--rejects", rejects)
    assert json.loads(shelfwise("similar", "pan", "--store", tmp_path / "other", "--json"))[0]["brand"] == "VELORO"
    assert json.loads(rejects.read_text())["code"] == "no_label"
    piped = tmp_path / "named otherwise.txt"
    shutil.copy(listings, piped)
    assert shelfwise("classify", piped, "--store", store).count("\n") == 6  # recognised by its first line
    assert "ltsv" in shelfwise("classify", "--help")
    assert not list((ROOT / "indexer").rglob("ltsv.py"))


def test_a_store_with_a_missing_opinion_is_refused(site, shelfwise, tmp_path):
    catalog = write_catalog(tmp_path / "c.csv", small_catalog())
    shelfwise("build", catalog, "--store", tmp_path / "store", "--encoder", "hashing")
    with pytest.raises(sw.ShelfwiseError) as error:
        sw.open(tmp_path / "store").classify("mug")
    assert (error.value.code, "prior" in error.value.found) == ("unknown_opinion", True)
