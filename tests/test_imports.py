"""Import rules: no heavy packages at import, and only allowed directions between the wings."""

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
PACKAGES = {  # folders of the repository -> installed packages
    "indexer": "shelfwise.indexer",
    "classifier": "shelfwise.classifier",
    "shelfwise": "shelfwise",
}
INDEXER = ["indexer", "indexer.reading", "indexer.encoding", "indexer.store", "indexer.searching"]
CLASSIFIER = [*INDEXER, "classifier", "classifier.model", "classifier.fitting"]
MAY_IMPORT = {  # each wing of shelfwise -> the other wings it may import
    "indexer": [],
    "indexer.reading": ["indexer"],
    "indexer.encoding": ["indexer"],
    "indexer.store": ["indexer", "indexer.reading", "indexer.encoding"],
    "indexer.searching": ["indexer", "indexer.reading", "indexer.encoding", "indexer.store"],
    "classifier": ["indexer", "indexer.reading"],
    "classifier.model": [*INDEXER, "classifier"],
    "classifier.fitting": [*INDEXER, "classifier", "classifier.model"],
    "classifier.changing": CLASSIFIER,
    "classifier.measuring": CLASSIFIER,
    "service": [*CLASSIFIER, "classifier.changing", "classifier.measuring"],
    "": [*CLASSIFIER, "classifier.changing", "classifier.measuring"],
    "commands": None,  # listed in ARCHITECTURE.md
    "__main__": None,
}
TERMINAL = ("click", "rich")  # packages for the commands and the progress bar only
FILES = [path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))]


def module_of(path: Path) -> str:
    """Return the full name of the module in a file."""
    folder, *parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGES[folder], *(part for part in parts if part != "__init__")])


def wing_of(module: str) -> str:
    """Return the wing of a module: the longest wing name that the module name starts with."""
    name = module.removeprefix("shelfwise").removeprefix(".")
    return max((wing for wing in MAY_IMPORT if not wing or f"{name}.".startswith(f"{wing}.")), key=len)


def imported_by(source: str) -> set[str]:
    """Return the full names of the modules imported by a source text; relative imports keep their dots."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {f"{module}.{alias.name}" for alias in node.names}
            names |= {module} if node.module and node.module != "shelfwise" else set()
    return names


def forbidden_imports(module: str, source: str) -> set[str]:
    """Return the imports in a module's source text that its wing may not use."""
    wing = wing_of(module)
    allowed = MAY_IMPORT[wing]
    wrong = set()
    for name in imported_by(source):
        if name.partition(".")[0] in TERMINAL and wing != "commands" and module != "shelfwise.progress":
            wrong.add(name)
        if name.startswith("."):
            wrong.add(name)
        if allowed is not None and f"{name}.".startswith("shelfwise.") and wing_of(name) not in (wing, *allowed):
            wrong.add(name)
    return wrong - {"shelfwise.__version__"}


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", ["shelfwise", "shelfwise.commands.main"])
def test_an_import_loads_no_heavy_packages(module):
    loaded = run_python(f"import {module}, sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))")
    assert HEAVY.isdisjoint(loaded.split())
    assert ("click" in loaded.split()) == (module != "shelfwise")


@pytest.mark.slow
def test_a_search_without_fresh_rows_opens_no_table(built):
    arguments = ["similar", "mug", "--store", str(built)]
    code = (
        f"import sys; from shelfwise.commands.main import main; main({arguments!r}, standalone_mode=False); "
        "assert {'lancedb', 'torch'}.isdisjoint(sys.modules)"
    )
    assert run_python(code).count("mug")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_modules_import_only_allowed_wings(path):
    assert not forbidden_imports(module_of(path), path.read_text(encoding="utf-8"))


def test_the_wings_have_an_order_and_are_complete():
    order = list(MAY_IMPORT)
    assert all(order.index(other) < order.index(wing) for wing, others in MAY_IMPORT.items() for other in others or ())
    wings = {wing_of(module_of(path)) for path in FILES}
    assert wings == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        ("shelfwise.indexer.rows", "import shelfwise.classifier.model.model"),
        ("shelfwise.indexer.rows", "from shelfwise.indexer.encoding import encoder"),
        ("shelfwise.indexer.encoding.space", "from shelfwise.indexer.store.manifest import read_manifest"),
        ("shelfwise.indexer.store.history", "def f():\n    from shelfwise.indexer.searching import replica"),
        ("shelfwise.classifier.model.opinions", "from shelfwise.classifier.fitting.training import fit"),
        ("shelfwise.classifier.fitting.training", "from shelfwise.service.desk import Desk"),
        ("shelfwise.service.desk", "from shelfwise.commands import main"),
        ("shelfwise.store", "from shelfwise.service.desk import Desk"),
        ("shelfwise.service.app", "from click import echo"),
        ("shelfwise.indexer.rows", "import shelfwise"),
        ("shelfwise.indexer.rows", "from .store import manifest"),
        ("shelfwise.indexer.rows", "from . import store"),
        ("shelfwise.indexer.encoding.space", "from ..searching.index import Index"),
    ],
)
def test_forbidden_imports_are_detected(module, wrong):
    assert forbidden_imports(module, wrong)


def test_allowed_imports_pass():
    assert not forbidden_imports("shelfwise.classifier.model.opinions", "from shelfwise.indexer.rows import Rows")
    assert not forbidden_imports("shelfwise.commands.main", "import click")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_the_library_does_not_print_or_unpickle(path):
    source = path.read_text(encoding="utf-8")
    called = {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "print" not in called
    assert {"pickle", "joblib", "dill", "shelve"}.isdisjoint(name.partition(".")[0] for name in imported_by(source))


def test_the_command_line_choices_match_the_library():
    from shelfwise.classifier.model import model, pipeline
    from shelfwise.classifier.model.opinions import vectors
    from shelfwise.commands.options import FORMATS, HEADS, MEASURES, TIERS
    from shelfwise.indexer.reading import files

    assert tuple(vectors.KINDS) == HEADS
    assert model.MEASURES == MEASURES
    assert pipeline.TIERS == TIERS
    assert files.names() == list(FORMATS)


def test_there_are_no_import_cycles():
    modules = {module_of(path): path for path in FILES}
    del modules["shelfwise"]  # imports its public names lazily
    uses = {
        name: (imported_by(path.read_text(encoding="utf-8")) & modules.keys()) - {name}
        for name, path in modules.items()
    }
    while free := [name for name, used in uses.items() if not used & uses.keys()]:
        for name in free:
            del uses[name]
    assert not uses


def test_files_that_import_internals_are_listed():
    below = ("shelfwise.indexer", "shelfwise.classifier", "shelfwise.service")
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = text.partition("<!-- exceptions -->")[2].partition("<!-- /exceptions -->")[0]
    files = [*(ROOT / "shelfwise" / "commands").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    found = {
        path.name for path in files for name in imported_by(path.read_text(encoding="utf-8")) if name.startswith(below)
    }
    assert {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", listed)} == found


def test_modules_are_imported_through_the_package():
    files = [*FILES, *(ROOT / "benchmarks").glob("*.py")]
    for path in files:
        names = {name.partition(".")[0] for name in imported_by(path.read_text(encoding="utf-8"))}
        assert names.isdisjoint({"indexer", "classifier", "service", "cli", "options", "terminal", "upkeep"}), path
