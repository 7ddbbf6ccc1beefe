"""Bad input: one clear error line, exit code 1 (2 for usage errors), and no data lost."""

import json

import pytest
from conftest import rejects, require_failure


def test_a_missing_column_is_an_error(run, tmp_path):
    (tmp_path / "c.csv").write_text("sku,price\n1,2\n")
    require_failure(
        run("build", "c.csv", "--store", "s"), "c.csv has no title column, it has sku, price", "--columns title="
    )
    (tmp_path / "c.csv").write_text("title,price\n1,2\n")
    require_failure(
        run("build", "c.csv", "--store", "s"), "no category column", "title, price", "--columns category=COLUMN"
    )
    require_failure(
        run("build", "c.csv", "--store", "s", "--columns", "category=aisle"), "no column aisle", "title, price"
    )
    assert not (tmp_path / "s").exists()


def test_unknown_fields_in_columns_are_a_usage_error(run, catalog_file):
    require_failure(
        run("build", catalog_file, "--store", "s", "--columns", "shade=x"),
        "--columns: columns for 'shade'",
        code=2,
    )


@pytest.mark.parametrize(("content", "said"), [("", "c.csv is empty"), ("title,category\n", "c.csv has no rows")])
def test_an_empty_file_and_a_lone_header_are_errors(run, store, tmp_path, content, said):
    (tmp_path / "c.csv").write_text(content)
    require_failure(run("build", "c.csv", "--store", "s"), said)
    require_failure(run("add", "c.csv", "--store", store), said)
    require_failure(run("classify", "c.csv", "--store", store, "-o", "out.csv"), said)
    require_failure(run("evaluate", "c.csv", "--store", store), said)
    assert not list(tmp_path.glob("out.csv*"))


def test_missing_files_folders_and_spreadsheets_are_refused(run, store, tmp_path):
    require_failure(run("build", "nowhere.csv", "--store", "s"), "nowhere.csv: no such file")
    require_failure(run("build", tmp_path, "--store", "s"), "is a folder")
    (tmp_path / "c.xlsx").write_bytes(b"PK\x03\x04rest")
    require_failure(run("classify", "c.xlsx", "--store", store), "cannot be read as a spreadsheet")


def test_bad_rows_are_rejected_with_line_and_reason_and_good_rows_are_kept(run, tmp_path):
    (tmp_path / "c.csv").write_bytes(
        b"id,title,category\n"
        b"1,red shoe,Shoes\n"
        b"2,too,many,fields\n"
        b"3,too few\n"
        b"4,,Shoes\n"
        b"5,no category,\n"
        b"6," + b"x" * 2001 + b",Shoes\n"
        b"7,bell\x07,Shoes\n"
        b"8,bad \xff byte,Shoes\n"
        b'9,"never closed,Shoes\n'
        b"10,blue mug,Mugs\n"
        b"11,\xe8\x8c\xb6\xe6\x9d\xaf,Mugs\n"
    )
    result = run("build", "c.csv", "--store", "s", "--encoder", "hashing")
    assert result.exit_code == 0, result.output
    assert "3 added" in result.stdout
    assert "8 rejected" in result.stdout
    assert "8 rows rejected, with line and reason, in REJECTS.jsonl" in result.stderr
    found = rejects(tmp_path / "REJECTS.jsonl")
    assert [(row["line"], row["column"]) for row in found] == [
        (3, ""), (4, ""), (5, "title"), (6, "category"), (7, "title"), (8, "title"), (9, "title"), (10, "")
    ]  # fmt: skip
    reasons = " | ".join(str(row["reason"]) for row in found)
    for part in (
        "4 fields",
        "2 fields",
        "empty title",
        "empty category",
        "2001 characters",
        "control",
        "0xFF",
        "quote",
    ):
        assert part in reasons
    assert found[0]["value"] == "2,too,many,fields"


def test_bad_listings_are_rejected_and_an_empty_title_is_decided(run, store, tmp_path):
    (tmp_path / "l.csv").write_bytes(b"title,sku\nred sandal,1\n,2\na,b,c\nbell\x07,4\nboot,5\n")
    result = run("classify", "l.csv", "--store", store, "--rejects", "bad.jsonl")
    assert result.exit_code == 0
    assert [line.split(",")[1] for line in result.stdout.splitlines()[1:]] == ["1", "2", "5"]
    assert ",unknown,empty_text,,[],[],[],[]" in result.stdout.splitlines()[2]
    assert [row["line"] for row in rejects(tmp_path / "bad.jsonl")] == [4, 5]


def test_a_catalog_without_a_usable_row_is_refused(run, tmp_path):
    (tmp_path / "c.csv").write_text("title,category\n,X\n,Y\n")
    require_failure(run("build", "c.csv", "--store", "s"), "no usable row", "line 2", "empty title", "REJECTS.jsonl")
    assert len(rejects(tmp_path / "REJECTS.jsonl")) == 2


def test_an_unwritable_rejects_file_is_an_error(run, tmp_path):
    (tmp_path / "c.csv").write_text("title,category\n,X\na,Y\n")
    require_failure(
        run("build", "c.csv", "--store", "s", "--rejects", "no/such/r.jsonl"), "no/such/r.jsonl", "--rejects"
    )


def test_the_last_row_of_a_duplicate_id_counts(run, tmp_path):
    (tmp_path / "c.csv").write_text("id,title,category\n1,red shoe,Shoes\n1,blue mug,Mugs\n2,cup,Mugs\n2,cup,Mugs\n")
    result = run("build", "c.csv", "--store", "s", "--encoder", "hashing", "--json")
    assert "1 rows that repeat an id with other content" in result.stderr
    counts = json.loads(result.stdout)
    assert (counts["added"], counts["conflicting"], counts["repeated"]) == (2, 1, 1)
    assert json.loads(run("info", "--store", "s", "--json").stdout)["categories"] == {"Mugs": 2}


def test_derived_ids_are_the_same_in_the_next_build(run, tmp_path):
    (tmp_path / "c.csv").write_text("title,category\nred shoe,Shoes\nblue mug,Mugs\n")
    run("build", "c.csv", "--store", "s", "--encoder", "hashing")
    assert "2 unchanged" in run("build", "c.csv", "--store", "s").stdout


def test_a_k_larger_than_the_store_is_refused(run, store, tmp_path):
    require_failure(
        run("similar", "x", "--store", store, "-k", 51), "k 51, more than the 50 items", "at most 50", "(-k NUMBER)"
    )
    (tmp_path / "l.csv").write_text("title\nshoe\n")
    require_failure(
        run("classify", "l.csv", "--store", store, "--neighbors", 51),
        "neighbors 51",
        "at most 50",
        "(--neighbors NUMBER)",
    )
    require_failure(run("similar", "x", "--store", store, "-k", 0), "-k", code=2)


def test_an_unknown_encoder_is_refused(run, catalog_file):
    require_failure(
        run("build", catalog_file, "--store", "s", "--encoder", "bert"), "encoder 'bert'", "e5, hashing, minilm"
    )


def test_a_hub_model_without_network_is_an_error(run, catalog_file, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = run("build", catalog_file, "--store", "s", "--encoder", "no-such-owner/no-such-model")
    require_failure(result, "no-such-owner/no-such-model cannot be fetched", "network")
    assert not (tmp_path / "s").exists()


def test_a_local_folder_without_a_model_is_refused(run, catalog_file, tmp_path):
    (tmp_path / "model").mkdir()
    require_failure(
        run("build", catalog_file, "--store", "s", "--encoder", "./model"),
        "does not load",
        "sentence-transformers model",
    )


@pytest.mark.parametrize("output", ["no/such/folder/out.csv", "folder"])
def test_an_unwritable_output_is_refused_before_the_work_starts(run, store, tmp_path, monkeypatch, output):
    (tmp_path / "folder").mkdir()
    (tmp_path / "l.csv").write_text("title,category\nshoe,Shoes\n")
    monkeypatch.setattr(
        "shelfwise.classifier.model.pipeline.Classifier.open", lambda *_: pytest.fail("the work started")
    )
    require_failure(run("classify", "l.csv", "--store", store, "-o", output), f"cannot write {output}")
    require_failure(run("evaluate", "l.csv", "--store", store, "--json", output), f"cannot write {output}")


def test_spreadsheet_formulas_are_escaped(run, store, tmp_path):
    titles = ["=cmd|' /C calc'!A0", "+1-shoe", "-5", "@SUM(A1)", "shoe"]
    (tmp_path / "l.csv").write_text("title,=note\n" + "".join(f"{title},x\n" for title in titles))
    safe = run("classify", "l.csv", "--store", store).stdout.splitlines()
    assert safe[0].startswith("title,'=note,")
    assert [line.split(",x,")[0] for line in safe[1:]] == [
        "'=cmd|' /C calc'!A0", "'+1-shoe", "-5", "'@SUM(A1)", "shoe"
    ]  # fmt: skip
    raw = run("classify", "l.csv", "--store", store, "--raw").stdout.splitlines()
    assert [line.split(",x,")[0] for line in raw[1:]] == titles


@pytest.mark.parametrize("where", ["brand = = 3", "shade = 'red'", "; DROP TABLE items", "brand"])
def test_an_invalid_where_is_refused(run, store, where):
    require_failure(
        run("similar", "x", "--store", store, "--where", where), "is not valid", "id, title, description, brand"
    )


def test_similar_needs_a_text_or_an_id(run, store):
    require_failure(run("similar", "--store", store), "TEXT", code=2)
    require_failure(run("similar", "x", "--id", "y", "--store", store), "TEXT", code=2)
    require_failure(run("similar", " ", "--store", store), "empty", code=2)
    require_failure(run("similar", "--id", "nobody", "--store", store), "no item with id 'nobody'")


def test_remove_needs_ids_or_a_category(run, store):
    require_failure(run("remove", "--store", store), "--id", "--category", code=2)
    require_failure(run("remove", "--store", store, "--id", "nobody"), "no item with id nobody", "nothing was removed")
    require_failure(run("remove", "--store", store, "--category", "Home > Kitchens"), "did you mean Home > Kitchen")


def test_cuda_without_a_gpu_is_refused(run, store):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    require_failure(
        run("similar", "x", "--store", store, "--device", "cuda"),
        "device 'cuda'",
        "use device cpu or auto (--device cpu)",
    )


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\n\0"])
@pytest.mark.parametrize("command", ["build", "classify"])
def test_a_file_with_only_a_byte_order_mark_is_empty(run, store, tmp_path, mark, command):
    (tmp_path / "empty.csv").write_bytes(mark)
    require_failure(run(command, "empty.csv", "--store", store), "empty.csv is empty")


@pytest.mark.parametrize("name", ["o.xls", "o.csv.zst", "o.parquet.gz"])
def test_an_output_name_with_a_wrong_suffix_is_refused(run, store, tmp_path, name):
    (tmp_path / "l.csv").write_text("title\nred sandal\n")
    refused = run("classify", "l.csv", "--store", store, "-o", name)
    assert refused.exit_code == 2
    assert f"{name}: " in refused.output


def test_standard_input_is_read_by_evaluate_and_build(run, store):
    labelled = b"title,category_path\nred sandal,Fashion > Shoes > Sandals\n"
    assert json.loads(run("evaluate", "-", "--store", store, "--json", "-", stdin=labelled).stdout)["n"] == 1
    built = run("build", "-", "--store", "s", "--encoder", "hashing", stdin=labelled)
    assert (built.exit_code, "1 added" in built.stdout) == (0, True)


def test_a_missing_encoder_folder_is_an_error(run, catalog_file, tmp_path):
    require_failure(run("build", catalog_file, "--store", "s", "--encoder", tmp_path / "gone"), "does not exist")


@pytest.mark.parametrize("text", ["  ", "\u200b", "<b></b>"])
def test_a_search_for_an_empty_text_is_refused(run, store, text):
    assert "TEXT is empty" in run("similar", text, "--store", store).output


def test_the_help_of_every_command_has_an_example(run):
    for command in ("build", "add", "remove", "train", "finetune", "classify", "similar", "evaluate", "info", "demo"):
        assert f"  shelfwise {command}" in run(command, "--help").stdout


def test_unknown_commands_and_options_are_usage_errors(run, store):
    assert run("bild").exit_code == 2
    assert run("info", "--store", store, "--nope").exit_code == 2
    assert run("info").exit_code == 2
