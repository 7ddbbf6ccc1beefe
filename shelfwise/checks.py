"""Options of public calls, checked, and in the form that the layers below take."""

import inspect
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any

from shelfwise import arguments
from shelfwise.classifier.changing.maintenance import GoalOverrides
from shelfwise.classifier.changing.release import ReleaseLimits
from shelfwise.classifier.model.model import MEASURES
from shelfwise.classifier.model.opinions.vectors import KINDS
from shelfwise.indexer.encoding.encoder import resolve_device
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import normal_path
from shelfwise.indexer.searching.search import resolve_engine
from shelfwise.indexer.searching.segments import Filter
from shelfwise.progress import progress_bar

FILTERS = ("category", "brand", "attributes")
LEAST_TARGET = 0.5  # a target precision is larger


def device_of(device: object) -> str:
    """Check where to compute: auto, cpu or cuda, which must be there."""
    chosen = arguments.choice("device", device, arguments.DEVICES)
    if chosen == "cuda":  # said now, not when the index is loaded
        resolve_device(chosen)
        resolve_engine(chosen)
    return chosen


def goal_overrides(head: object, optimize: object, target_precision: object) -> GoalOverrides:
    """Check what a model is to be fitted for; None leaves what the store has."""
    return GoalOverrides(
        None if head is None else arguments.choice("head", head, tuple(KINDS)),
        None if optimize is None else arguments.choice("optimize", optimize, MEASURES),
        None
        if target_precision is None
        else arguments.number("target_precision", target_precision, LEAST_TARGET, 1, low_open=True, high_open=True),
    )


def release_limits(max_removed: object, max_flipped: object, force: object) -> ReleaseLimits | None:
    """Check beyond which shares of items a build is refused; None where it is forced."""
    limits = ReleaseLimits(
        arguments.number("max_removed", max_removed, 0, 1), arguments.number("max_flipped", max_flipped, 0, 1)
    )
    return None if arguments.flag("force", force) else limits


def watched_by(progress: object) -> Any:
    """Return a context manager of what is told how far a call has come."""
    if progress is True:
        return progress_bar()
    if progress is None or progress is False:
        return nullcontext()
    try:
        if not callable(progress) or isinstance(progress, type):
            raise TypeError
        with suppress(ValueError):  # some of C's functions do not say what they take
            inspect.signature(progress).bind("stage", 0, 0, "note")
    except TypeError:
        raise arguments.wrong_type("progress", progress, "True or a callable (stage, done, total, note)") from None
    told = progress

    def watch(stage: str, done: int, total: int, note: str = "") -> None:
        told(stage, done, total, note)

    return nullcontext(watch)


def filter_of(where: object) -> str | Filter | None:
    """Check which items may be found: an SQL condition, or a filter of FILTERS."""
    if where is None:
        return None
    if isinstance(where, str):
        return arguments.text("where", where)
    wanted = {name: arguments.text(f"where[{name!r}]", value) for name, value in _named(where).items()}
    if "category" in wanted:
        wanted["category"] = arguments.text("where['category']", normal_path(wanted["category"]))
    return Filter(**wanted)


def _named(where: object) -> Mapping[str, Any]:
    if not isinstance(where, Mapping):
        raise arguments.wrong_type("where", where, "a dict or an SQL condition")
    if not where:
        raise InputError("empty_text", "where {}", f"some of {', '.join(FILTERS)}", "pass None for all items")
    return arguments.fields("where", where, FILTERS)


def version_of(name: str, value: object) -> str:
    """Check a version that is named by its number or a tag."""
    if isinstance(value, str):
        return arguments.text(name, value)
    return str(arguments.whole(name, value, 1))
