"""Kinds of encoders: each module of this folder is one, is found here by its name, and is what users name it.

A module has a DESCRIPTION and the function `load` of `EncoderKind`; see `hashing.py`. Beside these, users name a
sentence-transformers model by its folder, or by its name on a hub.
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

SCRIPT_SAMPLE = 20_000  # titles that `choose_encoder` looks at
MIN_SHARE_BEYOND_LATIN = 0.01


class EncoderKind(Protocol):
    """What a module of this folder has; DESCRIPTION says in one line what it is good for."""

    DESCRIPTION: str

    def load(self, device: str, cache: Path | None) -> Encoder:
        """Return the encoder on a device (auto, cpu or cuda).

        `cache` is where files may be made that are used again, None for the user's cache folder. Raises ShelfwiseError.
        """
        ...


def names() -> list[str]:
    """Return the names of all kinds, in order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_encoder(name: str, device: str = "auto", cache: Path | None = None) -> Encoder:
    """Return the encoder that a user names: a kind of this folder, a local folder, or a hub model ("owner/name").

    `device` is auto, cpu or cuda; `cache` is where `e5` is assembled (the user's cache folder by default).
    Raises EncoderError for a name that leads nowhere, EngineError for a device that is not there.
    """
    if name in names():
        return cast(EncoderKind, import_module(f"{__name__}.{name}")).load(device, cache)
    # A local folder is known by its full path, so that its store opens from anywhere.
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
            "put it back, or name another encoder",
        )
    raise EncoderError(
        "no_such_encoder",
        f"encoder {name!r}",
        f"auto, {', '.join(names())}, a local folder or a hub name such as owner/model",
        "name one of them",
    )


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """What `auto` took, and why."""

    name: str
    reason: str


def choose_encoder(titles: Iterable[str]) -> EncoderChoice:
    """`minilm` for a catalog in Latin script, `e5` where at least 1 % of the titles go beyond it."""
    sample = [title for title, _ in zip(titles, range(SCRIPT_SAMPLE), strict=False)]
    beyond = sum(map(beyond_latin, sample))
    share = f"{beyond / max(len(sample), 1):.0%} of the titles have letters beyond the Latin script"
    if beyond >= max(1, MIN_SHARE_BEYOND_LATIN * len(sample)):
        return EncoderChoice("e5", f"{share}: multilingual encoder")
    return EncoderChoice("minilm", f"{share}: English encoder")
