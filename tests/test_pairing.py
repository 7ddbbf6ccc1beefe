"""A store and its desk belong together, and a served store keeps what is needed."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from conftest import client_of

import shelfwise as sw
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.store.names import DESK
from shelfwise.service import compaction
from shelfwise.service.app import Config, create_app
from shelfwise.service.compaction import Compaction
from shelfwise.service.desk import Desk
from shelfwise.service.reviews import ReviewQueue
from shelfwise.service.writes import DONE, WAITING, WriteLog

KEPT_WRITES = 4  # so that few writes are needed
PATH = "Home > Kitchen > Air Fryers"


def write(store, *numbers):
    """Write items through the service, each as a write of its own."""
    with client_of(store) as client:
        for number in numbers:
            item = {"id": f"fry-{number}", "title": f"air fryer {number} litre", "category_path": PATH}
            assert client.post("/v1/items", json={"items": [item]}).json()["state"] == "done"


def copied(store, name):
    return shutil.copytree(store, store.parent / name)


def require_refused(store, *said):
    with pytest.raises(sw.ShelfwiseError) as error:
        create_app(Config(store))
    assert error.value.code == "other_desk"
    assert all(part in error.value.found for part in said), error.value.found
    assert [line for line in sw.open(store).check().problems if error.value.found in line]


def test_the_desk_of_another_store_is_refused(store, tmp_path):
    write(store, 1)
    items = [{"id": f"i{i}", "title": f"red shoe {i}", "category_path": "Shoes"} for i in range(20)]
    other = sw.build(tmp_path / "other", items, encoder="hashing").path
    shutil.copy(store / DESK, other / DESK)
    require_refused(other, read_manifest(store).store, read_manifest(other).store)


def test_an_earlier_desk_is_refused(store):
    write(store, 1)
    earlier = copied(store, "earlier")
    write(store, 2, 3)
    shutil.copy(earlier / DESK, store / DESK)
    require_refused(store, "ends with write 1", "the store with write 3")


def test_an_earlier_store_is_refused(store):
    write(store, 1)
    earlier = copied(store, "earlier")
    write(store, 2, 3)
    shutil.copy(store / DESK, earlier / DESK)
    require_refused(earlier, "ends with write 1", "the desk with write 3")


def test_a_write_that_changes_nothing_is_no_reason_to_refuse(store):
    write(store, 1, 1)
    assert read_manifest(store).written == 1
    write(store, 2)
    assert read_manifest(store).written == 3


def test_a_rollback_keeps_the_pair(store):
    write(store, 1, 2)
    sw.open(store).rollback(1)
    write(store, 3)
    assert read_manifest(store).written == 3


def test_a_new_desk_goes_on_with_the_numbers_of_the_lost_one(store):
    write(store, 1, 2)
    (store / DESK).unlink()
    write(store, 3)
    assert read_manifest(store).written == 3


def test_a_write_that_landed_is_not_applied_again_after_compact(store):
    write(store, 1)
    with closing(sqlite3.connect(store / DESK, isolation_level=None)) as desk:  # as if it was not told
        desk.execute("UPDATE writes SET state = ?, version = NULL", (WAITING,))
    opened = sw.open(store)
    opened.add([{"id": "fry-1", "title": "newer words", "category_path": PATH}])
    opened.compact(1)
    with client_of(store) as client:
        assert client.get("/v1/items/fry-1").json()["title"] == "newer words"
        assert client.get("/readyz").json()["writes_waiting"] == 0
        assert client.get("/v1/writes").json()["writes"][0]["state"] == DONE


@pytest.fixture(autouse=True)
def few_kept(monkeypatch):
    monkeypatch.setattr(compaction, "KEPT_WRITES", KEPT_WRITES)


def compacted(store, keep_days=30.0):
    desk = Desk(store)
    try:
        return Compaction(store, WriteLog(desk), ReviewQueue(desk), keep_days).compact()
    finally:
        desk.close()


def test_versions_of_writes_go_and_all_others_stay(store):
    write(store, 1, 2)
    opened = sw.open(store)
    opened.tag("kept", 2)
    opened.train()
    write(store, *range(3, KEPT_WRITES + 3))
    before = {path.name for path in (store / "items.lance" / "_versions").iterdir()}
    assert compacted(store) == [3]
    kept = [version.number for version in sw.open(store).versions()]
    assert kept == [1, 2, *range(4, KEPT_WRITES + 5)]
    assert sw.open(store).check().problems == ()
    assert len(before - {path.name for path in (store / "items.lance" / "_versions").iterdir()}) == 1
    write(store, 99)


def test_a_version_whose_writes_are_waiting_stays(store):
    write(store, *range(1, KEPT_WRITES + 3))
    with closing(sqlite3.connect(store / DESK, isolation_level=None)) as desk:
        desk.execute("UPDATE writes SET state = ? WHERE number = 1", (WAITING,))
    assert compacted(store) == []


def test_old_contents_of_the_desk_go_and_cannot_be_undone(store):
    write(store, 1)
    with closing(sqlite3.connect(store / DESK, isolation_level=None)) as desk:
        desk.execute("UPDATE writes SET at = '2020-01-01T00:00:00+00:00'")
    compacted(store)
    with client_of(store) as client:
        (told,) = client.get("/v1/writes").json()["writes"]
        assert (told["state"], told["who"]) == ("done", "local")
        refused = client.post("/v1/writes/1/undo")
        assert (refused.status_code, refused.json()["code"]) == (409, "contents_deleted")
        assert client.get("/v1/items/fry-1").status_code == 200


def test_old_versions_go_but_for_the_current_and_tagged_ones(store):
    opened = sw.open(store)
    opened.tag("first")
    for number in range(3):
        opened.add([{"id": f"n{number}", "title": f"kettle {number}", "category_path": PATH}])
    assert compacted(store, keep_days=-1.0) == [2, 3]
    assert [version.number for version in sw.open(store).versions()] == [1, 4]
    assert sw.open(store).check().problems == ()
