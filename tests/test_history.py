"""Versions: list, tag, diff, rollback and compact; and the checks of a damaged store."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import small_catalog, write_catalog

from shelfwise.classifier.changing import maintenance, release
from shelfwise.classifier.changing.checking import check
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.searching import compaction
from shelfwise.indexer.searching.compaction import compact
from shelfwise.indexer.searching.index import Index
from shelfwise.indexer.store import history as module
from shelfwise.indexer.store.history import history, rollback, tag
from shelfwise.indexer.store.manifest import read_manifest, versions_of
from shelfwise.indexer.store.snapshot import read_snapshot
from shelfwise.indexer.store.sync import difference, state_of

LETTERS = "abcdef"


def same_rows(one, other):
    return one.table.equals(other.table) and np.array_equal(one.vectors, other.vectors)


@pytest.fixture(scope="module")
def seven(built, tmp_path_factory):
    """Create a store of seven versions: build, three adds, an update, a removal and a training. Tests copy it."""
    store = shutil.copytree(built, tmp_path_factory.mktemp("seven") / "store")
    items = {item.id: item for item in small_catalog()}
    first, second, *others = sorted(items)
    for letter in LETTERS[:3]:
        maintenance.apply(store, maintenance.Edit({letter: replace(items[first], id=letter, title=f"{letter} sandal")}))
    maintenance.apply(store, maintenance.Edit({second: replace(items[second], title="another title")}))
    maintenance.remove(store, others[:5])
    maintenance.train(store)
    return store


@pytest.fixture
def lived(seven, tmp_path):
    return shutil.copytree(seven, tmp_path / "store")


def test_versions_list_the_change_that_created_them(run, lived):
    found = json.loads(run("versions", "--store", lived, "--json").stdout)
    assert [entry["version"] for entry in found] == [1, 2, 3, 4, 5, 6, 7]
    made = [(entry["change"]["command"], *list(entry["change"].values())[1:], entry["rows"]) for entry in found]
    assert made[0] == ("build", 50, 0, 0, 50)
    assert made[1:4] == [("add", 1, 0, 0, 50 + i) for i in (1, 2, 3)]
    assert made[4:] == [("add", 0, 1, 0, 53), ("remove", 0, 0, 5, 48), ("train", 0, 0, 0, 48)]
    assert "+0 ~0 -5" in run("versions", "--store", lived).stdout


@pytest.mark.parametrize("version", [1, 3, 6])
def test_a_rollback_restores_a_version_and_keeps_the_newest_one(lived, version):
    then, last = read_snapshot(lived, version), read_snapshot(lived)
    made = rollback(lived, str(version))
    now = read_snapshot(lived)
    assert (made.version, now.manifest.change.command) == (8, f"rollback to {version}")
    assert same_rows(now.rows, then.rows)
    assert now.manifest.blobs == then.manifest.blobs
    rollback(lived, "7")
    assert same_rows(read_snapshot(lived).rows, last.rows)
    maintenance.apply(lived, maintenance.Edit({"z": replace(small_catalog()[0], id="z")}))
    assert check(lived).problems == ()


def test_a_rollback_to_the_newest_or_a_missing_version_is_refused(run, lived):
    for version, said in (("7", "is already the newest"), ("9", "no version 9"), ("sale", "no tag 'sale'")):
        result = run("rollback", version, "--store", lived)
        assert result.exit_code == 1
        assert said in result.stderr
    assert read_manifest(lived).version == 7


def test_a_diff_counts_each_kind_of_change(run, lived, tmp_path):
    found = json.loads(run("diff", "1", "7", "--store", lived, "--json").stdout)
    assert {name: found[name]["count"] for name in ("added", "reworded", "relabelled", "moved", "removed")} == {
        "added": 3, "reworded": 1, "relabelled": 0, "moved": 0, "removed": 5,
    }  # fmt: skip
    assert "another title" in run("diff", "1", "7", "--store", lived).stdout
    assert json.loads(run("diff", "7", "7", "--store", lived, "--json").stdout)["added"]["count"] == 0


def test_relabelled_and_moved_items_are_distinguished():
    items = {item.id: item for item in small_catalog(2)}
    one, two, three, *_ = items
    after = dict(items)
    after[one] = replace(items[one], category="Clogs", category_path="Fashion > Shoes > Clogs")
    after[two] = replace(items[two], category_path=f"Elsewhere > {items[two].category}")
    after[three] = replace(items[three], title="new", category="Clogs", category_path="Clogs")
    found = difference(state_of(items), state_of(after))
    assert {name: kind.count for name, kind in found.kinds()} == {
        "added": 0, "reworded": 1, "relabelled": 2, "moved": 1, "removed": 0,
    }  # fmt: skip
    assert found.moved.examples == (f"{two}: {items[two].category_path} -> Elsewhere > {items[two].category}",)


def test_compact_keeps_only_the_last_and_the_tagged_versions(run, lived):
    before = {version: read_snapshot(lived, version) for version in (3, 6, 7)}
    assert all(len(then.rows) for then in before.values())  # forces the lazy rows to load
    assert run("tag", "before-sale", "3", "--store", lived).exit_code == 0
    done = json.loads(run("compact", "--store", lived, "--keep", "2", "--json").stdout)
    assert (done["kept"], done["removed"]) == ([3, 6, 7], [1, 2, 4, 5])
    assert versions_of(lived) == [3, 6, 7]
    for version, then in before.items():
        now = read_snapshot(lived, version)
        assert same_rows(now.rows, then.rows)
        assert now.blob("head") == then.blob("head")
    assert check(lived).problems == ()
    assert len(list(lived.glob("*.lance"))) == 1
    rollback(lived, "before-sale")
    maintenance.apply(lived, maintenance.Edit({"z": replace(small_catalog()[0], id="z")}))
    compact(lived, 1)
    assert versions_of(lived) == [3, 9]
    tag(lived, "before-sale", None)
    compact(lived, 1)
    assert versions_of(lived) == [9]
    assert Index.open(lived).snapshot.rows.row_of.keys() == before[3].rows.row_of.keys() | {"z"}
    assert check(lived).problems == ()


def test_invalid_tags_are_refused(run, lived):
    for arguments, said in (
        (("3",), "a word that is not a number"),
        ((" ",), "non-blank text"),
        (("a", "12"), "no version 12"),
        (("a", "--delete"), "no tag 'a'"),
    ):
        result = run("tag", *arguments, "--store", lived)
        assert result.exit_code == 1
        assert said in result.stderr
    assert run("tag", "a", "1", "--delete", "--store", lived).exit_code == 2
    assert module.tags_of(lived) == {}


@pytest.mark.parametrize("stage", ["keep_manifest", "write_manifest", "forget_versions", "clear"])
def test_an_interrupted_compact_leaves_every_version_intact(lived, monkeypatch, stage):
    before = {version: read_snapshot(lived, version).rows for version in versions_of(lived)}
    calls = iter(range(100))
    real = getattr(compaction, stage)

    def die_midway(*arguments):
        if stage != "keep_manifest" or next(calls) == 1:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(compaction, stage, die_midway)
    with pytest.raises(MemoryError):
        compact(lived, 3)
    monkeypatch.undo()
    assert check(lived).problems == ()
    assert {5, 6, 7} <= set(versions_of(lived))
    for version in versions_of(lived):
        assert same_rows(read_snapshot(lived, version).rows, before[version])
    compact(lived, 3)
    assert versions_of(lived) == [5, 6, 7]
    assert len(list(lived.glob("*.lance"))) == 1
    for version in (5, 6, 7):
        assert same_rows(read_snapshot(lived, version).rows, before[version])


def test_a_flipped_byte_in_any_file_is_detected(lived, run):
    """Either opening or `check` must detect a change in every file of a store."""
    compact(lived, 2)
    tag(lived, "kept", "6")
    unseen, names = [], {name for version in (6, 7) for name in read_manifest(lived, version).files}
    for file in sorted(path for path in lived.rglob("*") if path.is_file()):
        content = file.read_bytes()
        named = file.relative_to(lived).as_posix() in names
        lances = file.parent.name in ("_transactions", "_versions") and not named
        if not content or lances or file.name in (".lock", ".writer.json"):  # never read
            continue
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        file.write_bytes(changed)
        try:
            if not check(lived).problems:
                unseen.append(file.name)
        except StoreError:
            pass
        file.write_bytes(content)
    assert unseen == []
    assert "intact: 2 versions" in run("check", "--store", lived).stdout


def test_check_names_damaged_and_missing_files(run, lived):
    sorted((lived / "blobs").glob("head.*"))[0].unlink()
    (lived / "versions" / "000003.json").write_text("{}")
    result = run("check", "--store", lived)
    assert result.exit_code == 1
    assert "000003.json of the store is damaged" in result.stderr
    assert "cannot be read" in result.stderr
    assert run("check", "--store", "nowhere").exit_code == 1


def test_a_missing_version_is_refused_and_a_dry_run_shows_a_diff(run, lived):
    with pytest.raises(StoreError, match="no version 8"):
        module.resolve_version(lived, "8")
    assert [entry.manifest.version for entry in history(lived)] == [1, 2, 3, 4, 5, 6, 7]
    write_catalog(lived.parent / "c.csv", small_catalog())
    assert "5 added" in run("build", "c.csv", "--store", lived, "--dry-run").stdout


def test_a_lost_manifest_is_not_treated_as_a_half_written_store(run, lived, catalog_file):
    """Its versions are intact, so no build may overwrite them."""
    manifest = (lived / "manifest.json").read_bytes()
    (lived / "manifest.json").unlink()
    for command in (("info",), ("build", catalog_file)):
        result = run(*command, "--store", lived)
        assert result.exit_code == 1
        assert "has lost its manifest.json" in result.stderr
    (lived / "manifest.json").write_bytes((lived / "versions" / "000007.json").read_bytes())
    assert (lived / "manifest.json").read_bytes() == manifest
    assert check(lived).problems == ()


def test_a_damaged_blob_is_written_again_and_not_reused(lived):
    """Flip a byte in the head of version 6, then write the same head again with a build of the same rows."""
    (file,) = {read_manifest(lived, version).blobs["head"] for version in (1, 6)}
    whole = (lived / "blobs" / file).read_bytes()
    (lived / "blobs" / file).write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    maintenance.remove(lived, added=True)
    release.build(lived, {item.id: item for item in small_catalog()})
    assert read_manifest(lived).blobs["head"] == file
    assert (lived / "blobs" / file).read_bytes() == whole
    assert check(lived).problems == ()


@pytest.mark.parametrize("name", ["seal", "format", "tags", "a b", "销售前"])
def test_any_word_can_be_a_tag(lived, name):
    tag(lived, name, "3")
    tag(lived, "other", "4")
    assert module.tags_of(lived) == {name: 3, "other": 4}
    text = (lived / "tags.json").read_text()
    (lived / "tags.json").write_text(text.replace("other", "othre"))
    assert "tags.json of the store is damaged" in "".join(check(lived).problems)


def test_an_open_reader_goes_on_when_its_version_is_removed_and_a_new_one_gets_an_error(lived):
    old, opened = read_snapshot(lived), Index.open(lived)
    maintenance.apply(lived, maintenance.Edit({"z": replace(small_catalog()[0], id="z")}))
    for _ in range(2):  # twice, because table names are never reused
        compact(lived, 1)
        maintenance.apply(lived, maintenance.Edit({"z": replace(small_catalog()[1], id="z")}))
    with pytest.raises(StoreError, match=r"version .* was removed"):
        old.reader.row_ids()
    for where in (None, "id != ''"):
        assert opened.search(opened.embed(["boot"]), 3, where=where).found.all()  # reads no table
    release.build(lived, {item.id: item for item in small_catalog()[:30]})
    compact(lived, 1)
    with pytest.raises(StoreError, match="was removed"):
        old.blob("settings")


def test_a_tag_of_a_missing_version_is_reported_and_does_not_stop_compact(lived):
    tag(lived, "sale", "2")
    (lived / "versions" / "000002.json").unlink()
    assert "tag sale refers to a missing version" in check(lived).problems
    assert compact(lived, 2).kept == (6, 7)


@pytest.mark.parametrize("version", ["9" * 5000, "", "-1"])
def test_invalid_version_numbers_are_refused(run, lived, version):
    result = run("rollback", "--store", lived, "--", version)
    assert result.exit_code == 1
    assert {"": "non-blank text", "-1": "the store has no"}.get(version, "of 5000 characters") in result.stderr
    assert run("tag", "n", "", "--store", lived).exit_code == 1
