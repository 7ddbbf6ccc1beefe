"""Limits of the code: lengths of modules and functions, and one meaning for each name."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest
from test_imports import FILES, ROOT, module_of

LONGEST_MODULE, LONGEST_FUNCTION = 400, 60  # lines
MOST_PARAMETERS = 6  # of a command
# Modules of these folders define the same names on purpose: plug-ins are found by these names.
FOUND_BY_NAME = ("shelfwise.indexer.reading.files.", "shelfwise.indexer.encoding.kinds.",
                 "shelfwise.classifier.model.opinions.")  # fmt: skip
COPIES = {
    "MEASURES",
    "TIERS",
}  # copied to `commands.options` so that --help loads no library; test_imports compares them
ALL = [*FILES, *(path for folder in ("tests", "benchmarks", "docs") for path in sorted((ROOT / folder).rglob("*.py")))]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions_of(path: Path):
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    long = [node.name for node in functions_of(path) if node.end_lineno - node.lineno >= LONGEST_FUNCTION]
    assert not long


def test_a_type_name_is_defined_once():
    """Check classes, aliases and type variables."""
    places = defaultdict(set)
    for path in FILES:
        for node in tree_of(path).body:
            named = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
            named += [node.name] if isinstance(node, ast.ClassDef) else []
            for name in named:
                if name[0].isupper() and not name.isupper():
                    places[name].add(module_of(path))
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_a_constant_has_one_meaning():
    places = defaultdict(set)
    for path in FILES:
        module = module_of(path)
        if f"{module}.".startswith(FOUND_BY_NAME) and path.name != "__init__.py":
            continue
        for node in tree_of(path).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in filter(None, targets):
                for name in ast.walk(target):
                    if isinstance(name, ast.Name) and name.id.isupper():
                        places[name.id].add(module)
    assert not {name: where for name, where in places.items() if len(where) > 1 and name not in COPIES}


@pytest.mark.parametrize("path", sorted((ROOT / "shelfwise" / "commands").glob("*.py")), ids=lambda path: path.name)
def test_commands_have_few_parameters(path):
    for node in functions_of(path):
        assert len(node.args.args) + len(node.args.kwonlyargs) <= MOST_PARAMETERS, node.name


def test_only_the_disk_module_changes_the_store_folder():
    touching = {"rmtree", "unlink", "rename", "fsync", "FileLock"}
    folders = ("indexer/store", "indexer/searching", "classifier")
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path.name != "disk.py"]:
        used = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(tree_of(path))}
        assert not used & touching, path
