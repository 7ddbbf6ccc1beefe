"""Whole numbers that a program has turned into floats."""

WHOLE_BELOW = 1 << 53  # floats hold every whole number below it


def unfloated(value: float) -> float:
    """Return a whole float as an int, any other float unchanged.

    Spreadsheets, data frames and JavaScript have floats alone, so that an id or a code may arrive as 1003.0.

    >>> unfloated(1003.0), unfloated(0.5)
    (1003, 0.5)
    """
    return int(value) if value.is_integer() and abs(value) < WHOLE_BELOW else value
