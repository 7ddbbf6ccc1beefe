"""The installed package, in a folder with other modules of the same names."""

import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from importlib.metadata import packages_distributions, version

import pytest
from conftest import ROOT, serve_store

import shelfwise as sw

pytestmark = pytest.mark.slow

TEN_LINES = """
import shelfwise as sw
store = sw.build("my.store", "catalog.csv", encoder="hashing")
assert store.classify("red sandal").category == "Sandals"
assert [one.category for one in store.classify(["ankle boot", "耳机"])] == ["Boots", "Headphones"]
assert len(store.similar("mug", k=3)) == 3
assert store.add([{"title": "Air fryer", "category": "Fryers"}]).version == 2
assert store.classify("air fryer").category == "Fryers"
assert store.evaluate("catalog.csv").accuracy > 0.9
assert store.rollback(1).items == 50
assert sw.to_frame(store.versions()).shape[0] == 3
print("done")
"""


@pytest.fixture
def shop(tmp_path, catalog_file):
    """Create a folder with modules named like those of Shelfwise; each raises an error when imported."""
    for name in ("cli", "options", "terminal", "upkeep", "classifier", "indexer", "service", "data", "rows", "store"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('the {name} of the shop')\n")
    (tmp_path / "codes.py").write_text("raise RuntimeError('the codes of the shop')\n")
    return tmp_path


def run_in(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([".", *filter(None, [os.environ.get("PYTHONPATH")])])}
    ran = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_modules_of_the_same_names_do_not_break_the_package(shop):
    assert run_in(shop, "-c", TEN_LINES) == "done\n"
    assert "Sandals" in run_in(shop, "-m", "shelfwise", "similar", "sandal", "--store", "my.store")
    with (
        serve_store(shop / "my.store", cwd=shop, PYTHONPATH=".") as url,
        urllib.request.urlopen(f"{url}/v1/categories") as answer,
    ):
        assert answer.status == 200


def test_it_runs_as_a_module_and_as_a_launcher(tmp_path):
    shown = f"shelfwise, version {sw.__version__}\n"
    assert run_in(tmp_path, "-m", "shelfwise", "--version") == shown
    assert run_in(tmp_path, ROOT / "cli.py", "--version") == shown
    assert "Usage: shelfwise" in run_in(tmp_path, "-m", "shelfwise", "--help")


def test_a_checkout_that_is_not_installed_is_one_error_line(tmp_path):
    """The folder comes first on the path, even if a wheel is installed elsewhere."""
    ran = subprocess.run([sys.executable, "-S", ROOT / "cli.py"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: this checkout of shelfwise is not installed: run pip install -e")
    assert ran.stderr.count("\n") == 1
    imported = subprocess.run(
        [sys.executable, "-S", "-c", "import shelfwise"], cwd=ROOT, capture_output=True, text=True
    )
    assert "this checkout of shelfwise is not installed" in imported.stderr.splitlines()[-1]


def test_the_version_has_a_single_source():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert re.search(rf"^## {re.escape(sw.__version__)}$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert version("shelfwise") == sw.__version__
    names = [name for name, owners in packages_distributions().items() if "shelfwise" in owners]
    assert [name for name in names if not name.startswith("__editable__")] == ["shelfwise"]


def test_every_package_folder_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {"shelfwise": ROOT / "shelfwise"} | {
        name: ROOT / folder for name, folder in project["tool"]["setuptools"]["package-dir"].items()
    }
    there = {
        ".".join([name, *file.parent.relative_to(folder).parts])
        for name, folder in folders.items()
        for file in folder.rglob("__init__.py")
    }
    assert there == set(project["tool"]["setuptools"]["packages"])
    assert (ROOT / "shelfwise" / "py.typed").exists()
