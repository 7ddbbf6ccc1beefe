"""Types of the arguments of public calls."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypedDict

from shelfwise.indexer.item import Item
from shelfwise.indexer.types import Progress
from shelfwise.rows import Frame

Name: TypeAlias = str | os.PathLike[str]
Listing: TypeAlias = str | Mapping[str, object] | Item
Rows: TypeAlias = Frame | Iterable[Mapping[str, object] | Item] | Mapping[str, object] | Item
Labelled: TypeAlias = Name | Sequence[Name] | Rows  # files, or rows
Columns: TypeAlias = Mapping[str, str | Sequence[str]]  # source column by field
Watch: TypeAlias = Progress | bool | None  # progress callback of a long call; True shows a bar


class ClassifyOptions(TypedDict, total=False):
    """Options of `Store.classify`."""

    top: int
    neighbors: int | None
    tier: str
    columns: Columns | None
    progress: Watch


class BuildOptions(TypedDict, total=False):
    """Options of `build`: the encoder, reading the catalog, the goals of the model, and limits."""

    encoder: str
    device: str
    columns: Columns | None
    encoding: str | None
    head: str | None
    optimize: str | None
    target_precision: float | None
    max_removed: float
    max_flipped: float
    force: bool
    progress: Watch
