"""Profiles of shop exports, tried on a file of invented goods for each platform (tests/profiles)."""

import csv
import re

import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st
from profile_files import EXPORTS, FILES

from shelfwise.indexer.reading.catalog import read_catalog
from shelfwise.indexer.reading.profiles import header_of, profile_of, profiles, recognised
from shelfwise.indexer.reading.rejects import RejectList

each_export = pytest.mark.parametrize("file", EXPORTS)

PLAIN = [
    ["id", "title", "category"],
    ["id", "title", "description", "brand", "category_path"],
    ["sku", "name", "brand", "categories"],
    ["SKU", "Name", "Description", "Price", "Category", "Type", "Tags"],
    ["title", "type", "vendor", "price"],
    ["product_id", "product_name", "category", "brand"],
    ["Artikelnummer", "Artikelname", "Marke", "Warengruppe", "Preis"],
    ["编号", "商品名称", "品牌", "规格", "类目路径", "价格"],
    ["商品ID", "商品标题", "品牌", "商品属性", "商品详情", "一级类目", "二级类目", "三级类目", "价格(元)"],
    ["货号", "标题", "类目"],
    # Other files of the same platforms.
    ["Category ID", "Active (0/1)", "Name *", "Parent category", "Description"],
    ["First Name", "Last Name", "Email", "Accepts Email Marketing", "Tags"],
    ["订单编号", "货品标题", "单价(元)", "数量", "货号", "Offer ID", "SKU ID"],
    [],
]


def lines_of(file):
    export = EXPORTS[file]
    text = (FILES / file).read_text(encoding=export.encoding)
    return list(csv.reader(text.splitlines(), delimiter=export.delimiter))


@each_export
def test_an_export_is_recognised_by_its_header_line(file):
    assert header_of(lines_of(file)) == (EXPORTS[file].header, profiles()[EXPORTS[file].profile])


@each_export
def test_no_other_platform_fits_as_well(file):
    columns = lines_of(file)[EXPORTS[file].header]
    evidence = {name: profile.evidence(columns) for name, profile in profiles().items()}
    own = evidence.pop(EXPORTS[file].profile)
    assert own > max(evidence.values())


@each_export
def test_products_and_variants_of_an_export(file):
    export = EXPORTS[file]
    catalog = read_catalog([FILES / file], RejectList())
    found = [
        (item.id, item.title, {item.category_path, *filter(None, item.also_in.split(" | "))})
        for item in catalog.items.values()
    ]
    assert found == [(id_, title, set(without_parents(paths))) for id_, title, paths in export.products if paths]
    (report,) = catalog.report.files
    assert (report.profile, report.variants) == (profiles()[export.profile].title, export.variants)


@each_export
def test_a_workbook_of_an_export_gives_the_same_items(tmp_path, file):
    path = tmp_path / "goods.xlsx"
    with xlsxwriter.Workbook(path, {"strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        for number, line in enumerate(lines_of(file)):
            for column, cell in enumerate(line):
                sheet.write_string(number, column, cell)
    assert read_catalog([path], RejectList()).items == read_catalog([FILES / file], RejectList()).items


def test_values_without_meaning_and_escaped_line_breaks_do_not_reach_an_item():
    apron = read_catalog([FILES / "shopify.csv"], RejectList()).items["linen-apron"]
    jacket = read_catalog([FILES / "woocommerce.csv"], RejectList()).items["501"]
    assert (apron.attributes, jacket.description) == ("", "Two layers.\nPacks into its pocket.")
    assert jacket.attributes == "Size: M, L; Color: Moss"


def without_parents(paths):
    return [path for path in paths if not any(other.startswith(f"{path} > ") for other in paths)]


@each_export
def test_columns_of_attributes_are_in_the_export(file):
    columns = lines_of(file)[EXPORTS[file].header]
    profile = profiles()[EXPORTS[file].profile]
    pairs = profile.attributes_of(columns)
    assert profile.columns_of("attributes", columns) == tuple(column for pair in pairs for column in pair if column)
    assert {value for _, value in pairs} <= set(columns)


def test_every_profile_has_a_file_and_finds_attributes_in_it():
    found = {
        export.profile
        for file, export in EXPORTS.items()
        if profiles()[export.profile].attributes_of(lines_of(file)[export.header])
    }
    assert found == set(profiles())


def test_every_profile_says_where_its_headers_come_from():
    for profile in profiles().values():
        assert re.search(r"\bread 20\d\d-\d\d-\d\d\b", profile.source, re.IGNORECASE), profile.name
        assert profile.title


def test_profiles_are_sorted_by_name():
    assert list(profiles()) == sorted(profiles())


@pytest.mark.parametrize("columns", PLAIN, ids=",".join)
def test_other_headers_are_not_recognised(columns):
    assert recognised(columns) is None
    assert header_of([columns, ["1", "x"]]) is None


@given(st.data())
def test_a_profile_is_recognised_in_any_order_case_and_spacing(data):
    name = data.draw(st.sampled_from(sorted(profiles())))
    headers = data.draw(st.sampled_from(profiles()[name].signature))
    shown = data.draw(st.permutations([header.upper() for header in headers]))
    other = data.draw(st.lists(st.text(alphabet="xyz_- ", min_size=3), max_size=5))
    found = recognised([*(f" {header[0]} {header[1:]}" for header in shown), *other])
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("shopify", ["Handle", "Title", "Vendor", "Product Category"]),
        ("shopify", ["Title", "URL handle", "Product category"]),
        ("woocommerce", ["ID", "Type", "SKU", "Name", "Categories"]),
        ("woocommerce", ["ID", "Typ", "Artikelnummer", "Name", "Kategorien"]),
        ("google_merchant", ["id", "title", "google_product_category"]),
        ("google_merchant", ["g:id", "g:title", "g:product_type"]),
        ("akeneo", ["sku", "family", "categories", "enabled", "name-fr_FR"]),
        ("magento", ["sku", "product_type", "categories", "name"]),
        ("prestashop", ["Name *", "Categories (x,y,z...)"]),
        ("bigcommerce", ["Product Name", "Product Code/SKU", "Category"]),
        ("amazon", ["item_sku", "item_name", "item_type"]),
        ("taobao", ["宝贝名称", "宝贝类目"]),
        ("jd", ["SKU编码", "商品名称", "三级类目"]),
        ("1688", ["产品标题", "单品货号", "类目"]),
    ],
)
def test_an_export_with_few_columns_left_is_recognised(name, columns):
    assert recognised(columns) == profiles()[name]


def test_columns_keep_their_names_and_the_order_of_preference():
    columns = ["type", "TITLE ", "Google_Shopping / Google Product-Category", "product category", "Handle"]
    shopify = profiles()["shopify"]
    assert shopify.columns_of("title", columns) == ("TITLE ",)
    assert shopify.columns_of("category_path", columns) == (
        "product category",
        "Google_Shopping / Google Product-Category",
        "type",
    )
    assert shopify.columns_of("brand", columns) == ()


def test_numbered_attributes_are_pairs_in_order_of_their_numbers():
    woo = profiles()["woocommerce"]
    columns = [
        "Attribute 10 value(s)",
        "Attribute 10 name",
        "Attribute 2 name",
        "Attribute 2 value(s)",
        "Attribute 3 name",
    ]
    assert woo.attributes_of(columns) == (
        ("Attribute 2 name", "Attribute 2 value(s)"),
        ("Attribute 10 name", "Attribute 10 value(s)"),
    )
    assert profiles()["amazon"].attributes_of(["color_name", "bullet_point2", "bullet_point1"]) == (
        ("", "bullet_point1"),
        ("", "bullet_point2"),
        ("", "color_name"),
    )


def test_the_rest_of_a_header_begins_at_a_mark():
    akeneo = profiles()["akeneo"]
    assert akeneo.columns_of("title", ["names", "name_de", "name-en_US", "namespace"]) == ("name_de", "name-en_US")


def test_a_repeated_handle_with_a_title_is_another_product():
    shopify = profiles()["shopify"]
    product = {"Handle": "mug", "Title": "Mug"}
    assert shopify.is_variant({"Handle": "mug", "Title": None}, product)
    assert shopify.is_variant({"Handle": "mug", "Title": float("nan")}, product)
    assert not shopify.is_variant({"Handle": "mug", "Title": "Large mug"}, product)
    assert not shopify.is_variant({"Handle": "cup", "Title": ""}, product)
    assert not shopify.is_variant({"Handle": "", "Title": ""}, {"Handle": "", "Title": "Mug"})
    assert not shopify.is_variant({"Handle": "mug", "Title": ""}, None)


def test_a_rule_about_a_missing_column_holds_for_no_row():
    assert not profiles()["woocommerce"].is_variant({"ID": "1", "Name": "Mug"}, {"ID": "1", "Name": "Mug"})
    assert not profiles()["magento"].is_variant({"product_type": "simple", "name": "Mug"}, None)


def test_a_magento_product_that_is_not_simple_is_no_variant():
    row = {"sku": "BOX", "product_type": "bundle", "visibility": "Not Visible Individually"}
    assert not profiles()["magento"].is_variant(row, None)


VALID = {
    "title": '"Shop"',
    "source": '"page (read 2026-01-01)"',
    "signature": '[["a", "b"]]',
    "columns": '{ title = ["a"] }',
}


def test_a_small_profile_is_valid():
    assert profile_of("shop", "\n".join(f"{key} = {value}" for key, value in VALID.items())).variants == ()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("source", None, "source is missing"),
        ("source", '" "', "not a text"),
        ("signature", "[]", "fewer than two headers"),
        ("signature", '[["a"]]', "fewer than two headers"),
        ("signature", '[["a", 1]]', "not a list of texts"),
        ("columns", '{ id = ["a"] }', "title is missing"),
        ("columns", '{ title = ["a"], colour = ["b"] }', "unknown key colour"),
        ("columns", '{ title = ["a"], attributes = [["a", "b", "c"]] }', "not a pair"),
        ("between", "1", "not a text"),
        ("variant", "[]", "unknown key variant"),
        ("variants", '[{ blank = ["a"] }]', "neither same nor where"),
        ("variants", '[{ when = ["a"] }]', "unknown key when"),
    ],
)
def test_a_mistake_in_a_profile_is_named(key, value, reason):
    lines = {**VALID, key: value}
    text = "\n".join(f"{name} = {entry}" for name, entry in lines.items() if entry is not None)
    with pytest.raises(ValueError, match=reason):
        profile_of("shop", text)
