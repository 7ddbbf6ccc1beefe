"""Collects doubtful decisions and stores them in the review queue in batches, in the background."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from shelfwise.classifier.model.decision import Decision
from shelfwise.indexer.errors import StoreError
from shelfwise.indexer.item import Item
from shelfwise.service.reviews import OPEN_MOST, ReviewQueue, is_doubtful

FLUSH_SECONDS = 0.5  # between two flushes
log = logging.getLogger("shelfwise")


class Intake:
    """Doubtful decisions that are not stored in the review queue yet."""

    def __init__(self, queue: ReviewQueue) -> None:
        self._queue, self._waiting = queue, list[tuple[Item, Decision]]()
        self._alone = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._task
        self._task.cancel()
        await self.flush()

    def put(self, listings: Sequence[Item], decisions: Sequence[Decision]) -> None:
        """Collect the doubtful ones of some decisions. Beyond OPEN_MOST, drop the rest until the next flush."""
        pairs = zip(listings, decisions, strict=True)
        self._waiting += [pair for pair in pairs if is_doubtful(pair[1])][: OPEN_MOST - len(self._waiting)]

    async def flush(self) -> None:
        """Store the collected decisions in the review queue."""
        async with self._alone:
            waiting, self._waiting = self._waiting, []
            if not waiting:
                return
            try:
                await asyncio.to_thread(self._queue.put, *zip(*waiting, strict=True))
            except StoreError as error:  # a full disk must not fail requests
                log.warning("%d doubtful decisions not added to the review queue: %s", len(waiting), error)

    async def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
