"""Write docs/errors.md, the page of all error codes, from the calls that raise them.

python docs/codes.py            # write the page
python docs/codes.py --check    # fail if the page differs
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "errors.md"
FOLDERS = ("indexer", "classifier", "shelfwise")
# Positions of code, found, expected and fix among the arguments (None if there is no such argument).
PLACES = {
    **dict.fromkeys(
        (
            "ShelfwiseError",
            "InputError",
            "EncoderError",
            "StoreError",
            "BusyError",
            "ReleaseError",
            "EngineError",
            "QueryError",
            "AbsentError",
        ),
        (0, 1, 2, 3),
    ),
    "Reject": (4, 5, None, None),
    "Fault": (1, 2, None, None),
    "PathFault": (0, 1, None, None),
    "EncodingError": (0, 1, 2, 3),
    "_refused": (1, 2, None, None),
    "said": (2, 3, None, None),
}
HEAD = """# Error codes

Every error of the Python API is a `shelfwise.ShelfwiseError` with a `code`, what was `found`, what was `expected`, and
the `fix`. HTTP responses have the `code`, and the message in `detail`. A rejected row has its `code` in
`report.rejects` and in the file of rejects. Codes stay the same in later versions. This page is generated from the
code.

| code | found | expected | fix |
|---|---|---|---|
"""

Entry = tuple[str, str, str]


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, tuple[int | None, ...]]]:
    """Yield each call that creates an error, with the positions of its parts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLACES:
            yield node, PLACES[node.func.id]


def text_of(node: ast.expr | None) -> str:
    """Return a message as written in the code, with each value in braces by its last name."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return text_of(node.value)
    names = [part.attr if isinstance(part, ast.Attribute) else part.id for part in ast.walk(node)
             if isinstance(part, ast.Attribute | ast.Name)]  # fmt: skip
    return f"{{{names[0]}}}" if names else "..."


def found_codes() -> dict[str, set[Entry]]:
    """Return the messages of each error code, from all calls that raise it."""
    codes = defaultdict[str, set[Entry]](set)
    for file in sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")):
        for call, (code, *parts) in calls(ast.parse(file.read_text(encoding="utf-8"))):
            if code is None or code >= len(call.args):
                continue
            name = call.args[code]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                said = [text_of(call.args[part]) if part is not None else "" for part in parts]
                codes[name.value].add((said[0], said[1], said[2]))
    service = ast.parse((ROOT / "shelfwise" / "service" / "app.py").read_text(encoding="utf-8"))
    for node in ast.walk(service):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CODES":
            for status, code in ast.literal_eval(node.value).items():
                codes[code].add((f"HTTP status {status}", "", ""))
    codes["overloaded"].add(("HTTP status 503: server busy", "", "retry after the seconds in Retry-After"))
    return codes


def page() -> str:
    """Return the page as Markdown."""
    lines = []
    for code, entries in sorted(found_codes().items()):
        for number, entry in enumerate(sorted(entries)):
            cells = (cell.replace("|", "\\|").replace("\n", " ") for cell in entry)
            lines.append(f"| {f'`{code}`' if number == 0 else ''} | {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page, or with --check compare it with the file."""
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            sys.exit("docs/errors.md differs from the code: run python docs/codes.py")
    else:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
