"""Everything that is fitted to a catalog: the head, and the settings chosen on held-out rows."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from classifier.head import Head
from classifier.voting import VoteSettings
from indexer.errors import StoreError

HEAD_BLOB, SETTINGS_BLOB = "head", "settings"


@dataclass(frozen=True)
class Settings:
    """What was chosen on held-out rows; the defaults serve a catalog too small to choose on.

    `head_temperature` sharpens the head's shares before they are fused with the vote's by `vote_weight` in
    [0, 1]; `temperature` sharpens the fused probabilities; `accept_from` is the
    confidence from which a decision is accepted; `far_below` the similarity of the best neighbour below
    which a listing is far from the catalog. `held_out` has the figures measured on held-out rows, and is
    empty where none could be held out.
    """

    vote: VoteSettings = field(default_factory=VoteSettings)
    head_temperature: float = 0.2
    vote_weight: float = 0.5
    temperature: float = 1.0
    accept_from: float = 2.0
    far_below: float = -1.0
    held_out: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A head (None for a catalog with one category) and its settings."""

    head: Head | None
    settings: Settings

    def to_blobs(self) -> dict[str, bytes]:
        """What a store keeps of the model."""
        return {
            HEAD_BLOB: self.head.to_bytes() if self.head else b"",
            SETTINGS_BLOB: json.dumps(asdict(self.settings), indent=1).encode(),
        }

    @classmethod
    def from_blobs(cls, head: bytes | None, settings: bytes | None) -> Self:
        """The inverse of `to_blobs`. Raises StoreError where the store has no model."""
        if settings is None:
            raise StoreError("the store has no trained head: run shelfwise train")
        content = json.loads(settings)
        content["vote"] = VoteSettings(**content["vote"])
        return cls(Head.from_bytes(head) if head else None, Settings(**content))
