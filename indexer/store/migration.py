"""Migrate stores of earlier formats to the current one.

A step converts the manifest of one version to the next format, and writes the files it names next to the old ones. The
current manifest is replaced last. An interrupted migration therefore leaves a store of the old format, whose versions
have either the old format or the new one. It can be migrated again.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.store.disk import (
    damaged,
    how_to_restore,
    locked,
    put_blob,
    read_sealed,
    sum_files,
    verify_files,
    write_sealed,
)
from shelfwise.indexer.store.manifest import FORMAT, WRITERS, Change, file_of, numbers_of, require_own_names
from shelfwise.indexer.store.names import BLOBS, MANIFEST, VERSIONS, allow_links, require_plain

ManifestContent = dict[str, Any]  # the content of a manifest of any format
Step = Callable[[Path, ManifestContent], ManifestContent]
log = logging.getLogger("shelfwise.migration")


def _from_8(store: Path, manifest: ManifestContent) -> ManifestContent:
    """Record the shelfwise version that wrote the manifest: format 8 recorded a different one."""
    libraries = {name: version for name, version in manifest["libraries"].items() if name != "shelfwise"}
    return manifest | {"written_by": WRITERS[8], "libraries": libraries}


def _from_9(store: Path, manifest: ManifestContent) -> ManifestContent:
    """Name the opinions of the model and the weights of their mix. Format 9 had a dense and a lexical half."""
    blobs, files = dict(manifest["blobs"]), dict(manifest["files"])
    for name, upgrade in {"head": _with_named_opinions, "settings": _with_named_weights}.items():
        old = f"{BLOBS}/{blobs.get(name)}"
        with suppress(KeyError, StoreError):  # a damaged blob keeps its checksum, which reveals the damage
            verify_files(store, {old: files[old]})
            blobs[name] = put_blob(store, name, upgrade((store / old).read_bytes()))
            del files[old]
    made = [f"{BLOBS}/{file}" for file in blobs.values()]
    return manifest | {"blobs": blobs, "files": sum_files(store, made, files) | files}


def _with_named_opinions(head: bytes) -> bytes:
    """Rename the tensors of a safetensors file. The file is empty if there is no head."""
    if not head:
        return head
    size = int.from_bytes(head[:8], "little")
    names = {"dense": "vectors", "lexical": "ngrams"}
    header = {}
    for full, described in json.loads(head[8 : 8 + size]).items():
        half, dot, part = full.partition(".")
        header[f"{names.get(half, half)}{dot}{part}"] = described
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return len(text).to_bytes(8, "little") + text + head[8 + size :]


def _with_named_weights(settings: bytes) -> bytes:
    content = json.loads(settings)
    content["temperatures"] = {
        "ngrams": content.pop("lexical_temperature"),
        "vectors": content.pop("dense_temperature"),
    }
    weight = content["mix"].pop("lexical_weight")
    content["mix"]["weights"] = {"ngrams": weight, "vectors": 1 - weight}
    return json.dumps(content, indent=1).encode()


def _from_10(store: Path, manifest: ManifestContent) -> ManifestContent:
    """Keep the manifest: format 11 has one more column, which the table gets at its next change."""
    return manifest


def _from_11(store: Path, manifest: ManifestContent) -> ManifestContent:
    """Give the store an id, and its versions the last write of the desk that they contain.

    Earlier versions are migrated first. The id of the newest one counts.
    """
    id_ = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:12]
    own = Change(str(manifest["change"]["command"])).last_write
    return manifest | {"store": id_, "written": own or _written_before(store, int(manifest["version"]))}


def _written_before(store: Path, version: int) -> int:
    earlier = (number for number in numbers_of(store) if number < version)
    for number in sorted(earlier, reverse=True):
        with suppress(StoreError, OSError, KeyError, TypeError, ValueError):  # damaged: see the one before
            content = read_sealed(file_of(store, number), "")
            return int(content.get("written", Change(str(content["change"]["command"])).last_write or 0))
    return 0


STEPS: Mapping[int, Step] = {8: _from_8, 9: _from_9, 10: _from_10, 11: _from_11}


def format_of(store: Path) -> int | None:
    """Return the format of the store at `store`, or None if it is missing or its manifest cannot be read."""
    try:
        return int(read_sealed(store / MANIFEST, "")["format"])
    except (OSError, StoreError, KeyError, TypeError, ValueError):
        return None


def migrate(store: Path) -> int | None:
    """Migrate a store to FORMAT and return its old format, or None if there is nothing to migrate.

    Raise StoreError when the store cannot be written, and BusyError when another writer holds its lock.
    """
    require_plain(store)
    if format_of(store) not in STEPS:
        return None
    with locked(store):
        found = format_of(store)
        if found not in STEPS:  # migrated by another process meanwhile
            return None
        _write_migrated(store, store)
    log.warning("store %s had format %d and was migrated to format %d", store, found, FORMAT)
    return found


def migrated(store: Path) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """Migrate a store if necessary, and return the folder to read it from.

    This is `store` itself, or a temporary folder if the disk is not writable. The second value is that temporary folder
    (else None). Until it is deleted, it holds the new manifests and blobs, and links to everything else.
    """
    try:
        migrate(store)
        return store, None
    except StoreError as error:
        if error.code != "unwritable_store":
            raise
    elsewhere = tempfile.TemporaryDirectory(prefix="shelfwise-")
    folder = Path(elsewhere.name) / store.resolve().name
    folder.mkdir()
    allow_links(folder)
    for entry in store.resolve().iterdir():
        if entry.name == BLOBS:  # a real folder, because migration adds blobs
            (folder / BLOBS).mkdir()
            for blob in entry.iterdir():
                (folder / BLOBS / blob.name).symlink_to(blob)
        elif entry.name not in (MANIFEST, VERSIONS):
            (folder / entry.name).symlink_to(entry)
    _write_migrated(store, folder)
    log.warning(
        "store %s has format %d and is not writable; it is read in format %d from a temporary folder",
        store,
        format_of(store),
        FORMAT,
    )
    return folder, elsewhere


def _write_migrated(store: Path, target: Path) -> None:
    """Write the manifests of `store` in FORMAT to `target`, the current one last."""
    (target / VERSIONS).mkdir(exist_ok=True)
    for file in sorted((store / VERSIONS).glob("*.json")):
        with suppress(StoreError):  # a damaged manifest stays unchanged, and `check` reports it
            write_sealed(target / VERSIONS / file.name, _upgraded(target, read_sealed(file, how_to_restore(store))))
    newest = _upgraded(target, read_sealed(store / MANIFEST, how_to_restore(store)))
    write_sealed(file_of(target, newest["version"]), newest)  # again, in case it was lost
    write_sealed(target / MANIFEST, newest)


def _upgraded(store: Path, manifest: ManifestContent) -> ManifestContent:
    try:
        require_own_names(store, manifest)
        while manifest["format"] in STEPS:
            manifest = STEPS[manifest["format"]](store, manifest) | {"format": manifest["format"] + 1}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise damaged(store / MANIFEST, how_to_restore(store)) from None
    return manifest
