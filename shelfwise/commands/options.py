"""Options that several commands share, with their parsing and validation."""

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
    from shelfwise.indexer.reading.options import ReadOptions

# Copies of constants of `classifier`, because importing it would slow down --help. A test compares them.
HEADS = ("mlp", "svm", "logistic", "closed-form")
MEASURES = ("accuracy", "macro-f1")
TIERS = ("full", "auto", "fast")
OUTPUT_FORMATS = ("csv", "tsv", "jsonl", "parquet", "xlsx")
# Each module of the folder is a format. Listing the names does not import the modules.
_FOUND = find_spec("shelfwise.indexer.reading.files")
_FOLDERS = (_FOUND.submodule_search_locations if _FOUND else None) or []
FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(_FOLDERS)))
_PROFILES = find_spec("shelfwise.indexer.reading.profiles")
PROFILES = tuple(
    sorted(
        file.stem
        for folder in (_PROFILES and _PROFILES.submodule_search_locations) or []
        for file in Path(folder).glob("*.toml")
    )
)

STORE = click.option("--store", required=True, type=click.Path(path_type=Path), help="Folder of the store.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
VERBOSE = click.option("--verbose", is_flag=True, help="Also print the settings and all figures on held-out items.")


DEVICE = click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Device for encoding and search; auto uses a GPU if there is one.",
)
TIER = click.option(
    "--tier",
    default="full",
    show_default=True,
    type=click.Choice(TIERS),
    help="full: encoder and neighbours; fast: n-grams only, no evidence; auto: fast where it costs little accuracy.",
)


class FiniteRange(click.FloatRange):
    """A click.FloatRange that rejects NaN and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number. Raise click.BadParameter if it is not finite or out of range."""
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a finite number.", param, ctx)


class Utf8(click.ParamType[str]):
    """Text that is valid UTF-8."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text. Raise click.BadParameter if it has bytes that are not UTF-8."""
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text.encode('utf-8', 'backslashreplace').decode()} is not valid UTF-8.", param, ctx)
        return text


class Encoding(click.ParamType[str]):
    """The name of an encoding that a text file can have."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name. Raise click.BadParameter if there is no such encoding."""
        from shelfwise.indexer.errors import InputError
        from shelfwise.indexer.reading.files import require_encoding

        try:
            require_encoding(value)
        except InputError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Share(click.ParamType[float]):
    """A share between 0 and 1, written as 20% or 0.2."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share in [0, 1]. Raise click.BadParameter for any other value."""
        try:
            share = float(value[:-1]) / 100 if str(value).endswith("%") else float(value)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            self.fail(f"{value} is not a share between 0% and 100%; write 20% or 0.2.", param, ctx)
        return share


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How to read input files, and the file for rejects."""

    columns: str
    mapping: Path | None
    profile: str | None
    sheet: str | None
    format: str | None
    encoding: str | None
    rejects: Path
    merge_spellings: bool = False

    def read(self, store: Path | None = None) -> "ReadOptions":
        """Return the options for the library, with what the store remembers.

        Raise click.UsageError if columns are invalid, and InputError if the mapping cannot be read.
        """
        from shelfwise.indexer.reading.files import FileOptions
        from shelfwise.indexer.reading.options import ReadOptions
        from shelfwise.indexer.store.memory import memory_of

        options = ReadOptions(
            columns=self.named(),
            profile=self.profile,
            merge_spellings=self.merge_spellings,
            file=FileOptions(self.encoding, self.format, self.sheet),
        )
        return options if store is None else memory_of(store).options(options)

    def named(self) -> dict[str, tuple[str, ...]]:
        """Return the columns named by --mapping and --columns, which counts more."""
        from shelfwise.indexer.errors import InputError
        from shelfwise.indexer.reading.columns import named_columns, read_mapping

        mapping = {} if self.mapping is None else read_mapping(self.mapping)
        try:
            return {**mapping, **named_columns(parse_columns(self.columns))}
        except InputError as error:
            raise click.UsageError(f"--columns: {error}") from None


def as_one(kind: Callable[..., Any]) -> Callable[[Callable[[Any], None]], Callable[..., None]]:
    """Pass all parameters of a command as one object of type `kind`, whose fields have the names of the parameters."""

    def decorate(command: Callable[[Any], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**asked: Any) -> None:
            command(kind(**asked))

        return wrapper

    return decorate


def parse_columns(text: str) -> dict[str, tuple[str, ...]]:
    """Parse FIELD=COLUMN,... into the columns of each field. Raise click.UsageError for another form or a repetition.

    >>> parse_columns("title=name,attributes=gender+colour")
    {'title': ('name',), 'attributes': ('gender', 'colour')}
    """
    columns: dict[str, tuple[str, ...]] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, source = (part.strip() for part in pair.partition("="))
        if not equals or not source:
            raise click.UsageError(f"--columns contains {pair!r}: expected FIELD=COLUMN, for example title=name")
        if name in columns:
            raise click.UsageError(f"--columns names {name} twice: join its columns with +, or name one of them")
        columns[name] = tuple(part.strip() for part in source.split("+"))
    return columns


def reads_input(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of input files to a command, as one argument `source`."""

    @click.option(
        "--columns",
        default="",
        metavar="FIELD=COLUMN,...",
        help="Columns of the fields, e.g. title=name,attributes=colour+size.",
    )
    @click.option(
        "--mapping",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help='JSON file with columns of fields, e.g. {"title": "Name, long", "attributes": ["colour", "size"]}.',
    )
    @click.option(
        "--profile",
        type=click.Choice([*PROFILES, "none"]),
        help="Platform that exported the input.  [default: recognised by its headers]",
    )
    @click.option("--sheet", type=Utf8(), help="Sheet of a spreadsheet, by name or number.  [default: the first table]")
    @click.option("--format", type=click.Choice(FORMATS), help="Format of the input.  [default: detected]")
    @click.option("--encoding", default=None, help="Encoding of the input, e.g. gb18030.  [default: detected]")
    @click.option(
        "--rejects",
        default="REJECTS.jsonl",
        show_default=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="File for rows that cannot be used, with line and reason.",
    )
    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        names = [name for name in InputOptions.__slots__ if name in given]
        command(source=InputOptions(**{name: given.pop(name) for name in names}), **given)

    return wrapper


MERGE_SPELLINGS = click.option(
    "--merge-spellings", is_flag=True, help="Make one category of those that differ only in case, width or spaces."
)


def goal_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for the goals of the model to a command, as one argument `overrides`."""

    @click.option(
        "--head", type=click.Choice(HEADS), help="Classifier of the vectors.  [default: the store's, initially mlp]"
    )
    @click.option(
        "--optimize",
        type=click.Choice(MEASURES),
        help="Measure that settings are chosen for.  [default: the store's, initially accuracy]",
    )
    @click.option(
        "--target-precision",
        type=FiniteRange(0.5, 1, min_open=True, max_open=True),
        help="Share of accepted decisions that should be right.  [default: the store's, initially 0.95]",
    )
    @functools.wraps(command)
    def wrapper(head: str | None, optimize: str | None, target_precision: float | None, **others: Any) -> None:
        from shelfwise.classifier.changing.maintenance import GoalOverrides

        command(overrides=GoalOverrides(head, optimize, target_precision), **others)

    return wrapper


def keeping_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for what a service keeps to a command, as one argument `keep_days` (None with --no-compact)."""

    @click.option(
        "--keep-days",
        default=30.0,
        show_default=True,
        type=FiniteRange(min=0),
        help="Days to keep versions and what can be undone; tagged versions stay.",
    )
    @click.option("--no-compact", is_flag=True, help="Keep every version, and all contents of the desk.")
    @functools.wraps(command)
    def wrapper(keep_days: float, no_compact: bool, **others: Any) -> None:
        command(keep_days=None if no_compact else keep_days, **others)

    return wrapper


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for limiting a release to a command, as one argument `limits` (None with --force)."""

    @click.option(
        "--max-removed",
        default="20%",
        show_default=True,
        type=Share(),
        help="Refuse a catalog that removes a larger share of the items.",
    )
    @click.option(
        "--max-flipped",
        default="5%",
        show_default=True,
        type=Share(),
        help="Refuse a catalog that changes the category of a larger share of known items.",
    )
    @click.option("--force", is_flag=True, help="Ignore --max-removed and --max-flipped.")
    @functools.wraps(command)
    def wrapper(max_removed: float, max_flipped: float, force: bool, **others: Any) -> None:
        from shelfwise.classifier.changing.release import ReleaseLimits

        command(limits=None if force else ReleaseLimits(max_removed, max_flipped), **others)

    return wrapper
