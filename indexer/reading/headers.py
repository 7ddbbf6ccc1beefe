"""Names of columns: compared without regard to case, width, white space and marks, and made distinct."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from shelfwise.indexer.errors import listed

_HEADER_MARKS = re.compile(r"[\s_\-:]")


def folded(header: str) -> str:
    """Return a header in NFKC and lower case, with its marks.

    >>> folded(" Name－EN_us ")
    'name-en_us'
    """
    return unicodedata.normalize("NFKC", header).casefold().strip()


def normalised(header: str) -> str:
    """Return a header in NFKC and lower case, without white space and the marks `_`, `-` and `:`.

    >>> normalised("g:Category_Path")
    'gcategorypath'
    """
    return _HEADER_MARKS.sub("", folded(header))


def one_line(cell: str) -> str:
    """Return a cell of a header with its white space, such as a line break, folded to single blanks."""
    return " ".join(cell.split())


def distinct(cells: Iterable[str]) -> tuple[list[str], str]:
    """Return a distinct name for each cell of a header, and a remark about repeated names ("" if there are none).

    >>> distinct(["id", "", "id"])[0]
    ['id', 'column_2', 'id (2)']
    """
    names = [cell or f"column_{place}" for place, cell in enumerate(cells, 1)]
    columns: dict[str, None] = {}
    for name in names:
        column, times = name, 1
        while column in columns or (times > 1 and column in names):
            times += 1
            column = f"{name} ({times})"
        columns[column] = None
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if not repeated:
        return list(columns), ""
    renamed = f"the next is called {repeated[0]} (2)"
    return list(columns), f"the header names {listed(repeated)} more than once: the first keeps the name, {renamed}"
