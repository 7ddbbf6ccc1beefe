"""Errors as data: each has a code, library messages name no flags, and the command line adds hints."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import codes  # noqa: E402
import fields  # noqa: E402

from shelfwise.commands.hints import HINTS, with_hint  # noqa: E402
from shelfwise.indexer.errors import ShelfwiseError, StoreError  # noqa: E402

LIBRARY = [file for folder in ("indexer", "classifier", "shelfwise") for file in sorted((ROOT / folder).rglob("*.py"))]
# A command-line flag or a shelfwise command. The tests remove pip commands first.
COMMAND_LINE = re.compile(
    r"(?<![\w-])(--[a-z][a-z-]+|-[a-z])\b|shelfwise (add|build|check|classify|compact|info|migrate|train|tune|versions)\b"
)


def strings_in(file: Path):
    """Yield the string constants of a file that are not docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("file", [file for file in LIBRARY if "commands" not in file.parts], ids=lambda file: file.name)
def test_library_messages_name_no_flag_and_no_command(file):
    for text in strings_in(file):
        said = re.sub(r"(pip|python) [^,;]*", "", text)
        assert not COMMAND_LINE.search(said) or " " not in text, text


def test_the_command_line_pattern_finds_flags():
    for wrong in ("name it with --columns", "use -k 5 or less", "run shelfwise train", "say --force"):
        assert COMMAND_LINE.search(wrong)
    assert not COMMAND_LINE.search("a full-width form, or two - three")


def test_every_error_is_raised_with_a_code():
    wrong = []
    for file in LIBRARY:
        for call, (code, *parts) in codes.calls(ast.parse(file.read_text(encoding="utf-8"))):
            name = call.args[code] if len(call.args) > code else None
            literal = isinstance(name, ast.Constant) and re.fullmatch("[a-z]+(_[a-z0-9]+)*", name.value)
            known = literal or (
                name and ast.unparse(name).split(".")[-1] in ("code", "OVERLOADED")
            )  # the code of another error
            complete = all(part is None or len(call.args) > part for part in parts)
            if not known or not complete:
                wrong.append(f"{file.name}:{call.lineno}")
    assert not wrong


def test_the_page_of_codes_is_up_to_date():
    assert codes.PAGE.read_text(encoding="utf-8") == codes.page()
    assert len(codes.found_codes()) > 80


def test_the_page_of_fields_is_up_to_date():
    assert fields.PAGE.read_text(encoding="utf-8") == fields.page()


def test_every_hint_belongs_to_an_existing_code():
    assert HINTS.keys() <= codes.found_codes().keys()


def test_a_hint_names_the_options_of_the_command():
    missing = StoreError("no_store", "no store at a", "a store", "build one")
    assert with_hint(missing, {"store": "a"}, []).endswith("(shelfwise build CATALOG --store a)")
    assert with_hint(missing, {}, []) == str(missing)
    large = ShelfwiseError("k_too_large", "k 9", "at most 2", "ask for fewer")
    assert with_hint(large, {"neighbors": 9}, ["--neighbors"]).endswith("(--neighbors NUMBER)")
    assert with_hint(large, {"k": 9}, ["-k"]).endswith("(-k NUMBER)")
    assert with_hint(large, {"k": 9}, []) == str(large)
    full = ShelfwiseError("too_many_removed", "9 of 9 items would be removed", "at most 20%", "force it")
    assert with_hint(full, {}, ["--force"]).endswith("(--force, or --max-removed SHARE)")


def test_an_error_is_one_line():
    error = ShelfwiseError("a", "two\nlines", "one\r\nline", "fold\u2028it").at("line 3")
    assert str(error) == "line 3: two lines: expected one line; fold it"
