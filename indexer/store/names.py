"""The names of files in a store. A store that somebody else made may name anything: only these names are used.

Nothing outside a store is read, written or deleted through it. Every path in a manifest is checked when the manifest is
read, and a store with a link, a pipe or a device among its own files is refused before any of them is used.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from shelfwise.indexer.errors import StoreError

MANIFEST, VERSIONS, TAGS = "manifest.json", "versions", "tags.json"
BLOBS, REPLICAS, ENCODERS, RUNTIMES = "blobs", "replicas", "encoders", "runtimes"
EMBEDDED = "embedded"  # vectors computed by an unfinished build
TUNING = "tuning.json"
REPLICA_FACTS = "replica.json"  # what a replica is made of
LOCK = ".lock"
WRITER = ".writer.json"  # process that holds the lock
QUEUE = ".queue"  # locked by the next writer, so that repeated writes of one process cannot starve the others
TABLE = "items"
HINT = "latest_version_hint.json"  # of a table's newest version; LanceDB rewrites it
DESK = "desk.sqlite"  # writes and reviews of the service

_KEY = "[0-9a-f]{12}"
_TABLE = rf"{TABLE}(?:-{_KEY})?"
_FINGERPRINT = "[0-9a-f]{16}"
_WORK = rf"(?:(?:\.{_KEY})?\.new|\.{_KEY}\.old)?"  # of a writer that may have died
_BLOB = rf"\w+\.{_FINGERPRINT}"
_REPLICA_FILES = rf"(?:{REPLICA_FACTS}|items.arrow|vectors.f32|row_ids.npy|engine.faiss)"
# The form of each name; a folder of these may hold anything below.
TABLE_NAME = re.compile(_TABLE)
BLOB_NAME = re.compile(_BLOB)
STORE_ID = re.compile(_KEY)
REPLICA_FOLDER = re.compile(rf"{REPLICAS}/{_KEY}")
ENCODER_FOLDER = re.compile(rf"{ENCODERS}/{_FINGERPRINT}")
RUNTIME_FOLDER = re.compile(rf"{RUNTIMES}/{_FINGERPRINT}")
_OURS = re.compile(
    rf"(?:{MANIFEST}|{TAGS}|{TUNING}|{WRITER}|{LOCK}|{QUEUE}){_WORK}"
    rf"|{DESK}(?:\.lock|-wal|-shm|-journal)?"
    rf"|{VERSIONS}(?:/\d{{6,}}\.json{_WORK})?"
    rf"|{BLOBS}(?:/{_BLOB}{_WORK})?"
    rf"|{REPLICAS}(?:/{_KEY}{_WORK}(?:/{_REPLICA_FILES}{_WORK})?)?"
    rf"|(?:{ENCODERS}|{RUNTIMES})(?:/{_FINGERPRINT}{_WORK}(?:/.+)?)?"
    rf"|(?:{ENCODERS}|{RUNTIMES})\.new(?:/.+)?"
    rf"|{EMBEDDED}(?:/{_FINGERPRINT}(?:/{_FINGERPRINT}\.npz{_WORK})?)?"
    rf"|{_TABLE}\.lance(?:/.+)?",
    re.DOTALL,
)


_LINKED = set[Path]()


def is_ours(name: str) -> bool:
    """Return True if a store has a file or folder of this name, relative to the store.

    >>> is_ours("blobs/head.1eacbfe0561f60d6"), is_ours("blobs/notes.txt")
    (True, False)
    """
    return _OURS.fullmatch(name) is not None


def is_inside(name: str) -> bool:
    """Return True if `name` is the path of a file of a store, relative to it, that cannot lead out of it.

    >>> is_inside("encoders/0123456789abcdef/config.json"), is_inside("blobs/../../.ssh/id")
    (True, False)
    """
    parts = name.split("/")
    return is_ours(name) and PurePosixPath(name).as_posix() == name and ".." not in parts and "\0" not in name


def own_entries(store: Path, folder: str) -> list[Path]:
    """Return what a folder of a store holds of its own, sorted; `folder` is relative to the store."""
    above = f"{folder}/" if folder else ""
    return sorted(Path(entry.path) for name, entry in _listed(store, above) if is_ours(name))


def foreign_names(store: Path) -> list[str]:
    """Return the files and folders in a store that are not its own, relative to it. Those below them are left out."""
    return sorted(name for name, _ in _entries(store, ours=False))


def allow_links(folder: Path) -> None:
    """Let a folder that this process made have links to a store whose files were checked."""
    _LINKED.add(folder)


def require_plain(store: Path) -> None:
    """Raise StoreError if a file or folder of a store is a link, a pipe, a socket or a device."""
    if store in _LINKED:
        return
    for name, entry in _entries(store, ours=True):
        if entry.is_symlink():
            raise not_plain(store, f"a link: {name}")
        if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
            raise not_plain(store, f"no regular file: {name}")


def not_plain(store: Path, found: str) -> StoreError:
    """Return the error for a store with a file that could lead out of it."""
    return StoreError(
        "unsafe_store", f"store {store} has {found}", "only files and folders inside the store", "remove it"
    )


def _entries(store: Path, ours: bool) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the store's own entries with their names, or those that are not its own."""
    folders = [""]
    while folders:
        above = folders.pop()
        for name, entry in _listed(store, above):
            known = is_ours(name)
            if known == ours:
                yield name, entry
            if known and entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")


def _listed(store: Path, above: str) -> Iterable[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(store / above) as entries:
            return [(above + entry.name, entry) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):  # removed meanwhile, or no store
        return []
    except OSError as error:
        raise StoreError(
            "unreadable_store_file",
            f"folder {store / above} of the store cannot be read ({error.strerror})",
            "a readable folder",
            "check its permissions",
        ) from None
