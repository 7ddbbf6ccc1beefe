"""What the command line adds to the library's errors: the option or command that fixes them."""

import string
from collections.abc import Mapping

from shelfwise.indexer.errors import ShelfwiseError

BUILD = "shelfwise build CATALOG --store {store}"
VERSIONS = "shelfwise versions --store {store}"

# By the code of an error; {name} is a parameter of the command.
HINTS: Mapping[str, str] = {
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
    "no_such_tag": VERSIONS,
    "no_such_version": VERSIONS,
    "no_title_column": "--columns title=COLUMN",
    "no_usable_row": "see {rejects}",
    "not_a_store": BUILD,
    "old_format": "shelfwise migrate --store {store}",
    "other_encoder": "--encoder NAME",
    "tokens_needed": "--token-file FILE",
    "too_few_minutes": "--minutes NUMBER",
    "too_many_flipped": "--force, or --max-flipped SHARE",
    "too_many_removed": "--force, or --max-removed SHARE",
    "undecodable_file": "--encoding NAME",
    "unknown_encoding": "--encoding NAME",
    "unknown_field": "--columns FIELD=COLUMN,...",
    "unwritable_output": "-o FILE",
    "unwritable_rejects": "--rejects FILE",
}


def with_hint(error: ShelfwiseError, parameters: Mapping[str, object]) -> str:
    """Return the line of an error, with the option or command that fixes it where the command has it.

    >>> busy = ShelfwiseError("no_store", "no store at s", "a folder with a store", "build one from a catalog")
    >>> with_hint(busy, {"store": "s"})
    'no store at s: expected a folder with a store; build one from a catalog (shelfwise build CATALOG --store s)'
    """
    known = {"k_option": "--neighbors" if "neighbors" in parameters else "-k"} | dict(parameters)
    hint = HINTS.get(error.code, "")
    named = [name for _, name, _, _ in string.Formatter().parse(hint) if name]
    return f"{error} ({hint.format_map(known)})" if hint and all(name in known for name in named) else str(error)
