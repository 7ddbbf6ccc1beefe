"""Rules of category columns: signs between levels and categories, lists, ids, bounds, joins and spellings."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.indexer.item import PATH_SEPARATOR, normal_path
from shelfwise.indexer.reading.categories import (
    ARROWS,
    CATEGORY_MARK,
    LEVEL_MARK,
    MAX_LEVELS,
    MAX_PATH,
    OTHERS,
    SAMPLED_VALUES,
    CategoryRule,
    decide,
    fault_of,
    leaf_joins,
    marked_list,
    spellings,
)

SPACED = (" - ", " / ", " | ", " > ", " » ", " -> ", ", ")
REPEATED = ("--", "-->", ">>>", "||", "> >")
FLAT = ["T-Shirts, Tops", "Food/Drinks", "2-in-1", "AC/DC", "Men's T-Shirts", "A-line", "166", "3.5"]
SHOP = ["Wear, Wear > Shirts", "Wear, Wear > Shoes, Wear > Shoes > Boots", "Home > Lamps, Wear > Hats", "Home > Beds"]


def paths_of(values, **known):
    rule = decide(values, **known)
    return [rule.split(value).path for value in values]


@pytest.mark.parametrize("sign", [*ARROWS, *OTHERS, *SPACED, *REPEATED])
def test_every_sign_splits(sign):
    tree = ["Home > Lamps", "Home > Beds", "Garden > Tools", "Garden > Seeds"]
    assert paths_of([path.replace(" > ", sign) for path in tree]) == tree


@pytest.mark.parametrize(
    "values",
    [
        FLAT,
        ["T-Shirts", "T-Bars", "A-line", "V-neck"],
        ["Food/Drinks"],
        ["Bags, Cases", "Shoes, Boots", "Pens, Ink"],
        ["Home/Beds", "Home/Wood/Oak", "Home/Wood/Oak/Dark", "Home"],
        ["10", "166", "12345"],
        ["0 - 3 months", "3 - 6 months", "1 - 2 years"],
        ["Food, Drinks > Tea", "Food, Drinks > Cola", "Pets > Cats, Dogs"],
        ["Shop > Dairy, Eggs > Milk", "Shop > Dairy, Eggs > Eggs", "Shop > Tea"],
        ["Food/Tea > Green/Mint", "Food/Tea > Black", "Food/Cola > Light"],
        ["Shoes", "Bags", "Hats", "Toys > Cars"],
        [],
    ],
)
def test_categories_stay_as_they_are(values):
    assert paths_of(values) == values


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        (
            ["Home - Kitchen - T-Shirts", "Home - X-Large - Beds", "Home - Bath - Towels"],
            ["Home > Kitchen > T-Shirts", "Home > X-Large > Beds", "Home > Bath > Towels"],
        ),
        (  # an arrow in less than half of the values with levels
            ["Home/Wood/Beds", "Home/Wood/Chairs", "Home/Steel/Beds", "Home/Steel/Chairs", "Cars > Vans"],
            ["Home > Wood > Beds", "Home > Wood > Chairs", "Home > Steel > Beds", "Home > Steel > Chairs",
             "Cars / Vans"],
        ),
        (  # other arrows stay in the names, as a sign that splits no stored path
            ["Home > Beds -> Oak", "Home > Beds>>Pine", "Home > Lamps » LED"],
            ["Home > Beds / Oak", "Home > Beds/Pine", "Home > Lamps / LED"],
        ),
        (["> Home > Beds >", ">", "Home > > Sofas"], ["Home > Beds", "", "Home > Sofas"]),
        (["/Home/Beds/", "/Home//Sofas", "Home/Oak/Beds", "Home/Lamps", "Cars/Vans/", "Cars/Bikes"],
         ["Home > Beds", "Home > Sofas", "Home > Oak/Beds", "Home > Lamps", "Cars > Vans", "Cars > Bikes"]),
        (["Home ＞ Beds", "Home &gt; Sofas", "<p>Home</p> > Ｓeats"], ["Home > Beds", "Home > Sofas", "Home > Seats"]),
        (["家居／灯具", "家居／床品", "户外／帐篷", "户外／桌椅"], ["家居 > 灯具", "家居 > 床品", "户外 > 帐篷", "户外 > 桌椅"]),
        (["茶-绿茶", "茶-红茶", "酒-白酒", "酒-啤酒"], ["茶 > 绿茶", "茶 > 红茶", "酒 > 白酒", "酒 > 啤酒"]),
        (
            ["166 - Apparel", "166 - Apparel > 5 - Shoes-Boots", "7 - Toys"],
            ["Apparel", "Apparel > Shoes-Boots", "Toys"],
        ),
        (
            ["1 - Home - 12 - Beds", "1 - Home - 13 - Sofas", "2 - Cars - 14 - Vans"],
            ["Home > Beds", "Home > Sofas", "Cars > Vans"],
        ),
        (["12 - Other", "15 - Other", "16 - Toys"], ["12 - Other", "15 - Other", "16 - Toys"]),  # ids tell names apart
        (["", " "], ["", ""]),
    ],
)  # fmt: skip
def test_columns(values, paths):
    assert paths_of(values) == paths


def test_a_hyphen_within_a_name_stays():
    tree = [
        f"{root}-{middle}-{leaf}" for root in ("Men", "Kids") for middle in ("Top", "Low") for leaf in ("Red", "Tan")
    ]
    rule = decide([*tree, "Men-Top-T-Shirts", "T-Shirts", "Kids"])
    assert rule.split("Men-Top-T-Shirts").path == "Men > Top > T-Shirts"  # surplus hyphens
    assert rule.split("T-Shirts").path == "T-Shirts"  # does not begin as a path does
    assert rule.split("Kids-Top").path == "Kids > Top"


def test_the_parts_that_must_agree():
    tree = ["Home/Beds", "Home/Lamps", "Cars/Vans", "Cars/Bikes"]
    assert decide([*tree, "Toys"]).levels == "/"  # 80 % have the sign
    assert decide([*tree, "Toys", "Hats"]).levels == ""
    assert decide([*tree, "Cars/Vans/Small"]).depth == 2  # 80 % have two levels
    assert decide([*tree, "Cars/Vans/Small", "Cars/Vans/Large"]).levels == ""
    assert decide([*tree, "Toys > Cars", "Toys > Dolls", "Toys > Kites", "Toys > Balls"]).levels == ">"  # half
    assert decide([*tree, *"abcdefghijk", "Toys > Cars"]).levels == ">"


def test_a_sign_between_categories_never_splits_levels():
    values = ["Home,Beds", "Home,Lamps", "Cars,Vans", "Cars,Bikes"]
    assert decide(values).levels == ","
    assert decide(values, between=",").paths("Home,Beds") == ("Home", "Beds")


@pytest.mark.parametrize(
    ("known", "value", "path", "also_in"),
    [
        ({"between": ","}, "Wear, Wear > Shoes, Sale, Wear > Shoes > Boots, Sale", "Wear > Shoes > Boots", ("Sale",)),
        ({"between": ","}, "Home > Beds, Wear > Hats", "Home > Beds", ("Wear > Hats",)),
        ({"between": ","}, r"Food\, Drinks > Tea, Sale", "Food, Drinks > Tea", ("Sale",)),
        ({"between": ","}, "Wear > Shoes, Wear > Shoe", "Wear > Shoes", ("Wear > Shoe",)),
        ({"between": "\n", "levels": ">"}, "Sale\r\nWear > Hats\n", "Wear > Hats", ("Sale",)),
        ({"between": ",", "levels": "/", "drop": ["Default Category"]},
         "Default Category,Default Category/Wear,Default Category/Wear/Hats", "Wear > Hats", ()),
        ({"levels": " / "}, "Wear / Hats/Caps", "Wear > Hats/Caps", ()),
        ({}, "", "", ()),
    ],
)  # fmt: skip
def test_several_categories_of_a_profile(known, value, path, also_in):
    assert decide([value, "Wear > Shoes"], **known).split(value) == (path, also_in)


@pytest.mark.parametrize("sign", ["\n", "; ", "|", ", "])
def test_several_categories_are_found_by_their_paths(sign):
    rule = decide([value.replace(", ", sign) for value in SHOP])
    assert rule.between == (sign.strip() or sign)
    assert rule.split(f"Wear > Hats{sign}Wear{sign}Home > Lamps") == ("Wear > Hats", ("Home > Lamps",))
    # A part without levels is a name, not a category.
    assert rule.paths("Food, Drinks > Tea") == ("Food, Drinks > Tea",)


def test_a_bar_or_comma_needs_a_known_root():
    assert decide(["Home > Beds, Bath > Towels", "Home > Beds, Bath > Robes", "Home > Lamps"]).between == ""
    assert decide(["Home > Beds; Bath > Towels", "Home > Lamps"]).between == ";"


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (["Home", "Beds/Cots", "King, Queen"], ("Home > Beds/Cots > King, Queen",)),
        ([{"id": 1, "name": "Home"}, {"title": "Beds"}, {"label": 7}], ("Home > Beds > 7",)),
        ([["Home", "Beds"], ["Sale"]], ("Home > Beds", "Sale")),
        (["Home > Beds", "Sale > Beds"], ("Home > Beds", "Sale > Beds")),
        (["Home", "Home &gt; Beds"], ("Home", "Home > Beds")),
        (["Home > Beds"], ("Home > Beds",)),
        ([{"path": "Home > Beds"}], ("Home > Beds",)),
        (["Home", None, "", float("nan"), 2.0, Decimal("3.5"), "a\x1fb\x1ec"], ("Home > 2 > 3.5 > a b c",)),
        ([], ()),
    ],
)
def test_lists(value, paths):
    text = marked_list(value)
    assert decide([text, "Cars > Vans"]).paths(text) == paths


def test_a_list_of_unusable_values_is_refused():
    for element, said in ((b"Home", "bytes"), ({"id": 3}, "without a name: it has id"), (object(), "object")):
        with pytest.raises(TypeError, match=said):
            marked_list([element])


def test_lists_count_as_values_without_a_sign():
    tree = ["Home/Beds", "Home/Lamps", "Cars/Vans", "Cars/Bikes"]
    lists = [marked_list(["Home", name]) for name in ("Sofas", "Rugs")]
    assert decide([*tree, lists[0]]).levels == "/"
    assert decide([*tree, *lists]).levels == ""
    assert decide(lists).words() == "lists as levels"
    assert decide([f"12 - Home{LEVEL_MARK}13 - Rugs"]).paths(f"12 - Home{LEVEL_MARK}13 - Rugs") == ("Home > Rugs",)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (CategoryRule(), "no levels"),
        (CategoryRule("-", 3), 'levels split at "-" (at most 3)'),
        (CategoryRule(">", between="\n", numbered=True), 'levels split at ">", categories at line breaks, leading ids left out'),
        (CategoryRule("/", between=",", drop=("Root",)), 'levels split at "/", categories at ",", "Root" left out'),
    ],
)  # fmt: skip
def test_words(rule, words):
    assert rule.words() == words


def test_a_sample_decides_for_many_values():
    values = [f"Root {i % 50}/Leaf {i}" for i in range(SAMPLED_VALUES * 2)]
    rule = decide(values)
    assert rule == decide(reversed(values))
    assert (rule.levels, rule.depth, len(rule.roots)) == ("/", 2, 50)


@pytest.mark.parametrize("run", [">", "-", "=", ":", "/", ",", "> ", "- ", "->", "1 - ", " > -"])
def test_a_long_run_of_signs_is_read(run):
    """Take seconds, or no end, if a pattern backtracks."""
    values = ["Home > Beds", "Home > Rugs", "Cars > Vans", run * (32_000 // len(run)), f"Home > Beds {run * 10_000} x"]
    assert paths_of(values)[0] == "Home > Beds"
    assert decide([*values, f"Home; Beds{run * 10_000}"], between=";").paths("a;b") == ("a", "b")


def test_bounds():
    levels = PATH_SEPARATOR.join(["a"] * MAX_LEVELS)
    assert fault_of(levels) is None
    assert fault_of(f"{levels} > b") == ("too_many_levels", "a category of 17 levels")
    assert fault_of("a" * MAX_PATH) is None
    assert fault_of("a" * (MAX_PATH + 1)) == ("too_long", "a category of 501 characters")


def test_a_bare_leaf_joins_the_one_path_that_ends_in_it():
    paths = ["Lamps", "Home > Lamps", "Beds", "Home > Beds", "Kids > Beds", "Home", "Shop > Home", "Toys"]
    assert leaf_joins(paths) == {"Lamps": "Home > Lamps"}
    assert leaf_joins(reversed(paths)) == {"Lamps": "Home > Lamps"}


def test_spellings_that_differ_in_case_width_or_spaces():
    paths = {
        "Home > T Shirts": 3,
        "home > Tshirts": 4,
        "HOME > Beds": 1,
        "家居 > ＬＥＤ灯": 1,
        "家居 > LED 灯": 2,
        "Home": 9,
        "T-Shirts": 1,
    }
    assert spellings(paths) == {
        "Home > T Shirts": "Home > Tshirts",
        "home > Tshirts": "Home > Tshirts",
        "HOME > Beds": "Home > Beds",
        "家居 > ＬＥＤ灯": "家居 > LED 灯",
    }
    assert spellings({"b": 1, "B": 1}) == spellings({"B": 1, "b": 1}) == {"b": "B"}


NAMES = st.lists(
    st.text("abcÄß茶 '&", min_size=2, max_size=8).map(lambda name: " ".join(f"x{name}".split())), min_size=2, max_size=5
)


@given(st.lists(NAMES, min_size=1, max_size=8), st.sampled_from(ARROWS))
def test_an_arrow_gives_back_the_names_it_joins(paths, sign):
    assert paths_of([sign.join(names) for names in paths]) == [normal_path(" > ".join(names)) for names in paths]


@given(
    st.sets(st.text("abcÄß茶", min_size=2, max_size=4), min_size=2, max_size=8),
    st.sampled_from(OTHERS),
    st.integers(2, 5),
)
def test_another_sign_gives_back_the_names_it_joins(leaves, sign, depth):
    paths = [["Root", *["middle"] * (depth - 2), leaf] for leaf in sorted(leaves)]
    assert paths_of([sign.join(names) for names in paths]) == [" > ".join(names) for names in paths]


PIECES = st.lists(st.sampled_from([*"aBç茶 -/|,;:=\n\\»›>", " > ", LEVEL_MARK, CATEGORY_MARK]), max_size=20)
VALUES = st.lists(PIECES.map("".join), max_size=10)


@given(VALUES, st.sampled_from(["", ",", ";", "\n"]))
def test_a_rule_loses_no_letter_and_its_paths_are_normal(values, between):
    rule = decide(values, between=between)
    for value in values:
        paths = rule.paths(value)
        assert [char for char in "".join(paths) if char.isalpha()] == [char for char in value if char.isalpha()]
        assert all(path and normal_path(path) == path for path in paths)
        found = rule.split(value)
        assert bool(found.path) == bool(paths)
        assert {found.path, *found.also_in} <= {*paths, ""}
        assert all(fault_of(path) is None for path in paths)


@given(VALUES, st.randoms())
def test_order_and_repetition_of_the_values_do_not_count(values, random):
    shuffled = values * 2
    random.shuffle(shuffled)
    assert decide(shuffled) == decide(values)
