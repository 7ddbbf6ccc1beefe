"""Compare headers of columns without regard to case, width, white space and marks."""

import re
import unicodedata

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
