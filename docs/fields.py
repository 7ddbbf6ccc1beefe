"""Write docs/fields.md: the fields of an item, and the formats, encodings and profiles that reading knows.

python docs/fields.py            # write the page
python docs/fields.py --check    # fail if the page differs
"""

import sys
from pathlib import Path

from shelfwise.indexer.item import FIELDS, ID, IMAGE, KEPT, TARGET, TEXT
from shelfwise.indexer.reading.encodings import LANGUAGES_OF
from shelfwise.indexer.reading.files import formats
from shelfwise.indexer.reading.profiles import profiles

PAGE = Path(__file__).parent / "fields.md"
ROLES = {
    ID: "identifies the item; derived from its texts if missing",
    TEXT: "describes the item",
    IMAGE: "shows the item",
    TARGET: "the category; required in a catalog",
    KEPT: "stored and shown",
}
HEAD = """# Fields, formats, encodings and profiles

This page is generated from the code.

## Fields of an item

Each column of a file, a data frame or a dict gives one field. A column is recognised by its header, in lower or upper
case, with or without spaces, `-` and `_`. Pass `columns=` or `--columns` to name other columns.

| field | purpose | recognised headers | maximum length |
|---|---|---|---|
"""


MORE = """
## Formats

The first bytes decide, then `--format`, then the ending of the name, then the beginning of the text. Files compressed
with gzip, bzip2, xz or Zstandard are recognised by their bytes.

| format | endings |
|---|---|
{formats}

## Encodings of text

A byte order mark decides, then valid UTF-8, then the encoding in which the text reads clearly best, with a remark. If
none does, the file is refused, and the candidates are shown with a line of the file. `encoding=` or `--encoding` takes
any codec of Python.

| encoding | languages |
|---|---|
| utf-8, utf-16, utf-32 | all |
{encodings}

## Profiles

An export of these platforms is recognised by its headers; `profile=` or `--profile` names another one, or `none`.

| profile | platform | headers that identify it |
|---|---|---|
{profiles}
"""


def tables() -> dict[str, str]:
    """Return the rows of the tables in MORE."""
    lines: dict[str, list[str]] = {"formats": [], "encodings": [], "profiles": []}
    for name, form in formats().items():
        lines["formats"].append(f"| `{name}` | {', '.join(f'`{suffix}`' for suffix in form.SUFFIXES)} |")
    for codec, languages in LANGUAGES_OF.items():
        lines["encodings"].append(f"| {codec} | {', '.join(languages)} |")
    for name, profile in profiles().items():
        first = ", ".join(f"`{header}`" for header in sorted(profile.signature[0]))
        lines["profiles"].append(
            f"| `{name}` | {profile.title} | {first}, or {len(profile.signature) - 1} other sets |"
        )
    return {name: "\n".join(some) for name, some in lines.items()}


def page() -> str:
    """Return the page as Markdown."""
    rows = []
    for name, field in FIELDS.items():
        joined = "; can be joined from several columns" if field.joined else ""
        headers = ", ".join(f"`{header}`" for header in field.headers)
        longest = f"{field.longest:,} characters" + (", longer ones are cut" if field.shortened else "")
        rows.append(f"| `{name}` | {ROLES[field.role]}{joined} | {headers} | {longest} |")
    return HEAD + "\n".join(rows) + "\n" + MORE.format(**tables())


if __name__ == "__main__":
    made = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == made else f"{PAGE} differs: run python docs/fields.py")
    PAGE.write_text(made, encoding="utf-8")
