"""What people can say: the options of the commands, and what is wrong with them."""

import functools
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from shelfwise.indexer.reading.catalog import ReadOptions

# As in `classifier`, which is too heavy to be loaded for a look at --help; a test compares them.
HEADS = ("mlp", "svm", "logistic", "closed-form")
MEASURES = ("accuracy", "macro-f1")
TIERS = ("full", "auto", "fast")
# Each module of the folder is a format; none of them is loaded for its name.
_FOUND = find_spec("shelfwise.indexer.reading.files")
_FOLDERS = (_FOUND.submodule_search_locations if _FOUND else None) or []
FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(_FOLDERS)))

STORE = click.option("--store", required=True, type=click.Path(path_type=Path), help="Folder of the store.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


DEVICE = click.option(
    "--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]), help="Where to compute."
)
TIER = click.option(
    "--tier",
    default="full",
    show_default=True,
    type=click.Choice(TIERS),
    help="fast: by n-grams alone, without evidence; auto: so where that costs little accuracy.",
)


class FiniteRange(click.FloatRange):
    """A range that `nan` is not in, as in click.FloatRange it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number. Raises click.BadParameter."""
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a number that can be used.", param, ctx)


class Share(click.ParamType[float]):
    """A share: 20% or 0.2."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share in [0, 1]. Raises click.BadParameter."""
        try:
            share = float(value[:-1]) / 100 if str(value).endswith("%") else float(value)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            self.fail(f"{value} is not a share: say 20% or 0.2.", param, ctx)
        return share


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How input files are read, and where rows go that cannot be used."""

    columns: str
    encoding: str | None
    rejects: Path

    def read(self, fmt: str | None = None) -> "ReadOptions":
        """The options as the library takes them. Raises click.UsageError for `columns` that say nothing."""
        from shelfwise.indexer.errors import InputError
        from shelfwise.indexer.reading.catalog import ReadOptions, named_columns

        try:
            return ReadOptions(named_columns(parse_columns(self.columns)), self.encoding, fmt)
        except InputError as error:
            raise click.UsageError(f"--columns: {error}") from None


def as_one(kind: Callable[..., Any]) -> Callable[[Callable[[Any], None]], Callable[..., None]]:
    """Give a command all that was asked of it as one object of a kind, whose fields are named as its parameters."""

    def decorate(command: Callable[[Any], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**asked: Any) -> None:
            command(kind(**asked))

        return wrapper

    return decorate


def parse_columns(text: str) -> dict[str, tuple[str, ...]]:
    """Return the columns of each field that an option names. Raises click.UsageError for what is no FIELD=COLUMN.

    >>> parse_columns("title=name,attributes=gender+colour")
    {'title': ('name',), 'attributes': ('gender', 'colour')}
    """
    columns: dict[str, tuple[str, ...]] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, source = (part.strip() for part in pair.partition("="))
        if not equals or not source:
            raise click.UsageError(f"--columns has {pair!r}: expected FIELD=COLUMN, such as title=name")
        columns[name] = tuple(part.strip() for part in source.split("+"))
    return columns


def reads_input(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of input files, as one argument `source`."""

    @click.option(
        "--columns", default="", metavar="FIELD=COLUMN,...", help="Which column is what: title=name,category=x"
    )
    @click.option("--encoding", default=None, help="Encoding of the input, where detection is wrong.")
    @click.option(
        "--rejects",
        default="REJECTS.jsonl",
        show_default=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="Where rows that cannot be used go, with line and reason.",
    )
    @functools.wraps(command)
    def wrapper(columns: str, encoding: str | None, rejects: Path, **others: Any) -> None:
        command(source=InputOptions(columns, encoding, rejects), **others)

    return wrapper


def goal_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of what a model is fitted for, as one argument `overrides`."""

    @click.option("--head", type=click.Choice(HEADS), help="Kind of the classifier of vectors.  [default: mlp]")
    @click.option("--optimize", type=click.Choice(MEASURES), help="What settings are chosen for.  [default: accuracy]")
    @click.option(
        "--target-precision",
        type=FiniteRange(0.5, 1, min_open=True, max_open=True),
        help="Share of accepted decisions that should be right.  [default: 0.95]",
    )
    @functools.wraps(command)
    def wrapper(head: str | None, optimize: str | None, target_precision: float | None, **others: Any) -> None:
        from shelfwise.classifier.changing.maintenance import GoalOverrides

        command(overrides=GoalOverrides(head, optimize, target_precision), **others)

    return wrapper


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of what it refuses to do, as one argument `limits`, None where it refuses nothing."""

    @click.option(
        "--max-removed", default="20%", show_default=True, type=Share(), help="Of the items, without --force."
    )
    @click.option("--max-flipped", default="5%", show_default=True, type=Share(), help="Of known items' categories.")
    @click.option("--force", is_flag=True, help="Whatever is removed or flipped.")
    @functools.wraps(command)
    def wrapper(max_removed: float, max_flipped: float, force: bool, **others: Any) -> None:
        from shelfwise.classifier.changing.release import ReleaseLimits

        command(limits=None if force else ReleaseLimits(max_removed, max_flipped), **others)

    return wrapper
