"""The store version that is served, kept up to date in the background."""

import logging
import threading
from pathlib import Path

from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.errors import ShelfwiseError
from shelfwise.indexer.item import Item
from shelfwise.indexer.store.manifest import stamp_of
from shelfwise.indexer.store.migration import migrate

LOOK_SECONDS = 0.5  # between two checks for a newer version
log = logging.getLogger("shelfwise")


class Served:
    """An open store. `problem` says in one line why a newer version cannot be opened; the earlier one stays in use."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        """Migrate the store if necessary, and open it. Raise ShelfwiseError when it cannot be opened."""
        migrate(path)
        self.path, self.problem = path, ""
        self._classifier = Classifier.open(path, device)
        self._alone, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._look, name="versions", daemon=True)

    @property
    def classifier(self) -> Classifier:
        """The classifier of the current version. Read it once per operation, because it can be replaced at any time."""
        return self._classifier

    def start(self) -> None:
        """Warm up, and start checking for newer versions."""
        _ready(self._classifier)
        self._thread.start()

    def stop(self) -> None:
        """Stop checking for newer versions."""
        self._ended.set()
        self._thread.join()

    def refresh(self) -> Classifier:
        """Return the current version, open and warmed up. Raise ShelfwiseError when it cannot be opened."""
        with self._alone:
            newer = self._classifier.refreshed()
            if newer is not self._classifier:
                _ready(newer)
                self._classifier = newer
            return newer

    def _look(self) -> None:
        seen: object = None
        while not self._ended.wait(LOOK_SECONDS):
            try:
                found = stamp_of(self.path)
                if found != seen:
                    self.refresh()
                self.problem, seen = "", found
            except ShelfwiseError as error:
                if self.problem != str(error):
                    log.warning("cannot open the newer version, the earlier one stays in use: %s", error)
                self.problem = str(error)
            except Exception:
                log.exception("cannot open the newer version, the earlier one stays in use")
                self.problem = "internal error; see the service's log"


def _ready(classifier: Classifier) -> None:
    """Warm up a classifier: load everything that its first query needs."""
    classifier.classify([Item("", "a")])
