import contextlib
import csv
import io
import itertools
import re
import tempfile
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shelfwise.indexer.errors import InputError
from shelfwise.indexer.reading import delimited
from shelfwise.indexer.reading.delimited import LineSpool, read_cells
from shelfwise.indexer.reading.files import FileOptions, Record, open_records
from shelfwise.indexer.reading.layout import find_layout
from shelfwise.indexer.reading.rejects import Reject

DELIMITERS = [",", ";", "\t", "|", "^", "~", "\x01", ":"]


class Table:
    """A table read from a text: its columns, records, rejects and notices."""

    def __init__(self, text, fmt="csv"):
        content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        with open_records("-", io.BytesIO(content), FileOptions("utf-8", fmt)) as source:
            self.columns, self.delimiter = source.columns, source.delimiter
            self.all = list(source.records())
            self.notices = list(source.notices)
        self.records = [row for row in self.all if isinstance(row, Record)]
        self.rejects = [row for row in self.all if isinstance(row, Reject)]
        self.lines = [record.line for record in self.records]
        self.rows = [list(record.values.values()) for record in self.records]
        self.codes = [(reject.line, reject.code) for reject in self.rejects]


# Delimiters


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_detected(delimiter, end):
    rows = ["id,title,category", "1,Red mug,Mugs", "2,Blue mug,Mugs", ""]
    table = Table(end.join(rows).replace(",", delimiter))
    assert table.columns == ["id", "title", "category"]
    assert table.rows == [["1", "Red mug", "Mugs"], ["2", "Blue mug", "Mugs"]]
    assert (table.delimiter, table.lines, table.notices) == (delimiter, [2, 3], [])


@pytest.mark.parametrize(
    ("text", "delimiter", "columns"),
    [
        ('ID;"GTIN, UPC, EAN, or ISBN";Name\n1;2;Mug\n', ";", ["ID", "GTIN, UPC, EAN, or ISBN", "Name"]),
        ('"ID","a;b;c;d"\n"1","Mug"\n', ",", ["ID", "a;b;c;d"]),
        ("Artikel;Preis\nTasse;3,50\nBecher;4,20\n", ";", ["Artikel", "Preis"]),
        ("title,path\nMug,Home|Kitchen|Mugs\nCup,Home|Kitchen|Cups\n", ",", ["title", "path"]),
        ("id,title,seen\n1,Mug,10:20:30\n2,Cup,11:20:30\n", ",", ["id", "title", "seen"]),
        ("id^title^price\n1^Mug, red^3,5\n2^Cup, blue^4,5\n", "^", ["id", "title", "price"]),
        ("id,attributes\n1,a: b; c: d\n2,a: c; c: e\n", ",", ["id", "attributes"]),
    ],
)
def test_other_delimiters_in_fields_do_not_mislead(text, delimiter, columns):
    table = Table(text)
    assert (table.delimiter, table.columns) == (delimiter, columns)
    assert not table.rejects


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;", '"sep=;";;'])
def test_a_separator_line_names_the_delimiter(first):
    table = Table(f"{first}\r\nid;title\r\n1;Mug, red\r\n{first}\r\nid;title\r\n2;Cup\r\n")
    assert table.columns == ["id", "title"]
    assert table.rows == [["1", "Mug, red"], ["2", "Cup"]]
    assert table.lines == [3, 6]


def test_a_separator_line_of_a_table_saved_again_with_commas_is_no_header():
    assert Table("sep=;,,\nid,title,price\n1,Mug,3\n").rows == [["1", "Mug", "3"]]


def test_the_delimiter_of_a_separator_line_wins_over_the_rows():
    assert Table("sep=\t\nid\ttitle, short\n1\tMug, red\n").columns == ["id", "title, short"]


def test_a_tsv_file_without_tabs_may_have_another_delimiter():
    assert Table("id,title\n1,Mug\n", fmt="tsv").rows == [["1", "Mug"]]
    assert Table("id\ttitle, or name, or label\n1\tMug, red\n", fmt="tsv").columns == ["id", "title, or name, or label"]


# Header


@pytest.mark.parametrize(
    ("above", "line"),
    [
        ("Export 2026-03-01\n", 2),
        ("Export of ACME\n\nMarch 2026\n\n", 5),
        ("Export 2026-03-01,,\n", 2),
        (",,\nExport,,\n,,\n", 4),
        ('"Export,\nwith a line break",,\n', 3),
    ],
)
def test_lines_above_the_header_are_skipped_with_a_notice(above, line):
    table = Table(above + "id,title,category\n1,Mug,Mugs\n2,Cup,Cups\n")
    assert table.columns == ["id", "title", "category"]
    assert table.lines == [line + 1, line + 2]
    assert len(table.notices) == 1
    assert f"on line {line}" in table.notices[0]


def test_padded_lines_of_two_fields_above_the_header_are_skipped():
    table = Table("Date;2026-03-01;;;\nid;title;brand;category;price\n1;Mug;Acme;Mugs;3\n")
    assert table.columns == ["id", "title", "brand", "category", "price"]


def test_a_title_with_a_comma_does_not_hide_a_header_with_semicolons():
    text = "Export, March\nArtikel;Preis\n" + "".join(f"Tasse {i};3,50\n" for i in range(9))
    assert Table(text).columns == ["Artikel", "Preis"]


@pytest.mark.parametrize(
    "text",
    [
        "id,title,category\n",
        "id,title,category",
        "id,title,category\n\n\n1,Mug,Mugs\n",
        "id,title,category\n1,Mug,Mugs,\n2,Cup,Cups,\n",  # rows end in a delimiter
        "id,title,category,\n1,Mug,Mugs\n2,Cup,Cups\n",  # the header does
        "id,title,category,,,\n1,Mug,Mugs,,,\n2,Cup,Cups,,,\n",
        "id,title,category\nMug,a,b,c\nCup,a,b,c\nPan,a,b,c\n",  # no row fits
        "id,title,category\nMug,a\nCup,a\nPan,a\n",
        "id,title,category\n1,a: b; c: d,x\n2,a: e; c: f,x\n3,g: h; i: j,x\n",
        'id,title,category\n1,"open,Mugs\n2,Cup,Cups\n',
    ],
)
def test_a_header_on_the_first_line_is_never_lost(text):
    table = Table(text)
    assert table.columns == ["id", "title", "category"]
    assert not any("header" in notice for notice in table.notices)


def test_a_table_with_one_column_is_read():
    assert Table("title\nMug\nCup, blue\nPan | Pot\n").rows == [["Mug"], ["Cup, blue"], ["Pan | Pot"]]
    assert Table('title\n"Cup, blue"\n\n""\n').rows == [["Cup, blue"], [""]]
    assert Table("title,,\nMug,,\nCup,,\n").rows == [["Mug"], ["Cup"]]


def test_a_header_over_two_lines_is_folded():
    table = Table('"Product\nname";"Price\r\n (EUR)"\n"red shoe";"3,50"\n')
    assert table.columns == ["Product name", "Price (EUR)"]
    assert (table.rows, table.lines) == ([["red shoe", "3,50"]], [4])


def test_unnamed_columns_are_numbered_and_repeated_names_are_told_apart():
    table = Table("id,,Size,Size,Size (2),Size\n1,a,b,c,d,e\n")
    assert table.columns == ["id", "column_2", "Size", "Size (3)", "Size (2)", "Size (4)"]
    assert table.rows == [["1", "a", "b", "c", "d", "e"]]
    assert "Size" in table.notices[0]


def test_empty_fields_at_the_end_do_not_count():
    table = Table("id,title,\n1,Mug,,\n2,Cup\n3,Pan, \n4\n5,Pot,x\n")
    assert table.columns == ["id", "title", "column_3"]  # a row has a value there
    assert Table("id,title,\n1,Mug,,\n2,Cup\n3,Pan, \n").columns == ["id", "title"]
    assert Table("id,title,\n1,Mug,,\n2,Cup\n3,Pan, \n").rows == [["1", "Mug"], ["2", "Cup"], ["3", "Pan"]]


def test_a_header_with_invalid_bytes_is_reported():
    table = Table(b"id,Gr\xf6\xdfe\n1,3\n")
    assert table.columns == ["id", "Gr��e"]
    assert "name the encoding" in table.notices[0]


@pytest.mark.parametrize("text", ['id,"title\n1,Mug\n', 'id,"ti"tle\n1,Mug\n', ",,,\n,,,\n", "sep=;\n"])
def test_a_table_without_a_readable_header_is_refused(text):
    with pytest.raises(InputError, match="add a header line"):
        Table(text)


# Rows


def test_quoted_fields_and_inch_marks_are_read():
    table = Table('id,title\n1,"two\nlines, ""quoted"""\n\n2,Pizza 12" pan\n3,"4"" nails"\n4,"a\rb\r\nc"\n')
    assert table.rows == [["1", 'two\nlines, "quoted"'], ["2", 'Pizza 12" pan'], ["3", '4" nails'], ["4", "a\rb\r\nc"]]
    assert table.lines == [2, 5, 6, 7]


def test_tab_separated_fields_may_be_quoted():
    table = Table(
        'id\ttitle\n1\t"two\nlines"\n2\t"a\ttab"\n3\t"Best" chocolate\n4\t"a ""b"" c"\n5\t5" pan\n', fmt="tsv"
    )
    assert [row[1] for row in table.rows] == ["two\nlines", "a\ttab", '"Best" chocolate', 'a "b" c', '5" pan']


@pytest.mark.parametrize("row", ["1", "1,a,b"])
def test_rows_with_another_number_of_fields_are_rejected(row):
    table = Table(f"id,title\n{row}\n2,b\n3,c\n")
    assert table.codes == [(2, "wrong_field_count")]
    assert table.rejects[0].value == row
    assert table.lines == [3, 4]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_only_line_ends_end_lines(separator):
    table = Table(f"id,title\n1,a{separator}b\n2,c\n")
    assert table.rows == [["1", f"a{separator}b"], ["2", "c"]]
    assert table.lines == [2, 3]


def test_rows_with_undecodable_bytes_are_rejected():
    table = Table('id,title\n1,好\n2,b\udcff\n3,"c\n\udcfe"\n4,d\n')
    assert table.codes == [(3, "invalid_character"), (4, "invalid_character")]
    assert table.lines == [2, 6]


def test_the_header_of_a_joined_file_is_skipped_with_a_notice():
    table = Table("\ufeffid,title\n1,shoe\n\ufeffid,title\n2,mug\nid,title,\n\ufeff3,tea\n")
    assert table.rows == [["1", "shoe"], ["2", "mug"], ["3", "tea"]]
    assert table.notices == ["line 3 repeats the header: skipped (1 more like this)"]


def test_the_names_of_columns_in_another_order_are_rejected():
    table = Table("id,title,brand\n1,shoe,x\nbrand,id,title\n2,mug,y\ntitle,id\n")
    assert table.codes == [(3, "repeated_header"), (5, "repeated_header")]
    assert table.lines == [2, 4]


# Quotes that are never closed


def test_a_field_of_many_lines_is_one_field():
    text = "\n".join(["spec"] * 300 + ["red, blue, green"] * 3 + ["spec"] * 300)
    table = Table(f'title,category,text\nshoe,Shoes,"{text}"\nmug,Mugs,plain\n')
    assert table.rows == [["shoe", "Shoes", text], ["mug", "Mugs", "plain"]]
    assert table.lines == [2, 605]
    assert table.notices == ["line 2: a quoted field holds 3 lines that look like rows; check for a missing quote"]


@pytest.mark.parametrize("memory", [0, 50, delimited.SPOOL_IN_MEMORY])
def test_an_unclosed_quote_rejects_only_its_own_line(monkeypatch, memory):
    monkeypatch.setattr(delimited, "SPOOL_IN_MEMORY", memory)
    rows = [f"{i},row {i} \u2028 \udcff\r" if i % 7 == 0 else f"{i},row {i}\r\n" for i in range(3, 2000)]
    table = Table("id,title\n" + '1,"never closed\n' + "".join(rows))
    assert table.codes[0] == (2, "open_quote")
    assert [line for line, _ in table.codes[1:]] == [i for i in range(3, 2000) if i % 7 == 0]
    assert table.rows == [[str(i), f"row {i}"] for i in range(3, 2000) if i % 7]


@pytest.mark.parametrize("memory", [0, delimited.SPOOL_IN_MEMORY])
def test_text_after_a_closing_quote_rejects_only_the_line_where_the_record_starts(monkeypatch, memory):
    monkeypatch.setattr(delimited, "SPOOL_IN_MEMORY", memory)
    table = Table('id,title\n1,"a"b\n2,"open\n3,c\n4,"d"\n5,e\n6,"f\ng"\n')
    assert table.codes == [(2, "text_after_quote"), (3, "text_after_quote")]
    assert table.rows == [["3", "c"], ["4", "d"], ["5", "e"], ["6", "f\ng"]]
    assert table.lines == [4, 5, 6, 7]


def test_each_line_is_set_aside_once_however_many_quotes_are_open(monkeypatch):
    added = []
    add = LineSpool.add

    def counted(self, line):
        added.append(line)
        add(self, line)

    monkeypatch.setattr(LineSpool, "add", counted)
    lines = ["id,title,x\n", *['x",a"b,"y\n'] * 2000]  # each of them is open from its start, and from within quotes
    rows = list(read_cells(iter(lines), ",", "c.csv"))
    assert [row.line for row in rows[1:]] == list(range(2, 2002))
    assert {row.code for row in rows[1:]} == {"open_quote"}
    assert len(added) < len(lines)


def test_the_lines_after_an_unclosed_quote_are_not_held_in_memory():
    lines = itertools.chain(['1,"never closed\n'], (f"{i},{'x' * 200}\n" for i in range(100_000)))
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_cells(lines, ",", "c.csv"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 100_001
    assert peak < 8 * delimited.SPOOL_IN_MEMORY  # of 20 MB


def test_a_reading_that_stops_early_leaves_no_file_open(monkeypatch):
    monkeypatch.setattr(delimited, "SPOOL_IN_MEMORY", 0)
    opened = []
    make = tempfile.TemporaryFile

    def noted(*arguments, **options):
        opened.append(make(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    with contextlib.closing(read_cells(iter(['1,"open\n', "2,a\n", "3,b\n"]), ",", "c.csv")) as rows:
        next(rows)
        next(rows)
    assert opened
    assert all(file.closed for file in opened)


def test_a_sample_that_ends_within_a_record_has_a_layout():
    sample = 'id,title,text\n1,Mug,"' + "a line, of text\n" * 1000
    assert find_layout(sample).header == ["id", "title", "text"]


# Properties

# One table cannot be read back: with one column, a blank line is no row, and a delimiter in all rows separates columns.
# The others: a row of the names of the columns is a second header, and a mark at the start of a line belongs to the file.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=12) | st.sampled_from(
    ['"', '""', "\n", "\r", "\r\n", "a\nb", ",;\t|", " ", "\u2028", "sep=;", '"\n"']
)


@given(
    st.integers(2, 5).flatmap(lambda width: st.lists(st.lists(texts, min_size=width, max_size=width), min_size=1)),
    st.sampled_from(DELIMITERS),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_tables_written_by_the_csv_module_are_read_back(rows, delimiter, quoting, end):
    out = io.StringIO(newline="")
    header = [f"name {i}" for i in range(len(rows[0]))]
    # The csv module does not quote \r unless it is in the line end.
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
    writer.writerows([header, *rows])
    text = out.getvalue()
    if end == "\n" and not any("\r\n" in cell for row in rows for cell in row):
        text = text.replace("\r\n", end)
    table = Table(text)
    assert table.columns == header
    assert table.rows == rows
    assert not table.rejects


def reference(lines, delimiter, spaced):
    """Return the cells of the record that starts on the first of these lines."""
    first = lines[0].lstrip("\ufeff")
    return next(csv.reader([first, *lines[1:]], delimiter=delimiter, strict=True, skipinitialspace=spaced))


WHOLE = (
    'id,title,text\r\n1,"a ""b"" c",x\r\n2,Pizza 12" pan,"two\nlines, and\n4,more,rows"\r\n'
    '3,"c, d",\r\n"4","好","e\n\nf"\r\n5,"",""\r\n'
).encode()


@st.composite
def damaged(draw):
    """Draw files joined, cut, and with bytes changed."""
    files = draw(st.lists(st.sampled_from([WHOLE, b"\xef\xbb\xbf" + WHOLE]), min_size=1, max_size=3))
    content = bytearray(b"".join(files).replace(b",", draw(st.sampled_from([b",", b";", b"|", b"\t"]))))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(start + 40, len(content))))
        content[start:end] = draw(st.sampled_from([b"", b'"', b'""', b",", b"\n", b"\r", b"\xff", b"\x00", b"x"]))
    return bytes(content)


@given(damaged() | st.binary(max_size=300).map(lambda content: b"id,title\n" + content))
@example(b'id,title\n1, "a,\n b"\n2, c\n')
@example(b'id,title\n1,"a\n2,b"\n3,"c\n4,d"x\n')
def test_records_of_damaged_files_are_records_of_the_file(content):
    try:
        table = Table(content)
    except InputError:
        return
    lines = list(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""))
    spaced = "blanks before the quotes around fields are left out" in table.notices
    for record in table.records:
        cells = list(record.values.values())
        try:
            found = reference(lines[record.line - 1 :], table.delimiter, spaced and '"' in lines[record.line - 1])
        except csv.Error:  # quotes of tab-separated text are text if they do not enclose a field
            assert table.delimiter == "\t"
            fields = lines[record.line - 1].lstrip("\ufeff").rstrip("\r\n").split("\t")
            enclosed = [re.fullmatch('"((?:[^"]|"")*)"', field) for field in fields]
            found = [
                match[1].replace('""', '"') if match else field for match, field in zip(enclosed, fields, strict=True)
            ]
        assert found[: len(cells)] == cells
        assert not any(cell.strip() for cell in found[len(cells) :])
    places = [row.line for row in table.all]
    assert places == sorted(set(places))
