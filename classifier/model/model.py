"""Everything that is fitted to a catalog: the head, and the settings chosen on held-out rows."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from shelfwise.classifier.model.calibration import NEVER, Calibration
from shelfwise.classifier.model.fusion import Mix, VoteSettings
from shelfwise.classifier.model.opinions import Head, default_temperatures
from shelfwise.classifier.model.opinions.vectors import KINDS
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.store.snapshot import Snapshot

HEAD_BLOB, SETTINGS_BLOB = "head", "settings"
MEASURES = ("accuracy", "macro-f1")
FAST_OPINION = "ngrams"  # the opinion that decides alone in tier fast


@dataclass(frozen=True, slots=True)
class Goals:
    """What a user wants of a model, kept with it.

    `head` is the kind of its classifier of vectors, one of `vectors.KINDS`; `optimize` one of MEASURES, what settings
    are chosen for; `target_precision` in (0.5, 1) the share of accepted decisions that should be right.
    """

    head: str = next(iter(KINDS))
    optimize: str = MEASURES[0]
    target_precision: float = 0.95


@dataclass(frozen=True)
class Settings:
    """What was chosen on held-out rows; the defaults serve a catalog too small to choose on.

    `temperatures` sharpen what the trained opinions say, by name, before they and the vote are mixed by `mix`. `full`
    is the calibration of what comes of it, `fast` that of the n-grams alone; in tier auto these decide where their
    confidence is `fast_from` or more. `far_below` is the similarity of the best neighbour below which a listing is far
    from the catalog. `held_out` has the figures measured on held-out rows (None for what is right of nothing), and is
    empty where none could be held out.
    """

    goals: Goals = field(default_factory=Goals)
    temperatures: Mapping[str, float] = field(default_factory=default_temperatures)
    mix: Mix = field(default_factory=Mix)
    full: Calibration = field(default_factory=Calibration)
    fast: Calibration = field(default_factory=Calibration)
    fast_from: float = NEVER
    far_below: float = -1.0
    held_out: Mapping[str, float | None] = field(default_factory=dict)


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
            raise StoreError("no_model", "the store has no model", "a store with a model", "train the store")
        content = json.loads(settings)
        content["goals"] = Goals(**content["goals"])
        content["mix"] = Mix(**content["mix"] | {"vote": VoteSettings(**content["mix"]["vote"])})
        for tier in ("full", "fast"):
            lists = {name: tuple(content[tier][name]) for name in ("reliability", "sure_from")}
            content[tier] = Calibration(**content[tier] | lists)
        return cls(Head.from_bytes(head) if head else None, Settings(**content))


def model_of(snapshot: Snapshot) -> Model:
    """What was fitted to a version. Raises StoreError where nothing was."""
    return Model.from_blobs(snapshot.blob(HEAD_BLOB), snapshot.blob(SETTINGS_BLOB))


def settings_of(snapshot: Snapshot) -> Settings:
    """The settings of a version's model, without its head, which is large. Raises StoreError where there is none."""
    return Model.from_blobs(None, snapshot.blob(SETTINGS_BLOB)).settings
