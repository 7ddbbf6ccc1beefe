"""Give random files to a reader, guided by coverage, until one raises anything but InputError, hangs or fills the memory.

    pip install -e '.[cpu,fuzz]'
    python tests/fuzzing.py csv --seconds 180 --corpus DIR

Run once for each of TARGETS. DIR keeps the files that reach new code, and those that break a reader (`crash-…`,
`timeout-…`, `oom-…`); read one again with --again FILE. Each file is read as `inspect` and as `classify` do.
"""

import contextlib
import csv
import gzip
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import atheris
import click

with atheris.instrument_imports(include=["shelfwise"]):
    from shelfwise.indexer.errors import InputError
    from shelfwise.indexer.reading.catalog import survey_files
    from shelfwise.indexer.reading.files import FileOptions, formats, open_records
    from shelfwise.indexer.reading.listings import ListingReader
    from shelfwise.indexer.reading.options import ReadOptions
    from shelfwise.indexer.reading.rejects import RejectList

    formats()

FILES = Path(__file__).parent / "profiles"
MOST_BYTES = 1 << 14
SLOW = 10  # seconds that a file of MOST_BYTES may take
MEMORY = 2048  # MiB
SHEET, PARTS = (
    "xl/worksheets/sheet1.xml",
    ("xl/workbook.xml", "xl/sharedStrings.xml", "xl/styles.xml", "[Content_Types].xml"),
)
ODS_PARTS = ("content.xml", "META-INF/manifest.xml")
TEXT_TARGETS = {"csv": "csv", "tsv": "tsv", "json": "json", "jsonl": "jsonl", "xml": "xml", "encodings": None}


def rows() -> list[dict[str, object]]:
    """Return some products with the kinds of values that readers tell apart."""
    return [
        {"id": "0012", "title": "Mug, blue", "category": "Kitchen > Mugs", "price": 3.5, "tags": ["a", "b"]},
        {"id": "13", "title": "马克杯 “大”", "category": "厨房 > 杯子", "price": None, "tags": []},
        {"id": "14", "title": "Pañuelo\nrojo", "category": "Moda > Pañuelos | Regalos", "price": 1e300, "tags": ["c"]},
    ]


def table(delimiter: str) -> str:
    """Return the products as a table."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows()[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows())
    return out.getvalue()


def xlsx() -> bytes:
    """Return the products as a workbook."""
    import xlsxwriter

    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet("Goods")
        sheet.write_row(0, 0, list(rows()[0]))
        for number, row in enumerate(rows(), 1):
            sheet.write_row(number, 0, [str(value) if isinstance(value, list) else value for value in row.values()])
    return out.getvalue()


def xls() -> bytes:
    """Return the products as an old workbook."""
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("Goods")
    for number, row in enumerate(rows()):
        for column, value in enumerate(row.values()):
            sheet.write(number, column, str(value))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parquet() -> bytes:
    """Return the products as Parquet."""
    import pyarrow
    from pyarrow import parquet as writer

    out = io.BytesIO()
    writer.write_table(pyarrow.Table.from_pylist(rows()), out)
    return out.getvalue()


def packed(parts: dict[str, bytes]) -> bytes:
    """Return a zip of these parts, not compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def xlsx_of(template: dict[str, bytes], content: bytes) -> bytes:
    """Return a workbook with one part replaced: the first byte says which one, the rest is its content."""
    if not content:
        return packed(template)
    parts = [name for name in (SHEET, *PARTS) if name in template]
    return packed({**template, parts[content[0] % len(parts)]: content[1:]})


def ods_of(content: bytes) -> bytes:
    """Return an OpenDocument spreadsheet with this content."""
    return packed({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet", "content.xml": content})


FEED = """<?xml version="1.0"?><rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item><g:id>12</g:id><g:title>Mug &amp; lid</g:title><g:product_type>Kitchen &gt; Mugs</g:product_type></item>
<item><g:id>13</g:id><title><![CDATA[<b>Pan</b>]]></title><g:product_type>Kitchen &gt; Pans</g:product_type></item>
</channel></rss>"""
SHEET_OF_ODS = """<?xml version="1.0"?><office:document-content
xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet><table:table table:name="A">
<table:table-row><table:table-cell office:value-type="string"><text:p>id</text:p></table:table-cell>
<table:table-cell office:value-type="string"><text:p>title</text:p></table:table-cell></table:table-row>
<table:table-row><table:table-cell office:value-type="float" office:value="12"><text:p>12</text:p></table:table-cell>
<table:table-cell table:number-columns-repeated="2" office:value-type="string"><text:p>Mug</text:p></table:table-cell>
</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"""


def seeds(target: str) -> list[bytes]:
    """Return files to begin with."""
    texts = [path.read_bytes()[:MOST_BYTES] for path in sorted(FILES.iterdir())]
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows())
    match target:
        case "csv" | "tsv":
            return [table("," if target == "csv" else "\t").encode(), b"sep=;\n" + table(";").encode(), *texts]
        case "encodings":
            codecs = ("utf-8-sig", "utf-16", "utf-32", "gb18030", "big5", "cp1252", "koi8-r")
            return [table(",").encode(codec, "ignore") for codec in codecs]
        case "json":
            return [
                json.dumps(value, ensure_ascii=False, indent=1).encode() for value in (rows(), {"products": rows()})
            ]
        case "jsonl":
            return [lines.encode(), lines.encode("utf-16")]
        case "xml":
            return [FEED.encode()]
        case "parquet":
            return [parquet()]
        case "xls":
            return [xls()]
        case "ods":
            return [SHEET_OF_ODS.encode()]
        case "xlsx":
            parts = template()
            return [bytes([place]) + parts[name] for place, name in enumerate((SHEET, *PARTS)) if name in parts]
        case _:
            import bz2
            import lzma

            from backports import zstd

            text = table(",").encode()
            return [pack(text) for pack in (gzip.compress, bz2.compress, lzma.compress, zstd.compress)]


def template() -> dict[str, bytes]:
    """Return the parts of a workbook."""
    with zipfile.ZipFile(io.BytesIO(xlsx())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def file_of(target: str) -> Callable[[bytes], bytes]:
    """Return the function that makes a file of the fuzzer's bytes."""
    if target == "xlsx":
        return partial(xlsx_of, template())
    return ods_of if target == "ods" else bytes


TARGETS = (*TEXT_TARGETS, "parquet", "xlsx", "xls", "ods", "compressed")


def read(path: Path, wanted: str | None) -> None:
    """Read a file in both ways. Raise whatever is not an InputError, and AssertionError for wrong counts."""
    options = ReadOptions(file=FileOptions(format=wanted))
    with contextlib.suppress(InputError):
        rejects = RejectList()
        report = survey_files([path], rejects, options)
        (file,) = report.files
        assert sum(file.rejected.values()) == rejects.count
        assert report.items + report.repeated + report.conflicting + file.variants + rejects.count == report.rows
    with contextlib.suppress(InputError), open_records(path, options=options.file) as source:
        reader = ListingReader.of_file(source, options)
        for batch in reader.batches(RejectList(), 100):
            for listing in batch:
                json.dumps(listing.source, default=str)
        str(reader.report())


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", type=click.Choice(TARGETS))
@click.option("--seconds", default=180, show_default=True, help="How long to try.")
@click.option("--corpus", type=click.Path(path_type=Path), required=True, help="Folder for the files that were tried.")
@click.option("--again", type=click.Path(path_type=Path, exists=True), help="Read this file only.")
def main(target: str, seconds: int, corpus: Path, again: Path | None) -> None:
    """Give random files to the reader TARGET."""
    made, wanted = file_of(target), TEXT_TARGETS.get(target)
    folder = Path(tempfile.mkdtemp(prefix="fuzzing-"))
    path = folder / "goods"

    def try_one(content: bytes) -> None:
        path.write_bytes(made(content))
        read(path, wanted)

    if again:
        try_one(again.read_bytes())
        return
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", f"-timeout={SLOW}", f"-rss_limit_mb={MEMORY}", f"-max_len={MOST_BYTES}"]
    found = [f"-artifact_prefix={corpus}/", "-verbosity=1", "-print_final_stats=1", str(corpus)]
    atheris.Setup([sys.argv[0], *limits, *found], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
