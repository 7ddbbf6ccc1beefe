"""Commands about a store itself: what it holds, its versions, and whether it is whole."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shelfwise.commands.options import AS_JSON, DEVICE, STORE
from shelfwise.commands.terminal import ShelfwiseCommand, print_json, progress_display, show_difference

if TYPE_CHECKING:
    from shelfwise.results import Version


@click.command(cls=ShelfwiseCommand)
@STORE
@AS_JSON
def info(store: Path, as_json: bool) -> None:
    """Say what a store holds and how it was made.

    \b
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
    """List the versions of a store: what made each, and which names were given to it.

    \b
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
@click.argument("version")
@STORE
@AS_JSON
def rollback(version: str, store: Path, as_json: bool) -> None:
    """Make what an earlier VERSION held (its number, or a tag) the newest version. The versions between stay.

    \b
      shelfwise rollback 7 --store my.store
      shelfwise rollback before-sale --store my.store
    """
    import shelfwise

    made = shelfwise.open(store).rollback(version)
    if as_json:
        print_json(_as_json(made))
        return
    click.echo(f"version {made.number} with {made.items} items ({made.command})")


@click.command(cls=ShelfwiseCommand)
@click.argument("name")
@click.argument("version", required=False)
@STORE
@click.option("--delete", is_flag=True, help="Take the name away.")
def tag(name: str, version: str | None, store: Path, delete: bool) -> None:
    """Let NAME stand for a VERSION, the newest if none is given; compact keeps it then.

    \b
      shelfwise tag before-sale --store my.store
      shelfwise tag before-sale --delete --store my.store
    """
    import shelfwise

    if delete and version is not None:
        raise click.UsageError("Give a VERSION, or --delete.")
    given = shelfwise.open(store).tag(name, version, delete=delete)
    click.echo(f"{name} is gone" if given is None else f"{name} is version {given}")


@click.command(cls=ShelfwiseCommand)
@click.argument("before")
@click.argument("after")
@STORE
@AS_JSON
def diff(before: str, after: str, store: Path, as_json: bool) -> None:
    """Say what changed from one version to another: numbers, or tags.

    \b
      shelfwise diff 6 7 --store my.store
    """
    import shelfwise

    found = shelfwise.open(store).diff(before, after)
    if as_json:
        print_json(asdict(found))
        return
    show_difference(found)


@click.command(cls=ShelfwiseCommand)
@STORE
@click.option("--keep", default=5, show_default=True, type=click.IntRange(1), help="So many of the last versions.")
@AS_JSON
def compact(store: Path, keep: int, as_json: bool) -> None:
    """Keep the last versions and the tagged ones, clear away the others, and write the items into few files.

    \b
      shelfwise compact --store my.store --keep 3
    """
    import shelfwise

    done = shelfwise.open(store).compact(keep)
    if as_json:
        print_json(asdict(done))
        return
    click.echo(
        f"{len(done.kept)} versions kept, {len(done.removed)} cleared away: "
        f"{done.bytes_before / 1e6:.1f} MB -> {done.bytes_after / 1e6:.1f} MB"
    )


@click.command(cls=ShelfwiseCommand)
@STORE
@AS_JSON
def check(store: Path, as_json: bool) -> None:
    """Read everything that a store holds and say whether it is whole. Exit code 1 where it is not.

    \b
      shelfwise check --store my.store
    """
    import shelfwise

    found = shelfwise.open(store).check()
    if as_json:
        print_json(asdict(found))
    elif not found.problems:
        click.echo(f"whole: {found.versions} versions, {found.files} files, {found.rows} rows in all versions together")
    for problem in found.problems:
        click.echo(f"Error: {problem}", err=True)
    if found.problems:
        raise click.exceptions.Exit(1)


@click.command(cls=ShelfwiseCommand)
@STORE
@AS_JSON
def tune(store: Path, as_json: bool) -> None:
    """Find out how this machine runs the store's encoder fastest, and remember it in the store. Takes some minutes.

    Precision, streams of threads and size of batches are tried on texts of the store; all work without it.

    \b
      shelfwise tune --store my.store
    """
    import shelfwise

    with progress_display() as progress:
        found = shelfwise.open(store).tune(progress=progress)
    if as_json:
        print_json(asdict(found))
        return
    click.echo(found.machine)
    click.echo("precision  streams  tokens  titles/s  times the best before  worst cosine")
    for trial in found.trials:
        said = trial.tuning
        mark = "  taken" if trial.taken else ""
        click.echo(
            f"{said.precision:9} {said.streams:8} {said.tokens:7} {trial.rate:9.0f} {trial.times:22.2f} "
            f"{trial.worst_cosine:13.5f}{mark}"
        )


@click.command(cls=ShelfwiseCommand)
@STORE
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to be reached at.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Lines of NAME read|write TOKEN: only who has one is let in.",
)
@DEVICE
def serve(store: Path, host: str, port: int, token_file: Path | None, device: str) -> None:
    """Serve a store over HTTP: pages for people, an API for shops (/v1/openapi.json).

    \b
      shelfwise serve --store my.store
      shelfwise serve --store my.store --host 0.0.0.0 --token-file tokens.txt
    """
    from shelfwise.service.server import serve as run

    run(store, host, port, token_file, device)


@click.command(cls=ShelfwiseCommand)
@STORE
@AS_JSON
def migrate(store: Path, as_json: bool) -> None:
    """Bring a store of an earlier version of Shelfwise to this one, with its desk. What it decides stays the same.

    Every command does so when it opens a store; this one does nothing else.

    \b
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


UPKEEP = (migrate, serve, info, versions, rollback, tag, diff, compact, check, tune)
