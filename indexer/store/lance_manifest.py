"""The manifests of LanceDB: the files of a table version, and paths in them that could lead out of the table.

A manifest is a protobuf message: https://github.com/lance-format/lance/blob/main/protos/table.proto. It names the files
with rows, and may name other base folders, indexes and files of row ids, which the tables of a store do not have.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from shelfwise.indexer.store.disk import damaged, how_to_restore
from shelfwise.indexer.store.names import HINT, not_plain

_LAST = 2**64 - 1  # LanceDB counts version names down from this number
_NAME = re.compile(r"\d{20}\.manifest")
_MAGIC, _FOOTER = b"LANC", 16  # a footer: position of the message, format version, magic
_LONGEST = 1 << 28  # bytes of a manifest
_DATA_FILE = re.compile(r"[0-9a-zA-Z_-]+\.lance")
_TRANSACTION = re.compile(r"(?:\d+-[0-9a-f-]{36}\.txn)?")
_NEEDED = 1 | 2 | 4 | 8  # reader features of a table without other base folders and overlays
# Fields by message: number, name, and type (another message, or one of protobuf's); all may be repeated.
_MESSAGES = {
    "Manifest": [
        (2, "fragments", "Fragment"),
        (6, "index_section", "uint64"),
        (9, "features", "uint64"),
        (12, "transaction", "bytes"),
        (18, "bases", "bytes"),
        (20, "branch", "bytes"),
    ],
    "Fragment": [
        (1, "id", "uint64"),
        (2, "files", "DataFile"),
        (3, "deletions", "DeletionFile"),
        (6, "row_ids", "bytes"),
        (8, "updated", "bytes"),
        (10, "created", "bytes"),
        (11, "overlays", "bytes"),
    ],
    "DataFile": [(1, "path", "bytes"), (7, "base", "uint32")],
    "DeletionFile": [
        (1, "kind", "uint32"),
        (2, "read_version", "uint64"),
        (3, "id", "uint64"),
        (7, "base", "uint32"),
    ],
}
_DELETION_SUFFIXES = ("arrow", "bin")  # by kind: an array, a bitmap


def manifest_name(version: int) -> str:
    """Return the name of the file with a table version's manifest."""
    return f"{_LAST - version:020}.manifest"


def newest_version(store: Path, table: str) -> int:
    """Return LanceDB's number of the newest version of the table in the folder `table`, 0 if there is none."""
    names = (file.stem for file in (store / table / "_versions").glob("*.manifest"))
    return max((_LAST - int(name) for name in names if name.isdecimal()), default=0)


def files_of_version(store: Path, table: str, version: int) -> list[str]:
    """Return the files that a table version needs, relative to the store: its manifest, rows, and deleted rows.

    Other versions may need them, too. Raise StoreError when the manifest is damaged or names other files.
    """
    folder = f"{table}.lance"
    own = f"{folder}/_versions/{manifest_name(version)}"
    names = [own]
    for fragment in _checked_manifest(store, store / own).fragments:
        names += [f"{folder}/data/{_text(path)}" for file in fragment.files for path in file.path]
        for one in fragment.deletions:
            name = "-".join(str(_last(part)) for part in (fragment.id, one.read_version, one.id))
            names.append(f"{folder}/_deletions/{name}.{_DELETION_SUFFIXES[_last(one.kind)]}")
    return names


def require_own_paths(store: Path, table: str, version: int) -> None:
    """Raise StoreError if a manifest that LanceDB reads to open a version names a file outside the table.

    It reads the newest one, too: the first by name, or the one of a file with a hint.
    """
    folder = store / f"{table}.lance" / "_versions"
    there = sorted(file.name for file in folder.glob("*.manifest"))
    if odd := next((name for name in there if not _NAME.fullmatch(name)), None):
        raise not_plain(store, f"a table version of another kind: {(folder / odd).relative_to(store)}")
    hinted = _hinted(folder / HINT)
    for name in {manifest_name(version), *there[:1], *(manifest_name(number) for number in hinted)}:
        with suppress(FileNotFoundError):  # a version that was removed
            _checked_manifest(store, folder / name)


def _hinted(file: Path) -> list[int]:
    try:
        version = json.loads(file.read_bytes())["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [version] if isinstance(version, int) and 0 <= version <= _LAST else []


def _checked_manifest(store: Path, file: Path) -> Any:
    """Return the message of a manifest. Raise StoreError if it is damaged or leads out of the table."""
    from google.protobuf.message import DecodeError

    try:
        with file.open("rb") as stream:
            content = stream.read(_LONGEST)
        start = int.from_bytes(content[-_FOOTER:][:8], "little")
        size = int.from_bytes(content[start : start + 4], "little")
        if content[-4:] != _MAGIC or start + 4 + size > len(content):
            raise damaged(file, how_to_restore(store))
        manifest = _message()()
        manifest.ParseFromString(content[start + 4 : start + 4 + size])
    except FileNotFoundError:
        raise
    except (OSError, DecodeError):
        raise damaged(file, how_to_restore(store)) from None
    if found := _leading_out(manifest):
        raise not_plain(store, f"{found} in {file.relative_to(store)}")
    return manifest


def _leading_out(manifest: Any) -> str:
    """Return what could lead out of the table, "" for nothing."""
    if manifest.bases or manifest.branch or any(flags & ~_NEEDED for flags in manifest.features):
        return "other folders"
    if manifest.index_section or not all(_TRANSACTION.fullmatch(_text(name)) for name in manifest.transaction):
        return "an index or a transaction elsewhere"
    for fragment in manifest.fragments:
        if fragment.row_ids or fragment.updated or fragment.created or fragment.overlays:
            return "rows in other files"
        for file in fragment.files:
            if file.base or not all(_DATA_FILE.fullmatch(_text(path)) for path in file.path):
                return f"the file {', '.join(map(_text, file.path))}"
        if any(deletions.base or _last(deletions.kind) > 1 for deletions in fragment.deletions):
            return "a file of deleted rows elsewhere"
    return ""


def _last(values: Sequence[int]) -> int:
    """Return the value of a field that protobuf reads once: its last one, 0 if it is absent."""
    return values[-1] if values else 0


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


@cache
def _message() -> Any:
    """Return the class of the message Manifest, with the fields of _MESSAGES."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="shelfwise_lance.proto", package="shelfwise", syntax="proto2")
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, name, kind in fields:
            one = made.field.add(number=number, name=name, label=kinds.LABEL_REPEATED)
            one.type = kinds.TYPE_MESSAGE if kind in _MESSAGES else getattr(kinds, f"TYPE_{kind.upper()}")
            if kind in _MESSAGES:
                one.type_name = f".shelfwise.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shelfwise.Manifest"))
