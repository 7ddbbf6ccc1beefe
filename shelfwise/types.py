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


class ReadingOptions(TypedDict, total=False):
    """How to read files and rows.

    Options:
        columns: source column by field, such as {"title": "name"}, or a list of columns for attributes, or for the
            levels of category_path. The fields are id, title, description, brand, attributes, category, category_path
            and also_in. Usual column names are recognised.
        encoding: encoding of the files, if it is not recognised.
        profile: the platform that exported the files, such as shopify, if it is not recognised; "none" for no platform.
        sheet: the sheet of a spreadsheet, by name or number from 1.
        merge_spellings: make one category of those that differ only in case, width or blanks.
    """

    columns: Columns | None
    encoding: str | None
    profile: str | None
    sheet: str | int | None
    merge_spellings: bool


class BuildOptions(ReadingOptions, total=False):
    """Options of `build`: the encoder, reading the catalog, the goals of the model, and limits."""

    encoder: str
    device: str
    accept_report: bool
    head: str | None
    optimize: str | None
    target_precision: float | None
    max_removed: float
    max_flipped: float
    force: bool
    progress: Watch
