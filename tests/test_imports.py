"""What an import may load, and which way imports go."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {
    "torch",
    "faiss",
    "sentence_transformers",
    "pandas",
    "lancedb",
    "numpy",
    "sklearn",
    "transformers",
    "pyarrow",
    "openvino",
    "fastapi",
    "uvicorn",
}
LAYERS = {  # folders of the repository, and the packages that they are installed as
    "indexer": "shelfwise.indexer",
    "classifier": "shelfwise.classifier",
    "shelfwise/service": "shelfwise.service",
    "shelfwise/commands": "shelfwise.commands",
}
TERMINAL = ("shelfwise.commands", "click", "rich")
FORBIDDEN = {  # what each layer may not import
    "indexer": ("shelfwise.classifier", "shelfwise.service", "shelfwise.store", *TERMINAL),
    "classifier": ("shelfwise.service", "shelfwise.store", *TERMINAL),
    "shelfwise/service": TERMINAL,
    "shelfwise/commands": (),
}
FILES = [(layer, path) for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imported_by(source: str) -> set[str]:
    """The full names of the modules that a source text imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def forbidden(layer: str, source: str) -> set[str]:
    """What a source text imports that its layer may not."""
    return {name for name in imported_by(source) for no in FORBIDDEN[layer] if f"{name}.".startswith(f"{no}.")}


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", ["shelfwise", "shelfwise.commands.main"])
def test_an_import_loads_nothing_heavy(module):
    loaded = run_python(f"import {module}, sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))")
    assert HEAVY.isdisjoint(loaded.split())
    assert ("click" in loaded.split()) == (module != "shelfwise")


def test_a_look_into_a_store_without_fresh_rows_opens_no_table(built):
    arguments = ["similar", "mug", "--store", str(built)]
    code = (
        f"import sys; from shelfwise.commands.main import main; main({arguments!r}, standalone_mode=False); "
        "assert {'lancedb', 'torch'}.isdisjoint(sys.modules)"
    )
    assert run_python(code).count("mug")


@pytest.mark.parametrize(("layer", "path"), FILES, ids=lambda value: str(getattr(value, "name", value)))
def test_imports_go_one_way(layer, path):
    assert not forbidden(layer, path.read_text(encoding="utf-8"))


def test_the_guard_of_imports_sees_every_form_of_a_wrong_one():
    for wrong in (
        "import shelfwise.classifier.model",
        "from shelfwise.classifier import model",
        "from click import echo",
    ):
        assert forbidden("indexer", wrong)
    assert not forbidden("classifier", "from shelfwise.indexer.rows import Rows")


@pytest.mark.parametrize(("layer", "path"), FILES, ids=lambda value: str(getattr(value, "name", value)))
def test_the_library_prints_nothing_and_unpickles_nothing(layer, path):
    source = path.read_text(encoding="utf-8")
    called = {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "print" not in called
    assert {"pickle", "joblib", "dill", "shelve"}.isdisjoint(name.partition(".")[0] for name in imported_by(source))


def test_the_options_on_the_command_line_are_the_librarys():
    from shelfwise.classifier import dense, model, pipeline
    from shelfwise.commands.options import HEADS, MEASURES, TIERS

    assert tuple(dense.KINDS) == HEADS
    assert model.MEASURES == MEASURES
    assert pipeline.TIERS == TIERS


def test_no_import_cycles():
    modules = {
        ".".join([LAYERS[layer], *path.relative_to(ROOT / layer).with_suffix("").parts]): path for layer, path in FILES
    }
    uses = {name: imported_by(path.read_text(encoding="utf-8")) & modules.keys() for name, path in modules.items()}
    while free := [name for name, used in uses.items() if not used & uses.keys()]:
        for name in free:
            del uses[name]
    assert not uses


def test_who_imports_more_than_the_public_api_is_listed():
    below = ("shelfwise.indexer", "shelfwise.classifier", "shelfwise.service")
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = text.partition("<!-- exceptions -->")[2].partition("<!-- /exceptions -->")[0]
    files = [*(ROOT / "shelfwise" / "commands").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    found = {
        path.name for path in files for name in imported_by(path.read_text(encoding="utf-8")) if name.startswith(below)
    }
    assert {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", listed)} == found


def test_nothing_is_imported_under_a_name_of_its_own():
    files = [*(path for _, path in FILES), *(ROOT / "shelfwise").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    for path in files:
        names = {name.partition(".")[0] for name in imported_by(path.read_text(encoding="utf-8"))}
        assert names.isdisjoint({"indexer", "classifier", "service", "cli", "options", "terminal", "upkeep"}), path
