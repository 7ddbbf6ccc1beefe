"""Hints that the command line adds to errors of the library: the option or command that fixes them."""

import string
from collections.abc import Collection, Mapping

from shelfwise.indexer.errors import ShelfwiseError

BUILD = "shelfwise build CATALOG --store {store}"
SHOW_VERSIONS = "shelfwise versions --store {store}"

# Hints by error code. {name} stands for a parameter of the command.
HINTS: Mapping[str, str] = {
    "bad_mapping": "--mapping FILE",
    "bad_columns": "--columns FIELD=COLUMN,...",
    "bad_token_file": "--token-file FILE",
    "cannot_listen": "--port NUMBER",
    "half_written": BUILD,
    "k_too_large": "{k_option} NUMBER",
    "newer_format": "pip install -U shelfwise",
    "no_category_column": "--columns category=COLUMN",
    "no_gpu": "--device cpu",
    "no_model": "shelfwise train --store {store}",
    "no_store": BUILD,
    "no_such_category": "shelfwise info --store {store}",
    "no_such_column": "--columns FIELD=COLUMN,...",
    "no_such_encoder": "--encoder NAME",
    "no_such_item": "shelfwise similar TEXT --store {store}",
    "no_such_sheet": "--sheet NAME",
    "no_such_tag": SHOW_VERSIONS,
    "no_such_version": SHOW_VERSIONS,
    "no_title_column": "--columns title=COLUMN",
    "no_usable_row": "see {rejects}",
    "not_a_store": BUILD,
    "old_format": "shelfwise migrate --store {store}",
    "other_encoder": "--encoder NAME",
    "suspicious_catalog": "--accept-report",
    "tokens_needed": "--token-file FILE",
    "too_few_minutes": "--minutes NUMBER",
    "too_many_flipped": "--force, or --max-flipped SHARE",
    "too_many_removed": "--force, or --max-removed SHARE",
    "undecodable_file": "--encoding NAME",
    "unknown_encoding": "--encoding NAME",
    "unknown_file_encoding": "--encoding NAME",
    "unknown_field": "--columns FIELD=COLUMN,...",
    "unwritable_output": "{output_option} FILE",
    "unwritable_rejects": "--rejects FILE",
}


def with_hint(error: ShelfwiseError, parameters: Mapping[str, object], options: Collection[str]) -> str:
    """Return the message of an error, with the option or command that fixes it in brackets.

    The hint is left out if it names an option that is not in `options`, or a parameter that is not in `parameters`.

    >>> busy = ShelfwiseError("no_store", "no store at s", "a folder with a store", "build one from a catalog")
    >>> with_hint(busy, {"store": "s"}, ["--store"])
    'no store at s: expected a folder with a store; build one from a catalog (shelfwise build CATALOG --store s)'
    """
    known = {
        "k_option": "--neighbors" if "neighbors" in parameters else "-k",
        "output_option": "-o" if "output" in parameters else "--json",
    } | dict(parameters)
    hint = HINTS.get(error.code, "")
    if not hint or any(name and name not in known for _, name, _, _ in string.Formatter().parse(hint)):
        return str(error)
    said = hint.format_map(known)
    option = said.split()[0].rstrip(",")
    return f"{error} ({said})" if option in options or not option.startswith("-") else str(error)
