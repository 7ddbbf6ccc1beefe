"""What people and their shells see: notices, reports, progress, output files."""

import contextlib
import errno
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from shelfwise.classifier.changing.finetuning import Finetuned
    from shelfwise.classifier.changing.maintenance import Report
    from shelfwise.classifier.changing.release import Flips, Release
    from shelfwise.classifier.measuring.evaluation import Evaluation
    from shelfwise.classifier.model.model import Settings
    from shelfwise.classifier.model.pipeline import Classifier
    from shelfwise.commands.options import InputOptions
    from shelfwise.indexer.reading.catalog import Catalog
    from shelfwise.indexer.store.sync import Difference
    from shelfwise.indexer.types import Progress

SHOWN_CONFUSIONS = 5


class ShelfwiseCommand(click.Command):
    """Turn an error of the library into one line and exit code 1, and an interrupt into exit code 130."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from shelfwise.commands.hints import with_hint
        from shelfwise.indexer.errors import ShelfwiseError

        migrations = logging.getLogger("shelfwise.migration")
        migrations.addHandler(NOTES)
        try:
            return super().invoke(ctx)
        except ShelfwiseError as error:
            options = [name for parameter in self.params for name in parameter.opts]
            raise click.ClickException(with_hint(error, ctx.params, options)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted. A store that was being changed is as it was before.", err=True)
            ctx.exit(130)
        finally:
            migrations.removeHandler(NOTES)


class ShelfwiseGroup(click.Group):
    """A group of such commands."""

    command_class = ShelfwiseCommand


class _Notes(logging.Handler):
    """Shows what the library says of a migration as a note on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"Note: {record.getMessage()}", err=True)


NOTES = _Notes(logging.WARNING)


def load_catalog(paths: tuple[str, ...], source: "InputOptions") -> "Catalog":
    """The items of labelled files, with everything said about them that a user should know."""
    from shelfwise.indexer.reading.catalog import read_catalog
    from shelfwise.indexer.reading.rejects import RejectFile

    with RejectFile(source.rejects) as rejects:
        catalog = read_catalog(paths, rejects, source.read())
    show_notices(catalog.notices)
    show_rejects(rejects.count, source.rejects)
    if catalog.conflicting:
        click.echo(f"{catalog.conflicting} rows repeat an id with other content: the last one counts", err=True)
    return catalog


def show_notices(notices: list[str]) -> None:
    """Remarks about an input file, on stderr."""
    for notice in notices:
        click.echo(f"Note: {notice}", err=True)


def show_rejects(count: int, path: Path) -> None:
    """How many rows were rejected, on stderr."""
    if count:
        click.echo(f"{count} rows rejected, with line and reason in {path}", err=True)


def show_unlearned(classifier: "Classifier", tier: str) -> None:
    """What the tier fast cannot find."""
    if tier == "fast" and not classifier.known.all():
        click.echo(
            f"{(~classifier.known).sum()} categories are new to the head, and --tier fast finds none of their "
            "listings: use another tier, or run shelfwise train",
            err=True,
        )


def show_difference(difference: "Difference") -> None:
    """What tells two states of a catalog apart, with some examples of each kind."""
    counts = ", ".join(f"{kind.count} {name}" for name, kind in difference.kinds())
    click.echo(f"{difference.before} -> {difference.after} items: {counts}")
    for name, kind in difference.kinds():
        for example in kind.examples:
            click.echo(f"  {name}  {example}")
        if kind.count > len(kind.examples):
            click.echo(f"  {name}  ... and {kind.count - len(kind.examples)} more")


def show_flips(flips: "Flips") -> None:
    """How decisions change with a catalog, with some examples."""
    click.echo(f"{flips.flipped} of {flips.probes} known items would get another category than now")
    for example in flips.examples:
        click.echo(f"  {example}")


def show_dry_run(release: "Release", flips: "Flips | None", catalog: "Catalog", as_json: bool) -> None:
    """What a build would do, and that it did not."""
    if as_json:
        more = {"flips": asdict(flips) if flips else None, "dry_run": True}
        print_json(asdict(release.difference) | read_counts(catalog) | more)
        return
    if release.first:
        show_difference(release.difference)
    click.echo("nothing was changed (--dry-run)")


def show_report(report: "Report", catalog: "Catalog | None", seconds: float, as_json: bool) -> None:
    """What a change of the store did."""
    counts = {
        "added": report.added,
        "updated": report.updated,
        "removed": report.removed,
        "unchanged": report.unchanged,
        **(read_counts(catalog) if catalog else {}),
        "embedded": report.embedded,
    }
    if as_json:
        more = {"fitted": report.fitted, "version": report.version, "rows": report.rows, "seconds": round(seconds, 2)}
        choice = {"encoder": asdict(report.encoder), "new_categories": report.new_categories}
        print_json(counts | more | choice | {"settings": asdict(report.settings)})
        return
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
    click.echo(f"encoder {report.encoder.name} ({report.encoder.reason})")
    for category in report.new_categories:
        click.echo(f"new category: {category}")
    if report.fitted:
        _show_settings(report.settings)
    elif catalog:
        click.echo("the model stays as it is (shelfwise train fits it again)")
    click.echo(f"version {report.version} with {report.rows} items, {seconds:.1f} s")


def show_finetuned(done: "Finetuned", seconds: float, as_json: bool) -> None:
    """What fine-tuning did."""
    if as_json:
        figures = {"trained": asdict(done.trained), "before": dict(done.before), "after": dict(done.after)}
        more = {"version": done.report.version, "rows": done.report.rows, "seconds": round(seconds, 2)}
        verdict = {"switched": done.switched, "objection": done.objection}
        print_json(figures | verdict | more | {"settings": asdict(done.report.settings)})
        return
    trained = done.trained
    if trained.resumed:
        click.echo("went on from where it was broken off")
    click.echo(
        f"{trained.epochs:.1f} epochs in {trained.seconds:.0f} s, {trained.way:.0%} of the way to the learned weights; "
        f"vote alone {trained.vote_before:.3f} -> {trained.vote_after:.3f} on {trained.tried} items that chose the end"
    )
    for name in ("accuracy", "macro_f1", "vote_accuracy", "accepted", "accepted_accuracy"):
        before, after = (_figure(figures[name], ".3f") for figures in (done.before, done.after))
        click.echo(f"{name.replace('_', ' ')} on {done.after['rows']:.0f} items kept back: {before} -> {after}")
    if done.switched:
        click.echo("the store now has the fine-tuned encoder")
        _show_settings(done.report.settings)
    else:
        click.echo(f"the store keeps the encoder that it had: {done.objection}")
    click.echo(f"version {done.report.version} with {done.report.rows} items, {seconds:.1f} s")


def show_evaluation(result: "Evaluation") -> None:
    """What was measured, for people."""
    for name, value in result.figures.items():
        low, high = result.intervals.get(name, (None, None))
        interval = "" if low is None else f"  (95 %: {low:.4f} to {high:.4f})"
        click.echo(f"{name:26} {_figure(value, '.4f')}{interval}")
    if len(result.levels) > 1:
        for depth, level in enumerate(result.levels, start=1):
            click.echo(
                f"level {depth}, {level['nodes']} nodes: " + _shares(level, "accuracy", "weighted_f1", "macro_f1")
            )
    for pair in result.confusions[:SHOWN_CONFUSIONS]:
        click.echo(f"{pair['rows']} of {pair['truth']} taken for {pair['predicted']}")
    for name, baseline in result.baselines.items():
        click.echo(f"baseline {name}: " + _shares(baseline, "accuracy", "macro_f1"))


def _shares(figures: dict[str, Any], *names: str) -> str:
    return ", ".join(f"{name} {figures[name]:.4f}" for name in names)


def _figure(value: float | int | None, form: str) -> str:
    """Whole numbers as they are, others in a form, and a dash for none."""
    return "-" if value is None else str(value) if isinstance(value, int) else format(value, form)


def read_counts(catalog: "Catalog") -> dict[str, int]:
    """What became of the rows of a catalog's files beside its items."""
    return {"rejected": catalog.rejected, "repeated": catalog.repeated, "conflicting": catalog.conflicting}


def _show_settings(settings: "Settings") -> None:
    if not settings.held_out:
        click.echo("too few items or categories to hold any out: default settings, nothing is accepted without review")
        return
    full, mix, vote, accepts = (
        settings.full,
        settings.mix,
        settings.mix.vote,
        "nothing, since no confidence is right often enough",
    )
    if full.accept_from <= 1:
        accepts = f"from {full.accept_from:.3f}"
    weights = ", ".join(f"{name} weight {weight}" for name, weight in mix.weights.items())
    click.echo(
        f"chosen: vote temperature {vote.temperature}, prior exponent {vote.prior_exponent}, new-category exponent "
        f"{vote.new_exponent}, vote weight {mix.vote_weight}, {weights}, balance "
        f"{mix.balance}, temperature {full.temperature:.2f}, far below {settings.far_below:.3f}, accept {accepts}"
    )
    figures = {name: value for name, value in settings.held_out.items() if name != "rows"}
    held_out = ", ".join(f"{name.replace('_', ' ')} {_figure(value, '.3f')}" for name, value in figures.items())
    click.echo(f"on {settings.held_out['rows']:.0f} held-out items: {held_out}")


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))


@contextlib.contextmanager
def output_file(path: Path | None, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Standard output (None or -), or `path` by way of `path`.partial, which stays where the work breaks off.

    Raises InputError at once where the file cannot be written.
    """

    if path is None or path == Path("-"):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        yield sys.stdout
        return
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or device
        with path.open("w", encoding=encoding) as device:
            yield device
        return
    work = path.with_name(path.name + ".partial")
    try:
        out = _opened(path, work, encoding)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with out:
            yield out
    except BaseException as error:
        if work.stat().st_size:
            click.echo(f"Broken off: what was done so far is in {work}", err=True)
        else:
            work.unlink()
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise
    work.replace(path)


def _unwritable(path: Path, error: OSError) -> Exception:
    from shelfwise.indexer.errors import InputError

    return InputError(
        "unwritable_output",
        f"cannot write {path} ({error.strerror})",
        "a file in a folder that is writable, on a disk with room",
        "name another file",
    )


def _opened(path: Path, work: Path, encoding: str) -> TextIO:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return work.open("w", encoding=encoding, errors="backslashreplace", newline="")


@contextlib.contextmanager
def progress_display() -> "Iterator[Progress | None]":
    """A display of items, rate and time left on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from shelfwise.progress import progress_bar

    with progress_bar() as progress:
        yield progress
