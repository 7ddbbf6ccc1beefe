"""The base class of an open store: reading one version, making changes one at a time, and closing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self, TypeVar, cast

from shelfwise.classifier.changing.maintenance import Report
from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.errors import ShelfwiseError, StoreError
from shelfwise.indexer.reading.options import ReadOptions
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.indexer.store.memory import memory_of
from shelfwise.indexer.store.migration import migrated
from shelfwise.indexer.store.names import MANIFEST

Answered = TypeVar("Answered")


class OpenStore:
    """Base of `Store`: read one version, make changes one at a time, and close."""

    def __init__(self, path: Path, device: str = "auto", report: Report | None = None) -> None:
        """Open the store at `path`. Call `shelfwise.open` or `shelfwise.build` instead."""
        self._path, self._device = path, device
        self._lock, self._changes = threading.RLock(), threading.RLock()
        self._closed, self._classifier = False, cast(Classifier | None, None)
        self._report = report
        self._folder, self._temporary = path, cast(TemporaryDirectory[str] | None, None)
        try:
            self._version = read_manifest(path).version
        except StoreError as error:
            if error.code != "old_format":
                raise
            self._folder, self._temporary = migrated(path)
            self._version = read_manifest(self._folder).version

    @property
    def path(self) -> Path:
        """The folder of the store."""
        return self._path

    @property
    def version(self) -> int:
        """The number of the version this object reads."""
        return self._version

    @property
    def report(self) -> Report | None:
        """The report of the last build, add, remove, train or finetune by this object (None if there was none)."""
        return self._report

    @property
    def categories(self) -> dict[str, int]:
        """The number of items in each category, by category path in sorted order.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").categories
        {'Kitchen > Kettles': 4, 'Kitchen > Mugs': 4, 'Kitchen > Pans': 4}
        """
        classifier = self.classifier
        return dict(zip(classifier.labels.paths, classifier.counts.tolist(), strict=True))

    @property
    def classifier(self) -> Classifier:
        """The underlying classifier, for the command line and the service. Its interface may change in any release."""
        with self._lock:
            self._require_usable()
            if self._classifier is None:
                self._use(Classifier.open(self._folder, self._device))
            return cast(Classifier, self._classifier)

    def __len__(self) -> int:
        return len(self.classifier.index)

    def __contains__(self, id: object) -> bool:
        index = self.classifier.index
        return isinstance(id, str) and index.has(id)

    def __enter__(self) -> Self:
        self._require_usable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return f"<Store {self._path}: closed>"
        try:
            manifest = self.classifier.index.snapshot.manifest
            name = Path(manifest.encoder.name).name
            return (
                f"<Store {self._path}: version {manifest.version}, {manifest.rows:,} items, "
                f"{len(self.classifier.labels):,} categories, {name}>"
            )
        except Exception as error:  # a repr must not raise
            return f"<Store {self._path}: version {self._version}, {getattr(error, 'code', type(error).__name__)}>"

    def refresh(self) -> Self:
        """Switch to the newest version of the store, and return the store. An unchanged encoder stays loaded.

        >>> import shelfwise as sw
        >>> sw.open("kitchen.store").refresh().version
        1
        """
        with self._lock:
            self._require_usable()
            if self._classifier is None:
                self._version = read_manifest(self._folder).version
            else:
                self._use(self._classifier.refreshed())
            return self

    def close(self) -> None:
        """Release the files and memory of the store. Later calls raise ShelfwiseError. Closing again does nothing.

        >>> import shelfwise as sw
        >>> store = sw.open("kitchen.store")
        >>> store.close()
        >>> store
        <Store kitchen.store: closed>
        """
        with self._changes, self._lock:  # wait for a change by another thread
            self._closed, self._classifier = True, None
            if self._temporary is not None:
                self._temporary.cleanup()

    def _require_usable(self) -> None:
        if self._closed:
            raise self._is_closed()
        if not (self._folder / MANIFEST).exists():
            read_manifest(self._folder)  # raises the error that applies

    def _options(self, options: ReadOptions) -> ReadOptions:
        """Return the options with the columns that the store remembers."""
        return memory_of(self._folder).options(options)

    def _is_closed(self) -> StoreError:
        return StoreError("store_closed", f"store {self._path} is closed", "an open store", "open it again")

    def _read(self, question: Callable[[Path], Answered]) -> Answered:
        """Return the result of `question` for the folder. Retry an error caused by a change of another process."""
        while True:
            self._require_usable()
            before = read_manifest(self._folder)
            try:
                return question(self._folder)
            except ShelfwiseError as error:
                if self._closed:
                    raise self._is_closed() from None
                there = isinstance(error, StoreError) and (self._folder / MANIFEST).exists()
                if not there or read_manifest(self._folder) == before:
                    raise self._named(error) from None

    def _named(self, error: ShelfwiseError) -> ShelfwiseError:
        """Return the error with the folder of the store in place of the temporary folder it is read from."""
        parts = (part.replace(str(self._folder), str(self._path)) for part in (error.found, error.expected, error.fix))
        return type(error)(error.code, *parts)

    def _use(self, classifier: Classifier) -> None:
        self._classifier, self._version = classifier, classifier.index.snapshot.manifest.version

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Allow one thread at a time to change the store. Raise StoreError if it cannot be written."""
        with self._changes:
            self._require_usable()
            if self._temporary is not None:
                raise StoreError(
                    "unwritable_store",
                    f"store {self._path} cannot be written",
                    "a writable store",
                    "copy it to a writable disk",
                )
            yield

    def _changed(self, report: Report) -> Report:
        self._report = report
        self._moved()
        return report

    def _moved(self) -> None:
        """Switch to the new version, unless the store was closed during the change."""
        if not self._closed:
            self.refresh()
