"""Outputs of the commands: no input is overwritten, links stay links, and closed or full streams are one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require_failure, write_csv


@pytest.fixture
def listings(tmp_path) -> Path:
    return write_csv(tmp_path / "new.csv", ("id", "title"), [("1", "red mug"), ("2", "blue boot")])


def shelfwise(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shelfwise", *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.parametrize("link", ["same", "hard", "soft"])
@pytest.mark.parametrize("option", ["-o", "--rejects"])
def test_an_output_that_is_an_input_is_refused(run, store, listings, option, link):
    before, output = listings.read_bytes(), listings.with_name("other.csv")
    if link == "same":
        output = Path("..") / listings.parent.name / listings.name
    elif link == "hard":
        output.hardlink_to(listings)
    else:
        output.symlink_to(listings)
    require_failure(run("classify", listings, "--store", store, option, output), "already an input or output")
    assert listings.read_bytes() == before


def test_two_outputs_in_one_file_are_refused(run, store, listings):
    shown = run("classify", listings, "--store", store, "-o", "out.csv", "--rejects", "out.csv")
    require_failure(shown, "already an input or output")
    assert not Path("out.csv").exists()
    assert run("classify", listings, "--store", store, "-o", "/dev/null", "--rejects", "/dev/null").exit_code == 0


def test_a_catalog_is_not_overwritten_by_its_rejects(run, catalog_file):
    before = catalog_file.read_bytes()
    require_failure(run("build", catalog_file, "--store", "s", "--rejects", catalog_file), "already an input or output")
    assert catalog_file.read_bytes() == before


def test_rejects_of_an_earlier_run_do_not_stay(run, store, listings):
    bad = write_csv(Path("bad.csv"), ("id", "title"), [("1", "red mug"), ("2", "blue", "boot")])
    for named in ((), ("--rejects", "mine.jsonl")):
        rejects = Path(named[1] if named else "REJECTS.jsonl")
        run("classify", bad, "--store", store, "-o", "o.csv", *named)
        assert rejects.read_text().count("\n") == 1
        run("classify", listings, "--store", store, "-o", "o.csv", *named)
        assert rejects.exists() == bool(named)
        assert not named or rejects.read_text() == ""
    Path("REJECTS.jsonl").write_text("notes of a person\n")
    run("classify", listings, "--store", store, "-o", "o.csv")
    assert Path("REJECTS.jsonl").read_text() == "notes of a person\n"


def test_a_link_stays_a_link_and_a_file_keeps_its_mode(run, store, listings):
    Path("folder").mkdir()
    Path("folder/real.csv").write_text("old")
    Path("folder/real.csv").chmod(0o640)
    Path("link.csv").symlink_to("folder/real.csv")
    assert run("classify", listings, "--store", store, "-o", "link.csv").exit_code == 0
    assert Path("link.csv").is_symlink()
    assert Path("folder/real.csv").read_text().count("\n") == 3
    assert Path("folder/real.csv").stat().st_mode & 0o777 == 0o640


def test_a_link_to_an_open_descriptor_is_written_through(store, listings, tmp_path):
    link, caught = tmp_path / "stdout", tmp_path / "caught.csv"
    link.symlink_to("/proc/self/fd/1")
    with caught.open("w") as out:
        assert shelfwise("classify", listings, "--store", store, "-o", link, stdout=out).returncode == 0
    assert link.is_symlink()
    assert caught.read_text().count("\n") == 3


@pytest.mark.parametrize("output", ["", ".", "..", "/"])
def test_a_folder_cannot_be_an_output(run, store, listings, output):
    require_failure(run("classify", listings, "--store", store, "-o", output), "Is a directory")


def test_a_file_is_classified_without_standard_input(store, listings):
    done = shelfwise("classify", listings, "--store", store, "-o", os.devnull, preexec_fn=lambda: os.close(0))
    assert done.returncode == 0, done.stderr


def test_a_full_disk_behind_stdout_is_one_line(store):
    with Path("/dev/full").open("w") as full:
        done = shelfwise("similar", "mug", "--store", store, stdout=full)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


def test_a_filter_is_not_cut_at_a_semicolon(run, store):
    require_failure(run("similar", "mug", "--store", store, "--where", "brand = 'A'; AND id = 'B'"), "semicolon")
    assert run("similar", "mug", "--store", store, "--where", "title != 'a;b'").exit_code == 0


def test_text_that_is_not_utf8_is_a_usage_error(run, store):
    for arguments in (("similar", "caf\udce9"), ("similar", "mug", "--where", "\udce9"), ("remove", "--id", "\udce9")):
        require_failure(run(*arguments, "--store", store), code=2)


def test_a_tilde_is_a_plain_name(run, catalog_file):
    for name in ("~/my.store", "~x"):
        Path(name).parent.mkdir(exist_ok=True)
        for _ in range(2):
            assert run("build", catalog_file, "--store", name, "--encoder", "hashing").exit_code == 0
        assert (Path(name) / "items.lance").exists()


def test_a_wrong_utf32_is_one_line(run, store, listings):
    require_failure(run("classify", listings, "--store", store, "--encoding", "utf-32"), "byte 0 is not valid utf-32")
