"""What an import may load, and which way imports go."""

import ast
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
LAYERS = ("indexer", "classifier", "service")


def imported_by(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_the_command_line_loads_nothing_heavy():
    code = "import cli, sys; print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(loaded)
    assert "click" in loaded


def test_a_look_into_a_store_without_fresh_rows_opens_no_table(built):
    arguments = ["similar", "mug", "--store", str(built)]
    code = (
        f"import cli, sys; cli.main({arguments!r}, standalone_mode=False); "
        "assert {'lancedb', 'torch'}.isdisjoint(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.count("mug")


@pytest.mark.parametrize("path", sorted((ROOT / "indexer").glob("*.py")), ids=lambda path: path.name)
def test_the_indexer_knows_no_classifier_and_no_terminal(path):
    assert {"classifier", "service", "cli", "options", "terminal", "upkeep", "click", "rich"}.isdisjoint(
        imported_by(path)
    )


@pytest.mark.parametrize("path", sorted((ROOT / "classifier").glob("*.py")), ids=lambda path: path.name)
def test_the_classifier_knows_no_terminal(path):
    assert {"service", "cli", "options", "terminal", "upkeep", "click", "rich"}.isdisjoint(imported_by(path))


@pytest.mark.parametrize("path", sorted((ROOT / "service").rglob("*.py")), ids=lambda path: path.name)
def test_the_service_knows_no_terminal(path):
    assert {"cli", "options", "terminal", "upkeep", "click", "rich"}.isdisjoint(imported_by(path))


@pytest.mark.parametrize(
    "path", sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")), ids=lambda path: path.name
)
def test_the_library_prints_nothing_and_unpickles_nothing(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "print" not in called
    assert {"pickle", "joblib", "dill", "shelve"}.isdisjoint(imported_by(path))


def test_the_options_on_the_command_line_are_the_librarys():
    from classifier import dense, model, pipeline
    from options import HEADS, MEASURES, TIERS

    assert tuple(dense.KINDS) == HEADS
    assert model.MEASURES == MEASURES
    assert pipeline.TIERS == TIERS


def test_no_import_cycles():
    files = [path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    uses = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        uses[name] = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module in modules}
    while free := [name for name, used in uses.items() if not used & uses.keys()]:
        for name in free:
            del uses[name]
    assert not uses
