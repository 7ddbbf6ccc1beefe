"""Backups of a store and its desk, and stores restored from them."""

import shutil
import sqlite3

import pytest
from conftest import client_of, require_failure

import shelfwise as sw
from shelfwise.indexer.errors import QueryError, StoreError
from shelfwise.indexer.store import backup as module
from shelfwise.indexer.store.backup import back_up, restore
from shelfwise.indexer.store.disk import read_sealed, write_sealed

NEW = [
    {"id": f"n{number}", "title": f"air fryer {number} litre", "category_path": "Home > Fryers"} for number in range(5)
]


def answers(path):
    """Return what a store says, and that it is intact."""
    store = sw.open(path)
    assert store.check().problems == ()
    found = [(item.id, round(item.similarity, 6)) for item in store.similar("red shoe with laces", k=8)]
    return store.version, len(store), found, store.classify("air fryer 3 litre").category_path


def contents(folder):
    return {file.name for file in (folder / "contents").rglob("*") if file.is_file()}


@pytest.fixture
def backups(store, tmp_path):
    """Two backups, of versions 1 and 2, and what the store said at each."""
    folder, said = tmp_path / "backups", {}
    opened = sw.open(store)
    opened.tag("first")
    said[1] = answers(store)
    one = opened.backup(folder)
    opened.add(NEW)
    said[2] = answers(store)
    two = opened.backup(folder)
    assert (one.version, two.version) == (1, 2)
    return folder, said, one, two


def test_each_backup_is_restored_without_the_others(backups, tmp_path):
    folder, said, one, two = backups
    assert one.copied == one.files and two.copied < two.files
    for version in (2, 1):
        alone = shutil.copytree(folder, tmp_path / f"alone-{version}")
        (alone / "backups" / f"{3 - version:06}.json").unlink()
        needed = {sums[1] for sums in read_sealed(alone / "backups" / f"{version:06}.json", "")["files"].values()}
        for name in contents(alone) - needed:
            (alone / "contents" / name[:2] / name).unlink()
        assert answers(sw.restore(alone, tmp_path / f"again-{version}").path) == said[version]
    assert answers(sw.restore(folder, tmp_path / "newest").path) == said[2]
    assert answers(sw.restore(folder, tmp_path / "first", at=1).path) == said[1]


def test_a_restored_store_is_a_store_like_any_other(backups, tmp_path):
    store = sw.restore(backups[0], tmp_path / "again", at=1)
    assert [entry.tags for entry in store.versions()] == [("first",)]
    store.add(NEW)
    store.rollback(1)
    store.compact()
    assert store.version == 3
    assert store.check().problems == () and store.check().foreign == ()
    assert store.backup(tmp_path / "more").version == 3
    with pytest.raises(sw.ShelfwiseError, match="a restored store is a new one"):
        store.backup(backups[0])  # its version 3 is another one than that of the first store


def test_a_second_backup_of_a_version_copies_next_to_nothing(backups, store):
    before = contents(backups[0])
    done = sw.open(store).backup(backups[0])
    assert done.copied_bytes < done.bytes / 100
    assert contents(backups[0]) == before


def test_the_desk_is_copied_as_it_is_at_one_moment(store, tmp_path):
    with sqlite3.connect(store / "desk.sqlite", isolation_level=None) as desk:
        desk.execute("PRAGMA journal_mode=WAL")
        desk.execute("CREATE TABLE t (a)")
        desk.execute("INSERT INTO t VALUES (1)")
        with sqlite3.connect(store / "desk.sqlite", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO t VALUES (2)")
            back_up(store, tmp_path / "backups")
            other.execute("COMMIT")
        other.close()
    desk.close()
    restore(tmp_path / "backups", tmp_path / "again")
    with sqlite3.connect(tmp_path / "again" / "desk.sqlite") as desk:
        assert desk.execute("SELECT a FROM t").fetchall() == [(1,)]
    desk.close()


def test_a_version_that_is_compacted_meanwhile_is_copied(backups, store, monkeypatch):
    folder, said, *_ = backups
    shutil.rmtree(folder)
    copied, calls = module._copied, []

    def compacting(*arguments):
        if not calls:
            calls.append(1)
            sw.open(store).compact()
        return copied(*arguments)

    monkeypatch.setattr(module, "_copied", compacting)
    back_up(store, folder)
    restored = answers(sw.restore(folder, store.parent / "again").path)
    assert restored == said[2]


@pytest.mark.parametrize("place", ["blobs", "items.lance/data", "replicas"])
def test_a_damaged_store_is_not_backed_up(store, tmp_path, place):
    file = max((path for path in (store / place).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        back_up(store, tmp_path / "backups")
    with pytest.raises(StoreError, match="no backup in"):
        restore(tmp_path / "backups", tmp_path / "again")


def spoiled(folder, version):
    """Yield functions that damage a backup, each in another way."""
    file = folder / "backups" / f"{version:06}.json"
    known = [tuple(sums) for sums in read_sealed(folder / "backups" / "000001.json", "")["files"].values()]
    sums = [tuple(sums) for sums in read_sealed(file, "")["files"].values()]
    large = max(one for one in sums if one not in known)[1]
    place = folder / "contents" / large[:2] / large

    def renamed(name):
        content = read_sealed(file, "")
        (_, kept), *rest = content["files"].items()
        write_sealed(file, content | {"files": dict(rest) | {name: kept}})

    yield "missing", place.unlink
    yield "cut", lambda: place.write_bytes(place.read_bytes()[:-1])
    yield "changed", lambda: place.write_bytes(b"x" + place.read_bytes()[1:])
    yield "unsealed", lambda: file.write_text(file.read_text().replace('"created"', '"Created"'))
    yield "no json", lambda: file.write_bytes(b"{")
    yield "outside", lambda: renamed("../victim")
    yield "absolute", lambda: renamed("/tmp/victim")
    yield "foreign", lambda: renamed("notes.txt")
    yield "other form", lambda: write_sealed(file, {"files": 3})
    yield "other version", lambda: shutil.copy(file, folder / "backups" / "000009.json")


KINDS = [
    "missing",
    "cut",
    "changed",
    "unsealed",
    "no json",
    "outside",
    "absolute",
    "foreign",
    "other form",
    "other version",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("there", [True, False])
def test_a_damaged_backup_restores_nothing(backups, tmp_path, kind, there):
    folder, said, *_ = backups
    dict(spoiled(folder, 2))[kind]()
    target = tmp_path / "again"
    if there:
        target.mkdir()
    with pytest.raises(StoreError, match=r"is damaged.*restore another version"):
        restore(folder, target)
    assert target.exists() == there and not (there and list(target.iterdir()))
    assert not (tmp_path / "victim").exists()
    assert answers(sw.restore(folder, target, at=1).path) == said[1]


def test_folders_with_other_files_are_refused(backups, store, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    for call in (lambda: back_up(store, tmp_path / "mine"), lambda: restore(backups[0], tmp_path / "mine")):
        with pytest.raises(StoreError, match="holds other files"):
            call()
    with pytest.raises(StoreError, match="holds other files"):
        back_up(store, tmp_path / "mine" / "notes.txt")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(StoreError, match="no backup in"):
        restore(tmp_path / "nowhere", tmp_path / "again")
    with pytest.raises(QueryError, match="no backup of version 7: expected one of 1, 2"):
        restore(backups[0], tmp_path / "again", 7)


def test_a_replica_that_names_a_file_outside_is_not_backed_up(store, tmp_path):
    (tmp_path / "secret.txt").write_text("x")
    (file,) = (store / "replicas").glob("*/replica.json")
    content = read_sealed(file, "")
    for files in (content["files"] | {"../../../secret.txt": [1, "0"]}, 3):
        write_sealed(file, content | {"files": files})
        with pytest.raises(StoreError, match=r"replica\.json of the store is damaged"):
            back_up(store, tmp_path / "backups")


@pytest.mark.parametrize("folder", ["/proc/backups", "{file}/backups"])
def test_a_folder_that_cannot_be_written_is_refused(run, store, tmp_path, folder):
    (tmp_path / "file").write_text("")
    place = folder.format(file=tmp_path / "file")
    require_failure(run("backup", place, "--store", store), "cannot write", "writable disk")
    assert run("backup", "b", "--store", store).exit_code == 0
    require_failure(run("restore", "b", "--store", place), place)


def test_the_commands_back_up_and_restore(run, store, tmp_path):
    shown = run("backup", "b", "--store", store)
    assert shown.exit_code == 0
    assert shown.stdout.startswith("version 1 backed up: ")
    assert '"copied": ' in run("backup", "b", "--store", store, "--json").stdout
    shown = run("restore", "b", "--store", "again", "--at", "1")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("version 1 of 20") and " restored: " in shown.stdout
    assert run("check", "--store", "again").exit_code == 0
    require_failure(run("restore", "b", "--store", "again"), "again holds other files")
    require_failure(run("restore", "b", "--store", "new", "--at", "5"), "expected one of 1")
    require_failure(run("backup", "b", "--store", "nowhere"), "no store at nowhere")


def test_a_store_is_backed_up_while_it_is_served(store, tmp_path):
    item = {"items": [{"id": "served", "title": "hand mixer", "category_path": "Home > Mixers"}]}
    with client_of(store) as client:
        made = client.post("/v1/items", json=item)
        assert made.status_code in (200, 202)
        back_up(store, tmp_path / "backups")
        assert client.get("/v1/items/served").status_code == 200
    restore(tmp_path / "backups", tmp_path / "again")
    with client_of(tmp_path / "again") as client:
        assert client.get("/v1/items/served").json()["title"] == "hand mixer"
        assert client.get(f"/v1/writes/{made.json()['number']}").json()["state"] == "done"
