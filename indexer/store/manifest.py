"""What the versions of a store are, and which of them counts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shelfwise import __version__
from shelfwise.indexer.errors import StoreError, listed
from shelfwise.indexer.store.disk import (
    LOCK,
    MANIFEST,
    VERSIONS,
    damaged,
    how_to_restore,
    read_sealed,
    remove,
    write_sealed,
)

FORMAT = 10  # of the folder and of the model in it; a reader takes no other, see `migration`
WRITERS = {8: "0.3.0", 9: "0.4.0", 10: "0.5.0"}  # the first version of shelfwise that wrote each format


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """The encoder that made a store's vectors: its name, fingerprint and dimensions.

    `folder`, relative to the store, is where one that was fine-tuned on the store's items lies, and `kept_back` in
    (0, 1) the share of the items that was kept back for judging it; empty and 0 for one that is found by its name.
    `runtime` is where its exported form lies, empty where it has none, and `worst_cosine` the lowest cosine that was
    found between their vectors.
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
    """What made a version: the command, and how many rows it added, updated and removed."""

    command: str
    added: int = 0
    updated: int = 0
    removed: int = 0

    @property
    def rows(self) -> int:
        """How many rows it touched."""
        return self.added + self.updated + self.removed


@dataclass(frozen=True, slots=True)
class ReplicaIdentity:
    """The replica that versions are searched with: its folder, relative to the store, and its engine.

    `recall` is the share of the 32 nearest items that the engine finds, `vote_agreement` the share of items that get
    the same category from their vote as by exact search, both in [0, 1] and measured when it was made on items that it
    holds.
    """

    folder: str
    engine: str
    recall: float = 1.0
    vote_agreement: float = 1.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a store.

    `unfitted` is how many rows were added, updated and removed since the model was fitted. `table` is the name of its
    LanceDB table and `table_version` LanceDB's own number, `recipe` the text recipe, `blobs`
    maps a name to the file that holds it, `files` maps every file of the version, relative to the store, to [bytes,
    SHA-256]. `written_by` is the version of shelfwise that wrote it, `libraries` those of what it used.
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
    written_by: str = __version__
    libraries: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    format: int = FORMAT


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Make `manifest` the version that counts, in one step that survives a crash. It is kept beside those before it."""
    keep_manifest(store, manifest)
    write_sealed(store / MANIFEST, asdict(manifest))


def keep_manifest(store: Path, manifest: Manifest) -> None:
    """Write down a version without making it the one that counts."""
    (store / VERSIONS).mkdir(exist_ok=True)
    write_sealed(file_of(store, manifest.version), asdict(manifest))


def read_manifest(store: Path, version: int | None = None) -> Manifest:
    """A version of a store, None for the one that counts. Raises StoreError where it is not there or not whole."""
    try:
        if version is None:
            content = read_sealed(store / MANIFEST, how_to_restore(store))
        else:
            content = read_sealed(file_of(store, version), "restore it from a backup; other versions are not touched")
        found = int(content["format"])
    except FileNotFoundError:
        raise (_absent(store) if version is None else no_version(store, version, versions_of(store))) from None
    except (ValueError, KeyError, TypeError):
        raise damaged(store / MANIFEST, how_to_restore(store)) from None
    if found != FORMAT:
        raise _other_format(store, found, content)
    content |= {
        name: kind(**content[name])
        for name, kind in {"encoder": EncoderIdentity, "change": Change, "replica": ReplicaIdentity}.items()
    }
    content["files"] = {name: (size, digest) for name, (size, digest) in content["files"].items()}
    return Manifest(**content)


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
    """The versions that a store has, the one that counts last. Raises StoreError."""
    last = read_manifest(store).version
    # A killed writer may have left a later one.
    return sorted(version for version in _kept(store) | {last} if version <= last)


def _kept(store: Path) -> set[int]:
    return {int(file.stem) for file in (store / VERSIONS).glob("*.json") if file.stem.isdecimal()}


def forget_version(store: Path, version: int) -> None:
    """Take a version other than the one that counts off the list."""
    remove(file_of(store, version))


def file_of(store: Path, version: int) -> Path:
    """Return where the manifest of a version is kept."""
    return store / VERSIONS / f"{version:06}.json"


def no_version(store: Path, version: int, there: Sequence[int]) -> StoreError:
    """Return the error of a version that a store does not have, beside those that are `there`."""
    found = f"store {store} has no version {version}"
    return StoreError("no_such_version", found, f"one of {listed(map(str, there))}", "name a version that it has")


def _absent(store: Path) -> StoreError:
    if not store.exists():
        return StoreError("no_store", f"no store at {store}", "a folder with a store", "build one from a catalog")
    if _kept(store) - {1}:
        found, fix = f"store {store} has lost its {MANIFEST}", f"copy the newest file of {store / VERSIONS} to it"
        return StoreError("lost_manifest", found, f"a file {MANIFEST}", fix)
    if is_half_written(store):
        found = f"store {store} is half written: its first build never ended"
        return StoreError("half_written", found, "a store that was built", "build it again")
    return StoreError("not_a_store", f"{store} is not a shelfwise store", f"a folder with {MANIFEST}", "build a store")


def is_half_written(store: Path) -> bool:
    """Whether a first build began in this folder and never ended: it leaves the lock first, and its version last."""
    return not (store / MANIFEST).exists() and (store / LOCK).exists() and not _kept(store) - {1}
