"""The encoder of a store: the model that it was made with, and the exported form of it that serves."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shelfwise.indexer.encoding.encoder import Encoder, SentenceEncoder, load_encoder, resolve_device
from shelfwise.indexer.encoding.runtime import RUNTIMES, Runtime, export
from shelfwise.indexer.errors import EncoderError, StoreError
from shelfwise.indexer.store.manifest import EncoderIdentity, Manifest
from shelfwise.indexer.store.tuning import tuning_for
from shelfwise.indexer.text import RECIPE

SAMPLE = 256  # texts of the catalog on which model and exported form are compared


def identity_of(encoder: Encoder, folder: str = "", kept_back: float = 0.0) -> EncoderIdentity:
    """What a store remembers of the encoder that made its vectors, a model or its exported form (see `exported`);
    `folder` is the model's place in the store if it was fine-tuned there, and `kept_back` the share of the items that
    was kept back for judging it."""
    identity = EncoderIdentity(encoder.name, encoder.fingerprint, encoder.dimensions, folder, kept_back)
    if not isinstance(encoder, Runtime):
        return identity
    return replace(identity, runtime=place_of(encoder), worst_cosine=encoder.facts.worst_cosine)


def exported(store: Path, encoder: Encoder, texts: Sequence[str]) -> tuple[Encoder, str]:
    """The exported form of a model, written into a store and compared with it on some of the texts; the model itself
    where it has no such form or lies on a GPU, and in one line why, where that is a failure."""
    if not isinstance(encoder, SentenceEncoder) or encoder.module.device.type != "cpu":
        return encoder, ""
    folder, work = store / place_of(encoder), store / f"{RUNTIMES}.new"
    try:
        Runtime(folder).loaded()  # made by a build that was killed
        return Runtime(folder, tuning_for(store)), ""
    except EncoderError:
        for left in (work, folder):
            shutil.rmtree(left, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        export(encoder, work, texts[:: max(1, len(texts) // SAMPLE)])
    except EncoderError as error:
        shutil.rmtree(work)
        return encoder, str(error)
    folder.parent.mkdir(exist_ok=True)
    work.rename(folder)
    return Runtime(folder, tuning_for(store)), ""


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
