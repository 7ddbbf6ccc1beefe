"""The last listings, to be held against the catalog."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from shelfwise.classifier.model.decision import ACCEPT, FAST, Decision

LISTINGS_KEPT = 10_000  # listings, since the service was started
GROUPS = 40  # points of a plot at most


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of a decision; `similarity` of the nearest item, None in tier fast."""

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
        """Keep some decisions."""
        for said in decisions:
            nearest = said.evidence[0].similarity if said.tier != FAST and said.evidence else None
            self._seen.append(Seen(said.decision, said.confidence, nearest))

    def accepted(self) -> list[float]:
        """The accepted share in [0, 1] of equally many listings after one another, at most GROUPS times."""
        seen = list(self._seen)
        size = max(1, -(-len(seen) // GROUPS))
        groups = [seen[start : start + size] for start in range(0, len(seen), size)]
        return [sum(one.decision == ACCEPT for one in group) / len(group) for group in groups]

    def similarities(self) -> list[float]:
        """Of the nearest item of each listing."""
        return [one.similarity for one in list(self._seen) if one.similarity is not None]

    def counts(self) -> dict[str, int]:
        """How many listings by decision."""
        found = dict[str, int]()
        for one in list(self._seen):
            found[one.decision] = found.get(one.decision, 0) + 1
        return found
