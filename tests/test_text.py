from hypothesis import given
from hypothesis import strategies as st

from shelfwise.indexer.item import MAX_DESCRIPTION, beyond_latin, clean, words_of


def test_clean_normalises_width_markup_entities_and_spaces():
    assert (
        clean("  ＩＰＨＯＮＥ\u3000壳 <b>New</b>&nbsp;&amp; cheap\u200b<br/>5００ｍｌ ")
        == "IPHONE 壳 New & cheap 500ml"
    )


def test_clean_keeps_text_that_only_looks_like_markup():
    assert clean("cable < 3 m > 1 m, size <M>") == "cable < 3 m > 1 m, size <M>"
    assert clean("&lt;b&gt; tag") == "<b> tag"


@given(st.text())
def test_clean_collapses_spaces(text):
    cleaned = clean(text)
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned


def test_the_text_includes_the_brand_unless_the_title_has_it():
    assert words_of("Trail shoe", "Veloro", "Size: 42", "Light.").text() == "Trail shoe. Veloro. Size: 42. Light."
    assert words_of("VELORO trail shoe", "Veloro").text() == "VELORO trail shoe"


def test_only_the_description_is_truncated():
    text = words_of("t" * 500, description="d" * 1000).text()
    assert text == "t" * 500 + ". " + "d" * MAX_DESCRIPTION


def test_the_text_of_empty_fields_is_empty():
    assert words_of(" <br> ", " ", "", "\n").text() == ""


def test_duplicates_differ_only_in_case_width_and_spaces():
    assert words_of("ＵＳＢ-C  Cable").twin_key() == words_of("usb-c cable").twin_key()
    assert words_of("usb-c cable 2 m").twin_key() != words_of("usb-c cable").twin_key()


def test_beyond_latin_detects_other_scripts():
    assert beyond_latin("USB 数据线")
    assert not beyond_latin("Crème brûlée №5 ☆ ①")
