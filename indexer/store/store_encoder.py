"""The encoder of a store: the model that it was made with, and the exported form of it that serves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shelfwise.indexer.encoding.encoder import Encoder, Exportable, resolve_device
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.runtime import Runtime
from shelfwise.indexer.encoding.sentence import SentenceEncoder
from shelfwise.indexer.errors import EncoderError, StoreError
from shelfwise.indexer.item import RECIPE
from shelfwise.indexer.store.disk import RUNTIMES, making
from shelfwise.indexer.store.manifest import EncoderIdentity, Manifest
from shelfwise.indexer.store.tuning import tuning_for

COMPARED_TEXTS = 256  # texts of the catalog on which model and exported form are compared


@dataclass(frozen=True)
class Prepared:
    """An encoder as a store runs it. `runtime` is the place of its exported form, relative to the store, with the worst
    cosine of its vectors with the model's; empty where the model runs itself, and `problem` says in one line why, where
    that is a failure."""

    encoder: Encoder
    runtime: str = ""
    worst_cosine: float = 1.0
    problem: str = ""

    def identity(self, folder: str = "", kept_back: float = 0.0) -> EncoderIdentity:
        """Return what a store remembers of the encoder that made its vectors.

        `folder` is the model's place in the store if it was fine-tuned there, and `kept_back` the share of the items
        that was held out for judging it.
        """
        made = self.encoder
        identity = EncoderIdentity(made.name, made.fingerprint, made.dimensions, folder, kept_back)
        return replace(identity, runtime=self.runtime, worst_cosine=self.worst_cosine) if self.runtime else identity


def prepare(store: Path, encoder: Encoder, texts: Sequence[str]) -> Prepared:
    """Write the exported form of a model into a store, and compare the two on some of the texts.

    A model that has no such form runs as it is.
    """
    if not isinstance(encoder, Exportable) or not encoder.exports:
        return Prepared(encoder)
    folder = store / place_of(encoder)
    try:
        Runtime(folder).loaded()  # made by a build that was killed
    except EncoderError:
        try:
            with making(folder) as work:
                encoder.export(work, texts[:: max(1, len(texts) // COMPARED_TEXTS)])
        except EncoderError as error:
            return Prepared(encoder, problem=str(error))
    runtime = Runtime(folder, tuning_for(store))
    return Prepared(runtime, place_of(encoder), runtime.facts.worst_cosine)


def encoder_for(store: Path, manifest: Manifest, device: str = "auto") -> Encoder:
    """The encoder that a store was made with: on the CPU its exported form where it has one, else the model.

    Raises EncoderError or StoreError where it is another now.
    """
    _require_recipe(manifest)
    if manifest.encoder.runtime and resolve_device(device) == "cpu":
        return Runtime(store / manifest.encoder.runtime, tuning_for(store))
    return model_for(store, manifest, device)


def model_for(store: Path, manifest: Manifest, device: str = "auto") -> Encoder:
    """The model itself, to fine-tune it or to run it on a GPU. Raises as `encoder_for` does."""
    _require_recipe(manifest)
    identity = manifest.encoder
    if identity.folder:
        encoder: Encoder = SentenceEncoder(identity.name, store / identity.folder, resolve_device(device))
    else:
        encoder = load_encoder(identity.name, device)
    if encoder.fingerprint != identity.fingerprint:
        raise EncoderError(
            "other_encoder",
            f"encoder {identity.name} has other weights now",
            "the encoder that the store was made with",
            "put the former one back, or build the store again in a new folder",
        )
    return encoder


def place_of(encoder: Encoder) -> str:
    """Where the exported form of a model lies, relative to the store."""
    return f"{RUNTIMES}/{encoder.fingerprint[:16]}"


def _require_recipe(manifest: Manifest) -> None:
    if manifest.recipe != RECIPE:
        raise StoreError(
            "other_recipe",
            f"the store was made with text recipe {manifest.recipe!r}",
            repr(RECIPE),
            "build it again in a new folder",
        )
