import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.core.errors import EngineTimeoutError
from penstock.engines._threads import Feed

Report = Callable[[int], bool]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def drained(feed: Feed[int]) -> list[list[int]]:
    batches: list[list[int]] = []
    while batch := await feed.take():
        batches.append(batch)
    return batches


async def test_nothing_is_lost_and_order_is_kept(pool: ThreadPoolExecutor) -> None:
    def work(report: Report) -> None:
        for n in range(20_000):
            report(n)

    batches = await drained(Feed(pool, work))
    assert [n for batch in batches for n in batch] == list(range(20_000))


async def test_what_comes_while_the_loop_is_busy_is_one_batch_and_one_wake_up(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    wake_ups: list[object] = []
    real = loop.call_soon_threadsafe

    def counted(call: Callable[..., object], *args: object) -> object:
        wake_ups.append(call)
        return real(call, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    reported = threading.Event()
    go_on = threading.Event()

    def work(report: Report) -> None:
        for n in range(500):
            report(n)
        reported.set()
        go_on.wait(10)

    feed = Feed[int](pool, work)
    reported.wait(10)  # on purpose on the loop: it can't turn meanwhile
    assert len(wake_ups) == 1
    assert await feed.take() == list(range(500))
    go_on.set()
    assert await feed.take() == []


async def test_one_item_alone_is_given_at_once(pool: ThreadPoolExecutor) -> None:
    go_on = threading.Event()

    def work(report: Report) -> None:
        report(1)
        go_on.wait(10)
        report(2)

    feed = Feed[int](pool, work)
    assert await feed.take() == [1]
    go_on.set()
    assert await feed.take() == [2]
    assert await feed.take() == []


async def test_cancelling_stops_the_call_at_its_next_report(pool: ThreadPoolExecutor) -> None:
    stopped = threading.Event()
    over = asyncio.Event()

    def work(report: Report) -> None:
        while not report(1):
            pass
        stopped.set()

    feed = Feed[int](pool, work)
    feed.when_over(over.set)
    assert set(await feed.take()) == {1}
    feed.cancel()
    feed.cancel()
    await asyncio.wait_for(over.wait(), 10)
    assert stopped.is_set()


async def test_a_call_that_has_not_begun_never_does(pool: ThreadPoolExecutor) -> None:
    go_on = threading.Event()
    begun: list[int] = []
    over = asyncio.Event()

    def work(_: Report) -> None:
        go_on.wait(10)

    first = Feed[int](pool, work)
    second = Feed[int](pool, lambda _: begun.append(1))
    second.when_over(over.set)
    second.cancel()
    await asyncio.wait_for(over.wait(), 10)
    go_on.set()
    assert await first.take() == []
    assert begun == []


async def test_its_error_comes_after_what_it_reported(pool: ThreadPoolExecutor) -> None:
    def work(report: Report) -> None:
        report(7)
        raise ValueError("broken")

    feed = Feed[int](pool, work)
    assert await feed.take() == [7]
    with pytest.raises(ValueError, match="broken"):
        await feed.take()


async def test_silence_is_an_error(pool: ThreadPoolExecutor) -> None:
    go_on = threading.Event()

    def work(report: Report) -> None:
        report(1)
        go_on.wait(30)

    feed = Feed[int](pool, work)
    feed.allow(20)
    assert await feed.take() == [1]
    feed.allow(0.05)
    with pytest.raises(EngineTimeoutError, match=r"0\.05 seconds"):
        await feed.take()
    feed.cancel()
    go_on.set()


async def test_a_later_deadline_moves_the_alarm(pool: ThreadPoolExecutor) -> None:
    go_on = threading.Event()

    def work(report: Report) -> None:
        go_on.wait(30)
        report(1)

    feed = Feed[int](pool, work)
    feed.allow(0.05)
    feed.allow(20)
    asyncio.get_running_loop().call_later(0.2, go_on.set)
    assert await feed.take() == [1]
    feed.cancel()


def test_a_call_ends_when_its_loop_is_gone(pool: ThreadPoolExecutor) -> None:
    go_on = threading.Event()
    answers: list[bool] = []

    def work(report: Report) -> None:
        go_on.wait(10)
        answers.extend([report(1), report(2)])

    async def left_alone() -> None:
        Feed[int](pool, work)

    asyncio.run(left_alone())
    go_on.set()
    pool.shutdown()
    assert answers == [False, True]  # the first report finds out
