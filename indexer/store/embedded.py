"""Reuse of vectors computed earlier: for former versions, or by an interrupted build."""

import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from shelfwise.indexer.encoding.encoder import Encoder, unit_vectors
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.item import RECIPE, digest
from shelfwise.indexer.store.disk import remove, replacing, verify_files
from shelfwise.indexer.store.names import EMBEDDED, own_entries
from shelfwise.indexer.store.snapshot import read_snapshot
from shelfwise.indexer.types import Progress, Vectors

TEXTS_PER_FILE = 4_096


class Embedded:
    """An `Encoder` that reuses vectors of `versions` of the store at `path`, in this order, and of its own files.

    It saves newly computed vectors to those files. `made` is the number of texts it had to embed. Each file holds the
    digests and vectors of some texts, and checksums that reveal an incomplete file.
    """

    def __init__(self, path: Path, encoder: Encoder, versions: Sequence[int] = ()) -> None:
        self.made = 0
        self._path, self._versions = path, versions
        self.name, self.fingerprint, self.dimensions = encoder.name, encoder.fingerprint, encoder.dimensions
        self._encoder = encoder
        self._folder = path / EMBEDDED / digest(f"{encoder.fingerprint} {RECIPE}")[:16]

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """See `Encoder.encode`."""
        digests = [digest(text) for text in texts]
        vectors, made = np.empty((len(texts), self.dimensions), np.float32), self._read()
        made |= self._stored(set(digests) - made.keys())
        missing = []
        for i, name in enumerate(digests):
            if name in made:
                vectors[i] = made[name]
            else:
                missing.append(i)
        missing.sort(key=lambda i: len(texts[i]))  # texts of similar length together need little padding
        self.made, done = len(missing), len(texts) - len(missing)
        for start in range(0, len(missing), TEXTS_PER_FILE):
            part = missing[start : start + TEXTS_PER_FILE]
            shown = _beginning_at(done + start, len(texts), progress) if progress else None
            vectors[part] = unit_vectors(self._encoder, [texts[i] for i in part], shown)
            if len(missing) > TEXTS_PER_FILE:  # one batch is embedded again as fast
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
                remove(file)  # incomplete after a crash: embed its texts again
        return made

    def _stored(self, wanted: set[str]) -> dict[str, Vectors]:
        """Return the vectors that the versions store for these text digests."""
        found: dict[str, Vectors] = {}
        verified: dict[str, tuple[int, str]] = {}
        for version in self._versions:
            if not wanted - found.keys():
                break
            with suppress(StoreError):  # damaged, or removed meanwhile: embed its texts again
                snapshot = read_snapshot(self._path, version)
                if (snapshot.manifest.encoder.fingerprint, snapshot.manifest.recipe) != (self.fingerprint, RECIPE):
                    continue
                unread = {name: sums for name, sums in snapshot.data_files.items() if verified.get(name) != sums}
                verify_files(self._path, unread)
                verified |= unread
                rows = snapshot.reader.with_digests(wanted - found.keys())
                found |= dict(zip(rows.column("text_digest"), rows.vectors, strict=True))
        return found

    def _write(self, digests: list[str], vectors: Vectors) -> None:
        """Save some vectors. If the disk is full, delete all saved vectors: the version itself needs the room."""
        file = self._folder / f"{digest(''.join(digests))[:16]}.npz"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(file) as work, work.open("wb") as out:
                np.savez(out, digests=np.array(digests), vectors=vectors)
        except OSError:
            remove(self._folder)


def forget_embedded(path: Path) -> None:
    """Delete the vectors saved by builds of the store at `path`, once a version has them all."""
    remove(*own_entries(path, EMBEDDED))
    with suppress(OSError):  # there is none, or it holds something else
        (path / EMBEDDED).rmdir()


def _beginning_at(offset: int, all_: int, progress: Progress) -> Progress:
    """Return the progress of a part of `all_` texts that starts after the first `offset` texts."""

    def shifted(stage: str, done: int, total: int, note: str = "") -> None:
        progress(stage, offset + done, all_, note)

    return shifted
