"""Unicode case folding of text columns, as `str.casefold` does it, at Arrow's speed."""

import re
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_BEYOND = 0x1F000  # no letter from here on has a case
_SURROGATES = range(0xD800, 0xE000)


def folded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the case-folded texts (n,) of a column without nulls: "straße" is "strasse", "İpek" is "i̇pek".

    Source: Unicode Standard, section 3.13, full case folding.
    """
    lower = pc.utf8_lower(column)
    others = np.flatnonzero(~pc.string_is_ascii(column).to_numpy())
    special = others[pc.match_substring_regex(column.take(pa.array(others)), _special()).to_numpy()]
    if not special.size:
        return lower
    texts = pa.array([text.casefold() for text in column.take(pa.array(special)).to_pylist()], column.type)
    mask = np.zeros(len(column), bool)
    mask[special] = True
    return pa.chunked_array([pc.replace_with_mask(lower.combine_chunks(), pa.array(mask), texts)])


@cache
def _special() -> str:
    """Return a pattern of the characters that Arrow's lower case and Python's case folding treat differently."""
    chars = [chr(code) for code in range(0x80, _BEYOND) if code not in _SURROGATES]
    lower = pc.utf8_lower(pa.array(chars)).to_pylist()
    different = [ord(char) for char, text in zip(chars, lower, strict=True) if text != char.casefold()]
    runs = np.split(different, np.flatnonzero(np.diff(different) != 1) + 1)
    return "[" + "".join(f"{re.escape(chr(run[0]))}-{re.escape(chr(run[-1]))}" for run in runs) + "]"
