"""Bad stores and disks: one clear error line, and no data lost."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import require_failure, small_catalog, write_catalog

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


def run_on(run, tmp_path, command, store):
    (tmp_path / "l.csv").write_text("title,category\nred shoe,Shoes\n")
    return run(*command, "--store", store)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
class TestBadStore:
    def test_a_missing_store_is_an_error(self, run, tmp_path, command):
        require_failure(run_on(run, tmp_path, command, "s"), "no store at s", "shelfwise build")

    def test_a_folder_without_a_store_is_refused(self, run, tmp_path, command):
        (tmp_path / "s").mkdir()
        require_failure(run_on(run, tmp_path, command, "s"), "s is not a shelfwise store")

    def test_a_half_written_store_is_refused(self, run, tmp_path, store, command):
        (store / "manifest.json").unlink()
        require_failure(run_on(run, tmp_path, command, store), "half written", "shelfwise build CATALOG")

    def test_an_unknown_format_is_refused(self, run, tmp_path, store, command):
        manifest = read_sealed(store / "manifest.json", "")
        for other, fix in ((FORMAT + 1, "upgrade"), (min(WRITERS) - 1, "build the store again in a new folder")):
            write_sealed(store / "manifest.json", manifest | {"format": other})
            require_failure(run_on(run, tmp_path, command, store), f"format {other}", fix)

    def test_a_changed_manifest_is_refused(self, run, tmp_path, store, command):
        text = (store / "manifest.json").read_text()
        (store / "manifest.json").write_text(text.replace('"rows": 50', '"rows": 51'))
        require_failure(run_on(run, tmp_path, command, store), "manifest.json of the store is damaged", "backup")
        (store / "manifest.json").write_text(text[: len(text) // 2])
        require_failure(run_on(run, tmp_path, command, store), "manifest.json of the store is damaged", "backup")

    def test_a_damaged_table_file_is_refused(self, run, tmp_path, store, command):
        (table,) = (store / "items.lance" / "data").iterdir()
        content = bytearray(table.read_bytes())
        content[len(content) // 2] ^= 1
        table.write_bytes(content)
        if command[0] in ("classify", "similar", "evaluate"):  # these read the replica instead of the table
            assert run_on(run, tmp_path, command, store).exit_code == 0
            shutil.rmtree(store / "replicas")
        if command[0] not in ("add", "remove"):  # these read only a few ids of the table
            require_failure(run_on(run, tmp_path, command, store), table.name, "is damaged", "backup")

    def test_a_missing_blob_is_an_error(self, run, tmp_path, store, command):
        next((store / "blobs").glob("head.*")).unlink()
        require_failure(run_on(run, tmp_path, command, store), "head.", "cannot be read")


def test_build_repairs_a_half_written_store(run, store, catalog_file):
    (store / "manifest.json").unlink()
    result = run("build", catalog_file, "--store", store, "--encoder", "hashing")
    assert "50 added" in result.stdout


def test_build_refuses_a_folder_with_other_files(run, catalog_file, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    require_failure(run("build", catalog_file, "--store", "photos", "--encoder", "hashing"), "photos holds other files")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_another_encoder_or_other_weights_are_refused(run, store, catalog_file, monkeypatch):
    require_failure(run("build", catalog_file, "--store", store, "--encoder", "e5"), "encoder e5", "made with hashing")
    monkeypatch.setattr("shelfwise.indexer.encoding.kinds.hashing.HashingEncoder.fingerprint", "other weights")
    require_failure(run("similar", "x", "--store", store), "has different weights now", "new folder")


def test_another_text_recipe_is_refused(run, store, monkeypatch):
    monkeypatch.setattr("shelfwise.indexer.store.store_encoder.RECIPE", "another recipe")
    require_failure(run("similar", "x", "--store", store), "text recipe", "new folder")


def run_and_interrupt(arguments, folder, when):
    """Run the command line, send ctrl-C as soon as `when()` is true, and return (exit code, stderr)."""
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


@pytest.mark.slow
def test_ctrl_c_keeps_partial_output_and_names_its_file(store, tmp_path):
    lines = "".join(f"red sandal {i}\n" for i in range(400_000))
    (tmp_path / "l.csv").write_text("title\n" + lines)
    partial = tmp_path / "out.csv.partial"
    code, said = run_and_interrupt(
        ["classify", "l.csv", "--store", store, "-o", "out.csv"],
        tmp_path,
        lambda: partial.exists() and partial.stat().st_size > 10_000,
    )
    assert code == 130
    assert "out.csv.partial" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.csv").exists()
    assert partial.read_text().startswith("title,predicted_category")


@pytest.mark.slow
def test_ctrl_c_leaves_the_store_unchanged(store, tmp_path):
    before = (store / "manifest.json").read_bytes()
    write_catalog(tmp_path / "big.csv", small_catalog(4000))
    started = time.monotonic()
    code, said = run_and_interrupt(
        ["build", "big.csv", "--store", store],
        tmp_path,
        lambda: (store / "embedded").exists() or time.monotonic() - started > 20,
    )
    assert code == 130
    assert "Unfinished changes were not applied" in said
    assert (store / "manifest.json").read_bytes() == before
    code, said = run_and_interrupt(["build", "big.csv", "--store", "new", "--encoder", "hashing"], tmp_path,
                           lambda: (tmp_path / "new").exists())  # fmt: skip
    assert code == 130
    assert not (tmp_path / "new" / "manifest.json").exists()  # computed vectors may remain for the next attempt
    assert not (tmp_path / "new" / "items.lance").exists()


@pytest.mark.parametrize("name", ["l.csv", "x" * 300])
def test_a_store_path_that_cannot_be_a_folder_is_refused(run, catalog_file, tmp_path, name):
    (tmp_path / "l.csv").write_text("a file")
    for more in ((), ("--dry-run",)):
        require_failure(run("build", catalog_file, "--store", name, "--encoder", "hashing", *more), name, "folder")


def test_a_first_build_that_was_killed_early_can_be_repeated(run, catalog_file, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".lock").touch()
    assert "half written" in run("info", "--store", "s").output
    assert run("build", catalog_file, "--store", "s", "--encoder", "hashing").exit_code == 0


LEFT = 100_000  # free bytes on the nearly full disk


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 6 MB and yield its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # lazy: memory-mapped files are still open


@pytest.mark.slow
def test_a_full_disk_leaves_the_store_unchanged(run, small_disk, store, tmp_path):
    write_catalog(tmp_path / "big.csv", small_catalog(60))
    shutil.copytree(store, small_disk / "s")
    (small_disk / "others").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - LEFT))
    for command in (
        ("build", "big.csv", "--store", small_disk / "s", "--json"),
        ("build", "big.csv", "--store", small_disk / "t", "--encoder", "hashing"),
        ("compact", "--keep", "1", "--store", small_disk / "s"),
        ("train", "--store", small_disk / "s"),
    ):
        require_failure(run(*command), "0.1 MB free: expected at least", "nothing was changed")
    assert not (small_disk / "t").exists()
    require_failure(run("add", "big.csv", "--store", small_disk / "s"), "No space left", "nothing was changed")
    assert "rows: 50" in run("info", "--store", small_disk / "s").stdout
    (tmp_path / "l.csv").write_text("title,note\n" + f"red sandal,{'long ' * 200}\n" * 1_000)
    result = run("classify", "l.csv", "--store", small_disk / "s", "-o", small_disk / "out.csv")
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert "out.csv.partial" in result.stderr
