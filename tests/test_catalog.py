import csv
import json

import pytest
from conftest import rejects

from shelfwise.commands.options import parse_columns
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import MAX_TITLE, Item, normal_path
from shelfwise.indexer.reading.catalog import read_catalog, survey_files
from shelfwise.indexer.reading.columns import named_columns
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.reading.rejects import RejectFile


def read(path, **options):
    with RejectFile(path.parent / "REJECTS.jsonl") as bad:
        return read_catalog([path], bad, ReadOptions(**options))


def items(path, **options):
    return list(read(path, **options).items.values())


@pytest.mark.parametrize(
    "header",
    [
        "id,title,category",
        "SKU,Product Name,Category_Name",
        "编号,商品名称,类目",
        "商品编号,标题,类别",
        "item-id,name,label",
    ],
)
def test_header_synonyms_are_recognised(tmp_path, header):
    (tmp_path / "c.csv").write_text(f"{header}\n7,Trail shoe,Shoes\n", encoding="utf-8")
    assert items(tmp_path / "c.csv") == [Item("7", "Trail shoe", category="Shoes", category_path="Shoes")]


def test_columns_can_be_named_and_joined(tmp_path):
    (tmp_path / "c.csv").write_text("a,b,g,c,name\nT,Shoes,Men,,wrong\n")
    columns = named_columns({"title": "a", "category": "b", "attributes": ["g", "c"]})
    assert columns == named_columns(parse_columns("title=a, category=b, attributes=g+c"))
    (item,) = items(tmp_path / "c.csv", columns=columns)
    assert (item.title, item.attributes) == ("T", "g: Men")


@pytest.mark.parametrize("text", ["title", "title=", "colour=x", "title=a+b", "title=a,title=b"])
def test_invalid_column_options_are_refused(run, catalog_file, text):
    shown = run("build", catalog_file, "--store", "s", "--columns", text)
    assert shown.exit_code == 2
    assert "Error: --columns" in shown.stderr


def test_the_leaf_comes_from_the_path_and_a_category_alone_is_a_path(tmp_path):
    (tmp_path / "c.csv").write_text("title,category,path\na,,Fashion>Shoes >  Boots\nb,X1,A > B\nc,Toys,\n")
    assert [(i.category, i.category_path) for i in items(tmp_path / "c.csv")] == [
        ("Boots", "Fashion > Shoes > Boots"),
        ("X1", "A > B"),
        ("Toys", "Toys"),
    ]


def test_normal_path_leaves_out_empty_levels():
    assert normal_path(" A >> B ＞ ") == "A > B"


def test_nested_json_values_become_text(tmp_path):
    row = {"title": "Shoe", "category": "Shoes", "attributes": {"size": 42, "colours": ["red", "blue"]}, "brand": None}
    (tmp_path / "c.jsonl").write_text(json.dumps(row))
    (item,) = items(tmp_path / "c.jsonl")
    assert (item.attributes, item.brand) == ("size: 42; colours: red, blue", "")


def test_the_last_row_of_an_id_wins_and_is_counted(tmp_path):
    (tmp_path / "c.csv").write_text("id,title,category\n1,a,X\n2,b,X\n1,a,X\n2,b,Y\n")
    catalog = read(tmp_path / "c.csv")
    assert (catalog.report.rows, catalog.repeated, catalog.conflicting) == (4, 1, 1)
    assert catalog.items["2"].category == "Y"


def test_derived_ids_come_from_the_content_and_not_from_the_label(tmp_path):
    (tmp_path / "a.csv").write_text("title,category\nShoe,X\nBoot,X\n")
    (tmp_path / "b.csv").write_text("id,title,category\n,Shoe,Y\n")
    first, second = items(tmp_path / "a.csv")
    assert first.id != second.id
    assert items(tmp_path / "b.csv")[0].id == first.id


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (",X", "name", "empty title"),
        ("<br> ,X", "name", "empty title"),
        ("a, ", "category", "empty category"),
        ("a\x00b,X", "name", "control character U+0000"),
        ("a,X\x1b", "category", "control character U+001B"),
        ("t" * (MAX_TITLE + 1) + ",X", "name", f"{MAX_TITLE + 1} characters, more than the limit of {MAX_TITLE}"),
    ],
)
def test_unusable_rows_are_rejected_with_their_reason(tmp_path, row, column, reason):
    (tmp_path / "c.csv").write_text(f"name,category\ngood,X\n{row}\nfine,Y\n", newline="")
    assert [item.title for item in items(tmp_path / "c.csv")] == ["good", "fine"]
    (reject,) = rejects(tmp_path / "REJECTS.jsonl")
    assert (reject["line"], reject["column"], reject["reason"]) == (3, column, reason)


@pytest.mark.parametrize(
    ("header", "columns", "said"),
    [
        ("sku,price", {}, r"it has sku, price: expected a column such as title"),
        ("title", {}, r"no category column, it has title"),
        ("title", {"category": ("aisle",)}, r"no column aisle: expected title; name one of its columns"),
        ("title,aisles", {"category": ("aisle",)}, r"no column aisle: expected title, aisles; did you mean aisles\?"),
    ],
)
def test_missing_columns_are_listed(tmp_path, header, columns, said):
    (tmp_path / "c.csv").write_text(f"{header}\n{'x,' * header.count(',')}x\n")
    with pytest.raises(InputError, match=said):
        read(tmp_path / "c.csv", columns=columns)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"title": {"en": "mug", "de": "Tasse"}, "category": "A"},
            "objects in the column title, with en, de: .*title.en",
        ),
        (
            {"title": "mug", "category": {"l1": "A", "l2": "B"}},
            "objects in the column category, with l1, l2: .*category.l1",
        ),
        ({"title": "mug", "category": [{"l1": "A"}]}, "an object without a name: it has l1"),
    ],
)
def test_objects_without_a_name_are_no_titles_and_no_categories(tmp_path, row, said):
    (tmp_path / "c.json").write_text(json.dumps([row, row]))
    with pytest.raises(InputError, match=said):
        read(tmp_path / "c.json")


def test_a_column_of_objects_does_not_stand_before_a_column_of_titles(tmp_path):
    row = {"title": {"en": "mug"}, "name": "Blue mug", "category": {"id": 3, "name": "Mugs"}}
    (tmp_path / "c.json").write_text(json.dumps([row]))
    (item,) = items(tmp_path / "c.json")
    assert (item.title, item.category) == ("Blue mug", "Mugs")
    (item,) = items(tmp_path / "c.json", columns={"title": ("title.en",)})
    assert item.title == "mug"


@pytest.mark.parametrize("cell", ["\\N", "NULL", "nan", "N/A", "#N/A", "None", " - "])
def test_what_programs_write_for_a_missing_category_is_none(tmp_path, cell):
    with RejectFile(tmp_path / "REJECTS.jsonl") as bad:
        (tmp_path / "c.csv").write_text(f"title,category\nmug,{cell}\npan,Home > {cell}\n")
        catalog = read_catalog([tmp_path / "c.csv"], bad)
    assert [item.category_path for item in catalog.items.values()] == ["Home"]
    assert bad.first.code == "empty_category"


def test_no_reject_file_is_written_without_rejects(tmp_path):
    (tmp_path / "c.csv").write_text("title,category\na,X\n")
    read(tmp_path / "c.csv")
    assert not (tmp_path / "REJECTS.jsonl").exists()


def findings(tmp_path, text, **options):
    (tmp_path / "c.csv").write_text(text, encoding="utf-8")
    return [finding.text for finding in read(tmp_path / "c.csv", **options).report.findings]


def test_a_bare_leaf_joins_its_path_and_this_is_reported(tmp_path):
    text = "title,path\na,Home > Mugs\nb,Mugs\nc,Home > Pans\n"
    assert [item.category_path for item in items_of(tmp_path, text)] == ["Home > Mugs", "Home > Mugs", "Home > Pans"]
    assert findings(tmp_path, text) == ["category Mugs is read as Home > Mugs, the only category that ends in it"]


def test_a_column_of_leaves_beside_the_paths_is_not_reported(tmp_path):
    assert findings(tmp_path, "title,category,path\na,Mugs,Home > Mugs\nb,Pans,Home > Pans\n") == []


def test_spellings_are_reported_and_can_be_merged(tmp_path):
    text = "title,path\na,Home > Mugs\nb,Home > Mugs\nc,home >  mugs\n"
    assert findings(tmp_path, text) == ["category home > mugs differs only in case, width or blanks from Home > Mugs"]
    assert {item.category_path for item in items_of(tmp_path, text, merge_spellings=True)} == {"Home > Mugs"}
    assert findings(tmp_path, text, merge_spellings=True) == ["category home > mugs is read as Home > Mugs"]


def test_a_title_with_two_categories_is_kept_twice(tmp_path):
    text = "title,category\nmug,Cups\nmug,Gifts\nmug,Cups\npan,Pans\n"
    found = items_of(tmp_path, text)
    ids = {item.category_path: item.id for item in found}
    assert ids["Gifts"] == f"{ids['Cups']}-2"
    report = read(tmp_path / "c.csv").report
    assert (report.items, report.two_categories, report.repeated) == (3, 1, 1)


def test_the_report_without_items_counts_as_the_catalog_does(tmp_path):
    rows = [f"{i % 7},mug {i % 11},{'AB'[i % 2]}" for i in range(60)] + [
        f",mug {i % 5},{'AB'[i % 3 == 0]}" for i in range(40)
    ]
    (tmp_path / "c.csv").write_text("id,title,category\n" + "\n".join(rows))
    with_items = read(tmp_path / "c.csv").report
    with RejectFile(tmp_path / "REJECTS.jsonl") as bad:
        alone = survey_files([tmp_path / "c.csv"], bad, ReadOptions())
    assert alone == with_items


def items_of(tmp_path, text, **options):
    (tmp_path / "c.csv").write_text(text, encoding="utf-8")
    return items(tmp_path / "c.csv", **options)


def test_a_category_number_beside_a_path_is_not_its_name(tmp_path):
    (tmp_path / "c.csv").write_text("title,category,category_path\nmug,267,Home > Mugs\npan,Pans,Home > Pan\n")
    assert [(item.category, item.category_path) for item in items(tmp_path / "c.csv")] == [
        ("Mugs", "Home > Mugs"),
        ("Pans", "Home > Pan"),
    ]


def test_an_id_with_a_line_break_is_rejected(tmp_path):
    with RejectFile(tmp_path / "REJECTS.jsonl") as bad:
        (tmp_path / "c.csv").write_text('id,title,category\n"a\nb",mug,Home\n"c\n",pan,Home\n')
        catalog = read_catalog([tmp_path / "c.csv"], bad)
    assert (list(catalog.items), bad.first.reason) == (["c"], "a line break in an id")


def test_a_header_with_a_dot_is_used(tmp_path):
    (tmp_path / "c.csv").write_text("Art.-Nr.,title,category,price\n7,mug,Home,3\n")
    (file,) = read(tmp_path / "c.csv", columns={"id": ("Art.-Nr.",)}).report.files
    assert file.unused == ("price",)


def test_ids_that_became_large_floats_are_found(tmp_path):
    rows = [{"id": 6.935678901234566e17 + 1e4 * i, "title": f"mug {i}", "category": "Mugs"} for i in range(3)]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [finding.rule for finding in read(tmp_path / "c.jsonl").report.findings if finding.stops] == ["rounded_ids"]


def test_a_platforms_other_columns_do_not_give_a_missing_category(tmp_path):
    rows = "sku,attribute_set_code,product_type,categories,name\n1,Default,simple,Default Category/Mugs,mug\n"
    (tmp_path / "c.csv").write_text(f"{rows}2,Default,simple,,pan\n")
    assert [item.category_path for item in items(tmp_path / "c.csv")] == ["Mugs"]
    assert [bad["code"] for bad in rejects(tmp_path / "REJECTS.jsonl")] == ["empty_category"]


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ('["Home", "Mugs"]', "Home > Mugs"),
        ("['Home', 'Mugs']", "Home > Mugs"),
        ('["Home >> Mugs"]', "Home > Mugs"),
        ("[new] Mugs", "[new] Mugs"),
        ("[new]", "[new]"),
    ],
)
def test_a_list_as_text_is_a_list(tmp_path, cell, path):
    with (tmp_path / "c.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("title", "categories"), ("mug", cell)])
    assert [item.category_path for item in items(tmp_path / "c.csv")] == [path]


@pytest.mark.parametrize(
    ("header", "levels", "path"),
    [
        ("Product Category,Sub Category", "Home,Mugs", "Home > Mugs"),
        ("Category,Sub Category 1,Sub Category 2", "Home,Kitchen,Mugs", "Home > Kitchen > Mugs"),
        ("category_l0,category_l1,category_l2", "Home,Kitchen,Mugs", "Home > Kitchen > Mugs"),
        ("Hauptwarengruppe,Warengruppe,Unterwarengruppe", "Haus,Küche,Tassen", "Haus > Küche > Tassen"),
        ("Kategorie,Unterkategorie", "Haus,Tassen", "Haus > Tassen"),
        ("类目,子类目", "家居,杯子", "家居 > 杯子"),
        ("level1,level2,level3", "Home,Home > Kitchen,Home > Kitchen > Mugs", "Home > Kitchen > Mugs"),
        ("level1,level2", "Home,Homewear > Mugs", "Home > Homewear / Mugs"),
        ("level1,level2,category", "Home,Kitchen,Mugs", "Home > Kitchen > Mugs"),
        ("level1,level2,category", "Home,,Mugs", "Home > Mugs"),
        ("level1,level2,category", "Home,Mugs,Mugs", "Home > Mugs"),
        ("level1,level2,category", "Home,Mugs,267", "Home > Mugs"),
        ("level1,level2,category", "Home,Mugs,Home > Mugs", "Home > Mugs"),
        ("level1,level2,level3", "Home,Mugs,N/A", "Home > Mugs"),
    ],
)
def test_columns_of_levels_are_joined(tmp_path, header, levels, path):
    (tmp_path / "c.csv").write_text(f"title,{header}\nmug,{levels}\n", encoding="utf-8")
    assert [item.category_path for item in items(tmp_path / "c.csv")] == [path]


def test_the_term_of_an_atom_feed_is_its_category(tmp_path):
    entry = '<entry><id>1</id><title>Mug</title><category term="Home &gt; Mugs"/></entry>'
    (tmp_path / "c.xml").write_text(f'<feed xmlns="http://www.w3.org/2005/Atom">{entry}</feed>')
    assert [item.category_path for item in items(tmp_path / "c.xml")] == ["Home > Mugs"]


def test_json_lines_that_are_all_rejects_say_why(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"title": "mug \\ud83d"}\n{"title": "pan \\ud83d"}\n')
    with pytest.raises(InputError, match="all 2 were rejected, the first in line 1"):
        read(tmp_path / "c.jsonl")


def test_a_further_category_that_is_too_long_is_left_out(tmp_path):
    row = {"title": "mug", "categories": [["Home", "Mugs"], ["x" * 600], ["Gifts"]]}
    (tmp_path / "c.jsonl").write_text(json.dumps(row))
    (item,) = items(tmp_path / "c.jsonl")
    assert (item.category_path, item.also_in) == ("Home > Mugs", "Gifts")
