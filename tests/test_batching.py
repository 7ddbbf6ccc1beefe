"""Request batching: answers in order, shared batches, and refusal of surplus requests."""

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.service import batching
from shelfwise.service.batching import Batcher, OverloadError


def doubled(asks: list[int]) -> list[int]:
    return [2 * ask for ask in asks]


@given(st.lists(st.lists(st.integers(), max_size=100), max_size=12))
def test_each_request_gets_its_answers_in_order(requests):
    async def ask_all() -> list[list[int]]:
        async with Batcher(doubled, 16) as batcher:
            return await asyncio.gather(*(submit_with_retries(batcher, asks) for asks in requests))

    assert asyncio.run(ask_all()) == [doubled(asks) for asks in requests]


async def submit_with_retries(batcher: Batcher[int, int], asks: list[int]) -> list[int]:
    while True:
        try:
            return await batcher.submit(asks)
        except OverloadError:
            await asyncio.sleep(0.001)


def test_a_request_is_accepted_with_another_one_while_there_is_room(monkeypatch):
    monkeypatch.setattr(batching, "usable_threads", lambda: 1)
    go = threading.Event()

    def work(asks: list[int]) -> list[int]:
        go.wait(10)
        return doubled(asks)

    async def ask_all() -> list[list[int]]:
        async with Batcher(work, 64) as batcher:
            both = [asyncio.create_task(batcher.submit(asks)) for asks in ([1], list(range(batching.SMALL)))]
            await asyncio.sleep(0.05)
            go.set()
            return await asyncio.gather(*both)

    assert asyncio.run(ask_all()) == [[2], doubled(list(range(batching.SMALL)))]


def test_waiting_requests_share_a_batch_and_the_surplus_is_refused(monkeypatch):
    monkeypatch.setattr(batching, "usable_threads", lambda: 1)
    sizes, go = [], threading.Event()

    def work(asks: list[int]) -> list[int]:
        sizes.append(len(asks))
        go.wait(10)
        return doubled(asks)

    async def ask_all() -> None:
        async with Batcher(work, 16) as batcher:
            first = asyncio.create_task(batcher.submit([0]))
            second = asyncio.create_task(batcher.submit([0]))
            while len(sizes) < 1:
                await asyncio.sleep(0.01)
            others = [asyncio.create_task(batcher.submit([i])) for i in range(batching.UNANSWERED)]
            await asyncio.sleep(0.05)
            assert batcher.is_full
            with pytest.raises(OverloadError):
                await batcher.submit([1])
            go.set()
            assert await first == await second == [0]
            answered = await asyncio.gather(*others, return_exceptions=True)
            refused = [one for one in answered if isinstance(one, OverloadError)]
            assert len(answered) - len(refused) == batching.UNANSWERED - 2
            assert not batcher.is_full and batcher.waiting == 0
        assert max(sizes) > 1

    asyncio.run(ask_all())


def test_large_requests_do_not_delay_small_ones():
    order = []

    def work(asks: list[int]) -> list[int]:
        order.append(asks)
        time.sleep(0.002)
        return doubled(asks)

    async def ask_all() -> None:
        async with Batcher(work, 16) as batcher:
            large = asyncio.create_task(batcher.submit(list(range(1000))))
            await asyncio.sleep(0.02)
            small = asyncio.create_task(batcher.submit([-1]))
            assert await small == [-2]
            assert not large.done()
            assert await large == doubled(list(range(1000)))
            assert max(map(len, order)) <= 16

    asyncio.run(ask_all())


def test_a_failure_reaches_its_requests_and_later_ones_are_answered():
    def work(asks: list[int]) -> list[int]:
        if 13 in asks:
            raise ValueError("no")
        return doubled(asks)

    async def ask_all() -> None:
        async with Batcher(work) as batcher:
            with pytest.raises(ValueError, match="no"):
                await batcher.submit([13])
            assert await batcher.submit([1]) == [2]
            gone = asyncio.create_task(batcher.submit([2]))
            await asyncio.sleep(0)
            gone.cancel()
            assert await batcher.submit([3]) == [6]
            assert batcher.waiting == 0

    asyncio.run(ask_all())
