"""Category paths and their numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

UNKNOWN = -1  # number of a category that a label set does not have


@dataclass(frozen=True)
class Labels:
    """c categories in sorted order of their paths, with the leaf name of each."""

    paths: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, paths: Iterable[str], names: Iterable[str]) -> Self:
        """The categories of n rows; of a path with several leaf names the first in sorted order is kept."""
        name_of: dict[str, str] = {}
        for path, name in sorted(zip(paths, names, strict=True)):
            name_of.setdefault(path, name)
        return cls(tuple(name_of), tuple(name_of.values()))

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Number of every path."""
        return {path: number for number, path in enumerate(self.paths)}

    def numbers(self, paths: Sequence[str]) -> Numbers:
        """(n,) numbers of `paths`, UNKNOWN for those that are not in the set."""
        return np.array([self.number_of.get(path, UNKNOWN) for path in paths], np.int64)
