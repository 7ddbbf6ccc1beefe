"""Stores of earlier versions of Shelfwise open and give the same decisions."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from conftest import client_of

import shelfwise as sw
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.store import migration
from shelfwise.indexer.store.disk import read_sealed, write_sealed
from shelfwise.indexer.store.manifest import FORMAT, WRITERS, read_manifest
from shelfwise.indexer.store.names import DESK, MANIFEST, VERSIONS
from shelfwise.service.desk import LAYOUT, LAYOUT_STEPS, Desk, migrate_desk
from shelfwise.service.reviews import ReviewQueue
from shelfwise.service.writes import WriteLog

pytestmark = pytest.mark.slow

STORES = Path(__file__).parent / "stores"
KEPT = sorted(file.name.removesuffix(".tar.xz") for file in STORES.glob("*.tar.xz"))
PROBABILITY = 0.001  # tolerance for decisions on another CPU
SIMILARITY = 0.005  # tolerance for cosines on another CPU


@pytest.fixture(params=KEPT)
def old(request, tmp_path):
    """Unpack a store of an earlier format, with the expected answers of its version."""
    return unpack(request.param, tmp_path)


@pytest.fixture(params=[name for name in KEPT if name.endswith("hashing")])
def hashing(request, tmp_path):
    return unpack(request.param, tmp_path)


def unpack(name, folder):
    with tarfile.open(STORES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "store", json.loads((folder / "expected.json").read_text(encoding="utf-8"))


def formats_of(store):
    return {read_sealed(file, "")["format"] for file in [store / MANIFEST, *(store / VERSIONS).glob("*.json")]}


def require_same_answers(store: sw.Store, expected) -> None:
    """Require the same answers as from the version that wrote the store."""
    assert store.categories == expected["categories"]
    told = [(v.number, v.command, v.items, list(v.tags)) for v in store.versions()]
    assert told == [(v["version"], v["command"], v["rows"], v["tags"]) for v in expected["versions"]]
    for tier, decisions in expected["decisions"].items():
        for now, before in zip(store.classify(expected["listings"], tier=tier), decisions, strict=True):
            for name in ("category_path", "decision", "reason", "sure_path", "store_version", "tier"):
                assert getattr(now, name) == before[name]
            assert now.confidence == pytest.approx(before["confidence"], abs=PROBABILITY)
            known = {item["id"]: item["similarity"] for item in before["evidence"]}
            assert len(now.evidence) == len(known)
            for item in now.evidence:  # an item that replaces another must be as near
                assert item.similarity == pytest.approx(known.get(item.id, min(known.values())), abs=SIMILARITY)


def test_every_migratable_format_has_a_test_store():
    assert {int(name.split("-")[1]) for name in KEPT} == migration.STEPS.keys()
    assert set(range(min(migration.STEPS), FORMAT)) == migration.STEPS.keys()
    assert set(range(min(LAYOUT_STEPS), LAYOUT)) == LAYOUT_STEPS.keys()


def test_each_format_has_its_own_version():
    numbers = {form: tuple(map(int, version.split("."))) for form, version in WRITERS.items()}
    assert max(numbers) == FORMAT
    assert sorted(numbers) == sorted(numbers, key=numbers.get)
    assert len(set(numbers.values())) == len(numbers)
    assert numbers[FORMAT] <= tuple(map(int, re.findall(r"\d+", sw.__version__)))


def test_an_old_store_opens_and_decides_as_before(old, caplog):
    store, expected = old
    (form,) = formats_of(store)
    with sw.open(store) as opened:
        assert "was migrated to format" in caplog.text
        require_same_answers(opened, expected)
        assert opened.check().problems == ()
        assert opened.info()["written_by"] == WRITERS[form]
        assert "shelfwise" not in opened.info()["libraries"]
    assert formats_of(store) == {FORMAT}
    caplog.clear()
    with sw.open(store) as again:
        require_same_answers(again, expected)
        again.add([{"title": "toy", "category": "Toys"}])
        assert again.info()["written_by"] == sw.__version__
    assert not caplog.text


def test_the_migrate_command_reports_the_format(hashing, run):
    store, _ = hashing
    shown = run("migrate", "--store", store)
    assert (shown.exit_code, shown.stdout) == (0, f"store {store} has format {FORMAT}\n")
    assert "Note: store" in shown.stderr
    again = run("migrate", "--store", store)
    assert (again.stdout, again.stderr) == (f"store {store} has format {FORMAT} already\n", "")
    found = json.loads(run("migrate", "--store", store, "--json").stdout)
    assert (found["from_format"], found["format"], found["version"]) == (FORMAT, FORMAT, 9)
    assert "no store at nowhere" in run("migrate", "--store", "nowhere").output


@pytest.mark.parametrize("command", ["classify", "build", "versions"])
def test_every_command_migrates_with_a_note(hashing, run, command, tmp_path):
    store, _ = hashing
    (tmp_path / "c.csv").write_text("title,category\nred sandal,Sandals\n")
    arguments = {"classify": ["c.csv"], "build": ["c.csv", "--dry-run"]}.get(command, [])
    shown = run(command, *arguments, "--store", store)
    assert shown.exit_code == 0, shown.output
    assert shown.stderr.count("was migrated to format") == 1
    assert formats_of(store) == {FORMAT}


def test_the_desk_is_migrated_with_its_waiting_writes(hashing):
    store, expected = hashing
    assert migrate_desk(store) in range(2, LAYOUT)
    desk = Desk(store)
    told = [[write.number, write.state, write.what, write.note] for write in WriteLog(desk).last()]
    assert told == expected["desk"]["writes"]
    for state, reviews in expected["desk"]["reviews"].items():
        now = sorted([r.listing.id, r.times, round(r.value, 6)] for r in ReviewQueue(desk).ranked(state))
        assert now == reviews
    desk.close()
    assert migrate_desk(store) is None
    with client_of(store) as client:
        until = time.monotonic() + 60
        while client.get("/readyz").json()["writes_waiting"] and time.monotonic() < until:
            time.sleep(0.05)
        assert client.get("/v1/items/W-2").json()["title"] == "diamond kite"
        gone = client.get("/v1/items/als-003")
        assert (gone.status_code, gone.json()["code"]) == (404, "no_such_item")


def test_an_unwritable_store_is_read_from_a_temporary_folder(old, monkeypatch):
    store, expected = old

    def refuse(path):
        raise StoreError("unwritable_store", "a disk that is full", "room on it", "free some space")

    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    monkeypatch.setattr(migration, "locked", refuse)
    opened = sw.open(store)
    require_same_answers(opened, expected)
    assert opened.info()["store"] == str(store)
    with pytest.raises(sw.ShelfwiseError) as error:
        opened.remove("als-001")
    assert error.value.code == "unwritable_store"
    folder = opened._folder
    assert folder != store and folder.exists()
    opened.close()
    assert not folder.exists()
    assert {file: file.read_bytes() for file in store.rglob("*") if file.is_file()} == before


def test_a_store_on_a_read_only_disk_is_read(hashing, tmp_path):
    store, expected = hashing
    before = formats_of(store)
    mounted = subprocess.run(["mount", "--bind", store, store], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", store], check=True)
        with sw.open(store) as opened:
            require_same_answers(opened, expected)
    finally:
        subprocess.run(["umount", "--lazy", store], check=True)
    assert formats_of(store) == before


# Before and after each of the ten manifests, and during the write of two of them: 22 places.
KILLS = [(number, place) for number in range(10) for place in ("before", "after")] + [(3, "within"), (9, "within")]

KILLED = """
import os, signal, sys
from pathlib import Path
from shelfwise.indexer.store import migration
number, place, calls = int(sys.argv[2]), sys.argv[3], 0
write = migration.write_sealed

def dying(file, content):
    global calls
    if calls == number and place == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    if calls == number and place == "within":
        file.with_name(file.name + ".new").write_text('{"torn')
        os.kill(os.getpid(), signal.SIGKILL)
    write(file, content)
    if calls == number and place == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    calls += 1

migration.write_sealed = dying
migration.migrate(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def killed_script(tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "killed.py"
    script.write_text(KILLED)
    return script


@pytest.mark.parametrize(("number", "place"), KILLS)
def test_a_killed_migration_loses_nothing(hashing, number, place, killed_script):
    store, expected = hashing
    before = formats_of(store)
    ran = subprocess.run([sys.executable, killed_script, store, str(number), place])
    assert ran.returncode == -signal.SIGKILL
    assert formats_of(store) <= before | {FORMAT}
    with sw.open(store) as opened:
        require_same_answers(opened, expected)
        assert opened.check().problems == ()
        assert opened.rollback("first").items == 50
    assert formats_of(store) == {FORMAT}


def test_errors_of_other_formats_name_a_fix(built, tmp_path):
    for form, code, fix in (
        (3, "unknown_format", "build"),
        (99, "newer_format", "upgrade"),
        (8, "old_format", "migrate"),
    ):
        store = shutil.copytree(built, tmp_path / str(form))
        content = read_sealed(store / MANIFEST, "")
        write_sealed(store / MANIFEST, content | {"format": form})
        with pytest.raises(sw.ShelfwiseError) as error:
            read_manifest(store)
        assert error.value.code == code
        assert fix in error.value.fix


def test_a_damaged_version_manifest_does_not_stop_a_migration(hashing):
    store, expected = hashing
    (store / VERSIONS / "000003.json").write_text("{}")
    with sw.open(store) as opened:
        assert opened.classify("red sandal").category_path == expected["decisions"]["full"][0]["category_path"]
        assert any("000003.json" in problem for problem in opened.check().problems)


def test_a_store_without_its_versions_folder_keeps_the_current_version(hashing):
    store, expected = hashing
    shutil.rmtree(store / VERSIONS)
    with sw.open(store) as opened:
        assert opened.classify("red sandal").category_path == expected["decisions"]["full"][0]["category_path"]
        assert [version.number for version in opened.versions()] == [9]


def test_a_damaged_desk_is_one_error_line(hashing, run):
    store, _ = hashing
    (store / DESK).write_bytes(b"garbage" * 1000)
    shown = run("migrate", "--store", store)
    assert shown.exit_code == 1
    assert "file is not a database" in shown.stderr.splitlines()[-1]


def test_a_desk_of_an_unknown_layout_is_refused(built, tmp_path):
    store = shutil.copytree(built, tmp_path / "store")
    Desk(store).close()
    with closing(sqlite3.connect(store / DESK)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(sw.ShelfwiseError) as error:
        Desk(store)
    assert (error.value.code, "99" in error.value.found) == ("unknown_layout", True)
    (store / DESK).unlink()  # the refused desk released its file
    Desk(store).close()


@pytest.mark.parametrize("newest", [True, False])
def test_a_damaged_model_is_not_sealed_as_intact(hashing, newest):
    store, _ = hashing
    now = read_sealed(store / MANIFEST, "")["blobs"]["settings"]
    kept = {read_sealed(file, "")["blobs"]["settings"] for file in (store / VERSIONS).glob("*.json")}
    blob = now if newest else min(kept - {now})
    (store / "blobs" / blob).write_text("{}")
    with sw.open(store) as opened:
        assert formats_of(store) == {FORMAT}
        assert len(opened.versions()) == 9
        assert any(blob in problem for problem in opened.check().problems)
        if newest:
            with pytest.raises(sw.ShelfwiseError) as error:
                opened.classify("red sandal")
            assert error.value.code == "damaged_store"
        else:
            assert opened.classify("red sandal").category
            opened.tag("first", delete=True)
            opened.tag("before-sale", delete=True)
            opened.compact(1)
            assert opened.check().problems == ()
