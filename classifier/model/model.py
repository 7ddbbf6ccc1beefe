"""The model fitted to a catalog: the head, and the settings chosen on held-out rows."""

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
FAST_OPINION = "ngrams"  # the only opinion used in tier fast


@dataclass(frozen=True, slots=True)
class Goals:
    """A user's goals for a model, stored with it.

    `head` is the kind of vector classifier, one of `vectors.KINDS`. `optimize` is the measure that settings are chosen
    for, one of MEASURES. `target_precision` in (0.5, 1) is the share of accepted decisions that should be right.
    """

    head: str = next(iter(KINDS))
    optimize: str = MEASURES[0]
    target_precision: float = 0.95


@dataclass(frozen=True)
class Settings:
    """Settings chosen on held-out rows; the defaults serve a catalog too small to choose on.

    `temperatures` sharpen the trained opinions, by name, before `mix` combines them with the vote. `full` calibrates
    the result, `fast` the n-grams alone. In tier auto the n-grams decide if their confidence is `fast_from` or more.
    A listing is far from the catalog if the similarity of its best neighbour is below `far_below`. `held_out` has the
    figures measured on held-out rows (None for a share of no rows). It is empty if too few rows could be held out.
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
    """A head (None if the catalog has one category) and its settings."""

    head: Head | None
    settings: Settings

    def to_blobs(self) -> dict[str, bytes]:
        """Return the blobs that a store keeps of the model, by name."""
        return {
            HEAD_BLOB: self.head.to_bytes() if self.head else b"",
            SETTINGS_BLOB: json.dumps(asdict(self.settings), indent=1).encode(),
        }

    @classmethod
    def from_blobs(cls, head: bytes | None, settings: bytes | None) -> Self:
        """Load a model from its blobs. Raise StoreError if there is none or an opinion is not installed."""
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
    """Load the model of a version. Raise StoreError if it has none or an opinion is not installed."""
    return Model.from_blobs(snapshot.blob(HEAD_BLOB), snapshot.blob(SETTINGS_BLOB))


def settings_of(snapshot: Snapshot) -> Settings:
    """Load the settings of a version's model without its large head. Raise StoreError if there is no model."""
    return Model.from_blobs(None, snapshot.blob(SETTINGS_BLOB)).settings
