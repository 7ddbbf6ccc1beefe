"""The HTTP API of the service, its reviews and its served versions."""

import shutil
import threading
from dataclasses import replace

import pytest
from conftest import ask, client_of

from shelfwise.classifier.changing import maintenance
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.item import Item
from shelfwise.indexer.searching import compaction

NEW = "Home > Kitchen > Air Fryers"


def listing(id_: str, title: str) -> list[dict[str, str]]:
    return [{"id": id_, "title": title}]


def open_reviews(client) -> list[str]:
    return [one["listing"]["id"] for one in client.get("/v1/reviews").json()["reviews"]]


def test_classify_gives_the_decisions_of_the_library(client, store):
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


def test_similar_finds_items_by_text_by_id_and_with_a_filter(client):
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
    assert client.post("/v1/similar", json={"id": "none"}).status_code == 404
    assert client.post("/v1/similar", json={"text": "a", "where": {"brand": "' OR 1=1"}}).json() == {"items": []}


@pytest.mark.parametrize("sent", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_of_another_content_type_is_refused_with_the_type(client, sent):
    headers = {} if sent is None else {"content-type": sent}
    answer = client.post("/v1/classify", content=b'{"listings": [{"title": "mug"}]}', headers=headers)
    assert answer.status_code == 415
    assert (
        answer.json()["detail"] == f"the content type is {sent or 'none'}: expected application/json; send it as JSON"
    )


def test_an_id_with_a_line_break_is_refused(client):
    item = {"id": "a\nb", "title": "odd thing", "category": "X"}
    answer = client.post("/v1/items", json={"items": [item]})
    assert (answer.status_code, "a line break in an id" in answer.text) == (422, True)


def test_an_id_with_two_contents_is_refused_and_a_repeated_item_is_not(client):
    pan, wok = ({"id": "fry", "title": title, "category_path": NEW} for title in ("frying pan", "wok"))
    refused = client.post("/v1/items", json={"items": [pan, pan, wok]})
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "items[2]: id 'fry' is repeated with other content: expected one item per id; send each id once",
    )
    assert client.get("/v1/items/fry").status_code == 404
    assert client.post("/v1/items", json={"items": [pan, pan]}).status_code == 200
    assert client.get("/v1/items/fry").json()["title"] == "frying pan"


def test_open_reviews_are_decided_again_when_the_store_changes(client):
    ask(client, "", listings=listing("L-1", "quilted picnic blanket"))
    ask(client, "", listings=listing("L-2", "quilted picnic blanket, green"))
    before = client.get("/v1/reviews").json()["reviews"]
    assert {one["decision"]["store_version"] for one in before} == {1}
    right = {"action": "correct", "category_path": "Home > Garden > Blankets", "new_category": True}
    client.post("/v1/reviews/L-1", json=right)
    (after,) = (one for one in client.get("/v1/reviews").json()["reviews"] if one["listing"]["id"] == "L-2")
    assert after["decision"]["category_path"] == "Home > Garden > Blankets"
    assert (after["decision"]["store_version"], after["times"]) == (2, 1)


def test_accept_uses_the_category_the_reviewer_saw(client):
    ask(client, "", listings=listing("L-1", "quilted picnic blanket"))
    client.get("/v1/reviews")
    queue = client.app.state.shelfwise.queue
    (review,) = queue.ranked()
    seen, other = "Home > Kitchen > Mugs", "Fashion > Shoes > Boots"
    queue.renew([review.listing], [replace(review.decision, category_path=other)])
    client.post("/v1/reviews/L-1", json={"action": "accept", "category_path": seen})
    assert client.get("/v1/items/L-1").json()["category_path"] == seen
    assert client.get("/v1/reviews?state=corrected").json()["reviews"][0]["category_path"] == seen


def test_reviews_are_ordered_by_value_and_skipped_ones_close(client):
    listings = [{"id": f"L-{i}", "title": f"thing {i}"} for i in range(5)]
    for _ in range(3):
        client.post("/v1/classify", json={"listings": listings[:1]})
    client.post("/v1/classify", json={"listings": listings})
    client.post("/v1/classify", json={"listings": [{"id": "L-9", "title": "zzz"}], "review": False})
    reviews = client.get("/v1/reviews").json()["reviews"]
    values = [one["value"] for one in reviews]
    assert values == sorted(values, reverse=True)
    assert next(one["times"] for one in reviews if one["listing"]["id"] == "L-0") == 4
    assert "L-9" not in open_reviews(client)
    first = reviews[0]["listing"]["id"]
    assert client.post(f"/v1/reviews/{first}", json={"action": "skip"}).json() == {"state": "skipped", "write": None}
    assert first not in open_reviews(client)


def test_added_items_survive_a_build(client, run, store, catalog_file):
    client.post("/v1/items", json={"items": [{"id": "x", "title": "a drone", "category_path": "Toys > Drones"}]})
    result = run("build", catalog_file, "--store", store, "--encoder", "hashing")
    assert result.exit_code == 0, result.output
    assert "x" in Classifier.open(store).index.items(["x"])
    assert run("remove", "--store", store, "--added").exit_code == 0
    assert Classifier.open(store).index.items(["x"]) == {}
    assert run("remove", "--store", store, "--added").exit_code == 1


def test_a_version_by_another_writer_is_served_without_a_restart(client, store):
    maintenance.apply(
        store, maintenance.Edit({"x": Item("x", "a drone", category="Drones", category_path="Toys > Drones")})
    )
    for _ in range(100):
        if client.get("/v1/items/x").status_code == 200:
            break
        threading.Event().wait(0.05)
    assert ask(client, "a drone")["category_path"] == "Toys > Drones"


def test_an_answer_to_a_changed_listing_is_refused(client):
    for title in ("xyz qwv", "qwv zyx something else"):
        client.post("/v1/classify", json={"listings": [{"id": "L-1", "title": title}]})
        (review,) = client.get("/v1/reviews").json()["reviews"]
        answer = {"action": "correct", "category_path": NEW, "new_category": True, "seen": review["seen"]}
        if title == "xyz qwv":
            first = answer
    refused = client.post("/v1/reviews/L-1", json=first)
    assert refused.status_code == 409 and "with other text" in refused.json()["detail"]
    page = client.post("/review", data={"id": "L-1", "action": "accept", "seen": first["seen"]})
    assert page.status_code == 422 and "with other text" in page.text
    assert client.get("/v1/items/L-1").status_code == 404
    assert client.post("/v1/reviews/L-1", json=answer).json()["state"] == "corrected"


@pytest.mark.parametrize("files", [2, maintenance.SIMILAR_FILES])
def test_a_store_can_be_compacted_while_it_is_served(client, store, monkeypatch, files):
    monkeypatch.setattr(maintenance, "SIMILAR_FILES", files)  # rows in more files are merged
    for i in range(4):
        client.post("/v1/items", json={"items": [{"id": f"x{i}", "title": f"a drone {i}", "category_path": "Toys"}]})
        if i % 2:
            compaction.compact(store, 1)
        assert ask(client, f"a drone {i}")["category_path"] == "Toys"
    assert client.get("/v1/writes").json()["writes"][0]["state"] == "done"
    assert client.post("/v1/writes/1/undo").json()["state"] == "done"
    assert [client.get(f"/v1/items/x{i}").status_code for i in range(4)] == [404, 200, 200, 200]
    assert client.get("/readyz").json()["problems"] == []


def test_a_store_is_served_by_one_process_at_a_time(store):
    with client_of(store), pytest.raises(StoreError, match="served by another process"):
        client_of(store)
    with client_of(store) as client:
        assert client.get("/healthz").status_code == 200


def test_a_closed_review_opens_again_when_its_listing_changes(client):
    ask(client, "", listings=listing("L-1", "quilted picnic blanket"))
    client.post("/v1/reviews/L-1", json={"action": "skip"})
    ask(client, "", listings=listing("L-1", "quilted picnic blanket"))
    assert open_reviews(client) == []
    ask(client, "", listings=listing("L-1", "garden gnome"))
    assert open_reviews(client) == ["L-1"]


def test_an_outdated_decision_does_not_change_a_review(client):
    ask(client, "", listings=listing("L-1", "quilted picnic blanket"))
    client.post("/v1/items", json={"items": [{"id": "x", "title": "a drone", "category_path": "Toys"}]})
    open_reviews(client)
    queue = client.app.state.shelfwise.queue
    (review,) = queue.ranked()
    queue.renew([review.listing], [replace(review.decision, decision="accept", store_version=1)])
    other = replace(review.listing, title="another")
    queue.renew([other], [replace(review.decision, decision="accept", store_version=2)])
    assert queue.ranked() == [review]


def test_a_review_does_not_depend_on_the_requested_top_and_neighbors(client):
    few = ask(client, "", listings=listing("L-1", "strange thing"), top=1, neighbors=0)
    assert (len(few["alternatives"]), few["evidence"]) == (1, [])
    ask(client, "", listings=listing("L-2", "strange thing"))
    one, other = client.get("/v1/reviews").json()["reviews"]
    assert one["value"] == other["value"]
    assert one["decision"]["evidence"] == other["decision"]["evidence"] != []


def test_missing_resources_are_404_and_invalid_json_is_400(client):
    assert client.post("/v1/reviews/none", json={"action": "skip"}).status_code == 404
    assert client.post("/v1/writes/77/undo").status_code == 404
    assert client.post("/v1/classify", content=b"{", headers={"content-type": "application/json"}).status_code == 400


def test_a_write_that_would_empty_the_store_is_refused(client, store):
    ids = [f"{kind}-{i:03}" for kind in ("als", "ots", "les", "ugs", "nes") for i in range(10)]
    number = client.app.state.shelfwise.log.put("local", "all gone", (), ids)
    client.app.state.shelfwise.writer.wake()
    for _ in range(100):
        found = client.get(f"/v1/writes/{number}").json()
        if found["state"] != "waiting":
            break
        threading.Event().wait(0.05)
    assert found["state"] == "refused"
    assert "all 50 items" in found["note"]


def test_metrics_and_health_report_the_store(client):
    ask(client, "mug")
    said = client.get("/metrics").text
    assert 'shelfwise_requests_total{method="POST",route="/v1/classify",status="200"} 1.0' in said
    assert "shelfwise_store_items 50.0" in said
    client.request("INVENTED", "/v1/classify")
    assert "INVENTED" not in client.get("/metrics").text
    assert "hashing" in client.get("/health").text
    assert client.get("/readyz").json()["problems"] == []


def test_a_damaged_new_version_does_not_stop_serving_the_old_one(client, store):
    shutil.copy(store / "manifest.json", store / "manifest.bak")
    (store / "manifest.json").write_text("{}")
    for _ in range(100):
        if client.get("/readyz").status_code == 503:
            break
        threading.Event().wait(0.05)
    assert client.get("/readyz").json()["problems"]
    assert ask(client, "coffee mug")["category_path"] == "Home > Kitchen > Mugs"
    shutil.copy(store / "manifest.bak", store / "manifest.json")
