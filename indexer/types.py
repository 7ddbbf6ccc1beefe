"""Types that all wings share."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]  # (n, d)


class Progress(Protocol):
    """Told how far a stage has come; called often, so it must be cheap."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` (0 where it is not known), and what else is worth seeing."""
        ...
