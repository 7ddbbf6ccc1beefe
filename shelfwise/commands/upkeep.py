"""Commands that inspect and maintain a store: contents, versions, integrity, speed, format and service."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shelfwise.commands.options import AS_JSON, DEVICE, STORE, Utf8, keeping_options
from shelfwise.commands.terminal import ShelfwiseCommand, counted, print_json, progress_display, show_difference

if TYPE_CHECKING:
    from shelfwise.results import Version


@click.command(cls=ShelfwiseCommand)
@STORE
@AS_JSON
def info(store: Path, as_json: bool) -> None:
    """Show the contents and settings of a store.

    The output has the version, encoder, search engine, model settings, categories with their numbers of items, and the
    versions of the libraries that wrote the store.

    \b
    Examples:
      shelfwise info --store my.store
      shelfwise info --store my.store --json
    """
    import shelfwise

    found = shelfwise.open(store).info()
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, entry in value.items():
                click.echo(f"  {key}: {json.dumps(entry, ensure_ascii=False)}")
        else:
            click.echo(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


@click.command(cls=ShelfwiseCommand)
@STORE
@AS_JSON
def versions(store: Path, as_json: bool) -> None:
    """List the versions of a store, the newest last.

    Each line shows the number, creation time (UTC), command, items added (+), updated (~) and removed (-), the number
    of items, and the tags of a version.

    \b
    Examples:
      shelfwise versions --store my.store
    """
    import shelfwise

    found = shelfwise.open(store).versions()
    if as_json:
        print_json([_as_json(version) for version in found])
        return
    for version in found:
        counts = f"+{version.added} ~{version.updated} -{version.removed}"
        names = f"  [{', '.join(version.tags)}]" if version.tags else ""
        click.echo(
            f"{version.number:6}  {version.created}  {version.command:16} {counts:20} {version.items} items{names}"
        )


def _as_json(version: "Version") -> dict[str, object]:
    change = {name: getattr(version, name) for name in ("command", "added", "updated", "removed")}
    about = {"rows": version.items, "encoder": version.encoder, "tags": version.tags}
    return {"version": version.number, "created": version.created, "change": change} | about


@click.command(cls=ShelfwiseCommand)
@click.argument("version", type=Utf8())
@STORE
@AS_JSON
def rollback(version: str, store: Path, as_json: bool) -> None:
    """Restore an earlier version of a store.

    VERSION is a number or a tag. Its items, encoder and model become the newest version. The versions in between are
    kept, so a rollback can be undone by another rollback.

    \b
    Examples:
      shelfwise rollback 7 --store my.store
      shelfwise rollback before-sale --store my.store
    """
    import shelfwise

    made = shelfwise.open(store).rollback(version)
    if as_json:
        print_json(_as_json(made))
        return
    click.echo(f"version {made.number} with {counted(made.items, 'item')} ({made.command})")


@click.command(cls=ShelfwiseCommand)
@click.argument("name", type=Utf8())
@click.argument("version", required=False, type=Utf8())
@STORE
@click.option("--delete", is_flag=True, help="Delete the tag.")
def tag(name: str, version: str | None, store: Path, delete: bool) -> None:
    """Tag a version with a name, or delete a tag.

    NAME can then be used wherever a version is expected. VERSION is a number or a tag; the default is the newest
    version. `shelfwise compact` keeps tagged versions.

    \b
    Examples:
      shelfwise tag before-sale --store my.store
      shelfwise tag before-sale 7 --store my.store
      shelfwise tag before-sale --delete --store my.store
    """
    import shelfwise

    if delete and version is not None:
        raise click.UsageError("Pass either VERSION or --delete.")
    given = shelfwise.open(store).tag(name, version, delete=delete)
    click.echo(f"tag {name} deleted" if given is None else f"{name} is version {given}")


@click.command(cls=ShelfwiseCommand)
@click.argument("before", type=Utf8())
@click.argument("after", type=Utf8())
@STORE
@AS_JSON
def diff(before: str, after: str, store: Path, as_json: bool) -> None:
    """Show what changed between two versions.

    BEFORE and AFTER are version numbers or tags. The output counts the items that were added, reworded, relabelled,
    moved and removed, with some examples of each. "Relabelled" items have a category with a different name. "Moved"
    items have the same category at a different place in the category tree.

    \b
    Examples:
      shelfwise diff 6 7 --store my.store
      shelfwise diff before-sale 9 --store my.store
    """
    import shelfwise

    found = shelfwise.open(store).diff(before, after)
    if as_json:
        print_json(asdict(found))
        return
    show_difference(found)


@click.command(cls=ShelfwiseCommand)
@STORE
@click.option("--keep", default=5, show_default=True, type=click.IntRange(1), help="Number of latest versions to keep.")
@AS_JSON
def compact(store: Path, keep: int, as_json: bool) -> None:
    """Delete old versions and leftover files of a store.

    The latest versions (--keep) and all tagged versions are kept. Their items are rewritten into a few files.

    \b
    Examples:
      shelfwise compact --store my.store --keep 3
    """
    import shelfwise

    done = shelfwise.open(store).compact(keep)
    if as_json:
        print_json(asdict(done))
        return
    click.echo(
        f"{counted(len(done.kept), 'version')} kept, {len(done.removed)} deleted: "
        f"{done.bytes_before / 1e6:.1f} MB -> {done.bytes_after / 1e6:.1f} MB"
    )


@click.command(cls=ShelfwiseCommand)
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@STORE
@AS_JSON
def backup(folder: Path, store: Path, as_json: bool) -> None:
    """Back up a store into a folder of backups.

    The newest version and the desk are copied, also while the service runs. Contents that the folder has from an
    earlier backup are not copied again; each backup can be restored without the others.

    \b
    Examples:
      shelfwise backup backups --store my.store
    """
    import shelfwise

    with progress_display() as progress:
        done = shelfwise.open(store).backup(folder, progress)
    if as_json:
        print_json(asdict(done))
        return
    copied = f"{counted(done.copied, 'file')} of {done.copied_bytes / 1e6:.1f} MB copied"
    click.echo(
        f"version {done.version} backed up: {counted(done.files, 'file')} of {done.bytes / 1e6:.1f} MB, {copied}"
    )


@click.command(cls=ShelfwiseCommand)
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@STORE
@click.option("--at", type=click.IntRange(1), help="Version to restore.  [default: the newest]")
@AS_JSON
def restore(folder: Path, store: Path, at: int | None, as_json: bool) -> None:
    """Make a new store from a folder of backups.

    \b
    Examples:
      shelfwise restore backups --store again.store
      shelfwise restore backups --store again.store --at 7
    """
    from shelfwise.indexer.store.backup import restore as put_back

    with progress_display() as progress:
        done = put_back(folder, store, at, progress)
    if as_json:
        print_json(asdict(done))
        return
    made = f"{counted(done.files, 'file')} of {done.bytes / 1e6:.1f} MB"
    click.echo(f"version {done.version} of {done.created} restored: {made}")


@click.command(cls=ShelfwiseCommand)
@STORE
@click.option("--token-file", type=click.Path(path_type=Path), help="Check this file of tokens, too.")
@AS_JSON
def check(store: Path, token_file: Path | None, as_json: bool) -> None:
    """Check that a store is intact.

    Every byte of every version is read, and the desk, tags and tuning. Nothing is changed, so that the disk may be
    read-only. Each problem is printed. The exit code is 1 if there is a problem.

    \b
    Examples:
      shelfwise check --store my.store
    """
    import shelfwise
    from shelfwise.indexer.errors import listed
    from shelfwise.service.tokens import Tokens

    if token_file is not None:
        Tokens.read(token_file)
    found = shelfwise.open(store).check()
    if as_json:
        print_json(asdict(found))
    elif not found.problems:
        click.echo(
            f"intact: {counted(found.versions, 'version')}, {counted(found.files, 'file')}, "
            f"{counted(found.rows, 'row')} in all versions together"
        )
    if found.unchecked and not as_json:
        click.echo(f"not checked: {'; '.join(found.unchecked)}", err=True)
    if found.foreign and not as_json:
        click.echo(f"not of the store, and left alone: {listed(found.foreign)}", err=True)
    for problem in found.problems:
        click.echo(f"Error: {problem}", err=True)
    if found.problems:
        raise click.exceptions.Exit(1)


@click.command(cls=ShelfwiseCommand)
@STORE
@AS_JSON
def tune(store: Path, as_json: bool) -> None:
    """Find the fastest encoder settings for this machine.

    Precisions, numbers of thread streams and batch sizes are tried on texts of the store. The fastest combination is
    saved in the store for this machine. Tuning takes some minutes and is optional.

    \b
    Examples:
      shelfwise tune --store my.store
    """
    import shelfwise

    with progress_display() as progress:
        found = shelfwise.open(store).tune(progress=progress)
    if as_json:
        print_json(asdict(found))
        return
    click.echo(found.machine)
    click.echo("precision  streams  tokens  titles/s  times the best so far  worst cosine")
    for trial in found.trials:
        said = trial.tuning
        mark = "  best so far" if trial.taken else ""
        click.echo(
            f"{said.precision:9} {said.streams:8} {said.tokens:7} {trial.rate:9.0f} {trial.times:22.2f} "
            f"{trial.worst_cosine:13.5f}{mark}"
        )


@click.command(cls=ShelfwiseCommand)
@STORE
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 picks a free one."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with lines of NAME read|write TOKEN; every client then needs a token.",
)
@keeping_options
@DEVICE
def serve(store: Path, host: str, port: int, token_file: Path | None, keep_days: float | None, device: str) -> None:
    """Serve a store over HTTP: web pages and a JSON API.

    The API is described at /v1/openapi.json. Without --token-file the service is open to this machine only. To serve
    other machines (--host), a token file is required.

    The service removes versions made by its own writes when they are not among the last 50, and others after
    --keep-days days.

    \b
    Examples:
      shelfwise serve --store my.store
      shelfwise serve --store my.store --host 0.0.0.0 --token-file tokens.txt
    """
    from shelfwise.service.server import serve as run

    run(store, host, port, token_file, device, keep_days)


@click.command(cls=ShelfwiseCommand)
@STORE
@AS_JSON
def migrate(store: Path, as_json: bool) -> None:
    """Convert a store of an earlier version of Shelfwise.

    The database of its service is converted too. Decisions stay the same. Every command converts a store when it opens
    one; this command does only that.

    \b
    Examples:
      shelfwise migrate --store my.store
    """
    from shelfwise.indexer.store.manifest import FORMAT, read_manifest
    from shelfwise.indexer.store.migration import migrate as bring_forward
    from shelfwise.service.desk import migrate_desk

    found = bring_forward(store)
    manifest = read_manifest(store)
    layout = migrate_desk(store)
    if as_json:
        done = {"from_format": found or FORMAT, "format": FORMAT, "from_layout": layout, "version": manifest.version}
        print_json(done)
    elif found is None and layout is None:
        click.echo(f"store {store} has format {FORMAT} already")
    else:
        click.echo(f"store {store} has format {FORMAT}")


UPKEEP = (migrate, serve, info, versions, rollback, tag, diff, compact, check, backup, restore, tune)
