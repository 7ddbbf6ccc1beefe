"""The one small file that says which version of a store counts, and how to know that it is whole."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from indexer.errors import StoreError

FORMAT = 3  # of the folder and of the model in it; a reader refuses any other
FILE, LOCK = "manifest.json", ".lock"


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """The encoder that made a store's vectors: its name, fingerprint and dimensions.

    `folder`, relative to the store, is where one that was fine-tuned on the store's items lies, and `kept_back` in
    (0, 1) the share of the items that was kept back for judging it; empty and 0 for one that is found by its name.
    """

    name: str
    fingerprint: str
    dimensions: int
    folder: str = ""
    kept_back: float = 0.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a store.

    `table_version` is LanceDB's, `recipe` the text recipe, `blobs` maps a name to the file that holds it,
    `files` maps every file of the store, relative to it, to [bytes, SHA-256].
    """

    version: int
    table_version: int
    rows: int
    encoder: EncoderIdentity
    recipe: str
    created: str
    libraries: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    format: int = FORMAT


def _seal(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Make `manifest` the version that counts, in one step that survives a crash."""
    content = json.loads(json.dumps(asdict(manifest)))
    work = store / (FILE + ".new")
    with work.open("w", encoding="utf-8") as out:
        json.dump(content | {"seal": _seal(content)}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    work.replace(store / FILE)
    folder = os.open(store, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_manifest(store: Path) -> Manifest:
    """The version that counts. Raises StoreError where there is none, or it cannot be trusted."""
    try:
        content = json.loads((store / FILE).read_bytes())
        seal = content.pop("seal")
        found = int(content["format"])
    except FileNotFoundError:
        raise StoreError(_absent(store)) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StoreError(f"{store / FILE} is damaged: {_mend(store)}") from None
    except OSError as error:
        raise StoreError(f"{store / FILE} cannot be read ({error.strerror})") from None
    if found != FORMAT:
        mend = "upgrade shelfwise" if found > FORMAT else "build the store again in a new folder"
        raise StoreError(f"store {store} has format {found}, this shelfwise reads {FORMAT}: {mend}")
    if seal != _seal(content):
        raise StoreError(f"{store / FILE} is damaged (its checksum differs): {_mend(store)}")
    content["encoder"] = EncoderIdentity(**content["encoder"])
    content["files"] = {name: (size, digest) for name, (size, digest) in content["files"].items()}
    return Manifest(**content)


def _absent(store: Path) -> str:
    if not store.exists():
        return f"no store at {store}: make one with shelfwise build CATALOG --store {store}"
    if is_half_written(store):
        return f"store {store} is half written, its first build never ended: run shelfwise build again"
    return f"{store} is not a shelfwise store (no {FILE} in it): make one with shelfwise build CATALOG --store DIR"


def _mend(store: Path) -> str:
    return f"restore the folder from a backup, or delete {store} and build it again"


def is_half_written(store: Path) -> bool:
    """Whether a first build began in this folder and never ended: the lock is the first thing that it leaves."""
    return not (store / FILE).exists() and (store / LOCK).exists()


def sum_files(
    store: Path, folders: tuple[str, ...], known: Mapping[str, tuple[int, str]]
) -> dict[str, tuple[int, str]]:
    """[bytes, SHA-256] of every file below `folders`.

    All of them are written once and never changed, so digests in `known` are taken over for files of the
    same name and size.
    """
    sums: dict[str, tuple[int, str]] = {}
    for path in sorted(path for folder in folders for path in (store / folder).rglob("*")):
        name = path.relative_to(store).as_posix()
        if not path.is_file() or path.name == "latest_version_hint.json":  # a hint that LanceDB rewrites
            continue
        size = path.stat().st_size
        before = known.get(name)
        sums[name] = before if before and before[0] == size else (size, _sum(path))
    return sums


def verify_files(store: Path, files: Mapping[str, tuple[int, str]]) -> None:
    """Raises StoreError for the first of `files` that is missing or not as it was written."""
    for name, (size, digest) in files.items():
        path = store / name
        try:
            whole = path.stat().st_size == size and _sum(path) == digest
        except OSError as error:
            raise StoreError(f"{path} of the store cannot be read ({error.strerror}): {_mend(store)}") from None
        if not whole:
            raise StoreError(f"{path} of the store is damaged (its checksum differs): {_mend(store)}")


def _sum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
