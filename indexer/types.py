"""Types shared by indexer, classifier and the rest of the package."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]  # (n, d)


class Progress(Protocol):
    """Callback for the progress of a stage. It is called often and must be fast."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report `done` of `total` steps (0 if unknown), and a note to show."""
        ...
