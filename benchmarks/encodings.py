"""Measure the recognition of encodings: how many files of 5, 50 and 500 rows are read wrongly, and how many refused.

    python benchmarks/encodings.py --data DIR
    python benchmarks/encodings.py --quick       check with few draws and own titles, writes no results

Titles come from lists of words (`wordlists.py`), the sample catalog, and a real catalog in DIR. A file is wrong if
the text read differs from the text written. "mixed" files have ten titles of ASCII letters for each title with others.
Encodings of other systems and languages are measured with fewer files. Results go to
benchmarks/results/encodings.json.
"""

import csv
import gzip
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from harness import ROOT, record
from wordlists import titles

from shelfwise.indexer.reading.encodings import EncodingError, detect

RESULTS = ROOT / "benchmarks" / "results" / "encodings.json"
SIZES = (5, 50, 500)  # rows of a file
DRAWS, OTHER_DRAWS = 100, 20  # files of each size in the encodings that count, and in the other ones
LEAST = 500  # titles of a pool
MAY_REFUSE = 10  # percent of the files of 500 rows, in the encodings whose texts are least like others
STRICT = ("gb18030", "big5", "cp932", "euc-jp", "cp949", "koi8-r")
WESTERN = ("German", "French", "Spanish", "Portuguese", "Italian", "Swedish", "Danish", "Finnish")
CENTRAL = ("Polish", "Czech", "Slovak", "Hungarian", "Croatian")
OWN = {
    **dict.fromkeys(WESTERN, ("cp1252", "utf-8")),
    **dict.fromkeys(CENTRAL, ("cp1250",)),
    "Romanian": ("cp1250",),
    "Turkish": ("cp1254",),
    "Russian": ("cp1251", "koi8-r"),
    "Greek": ("cp1253",),
    "Japanese": ("cp932", "euc-jp"),
    "Korean": ("cp949",),
    "Traditional Chinese": ("big5", "gb18030"),
    "Chinese": ("gb18030", "utf-8", "utf-16-le", "utf-16-be"),
}
OTHER = {
    "Hebrew": ("cp1255",),
    "Arabic": ("cp1256",),
    "Thai": ("cp874",),
    "Lithuanian": ("cp1257",),
    "Russian": ("cp866", "iso8859-5", "mac-cyrillic"),
    "German": ("cp850", "mac-roman"),
    "French": ("cp850", "mac-roman"),
    "Polish": ("cp852", "iso8859-2"),
    "Czech": ("cp852", "iso8859-2"),
    "Greek": ("iso8859-7", "cp737"),
}


@dataclass(frozen=True)
class Pool:
    """Titles to draw from, in an encoding that has all their characters."""

    name: str
    encoding: str
    titles: list[str]


def holdable(every: list[str], encoding: str) -> list[str]:
    """Return the distinct titles with letters beyond ASCII that an encoding can hold."""
    return [title for title in dict.fromkeys(every) if has_letters(title) and holds(title, encoding)]


def has_letters(title: str) -> bool:
    """Return True if a title has letters beyond ASCII."""
    return any(char.isalpha() and not char.isascii() for char in title)


def holds(title: str, encoding: str) -> bool:
    """Return True if an encoding has all characters of a title."""
    try:
        return title.encode(encoding).decode(encoding) == title
    except UnicodeError:
        return False


def own_pools() -> Iterator[Pool]:
    """Yield pools of titles made from lists of words, and of the sample catalog."""
    for language, encodings in OWN.items():
        for encoding in encodings:
            every = titles(language, 1000)
            if language == "Romanian":  # the encoding has only the letters with cedilla
                every = [title.translate(str.maketrans("țșȚȘ", "ţşŢŞ")) for title in every]
            yield Pool(language, encoding, holdable(every, encoding))
    yield Pool("Western mixed", "cp1252", [title for one in WESTERN for title in titles(one, 200)])
    yield Pool("Central mixed", "cp1250", [title for one in CENTRAL for title in titles(one, 200)])
    with (ROOT / "data" / "catalog.csv").open(encoding="utf-8", newline="") as stream:
        catalog = [row["title"] for row in csv.DictReader(stream)]
    yield Pool("sample catalog", "gb18030", holdable(catalog, "gb18030"))


def real_pools(data: Path) -> Iterator[Pool]:
    """Yield pools of the titles of a real catalog."""
    with gzip.open(data / "zh_retail30" / "train.tsv.gz", "rt", encoding="utf-8", newline="") as stream:
        every = [row["title"] for row in csv.DictReader(stream, delimiter="\t")]
    for encoding in ("gb18030", "utf-8", "utf-16-le"):
        yield Pool("zh_retail30", encoding, holdable(every, encoding))


def file_of(rows: list[str]) -> str:
    """Return a CSV file of titles."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "title", "category"])
    writer.writerows((f"A-{n}", title, "Home > Kitchen") for n, title in enumerate(rows))
    return text.getvalue()


def outcome(text: str, encoding: str) -> str:
    """Return right, wrong or refused for a text written in an encoding."""
    data = text.encode(encoding)
    try:
        codec = detect(data, complete=True).encoding
    except EncodingError:
        return "refused"
    return "right" if data.decode(codec, "surrogateescape") == text else "wrong"


def measured(pool: Pool, draws: int, ascii_titles: list[str]) -> dict[str, dict[str, int]]:
    """Return the percent of files right, wrong and refused by size, also of mixed files."""
    chance, results = random.Random(7), {}
    for size in SIZES:
        for kind in ("", " mixed"):
            outcomes = []
            for _ in range(draws):
                special = size if not kind else max(1, size // 10)
                rows = chance.sample(pool.titles, min(special, len(pool.titles)))
                rows = chance.sample(
                    [*rows, *chance.choices(ascii_titles, k=size - special)], len(rows) + size - special
                )
                outcomes.append(outcome(file_of(rows), pool.encoding))
            results[f"{size}{kind}"] = {
                one: round(100 * outcomes.count(one) / draws) for one in ("right", "wrong", "refused")
            }
    return results


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the catalogs.")
@click.option("--quick", is_flag=True, help="Check with few draws and own titles; writes no results.")
def main(data: Path | None, quick: bool) -> None:
    """Measure, print and write the results."""
    if data is None and not quick:
        raise click.UsageError("name the folder of the catalogs with --data, or use --quick")
    pools = [*own_pools(), *(real_pools(data) if data else ())]
    others = [Pool(lang, enc, holdable(titles(lang, 1000), enc)) for lang, encs in OTHER.items() for enc in encs]
    ascii_titles = [title for title in english() if title.isascii()]
    faults = []
    for kind, group in (("main", pools), ("other", others)):
        figures = {}
        for pool in group:
            assert kind == "other" or len(pool.titles) >= LEAST, (pool.name, len(pool.titles))
            draws = 3 if quick else DRAWS if kind == "main" else OTHER_DRAWS
            found = measured(pool, draws, ascii_titles)
            name = f"{pool.name}, {pool.encoding}"
            figures[name] = found
            shown = "  ".join(f"{size}: {one['wrong']}/{one['refused']}" for size, one in found.items())
            click.echo(f"{name:36} wrong/refused %  {shown}")
            wrong = any(one["wrong"] for one in found.values())
            if wrong or (pool.encoding in STRICT and found["500"]["refused"] > MAY_REFUSE and kind == "main"):
                faults.append(name)
        if not quick:
            record(RESULTS, kind, figures)
    assert not faults, faults


def english() -> list[str]:
    """Return English titles."""
    with (ROOT / "data" / "catalog.csv").open(encoding="utf-8", newline="") as stream:
        return [row["title"] for row in csv.DictReader(stream)]


if __name__ == "__main__":
    main()
