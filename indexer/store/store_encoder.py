"""The encoder of a store: the model that computed its vectors, and its exported form for serving."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shelfwise.indexer.encoding.encoder import Encoder, Exportable, resolve_device
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.runtime import Runtime
from shelfwise.indexer.encoding.sentence import SentenceEncoder
from shelfwise.indexer.errors import EncoderError, StoreError
from shelfwise.indexer.item import RECIPE
from shelfwise.indexer.store.disk import making
from shelfwise.indexer.store.manifest import EncoderIdentity, Manifest
from shelfwise.indexer.store.names import RUNTIMES
from shelfwise.indexer.store.tuning import tuning_for

COMPARED_TEXTS = 256  # least number of catalog texts on which to compare a model and its exported form


@dataclass(frozen=True)
class Prepared:
    """An encoder as a store runs it.

    `runtime` is the folder of its exported form, relative to the store, and `worst_cosine` the lowest cosine between
    its vectors and the model's. `runtime` is empty if the model itself runs. If the export failed, `problem` is the
    reason in one line.
    """

    encoder: Encoder
    runtime: str = ""
    worst_cosine: float = 1.0
    problem: str = ""

    def identity(self, folder: str = "", kept_back: float = 0.0) -> EncoderIdentity:
        """Return the encoder's entry in a manifest.

        `folder` is the model's path in the store if it was fine-tuned there, and `kept_back` the share of items held
        out to judge it.
        """
        made = self.encoder
        identity = EncoderIdentity(made.name, made.fingerprint, made.dimensions, folder, kept_back)
        return replace(identity, runtime=self.runtime, worst_cosine=self.worst_cosine) if self.runtime else identity


def prepare(store: Path, encoder: Encoder, texts: Sequence[str]) -> Prepared:
    """Write the exported form of a model into a store, and compare both on a sample of the texts.

    A model without an exported form runs itself.
    """
    if not isinstance(encoder, Exportable) or not encoder.exports:
        return Prepared(encoder)
    folder = store / place_of(encoder)
    try:
        Runtime(folder).loaded()  # exported by an interrupted build
    except EncoderError:
        try:
            with making(folder) as work:
                encoder.export(work, texts[:: max(1, len(texts) // COMPARED_TEXTS)])
        except EncoderError as error:
            return Prepared(encoder, problem=str(error))
    runtime = Runtime(folder, tuning_for(store))
    return Prepared(runtime, place_of(encoder), runtime.facts.worst_cosine)


def encoder_for(store: Path, manifest: Manifest, device: str = "auto") -> Encoder:
    """Return the encoder of a store: on the CPU its exported form if it has one, else the model.

    Raise StoreError when the text recipe has changed, and EncoderError when the model cannot be loaded or has changed.
    """
    _require_recipe(manifest)
    if manifest.encoder.runtime and resolve_device(device) == "cpu":
        return Runtime(store / manifest.encoder.runtime, tuning_for(store))
    return model_for(store, manifest, device)


def model_for(store: Path, manifest: Manifest, device: str = "auto") -> Encoder:
    """Return the model itself, to fine-tune it or run it on a GPU. Raise the errors of `encoder_for`."""
    _require_recipe(manifest)
    identity = manifest.encoder
    if identity.folder:
        encoder: Encoder = SentenceEncoder(identity.name, store / identity.folder, resolve_device(device))
    else:
        encoder = load_encoder(identity.name, device)
    if encoder.fingerprint != identity.fingerprint:
        raise EncoderError(
            "other_encoder",
            f"encoder {identity.name} has different weights now",
            "the encoder that the store was built with",
            "restore the former encoder, or build the store again in a new folder",
        )
    return encoder


def place_of(encoder: Encoder) -> str:
    """Return the folder of a model's exported form, relative to the store."""
    return f"{RUNTIMES}/{encoder.fingerprint[:16]}"


def _require_recipe(manifest: Manifest) -> None:
    if manifest.recipe != RECIPE:
        raise StoreError(
            "other_recipe",
            f"the store was built with text recipe {manifest.recipe!r}",
            repr(RECIPE),
            "build it again in a new folder",
        )
