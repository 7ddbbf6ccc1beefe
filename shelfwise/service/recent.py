"""Decisions on the last listings, to compare them with the catalog."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from shelfwise.classifier.model.decision import ACCEPT, FAST, Decision

LISTINGS_KEPT = 10_000  # since the start of the service
GROUPS = 40  # most points of a plot


@dataclass(frozen=True, slots=True)
class Seen:
    """The stored part of a decision. `similarity` is that of the nearest item (None without evidence)."""

    decision: str
    confidence: float
    similarity: float | None


class Recent:
    """The last LISTINGS_KEPT decisions."""

    def __init__(self) -> None:
        self._seen = deque[Seen](maxlen=LISTINGS_KEPT)

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, decisions: Sequence[Decision]) -> None:
        """Store decisions in place of the oldest."""
        for said in decisions:
            nearest = said.evidence[0].similarity if said.tier != FAST and said.evidence else None
            self._seen.append(Seen(said.decision, said.confidence, nearest))

    def accepted(self) -> list[float]:
        """Return the accepted share in [0, 1] of each group of consecutive listings, at most GROUPS groups."""
        seen = list(self._seen)
        size = max(1, -(-len(seen) // GROUPS))
        groups = [seen[start : start + size] for start in range(0, len(seen), size)]
        return [sum(one.decision == ACCEPT for one in group) / len(group) for group in groups]

    def similarities(self) -> list[float]:
        """Return the similarity of each listing to its nearest item, where there is evidence."""
        return [one.similarity for one in list(self._seen) if one.similarity is not None]

    def counts(self) -> dict[str, int]:
        """Return the number of listings by decision."""
        found = dict[str, int]()
        for one in list(self._seen):
            found[one.decision] = found.get(one.decision, 0) + 1
        return found
