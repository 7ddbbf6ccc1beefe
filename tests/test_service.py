"""The service over HTTP: its API, what it keeps, and what it refuses."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from classifier import maintenance
from classifier.pipeline import Classifier
from indexer.catalog import Item
from indexer.errors import BusyError, InputError
from service.app import Config, create_app
from service.guard import BODY_BYTES
from service.tokens import Tokens

READ, WRITE = "r" * 20, "w" * 20
NEW = "Home > Kitchen > Air Fryers"


def client_of(store: Path, tokens: Tokens | None = None) -> TestClient:
    return TestClient(
        create_app(Config(store, tokens=tokens)), base_url="http://localhost:8000", raise_server_exceptions=False
    )


@pytest.fixture
def client(store: Path) -> Iterator[TestClient]:
    with client_of(store) as client:
        yield client


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    file = tmp_path / "tokens.txt"
    file.write_text(f"# who may\nshop read {READ}\n\nanna write {WRITE}\n")
    return Tokens.read(file)


def ask(client: TestClient, title: str, **more: object) -> dict[str, object]:
    answer = client.post("/v1/classify", json={"listings": [{"title": title}], **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["decisions"][0]


def test_classify_gives_what_the_library_gives(client, store):
    titles = ["blue rain boot", "coffee mug 500ml", "蓝牙耳机 新款"]
    asked = {"listings": [{"id": str(i), "title": title} for i, title in enumerate(titles)], "top": 2, "neighbors": 1}
    said = client.post("/v1/classify", json=asked).json()["decisions"]
    expected = Classifier.open(store).classify([Item(str(i), title) for i, title in enumerate(titles)], 2, 1)
    assert [one["id"] for one in said] == ["0", "1", "2"]
    for one, decision in zip(said, expected, strict=True):
        assert (one["category_path"], one["decision"], one["reason"]) == (
            decision.category_path,
            decision.decision,
            decision.reason,
        )
        assert one["confidence"] == pytest.approx(decision.confidence, abs=1e-4)
        assert len(one["alternatives"]) <= 2
        assert [item["id"] for item in one["evidence"]] == [item.id for item in decision.evidence]


def test_similar_by_text_by_id_and_filtered(client):
    found = client.post("/v1/similar", json={"text": "rain boot", "k": 3}).json()["items"]
    assert len(found) == 3
    assert found[0]["category_path"] == "Fashion > Shoes > Boots"
    where = {"category": "Fashion > Shoes > Sandals"}
    found = client.post("/v1/similar", json={"text": "rain boot", "k": 50, "where": where}).json()["items"]
    assert {item["category_path"] for item in found} == {"Fashion > Shoes > Sandals"}
    assert len(found) == 10
    id_ = found[0]["id"]
    found = client.post("/v1/similar", json={"id": id_, "k": 5}).json()["items"]
    assert id_ not in [item["id"] for item in found]
    assert client.post("/v1/similar", json={"id": "none"}).status_code == 409
    assert client.post("/v1/similar", json={"text": "a", "where": {"brand": "' OR 1=1"}}).json() == {"items": []}


def test_items_are_added_found_removed_and_undone(client):
    items = [{"id": f"fry-{i}", "title": f"air fryer {i} litre", "category_path": NEW} for i in range(3)]
    written = client.post("/v1/items", json={"items": items}).json()
    assert (written["state"], written["who"]) == ("done", "local")
    assert client.get("/v1/items/fry-1").json()["category_path"] == NEW
    assert ask(client, "air fryer 9 litre")["category_path"] == NEW
    listed = client.get("/v1/categories").json()["categories"]
    assert {"category_path": NEW, "items": 3, "trained": False} in listed
    assert client.delete("/v1/items/fry-1").json()["state"] == "done"
    assert client.get("/v1/items/fry-1").status_code == 404
    refused = client.post(f"/v1/writes/{written['number']}/undo")
    assert refused.status_code == 409
    assert "undo that one first" in refused.json()["detail"]
    newest = client.get("/v1/writes").json()["writes"][0]["number"]
    assert client.post(f"/v1/writes/{newest}/undo").json()["state"] == "done"
    assert client.get("/v1/items/fry-1").json()["category_path"] == NEW
    assert client.post(f"/v1/writes/{written['number']}/undo").status_code == 200
    assert NEW not in [one["category_path"] for one in client.get("/v1/categories").json()["categories"]]


def test_an_upsert_is_undone_to_what_was_there(client):
    before = client.get("/v1/items/als-003").json()
    changed = {"id": "als-003", "title": "not a sandal", "category_path": NEW}
    number = client.post("/v1/items", json={"items": [changed]}).json()["number"]
    assert client.get("/v1/items/als-003").json()["title"] == "not a sandal"
    client.post(f"/v1/writes/{number}/undo")
    assert client.get("/v1/items/als-003").json() == before


def test_a_correction_changes_the_next_similar_listing_and_can_be_undone(client):
    first = ask(client, "quilted picnic blanket", listings=[{"id": "L-1", "title": "quilted picnic blanket"}])
    assert first["decision"] != "accept"
    queue = client.get("/v1/reviews").json()
    assert queue["reviews"][0]["listing"]["id"] == "L-1"
    wrong = client.post("/v1/reviews/L-1", json={"action": "correct", "category_path": "Home > Kitchen > Mug"})
    assert wrong.status_code == 409
    assert "did you mean Home > Kitchen > Mugs" in wrong.json()["detail"]
    right = {"action": "correct", "category_path": "Home > Garden > Blankets", "new_category": True}
    answered = client.post("/v1/reviews/L-1", json=right).json()
    assert answered["state"] == "corrected"
    assert ask(client, "quilted picnic blanket XL")["category_path"] == "Home > Garden > Blankets"
    assert client.post("/v1/reviews/L-1", json={"action": "skip"}).status_code == 409
    client.post(f"/v1/writes/{answered['write']['number']}/undo")
    assert ask(client, "quilted picnic blanket XL")["category_path"] != "Home > Garden > Blankets"
    assert "L-1" in [one["listing"]["id"] for one in client.get("/v1/reviews").json()["reviews"]]


def test_the_most_valuable_review_comes_first_and_skipped_ones_go(client):
    listings = [{"id": f"L-{i}", "title": f"thing {i}"} for i in range(5)]
    for _ in range(3):
        client.post("/v1/classify", json={"listings": listings[:1]})
    client.post("/v1/classify", json={"listings": listings})
    client.post("/v1/classify", json={"listings": [{"id": "L-9", "title": "zzz"}], "review": False})
    reviews = client.get("/v1/reviews").json()["reviews"]
    values = [one["value"] for one in reviews]
    assert values == sorted(values, reverse=True)
    assert next(one["times"] for one in reviews if one["listing"]["id"] == "L-0") == 4
    assert "L-9" not in [one["listing"]["id"] for one in reviews]
    first = reviews[0]["listing"]["id"]
    assert client.post(f"/v1/reviews/{first}", json={"action": "skip"}).json() == {"state": "skipped", "write": None}
    assert first not in [one["listing"]["id"] for one in client.get("/v1/reviews").json()["reviews"]]


def test_what_was_acknowledged_is_there_after_a_restart_even_where_it_was_not_indexed(store, monkeypatch):
    def held(*_, **__):
        raise BusyError("store is being written by process 1")

    monkeypatch.setattr("service.state.ACKNOWLEDGE", 0.2)
    with monkeypatch.context() as patched, client_of(store) as client:
        patched.setattr(maintenance, "add", held)
        answer = client.post("/v1/items", json={"items": [{"id": "x", "title": "a drone", "category_path": "Toys"}]})
        assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["writes_waiting"]) == (503, 1)
        assert "being written" in ready.json()["problems"][0]
    with client_of(store) as client:
        for _ in range(100):
            if client.get("/readyz").json()["writes_waiting"] == 0:
                break
            threading.Event().wait(0.05)
        assert client.get("/v1/items/x").json()["category_path"] == "Toys"


def test_what_was_added_stays_through_a_build(client, run, store, catalog_file):
    client.post("/v1/items", json={"items": [{"id": "x", "title": "a drone", "category_path": "Toys > Drones"}]})
    result = run("build", catalog_file, "--store", store, "--encoder", "hashing")
    assert result.exit_code == 0, result.output
    assert "x" in Classifier.open(store).index.items(["x"])
    assert run("remove", "--store", store, "--added").exit_code == 0
    assert Classifier.open(store).index.items(["x"]) == {}
    assert run("remove", "--store", store, "--added").exit_code == 1


def test_a_version_made_elsewhere_is_served_without_a_restart(client, store):
    maintenance.add(store, {"x": Item("x", "a drone", category="Drones", category_path="Toys > Drones")})
    for _ in range(100):
        if client.get("/v1/items/x").status_code == 200:
            break
        threading.Event().wait(0.05)
    assert ask(client, "a drone")["category_path"] == "Toys > Drones"


def test_a_write_that_would_leave_nothing_is_refused(client, store):
    ids = [f"{kind}-{i:03}" for kind in ("als", "ots", "les", "ugs", "nes") for i in range(10)]
    number = client.app.state.shelfwise.desk.write("local", "all gone", (), ids)
    client.app.state.shelfwise.writer.wake()
    for _ in range(100):
        found = client.get(f"/v1/writes/{number}").json()
        if found["state"] != "waiting":
            break
        threading.Event().wait(0.05)
    assert found["state"] == "refused"
    assert "all 50 items" in found["note"]


def test_roles_and_tokens(store, tokens):
    with client_of(store, tokens) as client:
        listing = {"listings": [{"title": "mug"}]}
        item = {"items": [{"title": "mug", "category_path": "A > B"}]}
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/classify", json=listing).status_code == 401
        wrong = {"authorization": "Bearer " + "x" * 20}
        assert client.post("/v1/classify", json=listing, headers=wrong).status_code == 401
        assert client.get("/metrics").status_code == 401
        reads, writes = ({"authorization": f"Bearer {token}"} for token in (READ, WRITE))
        assert client.post("/v1/classify", json=listing, headers=reads).status_code == 200
        refused = client.post("/v1/items", json=item, headers=reads)
        assert (refused.status_code, "role write" in refused.json()["detail"]) == (403, True)
        assert client.post("/v1/items", json=item, headers=writes).json()["who"] == "anna"
        assert client.get("/", follow_redirects=False).headers["location"] == "/login"
        assert client.post("/login", data={"token": "nonsense"}).status_code == 401
        entered = client.post("/login", data={"token": READ}, follow_redirects=False)
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and READ not in cookie
        assert client.get("/").status_code == 200
        assert client.get("/categories/new").status_code == 403
        client.post("/logout")
        assert client.get("/", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "line, said",
    [
        ("anna write short", "has 5 characters"),
        ("anna admin " + "x" * 20, "expected NAME read|write TOKEN"),
        ("# nobody", "has no token"),
    ],
)
def test_bad_token_files(tmp_path, line, said):
    file = tmp_path / "tokens.txt"
    file.write_text(line)
    with pytest.raises(InputError, match=re.escape(said)):
        Tokens.read(file)


def test_another_address_needs_tokens(run, store):
    result = run("serve", "--store", store, "--host", "0.0.0.0")
    assert (result.exit_code, "--token-file" in result.output) == (1, True)


HOSTILE = [
    ("POST", "/v1/classify", {"content": b"{" * 100_000, "headers": {"content-type": "application/json"}}, {400, 422}),
    ("POST", "/v1/classify", {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, {400, 422}),
    ("POST", "/v1/classify", {"content": b'{"listings": [{"title": "\\ud800"}]}', "headers": {"content-type": "application/json"}}, {422}),
    ("POST", "/v1/classify", {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, {400, 422}),
    ("POST", "/v1/classify", {"json": {"listings": [{"title": "x" * 2001}]}}, {422}),
    ("POST", "/v1/classify", {"json": {"listings": [{"title": "a\u0000b"}]}}, {422}),
    ("POST", "/v1/classify", {"json": {"listings": [{"title": "mug", "path": "/etc"}]}}, {422}),
    ("POST", "/v1/classify", {"json": {"listings": [{"title": "mug"}] * 1001}}, {422}),
    ("POST", "/v1/classify", {"json": {"listings": []}}, {422}),
    ("POST", "/v1/classify", {"content": b"x" * 10_000_000, "headers": {"content-type": "application/json"}}, {413}),
    ("POST", "/v1/similar", {"json": {"text": "a", "id": "b"}}, {422}),
    ("POST", "/v1/similar", {"json": {"text": "   "}}, {422}),
    ("POST", "/v1/similar", {"json": {"text": "a", "k": 10**30}}, {422}),
    ("GET", "/v1/writes/99999999999999999999999", {}, {422}),
    ("GET", "/v1/items/..%2f..%2fmanifest.json", {}, {404}),
    ("GET", "/static/..%2fapp.py", {}, {404}),
    ("GET", "/static/../app.py", {}, {404}),
    ("GET", "/classify/files/..%2f..%2fetc%2fpasswd", {}, {404}),
    ("GET", "/classify/files/nothing/decided", {}, {404}),
    ("POST", "/v1/items", {"json": {"items": [{"title": "", "category_path": "A"}]}}, {422}),
    ("POST", "/v1/items", {"json": {"items": [{"title": "mug"}]}}, {422}),
    ("POST", "/review/undo", {"data": {"number": "9" * 40}}, {404, 409, 422}),
    ("GET", "/?q=" + "%00", {}, {200, 422}),
]  # fmt: skip


@pytest.mark.parametrize("method, path, content, statuses", HOSTILE, ids=lambda value: str(value)[:40])
def test_hostile_requests_are_refused_in_one_line(client, method, path, content, statuses):
    answer = client.request(method, path, **content)
    assert answer.status_code in statuses, answer.text[:300]
    assert "Traceback" not in answer.text
    if answer.status_code >= 400 and path.startswith("/v1/"):
        assert len(answer.json()["detail"]) < 1000


def test_a_long_body_without_a_length_is_cut_off(client):
    def parts() -> Iterator[bytes]:
        for _ in range(BODY_BYTES // 65_536 + 2):
            yield b"x" * 65_536

    answer = client.post("/v1/classify", content=parts(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": "evil.example"}, 403),
        ({"origin": "http://localhost:8000"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"}, 200),
        ({}, 200),
    ],
)
def test_pages_of_other_sites_change_nothing(client, headers, status):
    item = {"items": [{"id": "x", "title": "mug", "category_path": "A > B"}]}
    assert client.post("/v1/items", json=item, headers=headers).status_code == status


def test_scripts_in_a_title_are_text(client):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)> mug"
    client.post(
        "/v1/items",
        json={"items": [{"id": "\"'><svg/onload=alert(3)>", "title": evil, "category_path": "A > <b>B</b>"}]},
    )
    client.post("/v1/classify", json={"listings": [{"id": evil, "title": evil}]})
    for path in ("/?q=mug", "/review", "/categories", "/changes", "/health", "/found?q=mug"):
        page = client.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text and "<img" not in page.text and "<svg/onload" not in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]
    pasted = client.post("/classify", data={"titles": evil})
    assert "<img" not in pasted.text
    assert (
        "alert(2)" in pasted.text.replace('<mark class="strong">', "").replace("</mark>", "") or "alert" in pasted.text
    )


def test_pages_speak_both_languages(client):
    english, chinese = client.get("/"), client.get("/?lang=zh")
    assert 'lang="en"' in english.text and "Look up" in english.text
    assert 'lang="zh"' in chinese.text and "查找" in chinese.text
    assert client.get("/health").text.count("状态") >= 1  # the choice is kept
    client.cookies.clear()
    assert 'lang="zh"' in client.get("/", headers={"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}).text


def test_every_word_of_the_templates_has_a_chinese_one():
    folder = Path(__file__).parent.parent / "service"
    known = json.loads((folder / "locale" / "zh.json").read_text())
    used = set()
    for file in (folder / "templates").glob("*.html"):
        used |= set(re.findall(r"""_\("([^"]+)"\)""", file.read_text())) | set(
            re.findall(r"""_\('([^']+)'\)""", file.read_text())
        )
    assert used <= known.keys(), sorted(used - known.keys())


def test_a_file_is_classified_and_what_it_loses_is_told(client):
    rows = "id,title\n" + "".join(f"{i},blue rain boot {i}\n" for i in range(300)) + "x,too,many\n"
    sent = client.post("/classify/file", files={"file": ("../../new.csv", rows.encode())}, follow_redirects=False)
    assert sent.status_code == 303
    place = sent.headers["location"]
    for _ in range(200):
        page = client.get(place).text
        if "Download decisions" in page:
            break
        threading.Event().wait(0.05)
    decided = client.get(f"{place}/decided").content.decode("utf-8-sig").splitlines()
    assert len(decided) == 301
    assert decided[1].startswith("0,blue rain boot 0,Boots,")
    assert "3 fields where the header has 2" in client.get(f"{place}/rejects").text


def test_a_file_that_cannot_be_read_is_told_in_one_line(client):
    sent = client.post("/classify/file", files={"file": ("new.csv", b"colour\nred\n")}, follow_redirects=False)
    for _ in range(200):
        page = client.get(sent.headers["location"]).text
        if "no title column" in page:
            break
        threading.Event().wait(0.05)
    assert "new.csv has no title column" in page
    assert "/tmp" not in page


def test_a_category_is_tried_before_it_is_inserted(client):
    examples = "\n".join(f"air fryer {size} litre" for size in (3, 4, 5, 6, 7))
    form = {"category_path": NEW, "examples": examples}
    tried = client.post("/categories/dry-run", data=form).text
    assert re.search(r"5 of 5 examples would be found", tried)
    assert "Home &gt; Kitchen" in tried
    assert NEW not in [one["category_path"] for one in client.get("/v1/categories").json()["categories"]]
    done = client.post("/categories", data=form)
    assert f"category {NEW}".replace(">", "&gt;") in done.text
    assert ask(client, "air fryer 8 litre")["category_path"] == NEW
    number = client.get("/v1/writes").json()["writes"][0]["number"]
    client.post("/changes/undo", data={"number": number})
    assert ask(client, "air fryer 8 litre")["category_path"] != NEW


def test_reviews_on_the_page(client):
    client.post("/v1/classify", json={"listings": [{"id": "L-1", "title": "strange thing"}]})
    assert "strange" in client.get("/review").text
    wrong = client.post("/review", data={"id": "L-1", "action": "correct", "category_path": "Nowhere"})
    assert (wrong.status_code, "no category" in wrong.text) == (422, True)
    done = client.post("/review", data={"id": "L-1", "action": "correct", "category_path": "Home > Kitchen > Mugs"})
    assert "correct L-1" in done.text
    number = re.search(r'name="number" value="(\d+)"', done.text)[1]
    assert "strange" in client.post("/review/undo", data={"number": number}).text


def test_compare_and_export(client):
    ids = [item["id"] for item in client.post("/v1/similar", json={"text": "mug", "k": 2}).json()["items"]]
    page = client.get("/compare", params={"id": ids}).text
    assert all(id_ in page for id_ in ids)
    assert client.get("/compare", params={"id": ids[:1]}).status_code == 422
    exported = client.get("/found.csv?q=mug&k=30").content.decode("utf-8-sig").splitlines()
    assert exported[0] == "id,title,brand,category_path,similarity"
    assert len(exported) == 31


def test_metrics_and_health(client):
    ask(client, "mug")
    said = client.get("/metrics").text
    assert 'shelfwise_requests_total{method="POST",route="/v1/classify",status="200"} 1.0' in said
    assert "shelfwise_store_items 50.0" in said
    client.request("INVENTED", "/v1/classify")
    assert "INVENTED" not in client.get("/metrics").text
    assert "hashing" in client.get("/health").text
    assert client.get("/readyz").json()["problems"] == []


def test_a_damaged_new_version_leaves_the_old_one_serving(client, store):
    shutil.copy(store / "manifest.json", store / "manifest.bak")
    (store / "manifest.json").write_text("{}")
    for _ in range(100):
        if client.get("/readyz").status_code == 503:
            break
        threading.Event().wait(0.05)
    assert client.get("/readyz").json()["problems"]
    assert ask(client, "coffee mug")["category_path"] == "Home > Kitchen > Mugs"
    shutil.copy(store / "manifest.bak", store / "manifest.json")
