"""Applies the writes of the log to the index, in order, in batches of one store version each."""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from shelfwise.classifier.changing import maintenance
from shelfwise.indexer.errors import QueryError, ShelfwiseError
from shelfwise.indexer.item import Item
from shelfwise.indexer.store.manifest import read_manifest
from shelfwise.service.served import Served
from shelfwise.service.writes import Write, WriteLog

# Number of a write, and the loop and future of a request that waits for it.
Waiter = tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]

AGAIN = 1.0  # seconds before a retry when the store cannot be written, as when another writer holds it
log = logging.getLogger("shelfwise")


class Writer:
    """A thread that applies queued writes to the index. `problem` says in one line why it cannot at the moment."""

    def __init__(self, written: WriteLog, served: Served) -> None:
        self.problem = ""
        self._log, self._served = written, served
        self._arrived, self._ended = threading.Event(), threading.Event()
        self._alone, self._asked = threading.Lock(), list[Waiter]()
        self._thread = threading.Thread(target=self._run, name="writer")

    def start(self) -> None:
        """Start the thread, which first applies the writes left by an earlier run."""
        self.wake()
        self._thread.start()

    def wake(self) -> None:
        """Wake the thread to apply the waiting writes of the log."""
        self._arrived.set()

    def stop(self) -> None:
        """Stop after the current batch. Waiting writes stay in the log."""
        self._ended.set()
        self.wake()
        self._thread.join()

    async def indexed(self, number: int, seconds: float) -> Write:
        """Return write `number` once it is settled or refused, or as it is after `seconds`."""
        loop = asyncio.get_running_loop()
        settled: asyncio.Future[None] = loop.create_future()
        with self._alone:
            self._asked.append((number, loop, settled))
        self.wake()
        with suppress(TimeoutError):
            await asyncio.wait_for(settled, seconds)
        return await asyncio.to_thread(self._log.find, number)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._arrived.wait()
            self._arrived.clear()
            while not self._ended.is_set() and not self._all_written():
                self._ended.wait(AGAIN)

    def _all_written(self) -> bool:
        """Apply all waiting writes. Return True if none is left; otherwise `problem` says why."""
        try:
            while not self._ended.is_set() and (writes := self._log.waiting()):
                if left := self._settle_landed(writes):
                    self._write(left)
                self.problem = ""  # before requests wake: they may write again at once
                self._tell()
            self.problem = ""
            self._tell()
            return True
        except ShelfwiseError as error:
            if self.problem != str(error):
                log.warning("cannot apply writes, will retry: %s", error)
            self.problem = str(error)
        except Exception:
            log.exception("cannot apply writes, will retry")
            self.problem = "internal error; see the service's log"
        return False

    def _settle_landed(self, writes: Sequence[Write]) -> list[Write]:
        """Settle the writes that the store has already, and return the others.

        A failure or a kill can come after the commit to the store and before the update of the log.
        """
        newest = read_manifest(self._served.path)
        landed = [write.number for write in writes if write.number <= newest.written]
        if landed:
            self._log.settle(landed, newest.version)
        return list(writes[len(landed) :])

    def _write(self, writes: Sequence[Write]) -> None:
        """Settle or refuse some writes. If several cannot be applied together, try each one alone."""
        try:
            self._log.settle([write.number for write in writes], self._put(writes))
        except QueryError as error:
            if len(writes) == 1:
                self._log.refuse(writes[0].number, error)
            else:
                for write in writes:
                    self._write([write])

    def _put(self, writes: Sequence[Write]) -> int:
        """Apply some writes as one store version, serve it, and return its number."""
        ids = list(dict.fromkeys(id_ for write in writes for id_ in write.ids))
        index = self._served.refresh().index
        final, catalog = index.items(ids), index.of_catalog(ids)
        before, theirs = dict[int, Sequence[Item]](), dict[int, Sequence[str]]()
        for write in writes:
            undone = None if write.undoes is None else self._log.find(write.undoes)
            if undone:
                _require_as_left(undone, final)
            before[write.number] = [final[id_] for id_ in write.ids if id_ in final]
            theirs[write.number] = [id_ for id_ in write.ids if id_ in catalog]
            for id_ in write.removed:
                final.pop(id_, None)
            final |= {item.id: item for item in write.items}
            catalog = catalog - set(write.ids) | set(undone.catalog if undone else ())
        self._log.remember(before, theirs, index.snapshot.manifest.version)
        edit = maintenance.Edit(
            items={id_: final[id_] for id_ in ids if id_ in final},
            removed=[id_ for id_ in ids if id_ not in final],
            catalog=catalog,
            command=f"writes {writes[0].number} to {writes[-1].number}",
            at=index.snapshot.manifest.version,
        )
        report = maintenance.apply(self._served.path, edit, reuse=index)
        self._served.refresh()
        for write in writes:
            log.info("write %d by %s: %s", write.number, write.who, write.what)
        return report.version

    def _tell(self) -> None:
        """Wake the requests whose write has been settled or refused."""
        waiting = self._log.waiting_numbers()
        with self._alone:
            told = [asked for asked in self._asked if asked[0] not in waiting]
            self._asked = [asked for asked in self._asked if asked[0] in waiting]
        for _, loop, settled in told:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_set, settled)


def _require_as_left(undone: Write, items: Mapping[str, Item]) -> None:
    """Raise QueryError if an item has changed since the write to undo, other than by a later write."""
    left = {item.id: item for item in undone.items}
    for id_ in undone.ids:
        if items.get(id_) != left.get(id_):
            raise QueryError(
                "changed_since",
                f"item {id_!r} has changed since write {undone.number}",
                "items unchanged since that write",
                "correct the item; a catalog or a command changed it",
            )


def _set(settled: "asyncio.Future[None]") -> None:
    if not settled.done():
        settled.set_result(None)
