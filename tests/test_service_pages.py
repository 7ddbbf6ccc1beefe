"""The HTML pages of the service."""

import json
import re
import threading
from pathlib import Path

from conftest import ask, client_of

import shelfwise as sw

NEW = "Home > Kitchen > Air Fryers"


def test_pages_speak_both_languages(client):
    english, chinese = client.get("/"), client.get("/?lang=zh")
    assert 'lang="en"' in english.text and "Look up" in english.text
    assert 'lang="zh"' in chinese.text and "查找" in chinese.text
    assert client.get("/health").text.count("状态") >= 1  # the language choice is stored
    refused = client.post("/review/undo", data={"number": 7})
    assert 'href="/review?lang=en"' in refused.text  # links to the page, not to the posted address
    elsewhere = client.get(f"{client.base_url}//elsewhere.example/", headers={"accept": "text/html"})
    assert elsewhere.status_code == 404 and 'href="//' not in elsewhere.text
    told = client.post("/review/undo", data={"number": "x"}, headers={"hx-request": "true"})
    assert told.status_code == 422 and told.text.startswith(
        '<p class="problem"'
    )  # a fragment for its place on the page
    client.cookies.clear()
    assert 'lang="zh"' in client.get("/", headers={"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}).text


def test_every_text_of_the_templates_has_a_chinese_translation():
    folder = Path(__file__).parent.parent / "shelfwise" / "service"
    known = json.loads((folder / "locale" / "zh.json").read_text())
    used = set()
    for file in (folder / "templates").glob("*.html"):
        used |= set(re.findall(r"""_\("([^"]+)"\)""", file.read_text())) | set(
            re.findall(r"""_\('([^']+)'\)""", file.read_text())
        )
    assert used <= known.keys(), sorted(used - known.keys())


def uploaded(client, name, content):
    """Upload a file, and return the address of its page when all rows are classified."""
    sent = client.post("/classify/file", files={"file": (name, content)}, follow_redirects=False)
    assert sent.status_code == 303
    place = sent.headers["location"]
    for _ in range(200):
        page = client.get(place).text
        if "Download decisions" in page:
            break
        threading.Event().wait(0.05)
    return place


def test_an_uploaded_file_is_read_with_the_columns_that_the_store_remembers(tmp_path):
    rows = [{"product": f"{one} {i}", "aisle": one} for one in ("mug", "pan") for i in range(4)]
    sw.build(tmp_path / "store", rows, encoder="hashing", columns={"title": "product", "category": "aisle"}).close()
    with client_of(tmp_path / "store") as client:
        place = uploaded(client, "new.csv", b"note,product\na,mug 9\n")
        assert client.get(f"{place}/decided").text.splitlines()[1].startswith("a,mug 9,mug,mug,")


def test_an_uploaded_file_is_classified_and_its_rejects_are_listed(client):
    rows = "id,title\n" + "".join(f"{i},blue rain boot {i}\n" for i in range(300)) + "x,too,many\n"
    place = uploaded(client, "../../new.csv", rows.encode())
    decided = client.get(f"{place}/decided").content.decode("utf-8-sig").splitlines()
    assert len(decided) == 301
    assert decided[1].startswith("0,blue rain boot 0,Boots,")
    assert "3 fields where the header has 2" in client.get(f"{place}/rejects").text


def test_a_json_lines_upload_gives_json_lines(client):
    rows = json.dumps({"id": "1", "title": "blue rain boot"}).encode()
    place = uploaded(client, "new.jsonl", rows)
    assert json.loads(client.get(f"{place}/decided").content.splitlines()[0])["id"] == "1"


def test_an_unreadable_upload_is_one_error_line(client):
    sent = client.post("/classify/file", files={"file": ("new.csv", b"colour\nred\n")}, follow_redirects=False)
    for _ in range(200):
        page = client.get(sent.headers["location"]).text
        if "no title column" in page:
            break
        threading.Event().wait(0.05)
    assert "new.csv has no title column" in page
    assert "/tmp" not in page


def test_a_category_is_tried_in_a_dry_run_and_then_inserted(client):
    examples = "\n".join(f"air fryer {size} litre" for size in (3, 4, 5, 6, 7))
    form = {"category_path": NEW, "examples": examples}
    tried = client.post("/categories/dry-run", data=form).text
    assert re.search(r"5 of 5 examples would be found", tried)
    assert "Home &gt; Kitchen" in tried
    assert NEW not in [one["category_path"] for one in client.get("/v1/categories").json()["categories"]]
    done = client.post("/categories", data={"category_path": NEW, "titles": examples})
    assert f"category {NEW}".replace(">", "&gt;") in done.text
    assert ask(client, "air fryer 8 litre")["category_path"] == NEW
    number = client.get("/v1/writes").json()["writes"][0]["number"]
    client.post("/changes/undo", data={"number": number})
    assert ask(client, "air fryer 8 litre")["category_path"] != NEW


def test_examples_can_be_existing_items_and_listings(client):
    ask(client, "", listings=[{"id": "L-1", "title": "air fryer 9 litre"}])
    moved = "als-003"
    before = client.get(f"/v1/items/{moved}").json()
    form = {"category_path": NEW, "examples": f"air fryer 3 litre\nair fryer 4 litre\nL-1\n{moved}"}
    tried = client.post("/categories/dry-run", data=form).text
    assert "of 4 examples" in tried
    assert all(f'type="hidden" name="ids" value="{id_}"' in tried for id_ in ("L-1", moved))
    assert not any(f'type="checkbox" name="ids" value="{id_}"' in tried for id_ in ("L-1", moved))
    insert = {"category_path": NEW, "titles": "air fryer 3 litre\nair fryer 4 litre", "ids": ["L-1", moved, "als-004"]}
    refused = client.post("/categories", data=insert | {"ids": ["L-1", "gone"]})
    assert (refused.status_code, "with id gone" in refused.text) == (409, True)
    client.post("/categories", data=insert)
    there = {"category_path": NEW, "category": "Air Fryers"}
    assert client.get(f"/v1/items/{moved}").json() == before | there
    assert client.get("/v1/items/L-1").json().items() >= (there | {"title": "air fryer 9 litre"}).items()
    assert client.get("/v1/reviews?state=corrected").json()["reviews"][0]["listing"]["id"] == "L-1"
    assert {"category_path": NEW, "items": 5, "trained": False} in client.get("/v1/categories").json()["categories"]


def test_a_review_links_to_a_new_category_and_to_other_reviews(client):
    for i in range(3):
        ask(client, "", listings=[{"id": f"L-{i}", "title": f"strange thing {i}"}])
    page = client.get("/review?id=L-2").text
    assert '<input type="hidden" name="id" value="L-2">' in page
    assert 'href="/review?id=L-1"' in page and 'href="/review?id=L-2"' not in page
    wrong = client.post("/review", data={"id": "L-2", "action": "correct", "category_path": "A > B"}).text
    assert '<input type="hidden" name="id" value="L-2">' in wrong
    link = re.search(r'href="(/categories/new[^"]+)"', wrong)[1].replace("&amp;", "&")
    form = client.get(link).text
    assert 'value="A &gt; B"' in form and ">L-2</textarea>" in form
    assert "no open review: nothing" in client.get("/review?id=nothing").text
    written = client.post("/categories/dry-run", data={"category_path": "home > kitchen > MUGS", "examples": "a mug"})
    assert "There is already Home &gt; Kitchen &gt; Mugs" in written.text


def test_a_review_is_corrected_and_undone_on_the_page(client):
    client.post("/v1/classify", json={"listings": [{"id": "L-1", "title": "strange thing"}]})
    assert "strange" in client.get("/review").text
    wrong = client.post("/review", data={"id": "L-1", "action": "correct", "category_path": "Nowhere"})
    assert (wrong.status_code, "no category" in wrong.text) == (422, True)
    done = client.post("/review", data={"id": "L-1", "action": "correct", "category_path": "Home > Kitchen > Mugs"})
    assert "correct L-1" in done.text
    number = re.search(r'name="number" value="(\d+)"', done.text)[1]
    assert "strange" in client.post("/review/undo", data={"number": number}).text


def test_compare_items_and_export_results(client):
    ids = [item["id"] for item in client.post("/v1/similar", json={"text": "mug", "k": 2}).json()["items"]]
    page = client.get("/compare", params={"id": ids}).text
    assert all(id_ in page for id_ in ids)
    assert client.get("/compare", params={"id": ids[:1]}).status_code == 422
    exported = client.get("/found.csv?q=mug&k=30").content.decode("utf-8-sig").splitlines()
    assert exported[0] == "id,title,brand,category_path,similarity"
    assert len(exported) == 31
