"""The versions of a store: listing, naming and going back."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from shelfwise import __version__
from shelfwise.indexer.errors import QueryError, StoreError
from shelfwise.indexer.store.disk import TAGS, now, read_sealed, verify_files, write_sealed
from shelfwise.indexer.store.manifest import Manifest, no_version, read_manifest, versions_of, write_manifest
from shelfwise.indexer.store.snapshot import base_of, writing


@dataclass(frozen=True, slots=True)
class Entry:
    """A version and the names that were given to it."""

    manifest: Manifest
    tags: tuple[str, ...]


def history(path: Path) -> list[Entry]:
    """The versions of the store at `path`, the one that counts last. Raises StoreError."""
    entries = []
    versions, tags = versions_of(path), tags_of(path)
    for version in versions:
        try:
            manifest = read_manifest(path, version)
        except StoreError:
            if version in versions_of(path):  # else it was cleared away meanwhile
                raise
            continue
        entries.append(Entry(manifest, tuple(name for name, tagged in tags.items() if tagged == version)))
    return entries


def tags_of(path: Path) -> dict[str, int]:
    """Which version each tag names. Raises StoreError."""
    try:
        content = read_sealed(path / TAGS, "delete it: the names of versions are lost, and nothing else")
        return dict(content["tags"])
    except FileNotFoundError:
        return {}


def resolve_version(path: Path, named: str) -> int:
    """The number of a version that is named by its number or a tag. Raises QueryError, StoreError."""
    tags, there = tags_of(path), versions_of(path)
    version = int(named) if named.isdecimal() and len(named) < 10 else tags.get(named)
    if version is None:
        raise no_tag(named, tags)
    if version not in there:
        raise no_version(path, version, there)
    return version


def no_tag(name: str, tags: Collection[str]) -> QueryError:
    """Return the error of a tag that the store does not have, beside the `tags` it has."""
    there = f"one of its tags ({', '.join(sorted(tags))})" if tags else "a version: it has no tags"
    return QueryError("no_such_tag", f"the store has no tag {name!r}", there, "name a tag or a version that it has")


def tag(path: Path, name: str, named: str | None) -> int | None:
    """Let `name` stand for a version, which `compact` then keeps; None takes the name away. The version's number.

    Raises QueryError for a name that is a number or that is not there to be taken away.
    """
    if not name.strip() or name.isdecimal():
        raise QueryError("bad_tag", f"tag {name!r}", "a word that is not a number", "take one such as before-sale")
    with writing(path):
        tags = tags_of(path)
        version = None if named is None else resolve_version(path, named)
        if version is None and tags.pop(name, None) is None:
            raise no_tag(name, tags)
        write_sealed(path / TAGS, {"tags": tags if version is None else tags | {name: version}})
        return version


def rollback(path: Path, named: str) -> Manifest:
    """Make what an earlier version held the newest version: rows, vectors, encoder and model. Nothing is lost by it.

    Raises QueryError for a version that is not there or that counts already.
    """
    with writing(path) as draft:
        version, last = resolve_version(path, named), base_of(draft).manifest
        if version == last.version:
            raise QueryError(
                "current_version",
                f"version {version} is the newest already",
                "an earlier version",
                "name another version: nothing was changed",
            )
        target = read_manifest(path, version)
        verify_files(path, target.files)
        change = replace(target.change, command=f"rollback to {version}", added=0, updated=0, removed=0)
        manifest = replace(target, version=last.version + 1, change=change, created=now(), written_by=__version__)
        write_manifest(path, manifest)
        return manifest
