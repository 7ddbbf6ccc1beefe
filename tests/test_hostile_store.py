"""Stores that somebody else made: nothing outside them is read, written or deleted, and every command ends in one line."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess

import pytest
from conftest import require_failure

import shelfwise as sw
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.store import lance_manifest
from shelfwise.indexer.store.disk import read_sealed, sum_files, write_sealed
from shelfwise.indexer.store.lance_manifest import HINT, manifest_name, require_own_paths
from shelfwise.indexer.store.names import is_inside, is_ours

COMMANDS = [
    ("info",),
    ("versions",),
    ("check",),
    ("similar", "x"),
    ("classify", "l.csv", "-o", "out.csv"),
    ("add", "l.csv"),
    ("remove", "--id", "als-000"),
    ("train",),
    ("tag", "t"),
    ("rollback", "1"),
    ("compact", "--keep", "1"),
    ("build", "catalog.csv"),
]
LONGEST_MESSAGE = 600


@pytest.fixture
def victim(tmp_path):
    """A folder outside the store. It is as before after the test."""
    folder = tmp_path / "victim"
    (folder / "Documents").mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    (folder / "Documents" / "a.txt").write_text("x")
    yield folder
    found = {path.relative_to(folder).as_posix(): path.is_file() and path.read_text() for path in folder.rglob("*")}
    assert found == {"thesis.txt": "years of work", "Documents": False, "Documents/a.txt": "x"}


def resealed(store, change):
    """Apply a change to the manifests of a store, and seal them again."""
    for file in (store / "manifest.json", *(store / "versions").glob("*.json")):
        content = read_sealed(file, "")
        change(content)
        write_sealed(file, content)


def refused(run, tmp_path, store, said):
    """Require that every command refuses the store in one line with the text `said`."""
    (tmp_path / "l.csv").write_text("id,title,category\nn1,red shoe,Shoes\n")
    for command in COMMANDS:
        shown = run(*command, "--store", store)
        require_failure(shown, said)
        line = shown.stderr.strip().splitlines()[-1]
        assert line.startswith("Error: ") and len(line) < LONGEST_MESSAGE, command


def named(place, name):
    """Return a change that puts `name` into a place of a manifest."""

    def change(content):
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        if place[-1] == "files":
            inner["files"] = inner["files"] | {name: [1, "0"]}
        else:
            inner[place[-1]] = name

    return change


@pytest.mark.parametrize("place", [("replica", "folder"), ("encoder", "folder"), ("encoder", "runtime"), ("files",)])
@pytest.mark.parametrize("name", ["../victim", "{victim}", "replicas/../../victim", "blobs", "victim", "blobs/a\0b"])
def test_paths_of_a_manifest_cannot_lead_out(run, tmp_path, store, victim, place, name):
    if (place, name) == (("files",), "blobs"):
        return  # a folder of the store; it fails its checksum
    resealed(store, named(place, name.format(victim=victim)))
    refused(run, tmp_path, store, "a manifest that names")


@pytest.mark.parametrize(("place", "name"), [(("table",), "../victim/t"), (("blobs", "head"), "../victim/thesis.txt")])
def test_names_of_a_manifest_cannot_lead_out(run, tmp_path, store, victim, place, name):
    resealed(store, named(place, name))
    refused(run, tmp_path, store, "a manifest that names")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("encoder",), 3),
        (("version",), "7"),
        (("rows",), None),
        (("blobs",), ["head"]),
        (("files",), 5),
        (("replica",), {"folder": "replicas/0123456789ab"}),
        (("more",), 1),
        (("change",), {"command": 3}),
        (("encoder", "dimensions"), "many"),
    ],
)
def test_a_manifest_of_another_form_is_damaged(run, tmp_path, store, place, value):
    def change(content):
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value

    resealed(store, change)
    refused(run, tmp_path, store, "is damaged")


LINKED = [
    ".writer.json",
    ".lock",
    "tags.json",
    "tuning.json",
    "desk.sqlite",
    "manifest.json.new",
    "versions/000002.json.new",
    "versions/000003.json",
    "blobs/head.0123456789abcdef",
    "embedded",
    "encoders/0123456789abcdef",
    "runtimes.new",
    "replicas/0123456789ab",
    "items.lance/data/x.lance",
    "items.lance/_indices",
]


@pytest.mark.parametrize("name", LINKED)
def test_links_among_the_files_of_a_store_are_refused(run, tmp_path, store, victim, name):
    place = store / name
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(victim if "." not in place.name else victim / "thesis.txt")
    refused(run, tmp_path, store, f"a link: {name}")
    assert place.is_symlink()


@pytest.mark.parametrize("name", ["versions", "blobs", "replicas", "items.lance"])
def test_a_folder_that_is_a_link_is_refused(run, tmp_path, store, name):
    (store / name).rename(tmp_path / "elsewhere")
    (store / name).symlink_to(tmp_path / "elsewhere")
    refused(run, tmp_path, store, f"a link: {name}")


@pytest.mark.parametrize(
    "name", ["manifest.json", "tags.json", "blobs/head.0123456789abcdef", "items.lance/data/x.lance"]
)
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_pipes_and_sockets_are_never_opened(run, tmp_path, store, name, kind, monkeypatch):
    (store / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(store / name)
    else:
        monkeypatch.chdir((store / name).parent)  # an address is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(name.rpartition("/")[2])
        monkeypatch.chdir(tmp_path)
    refused(run, tmp_path, store, f"no regular file: {name}")


FOREIGN = [
    "notes.txt",
    "items.lance.bak",
    "blobs/.DS_Store",
    "replicas/link",
    "encoders/mine",
    "embedded/x.txt",
    "link",
]


def test_foreign_files_are_reported_and_left(run, tmp_path, store, victim):
    for name in FOREIGN:
        place = store / name
        place.parent.mkdir(exist_ok=True)
        if name.endswith("link"):
            place.symlink_to(victim)
        else:
            place.write_text("mine")
    (tmp_path / "l.csv").write_text("id,title,category\nn1,red shoe,Shoes\n")
    for command in (("add", "l.csv"), ("compact", "--keep", "1"), ("train",)):
        assert run(*command, "--store", store).exit_code == 0
    shown = run("check", "--store", store)
    assert shown.exit_code == 0
    assert shown.stderr == f"not of the store, and left alone: {', '.join(sorted(FOREIGN))}\n"
    assert sw.open(store).check().foreign == tuple(sorted(FOREIGN))
    assert all((store / name).is_symlink() or (store / name).read_text() == "mine" for name in FOREIGN)


def table_resealed(store, change, name=None):
    """Change the manifest of the table with `change`, and seal the store again. `name` writes it as another version."""
    version = read_sealed(store / "manifest.json", "")["table_version"]
    folder = store / "items.lance" / "_versions"
    file = folder / manifest_name(version)
    content = file.read_bytes()
    start = int.from_bytes(content[-16:-8], "little")
    message = lance_manifest._message()()
    message.ParseFromString(content[start + 4 : start + 4 + int.from_bytes(content[start : start + 4], "little")])
    change(message)
    made = message.SerializeToString()
    written = len(made).to_bytes(4, "little") + made + (0).to_bytes(8, "little") + content[-8:]
    (folder / (name or file.name)).write_bytes(written)
    known = file.relative_to(store).as_posix()

    def seal(manifest):
        manifest["files"][known] = list(sum_files(store, [known], {})[known])

    resealed(store, seal)


HOSTILE_TABLES = {
    "path": lambda m: m.fragments[0].files[0].path.__setitem__(0, b"../../../victim/thesis.txt"),
    "absolute": lambda m: m.fragments[0].files[0].path.__setitem__(0, b"/etc/passwd"),
    "base of a file": lambda m: m.fragments[0].files[0].base.append(1),
    "bases": lambda m: m.bases.append(b"\x22\x01/"),
    "feature": lambda m: m.features.append(16),
    "unknown feature": lambda m: m.features.append(1 << 30),
    "index": lambda m: m.index_section.append(4),
    "branch": lambda m: m.branch.append(b"x"),
    "transaction": lambda m: m.transaction.__setitem__(0, b"../../../victim/thesis.txt"),
    "row ids": lambda m: m.fragments[0].row_ids.append(b"\x0a\x01/"),
    "overlay": lambda m: m.fragments[0].overlays.append(b""),
    "deletions": lambda m: m.fragments[0].deletions.add().base.append(2),
}
NEEDS_TABLE = [one for one in COMMANDS if one[0] not in ("versions", "tag", "similar", "classify", "rollback")]


@pytest.mark.parametrize("kind", HOSTILE_TABLES)
@pytest.mark.parametrize("place", ["current", "newest", "hinted"])
def test_paths_in_the_manifests_of_a_table_cannot_lead_out(run, tmp_path, store, victim, kind, place):
    name = None if place == "current" else manifest_name(90 if place == "newest" else 1)
    table_resealed(store, HOSTILE_TABLES[kind], name)
    if place == "hinted":
        (store / "items.lance" / "_versions" / HINT).write_text('{"version": 1}')
    (tmp_path / "l.csv").write_text("id,title,category\nn1,red shoe,Shoes\n")
    for command in NEEDS_TABLE if place == "current" else [("add", "l.csv")]:
        shown = run(*command, "--store", store)
        said = shown.stderr + shown.stdout
        assert shown.exit_code == 1, (command, said)
        assert "only files and folders inside the store" in said, command


@pytest.mark.parametrize("content", [b"", b"LANC", b"x" * 40 + b"LANC", b"\xff" * 100])
def test_a_damaged_manifest_of_a_table_is_refused(store, content):
    version = read_sealed(store / "manifest.json", "")["table_version"]
    (store / "items.lance" / "_versions" / manifest_name(version)).write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        require_own_paths(store, "items", version)


def test_a_table_version_of_another_kind_is_refused(store):
    (store / "items.lance" / "_versions" / "99.manifest").write_bytes(b"")
    with pytest.raises(StoreError, match="a table version of another kind"):
        require_own_paths(store, "items", 1)


@pytest.mark.parametrize(
    "facts",
    [
        {"files": {"../../../victim/thesis.txt": [13, "0"]}},
        {"files": 3},
        {"dimensions": 0},
        {"dimensions": "x"},
        {"engine": {"cells": 1}},
        {"engine": "x"},
        {"data_files": 7},
    ],
)
def test_a_replica_that_is_not_true_is_made_again(store, victim, facts):
    (file,) = (store / "replicas").glob("*/replica.json")
    before = sw.open(store).similar("red shoe")
    write_sealed(file, read_sealed(file, "") | facts)
    assert sw.open(store).similar("red shoe") == before


def test_every_file_that_a_store_has_is_its_own(run, store, tmp_path):
    (tmp_path / "l.csv").write_text("id,title,category\nn1,red shoe,Shoes\n")
    for command in (("add", "l.csv"), ("tag", "t"), ("remove", "--id", "n1"), ("train",), ("compact", "--keep", "2")):
        assert run(*command, "--store", store).exit_code == 0
        names = [path.relative_to(store).as_posix() for path in store.rglob("*")]
        assert [name for name in names if not is_ours(name)] == []
        assert all(map(is_inside, names))


def test_a_seal_does_not_hide_a_number_too_large(store):
    resealed(store, lambda content: content.__setitem__("table_version", 2**80))
    with pytest.raises(StoreError, match="is damaged"):
        sw.open(store).check()
    assert json.loads((store / "manifest.json").read_text())["table_version"] == 2**80


def test_check_reads_a_read_only_disk(run, store):
    with sqlite3.connect(store / "desk.sqlite") as desk:
        desk.execute("PRAGMA journal_mode=WAL")
        desk.execute("CREATE TABLE t (a)")
    desk.close()
    mounted = subprocess.run(["mount", "--bind", store, store], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", store], check=True)
        shown = run("check", "--store", store)
        assert (shown.exit_code, shown.stderr) == (0, "")
        assert shown.stdout.startswith("intact: 1 version, ")
    finally:
        subprocess.run(["umount", "--lazy", store], check=True)


@pytest.mark.parametrize("name", ["desk.sqlite", "tuning.json", "tags.json"])
def test_check_reads_what_is_beside_the_versions(run, store, name):
    if name == "desk.sqlite":
        with sqlite3.connect(store / name) as desk:
            desk.execute("CREATE TABLE t (a)")
            desk.executemany("INSERT INTO t VALUES (?)", [("x" * 100,)] * 1000)
        desk.close()
    else:
        write_sealed(store / name, {"tags": {}})
    assert run("check", "--store", store).exit_code == 0
    content = bytearray((store / name).read_bytes())
    place = 4096 if name == "desk.sqlite" else len(content) // 2  # SQLite has no checksums, but pages of a known form
    content[place : place + 8] = b"\xff" * 8
    (store / name).write_bytes(content)
    shown = run("check", "--store", store)
    assert shown.exit_code == 1
    assert name in shown.stderr


def test_check_reads_a_file_of_tokens(run, store, tmp_path):
    (tmp_path / "tokens.txt").write_text("shop nonsense x\n")
    require_failure(run("check", "--store", store, "--token-file", "tokens.txt"), "tokens.txt")


def test_check_says_what_it_did_not_check(run, store):
    (folder,) = (store / "replicas").iterdir()
    shutil.rmtree(folder)
    shown = run("check", "--store", store)
    assert (shown.exit_code, shown.stderr) == (0, f"not checked: replica replicas/{folder.name}: not made yet\n")
