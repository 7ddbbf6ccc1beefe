"""The version of a store that is served: the one that counts, found out anew without holding up anybody."""

import logging
import threading
from pathlib import Path

from shelfwise.classifier.model.pipeline import Classifier
from shelfwise.indexer.errors import ShelfwiseError
from shelfwise.indexer.item import Item
from shelfwise.indexer.store.migration import migrate

LOOK_SECONDS = 0.5  # seconds between two looks for a newer version
log = logging.getLogger("shelfwise")


class Served:
    """A store, open. `problem` says in one line why a newer version could not be opened; the one before serves on."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        """Raises ShelfwiseError where the store cannot be opened."""
        migrate(path)
        self.path, self.problem = path, ""
        self._classifier = Classifier.open(path, device)
        self._alone, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._look, name="versions", daemon=True)

    @property
    def classifier(self) -> Classifier:
        """Take it once for what belongs together: it may be another one at the next look."""
        return self._classifier

    def start(self) -> None:
        """Load what the first answer needs, and look for newer versions from now on."""
        _ready(self._classifier)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def refresh(self) -> Classifier:
        """The version that counts by now, open and ready. Raises ShelfwiseError."""
        with self._alone:
            newer = self._classifier.refreshed()
            if newer is not self._classifier:
                _ready(newer)
                self._classifier = newer
            return newer

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.refresh()
                self.problem = ""
            except ShelfwiseError as error:
                if self.problem != str(error):
                    log.warning("the version before serves on: %s", error)
                self.problem = str(error)
            except Exception:
                log.exception("the version before serves on")
                self.problem = "an error of shelfwise itself: see the log"


def _ready(classifier: Classifier) -> None:
    """Have all that is found out at the first question."""
    classifier.classify([Item("", "a")])
