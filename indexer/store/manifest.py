"""The manifests of a store: its versions, and which one is current."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from shelfwise import __version__
from shelfwise.indexer.errors import StoreError, listed
from shelfwise.indexer.store.disk import damaged, how_to_restore, read_sealed, remove, sync_folder, write_sealed
from shelfwise.indexer.store.names import (
    BLOB_NAME,
    ENCODER_FOLDER,
    LOCK,
    MANIFEST,
    REPLICA_FOLDER,
    RUNTIME_FOLDER,
    STORE_ID,
    TABLE_NAME,
    VERSIONS,
    is_inside,
    not_plain,
    require_plain,
)

LIMIT = 1 << 63  # numbers of a manifest are below this
_WRITES = re.compile(r"writes [0-9]{1,18} to ([0-9]{1,18})")  # command of a version made by the service
FORMAT = 12  # format of a store and its model; others are not read, see `migration`
# The first shelfwise version to write each format.
WRITERS = {8: "0.3.0", 9: "0.4.0", 10: "0.5.0", 11: "0.6.0", 12: "0.7.0"}


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """The encoder that computed a store's vectors: its name, fingerprint and dimensions.

    `folder`, relative to the store, holds an encoder fine-tuned on the store's items, and `kept_back` in (0, 1) is the
    share of items held out to judge it. They are empty and 0 for an encoder loaded by name. `runtime` is the folder of
    its exported form (empty if there is none), and `worst_cosine` the lowest cosine measured between their vectors.
    """

    name: str
    fingerprint: str
    dimensions: int
    folder: str = ""
    kept_back: float = 0.0
    runtime: str = ""
    worst_cosine: float = 1.0


@dataclass(frozen=True, slots=True)
class Change:
    """The change that created a version: its command, and the numbers of rows added, updated and removed."""

    command: str
    added: int = 0
    updated: int = 0
    removed: int = 0

    @property
    def rows(self) -> int:
        """The number of changed rows."""
        return self.added + self.updated + self.removed

    @property
    def last_write(self) -> int | None:
        """The last of the service's writes that made the version, None if something else did.

        >>> Change("writes 7 to 9").last_write, Change("build").last_write
        (9, None)
        """
        made = _WRITES.fullmatch(self.command)
        return int(made[1]) if made else None


@dataclass(frozen=True, slots=True)
class ReplicaIdentity:
    """The replica used to search versions: its folder, relative to the store, and its engine.

    `recall` is the share of the 32 nearest items that the engine finds. `vote_agreement` is the share of items whose
    vote gives the same category as with exact search. Both are in [0, 1], measured on items of the replica when it was
    created.
    """

    folder: str
    engine: str
    recall: float = 1.0
    vote_agreement: float = 1.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a store.

    `store` is the id of the store, which its desk has, too, and `written` the last write of the desk that the version
    contains: those up to it are in the version or were refused. `unfitted` is the number of rows added, updated and
    removed since the model was fitted. `table` is the name of its LanceDB table, `table_version` LanceDB's version
    number of it, and `recipe` the text recipe. `blobs` maps a name to its file. `files` maps every file that the
    version needs, relative to the store, to (bytes, SHA-256). `written_by` is the shelfwise version that wrote it, and
    `libraries` are the versions of the libraries used.
    """

    version: int
    change: Change
    unfitted: int
    table: str
    table_version: int
    rows: int
    encoder: EncoderIdentity
    recipe: str
    created: str
    replica: ReplicaIdentity
    store: str
    written: int
    written_by: str = __version__
    libraries: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    format: int = FORMAT


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Make `manifest` the current version, atomically and crash-safe. Earlier versions are kept."""
    keep_manifest(store, manifest)
    sync_folder(store)  # the names of folders made for this version
    if manifest.version == 1:
        with suppress(OSError):  # a folder that may not be listed
            sync_folder(store.absolute().parent)
    write_sealed(store / MANIFEST, asdict(manifest))


def keep_manifest(store: Path, manifest: Manifest) -> None:
    """Write the manifest of a version without making it current."""
    (store / VERSIONS).mkdir(exist_ok=True)
    write_sealed(file_of(store, manifest.version), asdict(manifest))


def read_manifest(store: Path, version: int | None = None) -> Manifest:
    """Return the manifest of a version of a store, by default the current one.

    Raise StoreError when it is missing, damaged or of another format, and when it or the store could lead out of the
    store.
    """
    try:
        if version is None:
            require_plain(store)
            content = read_sealed(store / MANIFEST, how_to_restore(store))
        else:
            content = read_sealed(file_of(store, version), "restore it from a backup (other versions are not affected)")
        found = int(content["format"])
    except FileNotFoundError:
        raise (_absent(store) if version is None else no_version(store, version, versions_of(store))) from None
    except (ValueError, KeyError, TypeError):
        raise damaged(store / MANIFEST, how_to_restore(store)) from None
    if found != FORMAT:
        raise _other_format(store, found, content)
    try:
        require_own_names(store, content)
        kinds: Mapping[str, type] = {"encoder": EncoderIdentity, "change": Change, "replica": ReplicaIdentity}
        content |= {name: _typed(kind, content[name]) for name, kind in kinds.items()}
        content["files"] = {name: (int(size), str(digest)) for name, (size, digest) in content["files"].items()}
        made: Manifest = _typed(Manifest, content)
        if not STORE_ID.fullmatch(made.store):
            raise ValueError(f"store is {made.store}")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise damaged(store / MANIFEST if version is None else file_of(store, version), how_to_restore(store)) from None
    return made


def stamp_of(store: Path) -> object:
    """Return a value that changes whenever a version is published; None if there is no store.

    Each manifest is a new file, so that asking is cheap.
    """
    try:
        found = (store / MANIFEST).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def require_own_names(store: Path, content: Mapping[str, Any]) -> None:
    """Raise StoreError if a manifest of any format names a file that is not one of the store's own.

    Raise KeyError, TypeError or AttributeError if it is no manifest.
    """
    encoder = content["encoder"]
    named = [
        (TABLE_NAME, content["table"]),
        (REPLICA_FOLDER, content["replica"]["folder"]),
        *((ENCODER_FOLDER, folder) for folder in filter(None, [encoder["folder"]])),
        *((RUNTIME_FOLDER, folder) for folder in filter(None, [encoder.get("runtime")])),
        *((BLOB_NAME, file) for file in content["blobs"].values()),
    ]
    outside = [name for form, name in named if not form.fullmatch(name)]
    outside += [name for name in content["files"] if not is_inside(name)]
    if outside:
        raise not_plain(store, f"a manifest that names {outside[0][:100]!r}")


def _typed(kind: type[Any], content: Mapping[str, Any]) -> Any:
    """Return a dataclass of JSON content. Raise TypeError for a field that is missing or of another type."""
    made = kind(**content)
    for one in fields(kind):
        value = getattr(made, one.name)
        accepted = {float: (int, float), int: (int,), str: (str,)}.get(cast(type, one.type))
        if accepted and (not isinstance(value, accepted) or isinstance(value, bool)):
            raise TypeError(f"{one.name} is {value!r}")
        if isinstance(value, int | float) and not (-1 if one.type is float else 0) <= value < LIMIT:
            raise ValueError(f"{one.name} is {value}")
    return made


def _other_format(store: Path, found: int, content: Mapping[str, object]) -> StoreError:
    expected = f"format {FORMAT}"
    if found > FORMAT:
        newer = f"store {store} has format {found}, written by shelfwise {content.get('written_by')}"
        return StoreError("newer_format", newer, expected, "upgrade shelfwise")
    old = f"store {store} has format {found}"
    if found in WRITERS:
        return StoreError("old_format", old, expected, "migrate the store")
    return StoreError("unknown_format", old, expected, "build the store again in a new folder")


def versions_of(store: Path) -> list[int]:
    """Return the version numbers of a store in ascending order, the current one last. Raise StoreError."""
    last = read_manifest(store).version
    # A killed writer may have left a later version.
    return sorted(version for version in numbers_of(store) | {last} if version <= last)


def numbers_of(store: Path) -> set[int]:
    """Return the numbers of the versions that have a manifest."""
    return {int(file.stem) for file in (store / VERSIONS).glob("*.json") if file.stem.isdecimal()}


def forget_version(store: Path, version: int) -> None:
    """Delete the manifest of a version that is not the current one."""
    remove(file_of(store, version))


def file_of(store: Path, version: int) -> Path:
    """Return the path of the manifest of a version."""
    return store / VERSIONS / f"{version:06}.json"


def no_version(store: Path, version: int, there: Sequence[int]) -> StoreError:
    """Return the error for a missing version; it lists the existing versions, `there`."""
    found = f"store {store} has no version {version}"
    return StoreError("no_such_version", found, f"one of {listed(map(str, there))}", "name an existing version")


def _absent(store: Path) -> StoreError:
    if not store.exists():
        return StoreError("no_store", f"no store at {store}", "a folder with a store", "build one from a catalog")
    if numbers_of(store) - {1}:
        found, fix = f"store {store} has lost its {MANIFEST}", f"copy the newest file of {store / VERSIONS} to it"
        return StoreError("lost_manifest", found, f"a file {MANIFEST}", fix)
    if is_half_written(store):
        found = f"store {store} is half written (its first build did not finish)"
        return StoreError("half_written", found, "a complete store", "build it again")
    return StoreError("not_a_store", f"{store} is not a shelfwise store", f"a folder with {MANIFEST}", "build a store")


def is_half_written(store: Path) -> bool:
    """Return True if a first build began in this folder and did not finish.

    A build writes the lock first and its version last.
    """
    return not (store / MANIFEST).exists() and (store / LOCK).exists() and not numbers_of(store) - {1}
