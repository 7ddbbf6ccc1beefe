"""Vectors that were made for a version that is not there yet: a build that is killed goes on with them."""

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexer.encoder import Encoder, Progress, Vectors
from indexer.store import EMBEDDED
from indexer.text import RECIPE, digest

BATCH = 4_096  # texts in a file


class Embedded:
    """An encoder that keeps what it has made in files of the store at `path`, and takes from there what it can.

    Each file has digests and vectors of some texts, and checksums by which a torn one is known. It is an `Encoder`.
    """

    def __init__(self, path: Path, encoder: Encoder) -> None:
        self.name, self.fingerprint, self.dimensions = encoder.name, encoder.fingerprint, encoder.dimensions
        self._encoder = encoder
        self._folder = path / EMBEDDED / digest(f"{encoder.fingerprint} {RECIPE}")[:16]

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """See `Encoder.encode`."""
        vectors, made = np.empty((len(texts), self.dimensions), np.float32), self._read()
        digests = [digest(text) for text in texts]
        missing = []
        for i, name in enumerate(digests):
            if name in made:
                vectors[i] = made[name]
            else:
                missing.append(i)
        missing.sort(key=lambda i: len(texts[i]))  # long ones together, so that little is padded
        done = len(texts) - len(missing)
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            shown = _beginning_at(done + start, len(texts), progress) if progress else None
            vectors[part] = self._encoder.encode([texts[i] for i in part], shown)
            if len(missing) > BATCH:  # one batch is made again as fast
                self._write([digests[i] for i in part], vectors[part])
        return vectors

    def _read(self) -> dict[str, Vectors]:
        made: dict[str, Vectors] = {}
        for file in sorted(self._folder.glob("*.npz")):
            try:
                with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                    vectors = content["vectors"]
                    made |= dict(zip(content["digests"].tolist(), vectors, strict=True))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                file.unlink(missing_ok=True)  # torn by a crash: its texts are embedded again
        return made

    def _write(self, digests: list[str], vectors: Vectors) -> None:
        """Keep some vectors, or none at all where there is no room: the version itself needs it more."""
        file = self._folder / f"{digest(''.join(digests))[:16]}.npz"
        work = file.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with work.open("wb") as out:
                np.savez(out, digests=np.array(digests), vectors=vectors)
            work.replace(file)
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)


def forget_embedded(path: Path) -> None:
    """Delete what builds of the store at `path` have left, when a version has it all."""
    shutil.rmtree(path / EMBEDDED, ignore_errors=True)


def _beginning_at(offset: int, all_: int, progress: Progress) -> Progress:
    """The progress of a part that so many of `all_` texts come before."""

    def shifted(stage: str, done: int, total: int, note: str = "") -> None:
        progress(stage, offset + done, all_, note)

    return shifted
