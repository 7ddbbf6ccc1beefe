"""The pages in a real browser: mouse, keyboard, wide screen and phone. Skipped if there is no browser."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PHONE, WIDE, open_page

pytestmark = pytest.mark.slow

sync_api = pytest.importorskip("playwright.sync_api")
PICTURES = os.environ.get("SHELFWISE_PICTURES")  # folder for screenshots of the pages


@pytest.fixture
def page(browser, service) -> Iterator[Any]:
    with open_page(browser, service) as page:
        yield page


def take_picture(page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True, caret="initial")


def test_search_while_typing_in_two_languages(page):
    page.goto("/")
    page.keyboard.type("rain boot")  # the field has the focus
    page.get_by_text("rain boot 1").first.wait_for()
    assert page.locator(".items li").count() == 10
    assert "Fashion > Shoes > Boots" in page.locator(".items li").first.inner_text()
    page.get_by_label("Title, or the id of an item").fill("蓝牙耳机")
    page.get_by_text("蓝牙耳机 10").first.wait_for()
    assert "Electronics > Audio > Headphones" in page.locator(".items li").first.inner_text()
    take_picture(page, "look")
    page.get_by_label("Category", exact=True).fill("Home > Kitchen")
    page.get_by_label("Category", exact=True).press("Enter")
    sync_api.expect(page.locator("#found")).not_to_contain_text("Electronics")
    assert all("Home > Kitchen" in text for text in page.locator(".items li .path").all_inner_texts())
    page.get_by_role("link", name="Link to this search").click()
    assert "category=Home" in page.url
    assert page.locator(".items li").count() == 10


def test_compare_two_items_and_export_results(page):
    page.goto("/?q=mug")
    for box in page.locator(".items input").all()[:2]:
        box.check()
    page.get_by_role("button", name="Compare two").click()
    assert page.locator("td").count() == 14
    page.go_back()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    assert Path(download.value.path()).read_text(encoding="utf-8-sig").count("\n") == 11


def test_classify_pasted_titles_and_a_file(page, tmp_path):
    page.goto("/classify")
    page.get_by_label("Listings, a title on each line").fill("blue rain boot\n保温 马克杯\nquite another thing")
    page.get_by_role("button", name="Classify", exact=True).click()
    page.locator("article").nth(2).wait_for()
    assert page.locator("article mark").count() > 0
    assert page.locator("article .neighbors li").count() > 0
    take_picture(page, "classify")
    file = tmp_path / "new.csv"
    file.write_text("id,title\n" + "".join(f"{i},blue rain boot {i}\n" for i in range(700)) + "x,too,many\n")
    page.get_by_label("Or a file").set_input_files(file)
    page.get_by_role("button", name="Upload and classify").click()
    link = page.get_by_role("link", name="Download decisions")
    link.wait_for()
    assert "700 listings" in page.locator("#job").inner_text()
    assert "1 rows could not be used" in page.locator("#job").inner_text()
    with page.expect_download() as download:
        link.click()
    assert Path(download.value.path()).read_text(encoding="utf-8-sig").count("\n") == 701


def test_correct_and_undo_a_decision_by_keyboard(page):
    for one in page.request.get("/v1/reviews?limit=1000").json()["reviews"]:
        call_api(page, f"/v1/reviews/{one['listing']['id']}", {"action": "skip"})
    call_api(page, "/v1/items", {"items": [{"title": "plush dinosaur", "category_path": "Home > Toys"}]})
    while "Home > Toys" not in page.request.get("/v1/categories").text():
        page.wait_for_timeout(100)  # on a busy machine the write is acknowledged before it is indexed
    doubtful = [{"id": "L-1", "title": "zq gadget nine"}, {"id": "L-3", "title": "wk widget"}]
    call_api(page, "/v1/classify", {"listings": doubtful})
    page.goto("/review?id=L-1")
    page.get_by_text("gadget").first.wait_for()
    take_picture(page, "review")
    page.keyboard.press("c")
    page.keyboard.type("toys")
    page.locator("#paths option[value='Home > Toys']").wait_for(state="attached")
    page.keyboard.press("Control+a")
    page.keyboard.type("Home > Toys")
    page.keyboard.press("Enter")
    page.get_by_text("correct L-1: Home > Toys: done").wait_for()
    similar = {"listings": [{"title": "zq gadget nine plus"}], "review": False}
    assert call_api(page, "/v1/classify", similar)["decisions"][0]["category_path"] == "Home > Toys"
    page.keyboard.press("u")
    page.get_by_text(re.compile(r"undo \d+: correct L-1")).wait_for()
    assert call_api(page, "/v1/items/L-1", None) is None
    for left in (1, 0):
        page.keyboard.press("s")
        page.get_by_text(f"{left} open").wait_for()
    page.get_by_text("Nothing waits for a decision.").wait_for()


def test_insert_a_new_category_from_a_review_by_keyboard(page):
    call_api(page, "/v1/classify", {"listings": [{"id": f"L-{n}", "title": f"qx gizmo {n}"} for n in (5, 6)]})
    page.goto("/review?id=L-5")
    page.get_by_text("gizmo").first.wait_for()
    page.keyboard.press("n")
    page.get_by_label("Examples").wait_for()
    assert page.get_by_label("Examples").input_value() == "L-5"
    page.get_by_label("Category path").fill("Home > Gizmos")
    page.get_by_label("Examples").fill("L-5\nqx gizmo 7")
    page.get_by_role("button", name="Dry run").click()
    page.get_by_label("qx gizmo 6").check()
    take_picture(page, "dry-run-from-review")
    page.get_by_role("button", name="Insert 2 examples").click()
    page.get_by_text("category Home > Gizmos: 3 examples").wait_for()
    assert call_api(page, "/v1/items/L-6", None)["category_path"] == "Home > Gizmos"
    page.get_by_role("button", name="Undo").first.click()
    page.get_by_text("undone").first.wait_for()
    assert call_api(page, "/v1/items/L-6", None) is None


def test_insert_a_category_after_a_dry_run_and_undo_it(page):
    page.goto("/categories")
    page.get_by_role("link", name="New category").click()
    page.get_by_label("Category path").fill("Home > Kitchen > Air Fryers")
    page.get_by_label("Examples").fill("\n".join(f"air fryer {n} litre" for n in (3, 4, 5, 6, 7)))
    page.get_by_role("button", name="Dry run").click()
    page.get_by_text("5 of 5 examples would be found by the others").wait_for()
    take_picture(page, "dry-run")
    page.get_by_role("button", name="Insert 5 examples").click()
    page.get_by_text("category Home > Kitchen > Air Fryers: 5 examples").wait_for()
    page.goto("/categories")
    assert "Air Fryers" in page.locator(".tree").text_content()
    page.goto("/changes")
    page.get_by_role("button", name="Undo").first.click()
    page.get_by_text("undone").first.wait_for()
    page.goto("/categories")
    assert "Air Fryers" not in page.locator(".tree").text_content()


def test_the_keyboard_reaches_every_control(page):
    page.goto("/classify")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText || document.activeElement.id"))
    assert {"Look up", "Review", "Categories", "Health", "titles", "file", "Classify"} <= reached
    page.goto("/?q=mug")
    page.locator("h1").click()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"


PAGES = (
    "/",
    "/?q=mug",
    "/classify",
    "/review",
    "/categories",
    "/categories/new",
    "/changes",
    "/health",
    "/items/ugs-001",
)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_fit_the_screen_and_are_accessible(page, path, size):
    """Require no horizontal scrolling and no serious or critical finding of axe-core, in light and dark mode."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    call_api(page, "/v1/classify", {"listings": [{"id": "L-2", "title": "another strange thing"}]})
    page.set_viewport_size(size)
    for language, colors in (("en", "light"), ("zh", "dark")):
        page.emulate_media(color_scheme=colors)
        page.goto(path + ("&" if "?" in path else "?") + f"lang={language}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = axe.Axe().run(page).response["violations"]
        serious = [
            (one["id"], [node["html"] for node in one["nodes"]][:3])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious
        take_picture(
            page, f"{path.strip('/').replace('/', '-').replace('?', '-') or 'home'}-{size['width']}-{language}"
        )


def call_api(page, path: str, content: object) -> dict[str, object] | None:
    """Post content to the API and return its answer. Without content, get the path; return None if that fails."""
    if content is None:
        answer = page.request.get(path)
        return answer.json() if answer.ok else None
    answer = page.request.post(path, data=content)
    assert answer.ok, answer.text()
    return dict(answer.json())
