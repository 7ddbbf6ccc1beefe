"""SQL conditions on the texts of items, evaluated in memory by DataFusion, whose dialect is also LanceDB's."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from shelfwise.indexer.errors import QueryError, first_line
from shelfwise.indexer.rows import TEXT_COLUMNS
from shelfwise.indexer.searching.search import Mask

LONGEST_CONDITION = 10_000  # characters: a parser's stack overflows at hundreds of thousands
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")  # strings and names
_MATCHES = "matches"


def matching(tables: Sequence[pa.Table], condition: str) -> Mask:
    """Return a mask (n,) of the rows of all tables together that fulfil an SQL condition on their columns.

    Strings are in single quotes; names may be in double quotes or backticks. A row for which the condition is null does
    not fulfil it. Raise QueryError when the condition is invalid.

    >>> import pyarrow as pa
    >>> matching([pa.table({"brand": ["KULA", "Nike"]})], "brand = 'KULA'").tolist()
    [True, False]
    """
    try:
        if len(condition) > LONGEST_CONDITION:
            raise ValueError(f"{len(condition)} characters, but at most {LONGEST_CONDITION} are allowed")
        if ";" in _QUOTED.sub("", condition):
            raise ValueError("a semicolon outside quotes: the rest would be ignored")
        return np.concatenate([_mask(table, condition) for table in tables])
    except Exception as error:  # DataFusion raises one type for all
        reason = first_line(error).removeprefix("DataFusion error: ")
        raise QueryError(
            "bad_filter",
            f"the filter {condition[:200]!r} is not valid ({reason[:200]})",
            f"SQL such as \"brand = 'X'\" on {', '.join(TEXT_COLUMNS[:8])}",
            "correct the filter",
        ) from None


def _mask(table: pa.Table, condition: str) -> Mask:
    rows = _context().from_arrow(table)
    found = rows.select(rows.parse_sql_expr(condition).alias(_MATCHES)).to_arrow_table().column(_MATCHES)
    if found.type != pa.bool_():
        raise ValueError(f"it gives {found.type}, not true or false")
    return np.asarray(found.fill_null(False).to_numpy(), bool)


@cache
def _context() -> Any:
    """Return a session that reads rows in order. It knows no table, file or address that a condition could name."""
    from datafusion import SessionConfig, SessionContext

    return SessionContext(SessionConfig().with_target_partitions(1))
