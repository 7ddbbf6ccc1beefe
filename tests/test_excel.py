import datetime
import io
import re
import zipfile
from functools import cache

import pytest
import xlsxwriter
import xlwt
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading import workbooks
from shelfwise.indexer.reading.files import FileOptions, Record, open_records

ODS = "application/vnd.oasis.opendocument.spreadsheet"


def workbook(*sheets):
    """Return an .xlsx of sheets, each a name and rows."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "default_date_format": "yyyy-mm-dd"}) as book:
        for name, rows in sheets:
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return out.getvalue()


def archive(**parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return out.getvalue()


def ods(rows, changed=str):
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    cells = "".join(f"<table:table-row>{''.join(map(cell.format, row))}</table:table-row>" for row in rows)
    urn = "urn:oasis:names:tc:opendocument:xmlns"
    content = f"""<?xml version="1.0" encoding="UTF-8"?><office:document-content xmlns:office="{urn}:office:1.0"
        xmlns:table="{urn}:table:1.0" xmlns:text="{urn}:text:1.0"><office:body><office:spreadsheet>
        <table:table table:name="Goods">{cells}</table:table></office:spreadsheet></office:body></office:document-content>"""
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    return archive(**{"mimetype": ODS, "META-INF/manifest.xml": manifest, "content.xml": changed(content)})


def xls(rows):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Goods")
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def read(folder, content, name="c.xlsx", sheet=None):
    path = folder / name
    path.write_bytes(content)
    with open_records(path, options=FileOptions(sheet=sheet)) as source:
        return list(source.records()), source.notices, source.columns


ROWS = [("id", "title"), ("007", "mug"), ("008", "杯子")]
RECORDS = [Record(2, {"id": "007", "title": "mug"}), Record(3, {"id": "008", "title": "杯子"})]


@pytest.mark.parametrize(
    ("name", "content"), [("c.xlsx", workbook(("A", ROWS))), ("c.xls", xls(ROWS)), ("c.ods", ods(ROWS))]
)
def test_workbooks_are_recognised_by_their_bytes(tmp_path, name, content):
    assert read(tmp_path, content, name) == (RECORDS, [], ["id", "title"])
    assert read(tmp_path, content, "c.csv")[0] == RECORDS
    with open_records("-", stdin=io.BytesIO(content)) as source:
        assert list(source.records()) == RECORDS


def test_cells_keep_their_values(tmp_path):
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        day, moment = (book.add_format({"num_format": form}) for form in ("yyyy-mm-dd", "yyyy-mm-dd hh:mm"))
        sheet.write_row(0, 0, ["text", "whole", "part", "large", "flag", "error", "sum", "day", "moment", "empty"])
        sheet.write_row(1, 0, ["0012", 6.6e12, 12.5, 1e300, True])
        sheet.write_formula(1, 5, "=NA()", None, "#N/A")
        sheet.write_formula(1, 6, "=1+1", None, 2)
        sheet.write_datetime(1, 7, datetime.datetime(2026, 11, 27), day)
        sheet.write_datetime(1, 8, datetime.datetime(2026, 11, 27, 8, 30), moment)
    (record,), _, _ = read(tmp_path, out.getvalue())
    values = dict(record.values)
    assert values == {
        "text": "0012",
        "whole": 6600000000000,
        "part": 12.5,
        "large": 1e300,
        "flag": True,
        "error": None,
        "sum": 2,
        "day": "2026-11-27",
        "moment": "2026-11-27T08:30:00",
        "empty": None,
    }
    assert type(values["whole"]) is int


def test_a_title_empty_rows_and_empty_columns_are_skipped(tmp_path):
    rows = [
        ("Our goods, November",),
        (),
        ("id", "title", "", "brand", ""),
        ("1", "mug", "", "KULA"),
        (),
        ("2", "pan", "extra", ""),
    ]
    records, notices, columns = read(tmp_path, workbook(("A", rows)))
    assert columns == ["id", "title", "brand"]
    assert records == [
        Record(4, {"id": "1", "title": "mug", "brand": "KULA"}),
        Record(6, {"id": "2", "title": "pan", "column_3": "extra", "brand": None}),
    ]
    assert notices == ["skipped what is above the header, which is row 3"]


def test_a_sheet_of_notes_and_a_hidden_sheet_are_not_the_table(tmp_path):
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        lists, notes, goods = (book.add_worksheet(name) for name in ("Lists", "Read me", "Goods"))
        goods.activate()
        lists.hide()
        for sheet, rows in ((lists, [("code", "word")]), (notes, [("Prices without tax",)]), (goods, ROWS)):
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    assert read(tmp_path, out.getvalue()) == (
        RECORDS,
        ["read the sheet Goods, not the others with rows: Lists, Read me"],
        ["id", "title"],
    )


def test_a_hidden_sheet_of_an_old_workbook_is_not_the_table(tmp_path):
    book = xlwt.Workbook()
    for name, rows, visibility in (("Lists", [("code", "word")], 1), ("Goods", ROWS, 0)):
        sheet = book.add_sheet(name)
        sheet.visibility = visibility
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                sheet.write(number, column, value)
    out = io.BytesIO()
    book.set_active_sheet(1)
    book.save(out)
    assert read(tmp_path, out.getvalue(), "c.xls")[0] == RECORDS


@pytest.mark.parametrize("name", ["c.xls", "c.xlsx", "c.ods"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_text_under_the_name_of_a_workbook_is_read_as_text(tmp_path, name, encoding):
    text = "".join("\t".join(row) + "\n" for row in ROWS)
    assert read(tmp_path, text.encode(encoding), name)[0] == RECORDS


def test_a_repeated_column_is_renamed_as_in_a_table(tmp_path):
    rows = [("id", "image", "title", "image"), ("1", "a.jpg", "mug", "b.jpg")]
    (record,), notices, columns = read(tmp_path, workbook(("A", rows)))
    table = tmp_path / "c.csv"
    table.write_text("".join(f"{','.join(row)}\n" for row in rows))
    with open_records(table) as source:
        assert (list(source.records()), source.notices, source.columns) == ([record], notices, columns)
    assert record.values == {"id": "1", "image": "a.jpg", "title": "mug", "image (2)": "b.jpg"}


def test_the_sheet_can_be_named_or_numbered(tmp_path):
    content = workbook(("Empty", []), ("Old", [("id", "title"), ("1", "a")]), ("New", [("id", "title"), ("2", "b")]))
    records, notices, _ = read(tmp_path, content)
    assert records[0].values["id"] == "1"
    assert notices == ["read the sheet Old, not the others with rows: New"]
    for sheet in ("New", "3"):
        records, notices, _ = read(tmp_path, content, sheet=sheet)
        assert (records[0].values["id"], notices) == ("2", [])
    for sheet in ("new", "0", "4", "-1", ""):
        with pytest.raises(InputError, match="Empty, Old, New") as error:
            read(tmp_path, content, sheet=sheet)
        assert error.value.code == "no_such_sheet"
    with pytest.raises(InputError, match="no rows"):
        read(tmp_path, content, sheet="Empty")


def damaged(content):
    place = content.index(b"xl/worksheets/sheet1.xml") + 60
    return content[:place] + b"\xff\xff\xff" + content[place + 3 :]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("c.xlsx", workbook(("A", ROWS))[:-100], "damaged_file"),
        ("c.xlsx", damaged(workbook(("A", ROWS))), "damaged_file"),
        ("c.xls", xls(ROWS)[:1000], "damaged_file"),
        ("c.xlsx", b"PK\x03\x04....", "damaged_file"),
        ("c.xlsx", archive(**{"goods.csv": "id,title\n1,mug\n"}), "is_an_archive"),
        ("c.zip", archive(), "is_an_archive"),
        ("c.xlsb", archive(**{"xl/workbook.bin": ""}), "binary_workbook"),
        ("c.xlsx", archive(**{"xl/workbook.xml": "<workbook/>"}), "damaged_file"),
        ("c.xlsx", xls(ROWS)[:512] + "EncryptedPackage".encode("utf-16-le"), "password_protected"),
        ("c.xlsx", workbook(("A", [])), "empty_file"),
        ("c.xlsx", b"title,price\0mug,3\n", "damaged_file"),
    ],
)
def test_unusable_workbooks_are_refused(tmp_path, name, content, code):
    with pytest.raises(InputError) as error:
        read(tmp_path, content, name)
    assert error.value.code == code


def test_a_workbook_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workbooks, "MAX_EXPANDED", 2_000)
    with pytest.raises(InputError) as error:
        read(tmp_path, workbook(("A", ROWS)))
    assert error.value.code == "spreadsheet_too_large"


@pytest.mark.parametrize(("rows", "columns", "refused"), [(1, 1, False), (1_000_000, 16_000, True)])
def test_repeated_cells_that_would_fill_the_memory_are_refused(tmp_path, rows, columns, refused):
    empty = f'<table:table-row table:number-rows-repeated="{1 << 20}"><table:table-cell/></table:table-row>'
    row = f'<table:table-row table:number-rows-repeated="{rows}"><table:table-cell table:number-columns-repeated="{columns}"'

    def repeated(content):
        content = content.replace("<table:table-row><table:table-cell", row, 1)
        return content.replace("</table:table>", f"{empty}</table:table>")

    content = ods(ROWS, repeated)
    if not refused:
        assert read(tmp_path, content)[0] == RECORDS
        return
    with pytest.raises(InputError, match="1,000,002 rows and 16,001 columns") as error:
        read(tmp_path, content)
    assert error.value.code == "spreadsheet_too_large"


def test_a_cell_far_away_in_an_old_workbook_takes_no_memory(tmp_path):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Goods")
    for place, cell in [((0, 0), "id"), ((0, 1), "title"), ((1, 0), 12.0), ((65_535, 1), "mug"), ((65_535, 255), "x")]:
        sheet.write(*place, cell)
    book.save(tmp_path / "c.xls")
    with open_records(tmp_path / "c.xls") as source:
        assert list(source.records()) == [
            Record(2, {"id": 12, "title": None}),
            Record(65_536, {"id": None, "title": "mug", "column_256": "x"}),
        ]


def test_dates_of_an_old_workbook_are_text(tmp_path):
    forms = [xlwt.easyxf(num_format_str=form) for form in ("yyyy-mm-dd", "yyyy-mm-dd hh:mm", "hh:mm")]
    moments = [datetime.date(2026, 11, 27), datetime.datetime(2026, 11, 27, 8, 30), datetime.time(8, 30)]
    book = xlwt.Workbook()
    sheet = book.add_sheet("Goods")
    for column, (name, moment, form) in enumerate(zip(("day", "moment", "time"), moments, forms, strict=True)):
        sheet.write(0, column, name)
        sheet.write(1, column, moment, form)
    book.save(tmp_path / "c.xls")
    with open_records(tmp_path / "c.xls") as source:
        (record,) = source.records()
    assert record.values == {"day": "2026-11-27", "moment": "2026-11-27T08:30:00", "time": "08:30:00"}


def test_a_cell_far_away_is_refused_unless_it_is_only_formatted(tmp_path):
    for value in (None, "x"):
        out = io.BytesIO()
        with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
            sheet = book.add_worksheet()
            for number, row in enumerate(ROWS):
                sheet.write_row(number, 0, row)
            sheet.write(1_048_575, 16_383, value, book.add_format({"bold": True}))
        if value is None:
            assert read(tmp_path, out.getvalue())[0] == RECORDS
            continue
        for content in (out.getvalue(), with_a_wrong_dimension(out.getvalue())):
            with pytest.raises(InputError, match="1,048,576 rows") as error:
                read(tmp_path, content)
            assert error.value.code == "spreadsheet_too_large"


def with_a_wrong_dimension(content):
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(out, "w") as after:
        for part in before.namelist():
            data = before.read(part)
            changed = re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:B2"', data)
            assert (changed != data) == part.startswith("xl/worksheets/sheet")
            after.writestr(part, changed)
    return out.getvalue()


@cache  # the time is in some of them
def books():
    return [workbook(("A", ROWS)), xls(ROWS), ods(ROWS)]


@settings(max_examples=60)
@given(data=st.data())
def test_cuts_and_flips_give_records_or_one_clear_error(tmp_path_factory, data):
    make = data.draw(st.sampled_from(books()))
    place = data.draw(st.integers(0, len(make) - 1))
    content = make[:place] + (b"" if data.draw(st.booleans()) else bytes([make[place] ^ 64]) + make[place + 1 :])
    try:
        records, _, _ = read(tmp_path_factory.mktemp("any"), content)
    except InputError:
        return
    assert all(isinstance(record, Record) for record in records)
