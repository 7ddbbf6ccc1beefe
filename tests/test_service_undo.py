"""Writes through the service: acknowledged, indexed and undone."""

import threading
from dataclasses import replace

from conftest import ask, client_of

from shelfwise.classifier.changing import maintenance
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.errors import BusyError, StoreError
from shelfwise.indexer.item import Item
from shelfwise.service.writes import WriteLog

NEW = "Home > Kitchen > Air Fryers"


def listing(id_: str, title: str) -> list[dict[str, str]]:
    return [{"id": id_, "title": title}]


def open_reviews(client) -> list[str]:
    return [one["listing"]["id"] for one in client.get("/v1/reviews").json()["reviews"]]


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
    assert "undo the later write first" in refused.json()["detail"]
    newest = client.get("/v1/writes").json()["writes"][0]["number"]
    assert client.post(f"/v1/writes/{newest}/undo").json()["state"] == "done"
    assert client.get("/v1/items/fry-1").json()["category_path"] == NEW
    assert client.post(f"/v1/writes/{written['number']}/undo").status_code == 200
    assert NEW not in [one["category_path"] for one in client.get("/v1/categories").json()["categories"]]


def test_undoing_an_upsert_restores_the_old_item(client):
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
    assert "L-1" in open_reviews(client)


def test_an_added_item_answers_its_review_until_it_is_undone(client):
    for id_, title in (("L-1", "quilted picnic blanket"), ("L-2", "garden gnome")):
        ask(client, "", listings=listing(id_, title))
    decided = client.get("/v1/reviews").json()["reviews"]
    same = next(one["decision"]["category_path"] for one in decided if one["listing"]["id"] == "L-2")
    items = [
        {"id": "L-1", "title": "quilted picnic blanket", "category_path": NEW},
        {"id": "L-2", "title": "garden gnome", "category_path": same},
    ]
    number = client.post("/v1/items", json={"items": items}).json()["number"]
    assert {"L-1", "L-2"}.isdisjoint(open_reviews(client))
    for state, id_ in (("corrected", "L-1"), ("accepted", "L-2")):
        (closed,) = client.get(f"/v1/reviews?state={state}").json()["reviews"]
        assert closed["listing"]["id"] == id_
    client.post(f"/v1/writes/{number}/undo")
    assert {"L-1", "L-2"} <= set(open_reviews(client))


def test_a_resolved_review_opens_again_when_its_cause_is_undone(client):
    ask(client, "", listings=listing("L-1", "quilted picnic blanket"))
    item = {"id": "x", "title": "a drone", "category_path": "Toys > Drones"}
    number = client.post("/v1/items", json={"items": [item]}).json()["number"]
    queue = client.app.state.shelfwise.queue
    (review,) = queue.ranked()
    queue.renew([review.listing], [replace(review.decision, decision="accept", store_version=2)])
    assert (open_reviews(client), queue.count()["resolved"]) == ([], 1)
    client.post(f"/v1/writes/{number}/undo")
    assert open_reviews(client) == ["L-1"]
    queue.renew([review.listing], [replace(review.decision, decision="accept", store_version=2)])
    ask(client, "", listings=listing("L-1", "quilted picnic blanket"))
    assert open_reviews(client) == ["L-1"]


def test_an_acknowledged_write_survives_a_restart_before_indexing(store, monkeypatch):
    def raise_busy(*_, **__):
        raise BusyError("store_busy", "store is being written by process 1", "no other writer", "wait")

    monkeypatch.setattr("shelfwise.service.state.ACKNOWLEDGE", 0.2)
    with monkeypatch.context() as patched, client_of(store) as client:
        patched.setattr(maintenance, "apply", raise_busy)
        answer = client.post("/v1/items", json={"items": [{"id": "x", "title": "a drone", "category_path": "Toys"}]})
        assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["writes_waiting"]) == (503, 1)
        assert "being written" in ready.json()["problems"][0]
    with client_of(store) as client:
        wait_until_indexed(client)
        assert client.get("/v1/items/x").json()["category_path"] == "Toys"


def wait_until_indexed(client):
    """Wait until all writes are indexed."""
    for _ in range(100):
        if client.get("/readyz").json()["writes_waiting"] == 0:
            return
        threading.Event().wait(0.05)
    raise AssertionError("writes are still waiting")


def test_an_undo_that_waited_keeps_the_changes_of_another_writer(client, monkeypatch):
    item = {"id": "x", "title": "a drone", "category_path": "Toys"}
    number = client.post("/v1/items", json={"items": [item]}).json()["number"]
    real, others = maintenance.apply, []

    def apply_after_another_write(path, edit, **how):
        if not others:  # another writer holds the lock first
            kite = Item("x", "a kite", category="Toys", category_path="Toys")
            others.append(real(path, maintenance.Edit({"x": kite})))
        return real(path, edit, **how)

    monkeypatch.setattr(maintenance, "apply", apply_after_another_write)
    undone = client.post(f"/v1/writes/{number}/undo").json()["number"]
    wait_until_indexed(client)
    assert client.get(f"/v1/writes/{undone}").json()["state"] == "refused"
    assert client.get("/v1/items/x").json()["title"] == "a kite"


def test_an_item_can_be_removed_before_it_is_indexed(client, monkeypatch):
    def raise_busy(*_, **__):
        raise BusyError("store_busy", "store is being written by process 1", "no other writer", "wait")

    monkeypatch.setattr("shelfwise.service.state.ACKNOWLEDGE", 0.2)
    with monkeypatch.context() as patched:
        patched.setattr(maintenance, "apply", raise_busy)
        item = {"id": "x", "title": "a drone", "category_path": "Toys"}
        assert client.post("/v1/items", json={"items": [item]}).status_code == 202
        assert client.delete("/v1/items/x").status_code == 202
        assert client.delete("/v1/items/y").status_code == 404
    wait_until_indexed(client)
    assert client.get("/v1/items/x").status_code == 404


def test_a_write_committed_without_the_desk_is_not_applied_twice(store, monkeypatch):
    """Simulate a kill between the commits of store and desk. The replaced item must still be known to the undo."""
    settle, failures = WriteLog.settle, [StoreError("unwritable_store", "the disk is full", "room on it", "free some")]

    def fail_once(log, numbers, version):
        if numbers and failures:
            raise failures.pop()
        settle(log, numbers, version)

    with client_of(store) as client:
        before = client.get("/v1/items/als-003").json()
        monkeypatch.setattr(WriteLog, "settle", fail_once)
        put = {"items": [{"id": "als-003", "title": "not a sandal", "category_path": NEW}]}
        written = client.post("/v1/items", json=put).json()
        assert (written["state"], written["version"], failures) == ("done", 2, [])
        client.post(f"/v1/writes/{written['number']}/undo")
        assert client.get("/v1/items/als-003").json() == before


def test_an_undo_of_an_item_changed_since_is_refused(client, store):
    put = {"items": [{"id": "x", "title": "a drone", "category_path": "Toys"}]}
    number = client.post("/v1/items", json=put).json()["number"]
    maintenance.apply(
        store, maintenance.Edit({"x": Item("x", "a kite", category="Kites", category_path="Toys > Kites")})
    )
    refused = client.post(f"/v1/writes/{number}/undo")
    assert (refused.status_code, refused.json()["state"]) == (409, "refused")
    assert f"has changed since write {number}" in refused.json()["note"]
    assert client.get("/v1/items/x").json()["title"] == "a kite"


def test_an_undo_returns_items_to_the_catalog(client, run, store):
    put = {"items": [{"id": "als-003", "title": "not a sandal", "category_path": NEW}]}
    number = client.post("/v1/items", json=put).json()["number"]
    client.post(f"/v1/writes/{number}/undo")
    assert run("remove", "--store", store, "--added").exit_code == 1  # no items outside the catalog
    client.delete("/v1/items/als-004")
    newest = client.get("/v1/writes").json()["writes"][0]["number"]
    client.post(f"/v1/writes/{newest}/undo")
    assert run("remove", "--store", store, "--added").exit_code == 1
    assert {"als-003", "als-004"} == Classifier.open(store).index.of_catalog(["als-003", "als-004"])


def test_undo_redo_and_undo_leave_a_review_open(client):
    ask(client, "", listings=listing("L-1", "quilted picnic blanket"))
    seen = {"action": "accept", "category_path": "Home > Kitchen > Mugs"}
    answered = client.post("/v1/reviews/L-1", json=seen).json()["write"]["number"]
    undo = client.post(f"/v1/writes/{answered}/undo").json()["number"]
    assert open_reviews(client) == ["L-1"]
    assert client.post(f"/v1/writes/{undo}/undo").json()["state"] == "done"
    assert (open_reviews(client), client.get("/v1/items/L-1").status_code) == ([], 200)
    assert client.post(f"/v1/writes/{answered}/undo").json()["state"] == "done"
    assert (open_reviews(client), client.get("/v1/items/L-1").status_code) == (["L-1"], 404)


def test_an_undo_answers_no_review(client):
    put = {"items": [{"id": "als-003", "title": "quilted picnic blanket", "category_path": NEW}]}
    number = client.post("/v1/items", json=put).json()["number"]
    ask(client, "", listings=listing("als-003", "garden gnome"))
    assert open_reviews(client) == ["als-003"]
    client.post(f"/v1/writes/{number}/undo")
    assert open_reviews(client) == ["als-003"]
