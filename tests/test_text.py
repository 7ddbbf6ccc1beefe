from hypothesis import given
from hypothesis import strategies as st

from shelfwise.indexer.text import MAX_DESCRIPTION, beyond_latin, clean, compose, twin_key


def test_clean_folds_width_markup_entities_and_space():
    assert (
        clean("  ＩＰＨＯＮＥ\u3000壳 <b>New</b>&nbsp;&amp; cheap\u200b<br/>5００ｍｌ ")
        == "IPHONE 壳 New & cheap 500ml"
    )


def test_clean_keeps_what_only_looks_like_markup():
    assert clean("cable < 3 m > 1 m, size <M>") == "cable < 3 m > 1 m, size <M>"
    assert clean("&lt;b&gt; tag") == "<b> tag"


@given(st.text())
def test_clean_leaves_single_spaces(text):
    cleaned = clean(text)
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned


def test_compose_takes_the_brand_unless_the_title_has_it():
    assert compose("Trail shoe", "Veloro", "Size: 42", "Light.") == "Trail shoe. Veloro. Size: 42. Light."
    assert compose("VELORO trail shoe", "Veloro") == "VELORO trail shoe"


def test_compose_cuts_the_description_alone():
    text = compose("t" * 500, description="d" * 1000)
    assert text == "t" * 500 + ". " + "d" * MAX_DESCRIPTION


def test_compose_of_nothing_is_empty():
    assert compose(" <br> ", " ", "", "\n") == ""


def test_twins_differ_in_case_and_width_only():
    assert twin_key("ＵＳＢ-C  Cable") == twin_key("usb-c cable")
    assert twin_key("usb-c cable 2 m") != twin_key("usb-c cable")


def test_beyond_latin():
    assert beyond_latin("USB 数据线")
    assert not beyond_latin("Crème brûlée №5 ☆ ①")
