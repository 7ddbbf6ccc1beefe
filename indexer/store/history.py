"""The versions of a store: list, tag and roll back."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from shelfwise import __version__
from shelfwise.indexer.errors import QueryError, StoreError
from shelfwise.indexer.store.disk import now, read_sealed, verify_files, write_sealed
from shelfwise.indexer.store.manifest import Manifest, no_version, read_manifest, versions_of, write_manifest
from shelfwise.indexer.store.names import TAGS
from shelfwise.indexer.store.snapshot import base_of, writing


@dataclass(frozen=True, slots=True)
class Entry:
    """A version and its tags."""

    manifest: Manifest
    tags: tuple[str, ...]


def history(path: Path) -> list[Entry]:
    """Return the versions of the store at `path`, oldest first. Raise StoreError when it cannot be read."""
    entries = []
    versions, tags = versions_of(path), tags_of(path)
    for version in versions:
        try:
            manifest = read_manifest(path, version)
        except StoreError:
            if version in versions_of(path):  # otherwise it was removed meanwhile
                raise
            continue
        entries.append(Entry(manifest, tuple(name for name, tagged in tags.items() if tagged == version)))
    return entries


def tags_of(path: Path) -> dict[str, int]:
    """Return the version number of each tag. Raise StoreError when the file of tags is damaged."""
    try:
        content = read_sealed(path / TAGS, "delete it (only the tags of the versions are lost)")
        return dict(content["tags"])
    except FileNotFoundError:
        return {}


def resolve_version(path: Path, named: str) -> int:
    """Return the number of the version with this number or tag.

    Raise QueryError when there is no such tag, and StoreError when there is no such number or the store cannot be read.
    """
    tags, there = tags_of(path), versions_of(path)
    version = int(named) if named.isdecimal() and len(named) < 10 else tags.get(named)
    if version is None:
        raise no_tag(named, tags)
    if version not in there:
        raise no_version(path, version, there)
    return version


def no_tag(name: str, tags: Collection[str]) -> QueryError:
    """Return the error for a missing tag; it lists the existing `tags`."""
    there = f"one of its tags ({', '.join(sorted(tags))})" if tags else "the number of a version, as there are no tags"
    return QueryError("no_such_tag", f"the store has no tag {name!r}", there, "name an existing tag or version")


def tag(path: Path, name: str, named: str | None) -> int | None:
    """Tag a version with `name`, so that `compact` keeps it, and return its number. Delete the tag if `named` is None.

    Raise QueryError when `name` is empty or a number, or when the tag to delete or to resolve does not exist, and
    StoreError when there is no version with this number.
    """
    if not name.strip() or name.isdecimal():
        raise QueryError("bad_tag", f"tag {name!r}", "a word that is not a number", "choose a name such as before-sale")
    with writing(path):
        tags = tags_of(path)
        version = None if named is None else resolve_version(path, named)
        if version is None and tags.pop(name, None) is None:
            raise no_tag(name, tags)
        write_sealed(path / TAGS, {"tags": tags if version is None else tags | {name: version}})
        return version


def rollback(path: Path, named: str) -> Manifest:
    """Write a new version with the rows, vectors, encoder and model of an earlier one. No version is lost.

    Raise QueryError when there is no such tag or the version is the newest already, and StoreError when there is no
    version with this number or it is damaged.
    """
    with writing(path) as draft:
        version, last = resolve_version(path, named), base_of(draft).manifest
        if version == last.version:
            raise QueryError(
                "current_version",
                f"version {version} is already the newest",
                "an earlier version",
                "name another version (nothing was changed)",
            )
        target = read_manifest(path, version)
        verify_files(path, target.files)
        change = replace(target.change, command=f"rollback to {version}", added=0, updated=0, removed=0)
        manifest = replace(
            target,
            version=last.version + 1,
            change=change,
            created=now(),
            written_by=__version__,
            store=last.store,
            written=last.written,  # what the desk wrote since is undone on purpose
        )
        write_manifest(path, manifest)
        return manifest
