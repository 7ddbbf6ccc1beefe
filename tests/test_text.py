from hypothesis import given
from hypothesis import strategies as st

from shelfwise.indexer.item import MAX_DESCRIPTION, beyond_latin, clean, words_of


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
    assert words_of("Trail shoe", "Veloro", "Size: 42", "Light.").text() == "Trail shoe. Veloro. Size: 42. Light."
    assert words_of("VELORO trail shoe", "Veloro").text() == "VELORO trail shoe"


def test_compose_cuts_the_description_alone():
    text = words_of("t" * 500, description="d" * 1000).text()
    assert text == "t" * 500 + ". " + "d" * MAX_DESCRIPTION


def test_compose_of_nothing_is_empty():
    assert words_of(" <br> ", " ", "", "\n").text() == ""


def test_twins_differ_in_case_and_width_only():
    assert words_of("ＵＳＢ-C  Cable").twin_key() == words_of("usb-c cable").twin_key()
    assert words_of("usb-c cable 2 m").twin_key() != words_of("usb-c cable").twin_key()


def test_beyond_latin():
    assert beyond_latin("USB 数据线")
    assert not beyond_latin("Crème brûlée №5 ☆ ①")
