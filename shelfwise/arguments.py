"""Argument checks of public calls, run before any work starts. Each returns the checked value or raises."""

import inspect
import math
import operator
import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from shelfwise.classifier.changing.maintenance import GoalOverrides
from shelfwise.classifier.changing.release import ReleaseLimits
from shelfwise.classifier.model.model import MEASURES
from shelfwise.classifier.model.opinions.vectors import KINDS
from shelfwise.indexer.encoding.encoder import resolve_device
from shelfwise.indexer.errors import InputError
from shelfwise.indexer.item import FIELDS, normal_path
from shelfwise.indexer.searching.search import resolve_engine
from shelfwise.indexer.searching.segments import Filter
from shelfwise.progress import progress_bar

DEVICES = ("auto", "cpu", "cuda")
CHARACTERS_SHOWN = 60  # characters of a wrong argument shown in an error
LONGEST_TEXT, LONGEST_PATH = 2_000, 4_096  # characters
LARGEST = 2**31 - 1
FILTERS = ("category", "brand", "attributes")
LEAST_TARGET = 0.5  # exclusive lower bound of a target precision
HALF = re.compile("[\ud800-\udfff]")  # unpaired surrogates, which no encoding can write


def wrong_type(name: str, value: object, expected: str) -> InputError:
    """Return the error for an argument `name` whose type is not `expected`."""
    fix = f"pass {expected}"
    return InputError("wrong_type", f"{name} {shown(value)} of type {type(value).__name__}", expected, fix)


def shown(value: object) -> str:
    """Return the repr of a value for an error, cut to CHARACTERS_SHOWN characters.

    >>> shown("turbo")
    "'turbo'"
    """
    try:
        text = repr(value)
    except Exception:  # an int with too many digits, or a faulty __repr__ of a caller's class
        return f"<{type(value).__name__}>"
    return text if len(text) <= CHARACTERS_SHOWN else f"{text[:CHARACTERS_SHOWN]}..."


def choice(name: str, value: object, allowed: Collection[str]) -> str:
    """Check that `value` is one of the strings `allowed`."""
    if isinstance(value, str) and value in allowed:
        return value
    raise InputError("unknown_choice", f"{name} {shown(value)}", f"one of {', '.join(allowed)}", "choose one of them")


def whole(name: str, value: object, least: int) -> int:
    """Check that `value` is a whole number from `least` to LARGEST."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # NumPy integers pass, too
    except TypeError:
        raise wrong_type(name, value, "a whole number") from None
    if isinstance(value, bool):
        raise wrong_type(name, value, "a whole number")
    if number < least:
        raise InputError("out_of_range", f"{name} {shown(number)}", f"{least} or more", "pass a larger number")
    if number > LARGEST:
        raise InputError("out_of_range", f"{name} {shown(number)}", f"{LARGEST} or less", "pass a smaller number")
    return number


def number(name: str, value: object, low: float, high: float, low_open: bool = False, high_open: bool = False) -> float:
    """Check that `value` is a finite number from `low` to `high`, excluding an open bound."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise wrong_type(name, value, "a number")
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):  # an array, or an int too large for a float
        raise wrong_type(name, value, "a number") from None
    above = found > low if low_open else found >= low
    below = found < high if high_open else found <= high
    if math.isfinite(found) and above and below:
        return found
    kind = "more than" if low_open else "at least"
    expected = f"a finite number, {kind} {low:g}"
    if math.isfinite(high):
        expected += f" and {'less than' if high_open else 'at most'} {high:g}"
    raise InputError("out_of_range", f"{name} {found:g}", expected, "pass a number in this range")


def flag(name: str, value: object) -> bool:
    """Check that `value` is True or False."""
    if isinstance(value, bool):
        return value
    raise wrong_type(name, value, "True or False")


def text(name: str, value: object, most: int = LONGEST_TEXT) -> str:
    """Check that `value` is a non-blank str of at most `most` characters without unpaired surrogates."""
    if not isinstance(value, str):
        raise wrong_type(name, value, "a str")
    if not value.strip():
        raise InputError("empty_text", f"{name} {shown(value)}", "non-blank text", "pass some words")
    if len(value) > most:
        raise InputError(
            "too_long", f"{name} of {len(value)} characters", f"at most {most} characters", "pass a shorter text"
        )
    if HALF.search(value):
        raise InputError("invalid_character", f"{name} {shown(value)}", "no unpaired surrogates", "correct the text")
    return value


def path(name: str, value: object) -> Path:
    """Check that `value` is the name of a file or folder. `~` is not expanded."""
    if not isinstance(value, str | os.PathLike):
        raise wrong_type(name, value, "a str or a Path")
    found = os.fspath(value)
    if not isinstance(found, str) or "\0" in found:
        raise wrong_type(name, value, "a str or a Path")
    return Path(text(name, found, LONGEST_PATH))


def texts(name: str, value: object) -> list[str]:
    """Check that `value` is one non-blank str or an iterable of them, and return a list."""
    if isinstance(value, str):
        return [text(name, value)]
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or hasattr(value, "columns"):
        raise wrong_type(name, value, "a str or a list of str")
    return [text(f"{name}[{place}]", one) for place, one in enumerate(value)]


def fields(name: str, value: object, allowed: Collection[str] = FIELDS) -> Mapping[str, Any]:
    """Check that `value` is a mapping with no keys except those in `allowed`."""
    if not isinstance(value, Mapping):
        raise wrong_type(name, value, "a dict")
    unknown = [key for key in value if key not in allowed]
    if unknown:
        found = f"unknown fields in {name}: {', '.join(map(shown, unknown))}"
        raise InputError("unknown_field", found, f"fields among {', '.join(allowed)}", "use only these fields")
    return value


def device_of(device: object) -> str:
    """Check that `device` is auto, cpu or cuda. Raise EngineError if cuda is not available."""
    chosen = choice("device", device, DEVICES)
    if chosen == "cuda":  # fail now, not when the index is loaded
        resolve_device(chosen)
        resolve_engine(chosen)
    return chosen


def goal_overrides(head: object, optimize: object, target_precision: object) -> GoalOverrides:
    """Check the goals of a model. None keeps the goal of the store."""
    return GoalOverrides(
        None if head is None else choice("head", head, tuple(KINDS)),
        None if optimize is None else choice("optimize", optimize, MEASURES),
        None
        if target_precision is None
        else number("target_precision", target_precision, LEAST_TARGET, 1, low_open=True, high_open=True),
    )


def release_limits(max_removed: object, max_flipped: object, force: object) -> ReleaseLimits | None:
    """Check the limits above which a build is refused. Return None if the build is forced."""
    limits = ReleaseLimits(number("max_removed", max_removed, 0, 1), number("max_flipped", max_flipped, 0, 1))
    return None if flag("force", force) else limits


def watched_by(progress: object) -> Any:
    """Return a context manager that gives the progress callback of a call (None if there is none)."""
    if progress is True:
        return progress_bar()
    if progress is None or progress is False:
        return nullcontext()
    try:
        if not callable(progress) or isinstance(progress, type):
            raise TypeError
        with suppress(ValueError):  # some C functions have no signature
            inspect.signature(progress).bind("stage", 0, 0, "note")
    except TypeError:
        raise wrong_type("progress", progress, "True or a callable (stage, done, total, note)") from None
    told = progress

    def watch(stage: str, done: int, total: int, note: str = "") -> None:
        told(stage, done, total, note)

    return nullcontext(watch)


def filter_of(where: object) -> str | Filter | None:
    """Check the filter of a search: an SQL condition, or a dict with keys among FILTERS (None for all items)."""
    if where is None:
        return None
    if isinstance(where, str):
        return text("where", where)
    wanted = {name: text(f"where[{name!r}]", value) for name, value in _named(where).items()}
    if "category" in wanted:
        wanted["category"] = text("where['category']", normal_path(wanted["category"]))
    return Filter(**wanted)


def _named(where: object) -> Mapping[str, Any]:
    if not isinstance(where, Mapping):
        raise wrong_type("where", where, "a dict or an SQL condition")
    if not where:
        raise InputError("empty_text", "where {}", f"at least one of {', '.join(FILTERS)}", "pass None for all items")
    return fields("where", where, FILTERS)


def version_of(name: str, value: object) -> str:
    """Check the number or tag of a version, and return it as a str."""
    if isinstance(value, str):
        return text(name, value)
    return str(whole(name, value, 1))
