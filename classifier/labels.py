"""Category paths and their numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shelfwise.indexer.item import PATH_SEPARATOR

Numbers = NDArray[np.int64]
Probabilities = NDArray[np.float64]  # (m, c)

NO_CATEGORY = -1  # number of a category path that is not in the label set


def node_of(path: str, depth: int) -> str:
    """Return the node of a category path at `depth`, from 1: its first `depth` parts, or all if it has fewer."""
    return PATH_SEPARATOR.join(path.split(PATH_SEPARATOR)[:depth])


def depth_of(paths: Iterable[str]) -> int:
    """Return the number of parts of the longest category path; 1 if there are no paths."""
    return max((path.count(PATH_SEPARATOR) + 1 for path in paths), default=1)


def lies_in(path: str, node: str) -> bool:
    """Return True if a category path is `node` itself or lies below it."""
    return (path + PATH_SEPARATOR).startswith(node + PATH_SEPARATOR)


@dataclass(frozen=True)
class Level:
    """The nodes of a category tree at one depth: their `paths`, in sorted order.

    `of` (c,) is the node number of each of the c categories. A category with a shorter path is its own node.
    """

    paths: tuple[str, ...]
    of: Numbers

    def sums(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (m, nodes) sums of the probabilities (m, c) of each node's categories."""
        order, first = self._by_node
        return np.asarray(np.add.reduceat(probabilities[:, order], first, axis=1))

    @cached_property
    def _by_node(self) -> tuple[Numbers, Numbers]:
        """The categories in the order of their nodes, (c,), and the first position of each node, (nodes,)."""
        order = np.argsort(self.of, kind="stable")
        return order, np.searchsorted(self.of[order], np.arange(len(self.paths)))


@dataclass(frozen=True)
class Labels:
    """c categories in sorted order of their paths, with the leaf name of each."""

    paths: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def from_paths(cls, paths: Iterable[str], names: Iterable[str]) -> Self:
        """Return the categories of n rows. If a path has several leaf names, keep the first in sorted order."""
        name_of: dict[str, str] = {}
        for path, name in sorted(zip(paths, names, strict=True)):
            name_of.setdefault(path, name)
        return cls(tuple(name_of), tuple(name_of.values()))

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The number of each path."""
        return {path: number for number, path in enumerate(self.paths)}

    @cached_property
    def paths_of(self) -> dict[str, list[str]]:
        """The paths of each leaf name, in sorted order."""
        found: dict[str, list[str]] = {}
        for path, name in zip(self.paths, self.names, strict=True):
            found.setdefault(name, []).append(path)
        return found

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The levels above the categories, from the top; empty if all paths have one part."""
        found = []
        for depth in range(1, depth_of(self.paths)):
            nodes = np.array([node_of(path, depth) for path in self.paths], dtype=object)
            paths, of = np.unique(nodes, return_inverse=True)
            found.append(Level(tuple(paths), of.astype(np.int64)))
        return tuple(found)

    def numbers(self, paths: Sequence[str]) -> Numbers:
        """Return the (n,) numbers of `paths`, with NO_CATEGORY for paths outside the set."""
        return np.array([self.number_of.get(path, NO_CATEGORY) for path in paths], np.int64)


def renormalised(shares: Probabilities) -> Probabilities:
    """Return the rows divided by their sums; rows of zeros stay zero."""
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=np.zeros_like(shares), where=total > 0))
