"""Outputs of the commands: no input is overwritten, links stay links, and closed or full streams are one line."""

import csv
import gzip
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import require_failure, write_csv
from pyarrow import parquet
from python_calamine import CalamineWorkbook

from shelfwise.indexer.reading.guard import COLUMNS


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


def test_the_ending_of_an_output_decides_its_format(run, store, listings):
    for name in ("o.csv", "o.tsv", "o.jsonl", "o.parquet", "o.xlsx", "o.csv.gz", "o.txt"):
        assert run("classify", listings, "--store", store, "-o", name).exit_code == 0
    expected = {"id": "1", "title": "red mug", "predicted_category": "Mugs"}
    tables = {
        "o.csv": list(csv.DictReader(io.StringIO(Path("o.csv").read_text()))),
        "o.tsv": list(csv.DictReader(io.StringIO(Path("o.tsv").read_text()), delimiter="\t")),
        "o.jsonl": [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()],
        "o.parquet": parquet.read_table("o.parquet").to_pylist(),
        "o.csv.gz": list(csv.DictReader(io.StringIO(gzip.decompress(Path("o.csv.gz").read_bytes()).decode()))),
        "o.txt": list(csv.DictReader(io.StringIO(Path("o.txt").read_text()))),
    }
    header, *rows = CalamineWorkbook.from_path("o.xlsx").get_sheet_by_index(0).to_python()
    tables["o.xlsx"] = [dict(zip(header, row, strict=True)) for row in rows]
    for name, table in tables.items():
        assert len(table) == 2, name
        assert table[0].keys() >= set(COLUMNS)
        assert table[0] | expected == table[0], name


def test_a_named_format_comes_before_the_ending_and_pipes_take_any(store, listings):
    asked = ("classify", listings, "--store", store, "--output-format", "parquet")
    piped = subprocess.run([sys.executable, "-m", "shelfwise", *map(str, asked)], capture_output=True, check=True)
    assert parquet.read_table(io.BytesIO(piped.stdout)).num_rows == 2


def test_binary_formats_are_refused_on_a_terminal(store, listings):
    terminal, inner = pty.openpty()
    done = shelfwise("classify", listings, "--store", store, "--output-format", "xlsx", stdout=inner)
    os.close(inner)
    os.close(terminal)
    assert done.returncode == 2 and "a terminal cannot show xlsx" in done.stderr


def test_an_encoding_is_kept_or_overridden_or_gives_way_to_utf8(run, store):
    Path("l.csv").write_bytes("title;color\ntasse é;rot\n".encode("cp1252"))
    asked = ("classify", "l.csv", "--store", store, "--encoding", "cp1252", "-o", "o.csv")
    assert run(*asked).exit_code == 0
    assert Path("o.csv").read_bytes().startswith("title;color;predicted_category".encode("cp1252"))
    assert "tasse é" in Path("o.csv").read_text(encoding="cp1252")
    run(*asked, "--output-encoding", "utf-16")
    assert Path("o.csv").read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff")
    shown = run(*asked, "--output-encoding", "ascii")
    assert Path("o.csv").read_bytes().startswith(b"\xef\xbb\xbftitle")
    assert "Note: written as UTF-8 with a byte order mark: ascii lacks é" in shown.stderr
    assert run(*asked, "--output-encoding", "nonsense").exit_code == 2


def test_a_format_takes_over_no_encoding_that_it_may_not_have(run, store):
    Path("l.csv").write_text("标题\n新款 凉鞋\n", encoding="gb18030")
    run("classify", "l.csv", "--store", store, "--encoding", "gb18030", "-o", "o.jsonl")
    assert json.loads(Path("o.jsonl").read_text(encoding="utf-8"))["标题"] == "新款 凉鞋"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "tsv"])
def test_classifying_an_output_again_replaces_its_results(run, store, ending):
    source = {"id": "1", "title": "red mug", "decision": "mine", "confidence": "high"}
    Path("0.jsonl").write_text(json.dumps(source) + "\n")
    run("classify", "0.jsonl", "--store", store, "-o", f"1.{ending}")
    for number in (1, 2):
        run("classify", f"{number}.{ending}", "--store", store, "-o", f"{number + 1}.{ending}")
    assert Path(f"1.{ending}").read_bytes() == Path(f"3.{ending}").read_bytes()
    assert "input_confidence" in Path(f"3.{ending}").read_text()


def test_parquet_keeps_the_types_of_its_numbers(run, store):
    parquet.write_table(pa.table({"title": ["red mug"], "n": [7]}), "l.parquet")
    run("classify", "l.parquet", "--store", store, "-o", "o.parquet")
    assert parquet.read_table("o.parquet").schema.field("n").type == pa.int64()


def test_infinity_of_an_input_is_not_in_an_output(run, store):
    Path("l.jsonl").write_text('{"title": "red mug", "price": 1e999}\n')

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    shown = run("classify", "l.jsonl", "--store", store).stdout
    assert "price" in json.loads(shown, parse_constant=refuse)


def test_a_failure_leaves_a_readable_part_of_a_workbook(run, store, listings, monkeypatch):
    monkeypatch.setattr("shelfwise.classifier.measuring.workbook.MOST_SHEET_ROWS", 2)
    failed = run("classify", listings, "--store", store, "-o", "o.xlsx")
    assert failed.exit_code == 1 and "the output so far is in" in failed.stderr
    (partial,) = Path().glob("*.partial")
    assert len(CalamineWorkbook.from_path(partial).get_sheet_by_index(0).to_python()) == 2
    assert not Path("o.xlsx").exists()
