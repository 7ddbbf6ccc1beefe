"""Stores and disks that are not as they should be: one clear line, and nothing lost."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import failed, small_catalog, write_catalog

from shelfwise.indexer.store.disk import read_sealed, write_sealed
from shelfwise.indexer.store.manifest import FORMAT, WRITERS

COMMANDS = [
    ("info",),
    ("train",),
    ("similar", "x"),
    ("remove", "--id", "1"),
    ("classify", "l.csv"),
    ("evaluate", "l.csv"),
]


def on(run, tmp_path, command, store):
    (tmp_path / "l.csv").write_text("title,category\nred shoe,Shoes\n")
    return run(*command, "--store", store)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
class TestBadStore:
    def test_no_store(self, run, tmp_path, command):
        failed(on(run, tmp_path, command, "s"), "no store at s", "shelfwise build")

    def test_not_a_store(self, run, tmp_path, command):
        (tmp_path / "s").mkdir()
        failed(on(run, tmp_path, command, "s"), "s is not a shelfwise store")

    def test_half_written(self, run, tmp_path, store, command):
        (store / "manifest.json").unlink()
        failed(on(run, tmp_path, command, store), "half written", "shelfwise build CATALOG")

    def test_other_format(self, run, tmp_path, store, command):
        manifest = read_sealed(store / "manifest.json", "")
        for other, mend in ((FORMAT + 1, "upgrade"), (min(WRITERS) - 1, "build the store again in a new folder")):
            write_sealed(store / "manifest.json", manifest | {"format": other})
            failed(on(run, tmp_path, command, store), f"format {other}", mend)

    def test_changed_manifest(self, run, tmp_path, store, command):
        text = (store / "manifest.json").read_text()
        (store / "manifest.json").write_text(text.replace('"rows": 50', '"rows": 51'))
        failed(on(run, tmp_path, command, store), "manifest.json of the store is damaged", "backup")
        (store / "manifest.json").write_text(text[: len(text) // 2])
        failed(on(run, tmp_path, command, store), "manifest.json of the store is damaged", "backup")

    def test_damaged_file(self, run, tmp_path, store, command):
        (table,) = (store / "items.lance" / "data").iterdir()
        content = bytearray(table.read_bytes())
        content[len(content) // 2] ^= 1
        table.write_bytes(content)
        if command[0] in ("classify", "similar", "evaluate"):  # served by the replica
            assert on(run, tmp_path, command, store).exit_code == 0
            shutil.rmtree(store / "replicas")
        if command[0] not in ("add", "remove"):  # which look up a few ids
            failed(on(run, tmp_path, command, store), table.name, "is damaged", "backup")

    def test_missing_file(self, run, tmp_path, store, command):
        next((store / "blobs").glob("head.*")).unlink()
        failed(on(run, tmp_path, command, store), "head.", "cannot be read")


def test_build_mends_a_half_written_store(run, store, catalog_file):
    (store / "manifest.json").unlink()
    result = run("build", catalog_file, "--store", store, "--encoder", "hashing")
    assert "50 added" in result.stdout


def test_build_does_not_write_into_a_folder_of_other_things(run, catalog_file, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    failed(run("build", catalog_file, "--store", "photos", "--encoder", "hashing"), "photos holds other files")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_store_made_with_another_encoder(run, store, catalog_file, monkeypatch):
    failed(run("build", catalog_file, "--store", store, "--encoder", "e5"), "encoder e5", "made with hashing")
    monkeypatch.setattr("shelfwise.indexer.encoding.kinds.hashing.HashingEncoder.fingerprint", "other weights")
    failed(run("similar", "x", "--store", store), "has other weights now", "new folder")


def test_store_made_with_another_recipe(run, store, monkeypatch):
    monkeypatch.setattr("shelfwise.indexer.store.store_encoder.RECIPE", "another recipe")
    failed(run("similar", "x", "--store", store), "text recipe", "new folder")


def interrupt(arguments, folder, when):
    """Starts the command line, sends ctrl-C as soon as `when()` holds, and returns (exit code, stderr)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "shelfwise", *map(str, arguments)],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not when() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return process.returncode, said.decode()


def test_ctrl_c_keeps_partial_output_and_says_where(store, tmp_path):
    lines = "".join(f"red sandal {i}\n" for i in range(400_000))
    (tmp_path / "l.csv").write_text("title\n" + lines)
    partial = tmp_path / "out.csv.partial"
    code, said = interrupt(
        ["classify", "l.csv", "--store", store, "-o", "out.csv"],
        tmp_path,
        lambda: partial.exists() and partial.stat().st_size > 10_000,
    )
    assert code == 130
    assert "out.csv.partial" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.csv").exists()
    assert partial.read_text().startswith("title,predicted_category")


def test_ctrl_c_leaves_the_store_as_it_was(store, tmp_path):
    before = (store / "manifest.json").read_bytes()
    write_catalog(tmp_path / "big.csv", small_catalog(4000))
    started = time.monotonic()
    code, said = interrupt(
        ["build", "big.csv", "--store", store],
        tmp_path,
        lambda: (store / "embedded").exists() or time.monotonic() - started > 20,
    )
    assert code == 130
    assert "as it was before" in said
    assert (store / "manifest.json").read_bytes() == before
    code, said = interrupt(["build", "big.csv", "--store", "new", "--encoder", "hashing"], tmp_path,
                           lambda: (tmp_path / "new").exists())  # fmt: skip
    assert code == 130
    assert not (tmp_path / "new" / "manifest.json").exists()  # vectors that were made may wait for a next try
    assert not (tmp_path / "new" / "items.lance").exists()


@pytest.mark.parametrize("name", ["l.csv", "x" * 300])
def test_a_store_that_cannot_be(run, catalog_file, tmp_path, name):
    (tmp_path / "l.csv").write_text("a file")
    for more in ((), ("--dry-run",)):
        failed(run("build", catalog_file, "--store", name, "--encoder", "hashing", *more), name, "folder")


def test_a_first_build_that_was_killed_at_once_is_begun_again(run, catalog_file, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".lock").touch()
    assert "half written" in run("info", "--store", "s").output
    assert run("build", catalog_file, "--store", "s", "--encoder", "hashing").exit_code == 0


LEFT = 100_000  # bytes on a disk that is nearly full


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # what is mapped into memory is still there


def test_a_full_disk_leaves_the_store_as_it_was(run, small_disk, store, tmp_path):
    write_catalog(tmp_path / "big.csv", small_catalog(60))
    shutil.copytree(store, small_disk / "s")
    (small_disk / "others").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - LEFT))
    failed(run("build", "big.csv", "--store", small_disk / "s", "--json"), "No space left", "nothing was changed")
    failed(run("build", "big.csv", "--store", small_disk / "t", "--encoder", "hashing"), "No space left")
    assert not (small_disk / "t" / "manifest.json").exists()  # vectors that were made may wait for a next try
    shutil.rmtree(small_disk / "t", ignore_errors=True)
    assert "rows: 50" in run("info", "--store", small_disk / "s").stdout
    (tmp_path / "l.csv").write_text("title,note\n" + f"red sandal,{'long ' * 200}\n" * 1_000)
    result = run("classify", "l.csv", "--store", small_disk / "s", "-o", small_disk / "out.csv")
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert "out.csv.partial" in result.stderr
