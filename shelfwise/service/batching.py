"""Batches the queries of concurrent requests, so that one call answers many of them."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Generic, Self, TypeVar

from shelfwise.indexer.threads import usable_threads

In = TypeVar("In")
Out = TypeVar("Out")

ASKS_AT_ONCE = 64  # queries per batch; larger batches add latency and little throughput
BATCHES = 2  # batches in progress at a time
GATHER_SECONDS = 0.002  # that an idle batcher waits for more queries after the first one
SMALL = 32  # most queries of a small request, which goes before the large ones
UNANSWERED = 16  # most unanswered queries of small requests per thread, to limit the latency
LARGE_WAITING = 4  # most large requests that wait
RETRY_AFTER = 1  # seconds, for the Retry-After header
SERVER_BUSY = f"Server busy; retry in {RETRY_AFTER} second."
OVERLOADED = "overloaded"  # the error code of SERVER_BUSY


class OverloadError(Exception):
    """The server is busy. The client should retry in RETRY_AFTER seconds."""


@dataclass
class _Request(Generic[In, Out]):
    """The queries of one request, and the answers so far."""

    asks: Sequence[In]
    answer: asyncio.Future[list[Out]]
    taken: int = 0
    answers: list[Out] = field(default_factory=list)

    def take(self, most: int) -> list[In]:
        part = list(islice(self.asks, self.taken, self.taken + most))
        self.taken += len(part)
        return part


class Batcher(Generic[In, Out]):
    """Calls `work` in worker threads with the queries of all waiting requests, up to `at_once` queries a batch.

    BATCHES run at a time: while one is embedded, the other is searched and decided. Small requests go first, each
    within one batch. Large requests are split and take turns, so that none delays the others.
    """

    def __init__(self, work: Callable[[list[In]], list[Out]], at_once: int = ASKS_AT_ONCE) -> None:
        self._work, self._at_once = work, at_once
        self._small, self._large = deque[_Request[In, Out]](), deque[_Request[In, Out]]()
        self._arrived, self._threads = asyncio.Event(), ThreadPoolExecutor(BATCHES, "batch")
        self._tasks: list[asyncio.Task[None]] = []
        self._unanswered, self._most = 0, UNANSWERED * usable_threads()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(BATCHES)]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(cancel_futures=True)

    @property
    def waiting(self) -> int:
        """The number of queries that are in no batch yet."""
        return sum(len(request.asks) - request.taken for request in (*self._small, *self._large))

    @property
    def is_full(self) -> bool:
        """True if the limit of unanswered queries of small requests is reached."""
        return self._unanswered >= self._most

    async def submit(self, asks: Sequence[In]) -> list[Out]:
        """Return one answer per query, in order. Raise OverloadError when too many wait, and any error of `work`."""
        if not asks:
            return []
        request = _Request[In, Out](asks, asyncio.get_running_loop().create_future())
        if len(asks) <= SMALL:
            if self.is_full:
                raise OverloadError
            self._small.append(request)
            self._unanswered += len(asks)
            request.answer.add_done_callback(partial(self._answered, len(asks)))
        else:
            if len(self._large) >= LARGE_WAITING:
                raise OverloadError
            self._large.append(request)
        self._arrived.set()
        return await request.answer

    def _answered(self, asks: int, _: object) -> None:
        self._unanswered -= asks

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._small and not self._large:
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(GATHER_SECONDS)
            batch = self._taken()
            asks = [ask for _, part in batch for ask in part]
            try:
                answers = iter(await loop.run_in_executor(self._threads, self._work, asks) if asks else [])
            except Exception as error:  # goes to the requests of this batch; later batches may succeed
                for request, _ in batch:
                    if not request.answer.done():
                        request.answer.set_exception(error)
                continue
            for request, part in batch:
                request.answers += islice(answers, len(part))
                if len(request.answers) == len(request.asks):
                    if not request.answer.done():
                        request.answer.set_result(request.answers)
                elif not request.answer.done():
                    self._large.append(request)

    def _taken(self) -> list[tuple[_Request[In, Out], list[In]]]:
        """Return the next batch: requests with their queries in it. Drop requests that no client waits for."""
        batch, room = list[tuple[_Request[In, Out], list[In]]](), self._at_once
        kept = self._at_once // 2 if self._large else 0  # for a large one, past any number of small ones
        while self._small and (room - kept >= len(self._small[0].asks) or not batch):
            request = self._small.popleft()
            if not request.answer.done():
                batch.append((request, request.take(len(request.asks))))
                room -= len(request.asks)
        if self._large and room > 0:
            request = self._large.popleft()
            if not request.answer.done():
                batch.append((request, request.take(room)))
        return batch
