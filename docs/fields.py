"""Write docs/fields.md, the page of an item's fields, from their declaration in `shelfwise.indexer.item`.

python docs/fields.py            # write the page
python docs/fields.py --check    # fail if the page differs
"""

import sys
from pathlib import Path

from shelfwise.indexer.item import FIELDS, ID, IMAGE, KEPT, TARGET, TEXT

PAGE = Path(__file__).parent / "fields.md"
ROLES = {
    ID: "identifies the item; derived from its texts if missing",
    TEXT: "describes the item",
    IMAGE: "shows the item",
    TARGET: "the category; required in a catalog",
    KEPT: "stored and shown",
}
HEAD = """# Fields of an item

Each column of a file, a data frame or a dict gives one field. A column is recognised by its header, in lower or upper
case, with or without spaces, `-` and `_`. Pass `columns=` or `--columns` to name other columns.

| field | purpose | recognised headers | maximum length |
|---|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown."""
    rows = []
    for name, field in FIELDS.items():
        joined = "; can be joined from several columns" if field.joined else ""
        headers = ", ".join(f"`{header}`" for header in field.headers)
        rows.append(f"| `{name}` | {ROLES[field.role]}{joined} | {headers} | {field.longest:,} characters |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    made = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == made else f"{PAGE} differs: run python docs/fields.py")
    PAGE.write_text(made, encoding="utf-8")
