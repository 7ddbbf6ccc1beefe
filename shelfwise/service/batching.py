"""What requests ask for while others are being answered, answered together."""

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

ASKS_AT_ONCE = 64  # asks that are answered together: with more everybody waits longer, and little is gained
BATCHES = 2  # that are worked on at a time
GATHER_SECONDS = 0.002  # seconds that the first ask waits for others where nothing is being answered
SMALL = 32  # asks of a request that goes before the larger ones
UNANSWERED = 16  # asks of small requests for each thread that may be unanswered: with more, all would wait too long
LARGE_WAITING = 4  # larger requests that wait at most
SERVER_BUSY = "too much is being asked: come again soon"  # what those who are refused are told
OVERLOADED = "overloaded"  # its code
RETRY_AFTER = 1  # seconds after which those that are refused should come again


class OverloadError(Exception):
    """More waits than may: come again in RETRY_AFTER seconds."""


@dataclass
class _Request(Generic[In, Out]):
    """The asks of one request, and the answers so far."""

    asks: Sequence[In]
    answer: asyncio.Future[list[Out]]
    taken: int = 0
    answers: list[Out] = field(default_factory=list)

    def take(self, most: int) -> list[In]:
        part = list(islice(self.asks, self.taken, self.taken + most))
        self.taken += len(part)
        return part


class Batcher(Generic[In, Out]):
    """Calls `work` in threads of its own with what all requests ask that wait, up to ASKS_AT_ONCE asks at a time.

    BATCHES are worked on at a time: while one of them is encoded, the other is searched for and decided. Small requests
    go first and whole; of the large ones each gets a part in its turn, so that none holds up the others.
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
        """Asks that nothing was done for yet."""
        return sum(len(request.asks) - request.taken for request in (*self._small, *self._large))

    @property
    def is_full(self) -> bool:
        """Whether not one more ask would be taken."""
        return self._unanswered >= self._most

    async def submit(self, asks: Sequence[In]) -> list[Out]:
        """One answer for each ask, in order. Raises OverloadError where too many wait, and what `work` raises."""
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
            except Exception as error:  # the requests have it; the next ones may go well
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
        """The next batch: some requests, and what of their asks is in it. Those that nobody waits for are dropped."""
        batch, room = list[tuple[_Request[In, Out], list[In]]](), self._at_once
        kept = self._at_once // 2 if self._large else 0  # for a large one, however many small ones come
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
