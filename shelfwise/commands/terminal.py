"""Output of the commands: notices, reports, progress, output files, errors and exit codes."""

import contextlib
import errno
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from shelfwise.classifier.changing.finetuning import Finetuned
    from shelfwise.classifier.changing.maintenance import Report
    from shelfwise.classifier.changing.release import Flips, Release
    from shelfwise.classifier.measuring.evaluation import Evaluation
    from shelfwise.classifier.model.model import Settings
    from shelfwise.classifier.model.pipeline import Classifier
    from shelfwise.indexer.reading.catalog import Catalog
    from shelfwise.indexer.store.sync import Difference
    from shelfwise.indexer.types import Progress

SHOWN_CONFUSIONS = 5


class ShelfwiseCommand(click.Command):
    """A command that shows a library error as one line with exit code 1, and ends with exit code 130 on Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from shelfwise.commands.hints import with_hint
        from shelfwise.indexer.errors import ShelfwiseError

        migrations = logging.getLogger("shelfwise.migration")
        migrations.addHandler(NOTES)
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends quietly
                raise
            _give_up_stdout()
            raise click.ClickException(
                f"cannot write the output ({error.strerror or error}): expected an open output on a disk with free "
                "space; free some space, or write elsewhere"
            ) from None
        except ShelfwiseError as error:
            options = [name for parameter in self.params for name in parameter.opts]
            shown = [with_hint(error, ctx.params, options)]
            shown += [f"  {one.encoding:10} {one.line}" for one in getattr(error, "candidates", ())]
            raise click.ClickException("\n".join(shown)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted. Unfinished changes were not applied to the store.", err=True)
            ctx.exit(130)
        finally:
            migrations.removeHandler(NOTES)
        return result


def _give_up_stdout() -> None:
    """Send what is left for stdout nowhere, so that Python does not fail again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class ShelfwiseGroup(click.Group):
    """A command group whose commands are `ShelfwiseCommand`s."""

    command_class = ShelfwiseCommand


class _Notes(logging.Handler):
    """Shows the library's log records about migrations as notes on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"Note: {record.getMessage()}", err=True)


NOTES = _Notes(logging.WARNING)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "row"), counted(2, "row")
    ('1 row', '2 rows')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def show_rejects(count: int, path: Path) -> None:
    """Print the number of rejected rows on stderr, if there are any."""
    if count:
        click.echo(f"{counted(count, 'row')} rejected, with line and reason, in {path}", err=True)


def show_unlearned(classifier: "Classifier", tier: str) -> None:
    """Warn on stderr if the tier fast cannot predict some categories of the store."""
    if tier == "fast" and not classifier.known.all():
        click.echo(
            f"categories new to the model: {(~classifier.known).sum()}; --tier fast cannot predict them: "
            "use another tier, or run shelfwise train",
            err=True,
        )


def show_difference(difference: "Difference") -> None:
    """Print the counts of a difference between two catalogs, with some examples of each kind."""
    counts = ", ".join(f"{kind.count} {name}" for name, kind in difference.kinds())
    click.echo(f"{difference.before} -> {counted(difference.after, 'item')}: {counts}")
    for name, kind in difference.kinds():
        for example in kind.examples:
            click.echo(f"  {name}  {example}")
        if kind.count > len(kind.examples):
            click.echo(f"  {name}  ... and {kind.count - len(kind.examples)} more")


def show_flips(flips: "Flips") -> None:
    """Print how many known items change category, with some examples."""
    click.echo(f"{flips.flipped} of {flips.probes} known items would get a different category than now")
    for example in flips.examples:
        click.echo(f"  {example}")


def show_dry_run(release: "Release", flips: "Flips | None", catalog: "Catalog", as_json: bool) -> None:
    """Print the result of a dry run: the changes that a build would make."""
    if as_json:
        more = {"flips": asdict(flips) if flips else None, "dry_run": True}
        reading = {"reading": asdict(catalog.report)}
        print_json(asdict(release.difference) | read_counts(catalog) | more | reading)
        return
    if release.first:
        show_difference(release.difference)
    click.echo("nothing was changed (--dry-run)")


def show_report(
    report: "Report", catalog: "Catalog | None", seconds: float, as_json: bool, verbose: bool = False
) -> None:
    """Print the result of a change of the store: counts, encoder, quality of the model, and the new version."""
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
        reading = {"reading": asdict(catalog.report)} if catalog else {}
        print_json(counts | more | choice | {"settings": asdict(report.settings)} | reading)
        return
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items() if count or verbose) or "nothing changed")
    click.echo(f"encoder {report.encoder.name} ({report.encoder.reason})")
    for category in report.new_categories:
        click.echo(f"new category: {category}")
    if report.fitted:
        click.echo(_quality(report.settings.held_out, report.settings))
    elif catalog:
        click.echo("the model was kept (run shelfwise train to retrain it)")
    if verbose:
        _show_settings(report.settings)
    click.echo(f"version {report.version} with {counted(report.rows, 'item')}, {seconds:.1f} s")


def show_finetuned(done: "Finetuned", seconds: float, as_json: bool, verbose: bool = False) -> None:
    """Print the result of fine-tuning: training, figures before and after, and the encoder in use."""
    if as_json:
        figures = {"trained": asdict(done.trained), "before": dict(done.before), "after": dict(done.after)}
        more = {"version": done.report.version, "rows": done.report.rows, "seconds": round(seconds, 2)}
        verdict = {"switched": done.switched, "objection": done.objection}
        print_json(figures | verdict | more | {"settings": asdict(done.report.settings)})
        return
    trained = done.trained
    if trained.resumed:
        click.echo("resumed the interrupted run")
    click.echo(f"trained for {trained.epochs:.1f} epochs in {trained.seconds:.0f} s")
    click.echo(f"before: {_quality(done.before, done.report.settings)}")
    click.echo(f"after:  {_quality(done.after, done.report.settings)}")
    if verbose:
        click.echo(
            f"{trained.way:.0%} of the way to the learned weights; vote accuracy {trained.vote_before:.3f} -> "
            f"{trained.vote_after:.3f} on {trained.tried} validation items"
        )
        for name in ("accuracy", "macro_f1", "vote_accuracy", "accepted", "accepted_accuracy"):
            before, after = (_figure(figures[name], ".3f") for figures in (done.before, done.after))
            click.echo(f"{name.replace('_', ' ')} on {done.after['rows']:.0f} held-out items: {before} -> {after}")
    if done.switched:
        click.echo("the store now uses the fine-tuned encoder")
    else:
        click.echo(f"the store keeps its previous encoder: {done.objection}")
    if verbose:
        _show_settings(done.report.settings)
    click.echo(f"version {done.report.version} with {counted(done.report.rows, 'item')}, {seconds:.1f} s")


def show_evaluation(result: "Evaluation") -> None:
    """Print the figures of an evaluation as text."""
    for name, value in result.figures.items():
        low, high = result.intervals.get(name, (None, None))
        interval = "" if low is None else f"  (95% interval: {low:.4f} to {high:.4f})"
        click.echo(f"{name:26} {_figure(value, '.4f')}{interval}")
    if len(result.levels) > 1:
        for depth, level in enumerate(result.levels, start=1):
            click.echo(
                f"level {depth}, {level['nodes']} nodes: " + _shares(level, "accuracy", "weighted_f1", "macro_f1")
            )
    for pair in result.confusions[:SHOWN_CONFUSIONS]:
        click.echo(f"{pair['rows']} of {pair['truth']} classified as {pair['predicted']}")
    for name, baseline in result.baselines.items():
        click.echo(f"baseline {name}: " + _shares(baseline, "accuracy", "macro_f1"))


def _shares(figures: dict[str, Any], *names: str) -> str:
    return ", ".join(f"{name} {figures[name]:.4f}" for name in names)


def _figure(value: float | int | None, form: str) -> str:
    """Format a figure: integers as they are, floats with the format spec `form`, None as a dash."""
    return "-" if value is None else str(value) if isinstance(value, int) else format(value, form)


def read_counts(catalog: "Catalog") -> dict[str, int]:
    """Return the numbers of rejected, repeated and conflicting rows of a catalog."""
    return {"rejected": catalog.rejected, "repeated": catalog.repeated, "conflicting": catalog.conflicting}


def _quality(held_out: Mapping[str, float | None], settings: "Settings") -> str:
    """Return the figures of held-out items that a person wants to know."""
    if not held_out:
        return "too few items or categories to hold any out: no decision is accepted without review"
    accepted, right = held_out["accepted"] or 0.0, held_out["accepted_accuracy"] or 0.0
    target = 100 * settings.goals.target_precision
    return f"{held_out['accuracy'] or 0:.0%} of {held_out['rows']:.0f} held-out items right; " + (
        f"{accepted:.0%} would be accepted, {right:.0%} of these right"
        if accepted
        else f"none would be accepted: no confidence reaches the target precision of {target:g}%"
    )


def _show_settings(settings: "Settings") -> None:
    """Print the settings of a model and all its figures on held-out items."""
    full, mix, vote = settings.full, settings.mix, settings.mix.vote
    settled = {
        "vote temperature": vote.temperature,
        "prior exponent": vote.prior_exponent,
        "new-category exponent": vote.new_exponent,
        "vote weight": mix.vote_weight,
        **{f"{name} weight": weight for name, weight in mix.weights.items()},
        "balance": mix.balance,
        "temperature": f"{full.temperature:.2f}",
        "far_from_catalog below": f"{settings.far_below:.3f}",
        "accept from": f"{full.accept_from:.3f}" if full.accept_from <= 1 else "-",
    }
    click.echo("settings: " + ", ".join(f"{name} {value}" for name, value in settled.items()))
    figures = [f"{name.replace('_', ' ')} {_figure(value, '.3f')}" for name, value in settings.held_out.items()]
    click.echo(f"held out: {', '.join(figures) or '-'}")


def print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))


@contextlib.contextmanager
def progress_display() -> "Iterator[Progress | None]":
    """Show items done, rate and time left on stderr; yield None if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from shelfwise.progress import progress_bar

    with progress_bar() as progress:
        yield progress
