"""Kinds of encoders: each module of this folder is one, and its name is the encoder's name for users.

A module has a DESCRIPTION and the function `load` of `EncoderKind`; see `hashing.py`. Users can also name a
sentence-transformers model by its folder or by its name on a hub.
"""

import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from shelfwise.indexer.encoding.encoder import Encoder, resolve_device
from shelfwise.indexer.encoding.sentence import SentenceEncoder, hub_folder
from shelfwise.indexer.errors import EncoderError
from shelfwise.indexer.item import beyond_latin

SCRIPT_SAMPLE = 20_000  # titles that `choose_encoder` reads
MIN_SHARE_BEYOND_LATIN = 0.01


class EncoderKind(Protocol):
    """Interface of a module of this folder. DESCRIPTION says in one line what the encoder is good for."""

    DESCRIPTION: str

    def load(self, device: str, cache: Path | None) -> Encoder:
        """Return the encoder on a device (auto, cpu or cuda).

        `cache` is a folder for reusable files (None for the user's cache folder). Raise ShelfwiseError when the encoder
        cannot be loaded.
        """
        ...


def names() -> list[str]:
    """Return the names of all kinds, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_encoder(name: str, device: str = "auto", cache: Path | None = None) -> Encoder:
    """Return the encoder called `name`: a kind of this folder, a local folder, or a hub model ("owner/name").

    `device` is auto, cpu or cuda. `cache` is the folder in which `e5` is assembled (the user's cache folder by
    default). Raise EncoderError for an unknown name or a model that cannot be loaded, EngineError for a missing device.
    """
    if name in names():
        return cast(EncoderKind, import_module(f"{__name__}.{name}")).load(device, cache)
    # Name a local folder by its full path, so that its store opens from any working directory.
    known_by = str(Path(name).resolve()) if Path(name).is_dir() else name
    return SentenceEncoder(known_by, _folder_of(name), resolve_device(device))


def _folder_of(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name).resolve()
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/"):
        return hub_folder(name)
    if Path(name).is_absolute():
        raise EncoderError(
            "no_such_encoder",
            f"the encoder's folder {name} does not exist",
            "a folder with a model",
            "restore it, or name another encoder",
        )
    raise EncoderError(
        "no_such_encoder",
        f"encoder {name!r}",
        f"auto, {', '.join(names())}, a local folder or a hub name such as owner/model",
        "name one of them",
    )


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """Encoder chosen by `auto`, and the reason."""

    name: str
    reason: str


def choose_encoder(titles: Iterable[str]) -> EncoderChoice:
    """Return `minilm` for titles in Latin script, `e5` if at least 1% of them have other letters."""
    sample = [title for title, _ in zip(titles, range(SCRIPT_SAMPLE), strict=False)]
    beyond = sum(map(beyond_latin, sample))
    share = f"{beyond / max(len(sample), 1):.0%} of the titles have letters beyond the Latin script"
    if beyond >= max(1, MIN_SHARE_BEYOND_LATIN * len(sample)):
        return EncoderChoice("e5", f"{share}: multilingual encoder")
    return EncoderChoice("minilm", f"{share}: English encoder")
