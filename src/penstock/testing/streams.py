"""What every stream log must do. Subclass `StreamLogContract` and give it a fixture `log`.

class TestMyLog(StreamLogContract):
    @pytest.fixture
    async def log(self, tmp_path):
        log = await my_package.open_log(Streams(), tmp_path, clock())
        yield log
        await log.aclose()
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import pairwise

from penstock.core import events as ev
from penstock.core.errors import (
    GatewayError,
    InternalError,
    InvalidRequestError,
    UnknownStreamError,
)
from penstock.core.events import BEGINNING, TERMINAL, Entry, Event, Seq, StreamId
from penstock.core.messages import say
from penstock.core.ports import Head, Reader, StreamLog
from penstock.core.request import Request

SECONDS = 20.0
"""How long anything may take before the suite calls it stuck. No speed is tested."""


def clock() -> Callable[[], int]:
    """Milliseconds since the epoch."""
    return lambda: time.time_ns() // 1_000_000


def head(stream: str, owner: str = "local", prompt: str = "hello", created: int = 1_000) -> Head:
    """A head for tests."""
    return Head(
        stream=stream,
        owner=owner,
        dialect="openai_chat",
        created=created,
        binding="demo",
        model="penstock-demo",
        request=Request(model="demo", messages=(say("user", prompt),), stream=True),
    )


def start(stream: str) -> ev.Start:
    """The event that every stream begins with."""
    return ev.Start(
        stream=stream, asked="demo", binding="demo", model="penstock-demo", created=1_000
    )


def begin(log: StreamLog, stream: str, owner: str = "local", created: int = 1_000) -> StreamId:
    """Creates a stream and appends its `Start`."""
    log.create(head(stream, owner, created=created))
    log.append(StreamId(stream), [start(stream)])
    return StreamId(stream)


def text(value: str) -> ev.TextDelta:
    """A piece of the answer."""
    return ev.TextDelta(part=0, text=value)


def whole(log: StreamLog, stream: str, count: int) -> list[Event]:
    """Writes a stream of `count` events in batches of one to three; returns its events."""
    events: list[Event] = [start(stream)]
    events += [text(f"piece {n} é☃😀 ") for n in range(count - 2)]
    events.append(ev.Done(reason="stop"))
    log.create(head(stream))
    at = 0
    while at < count:
        size = 1 + at % 3
        log.append(StreamId(stream), events[at : at + size])
        at += size
    return events


async def take(reader: Reader) -> Sequence[Entry]:
    """One take that may not hang."""
    async with asyncio.timeout(SECONDS):
        return await reader.take()


async def rest(reader: Reader) -> list[Entry]:
    """Everything up to the end."""
    found: list[Entry] = []
    while entries := await take(reader):
        found += entries
    return found


async def read(log: StreamLog, stream: str, after: int = 0) -> list[Entry]:
    """Everything after `after`, up to the end."""
    reader = log.reader(StreamId(stream), Seq(after))
    try:
        return await rest(reader)
    finally:
        reader.close()


async def raises(kind: type[GatewayError], doing: Callable[[], object]) -> None:
    """Asserts that `doing`, or what it returns when awaited, raises `kind`."""
    try:
        result = doing()
        if asyncio.iscoroutine(result):
            async with asyncio.timeout(SECONDS):
                await result
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


class StreamLogContract:
    """The rules of the port `StreamLog`, one a test."""

    async def test_order_and_numbers(self, log: StreamLog) -> None:
        """Entries come in order, numbered from 1 without gaps, with times that never go back."""
        events = whole(log, "s", 50)
        assert await log.settled(StreamId("s")) == 50
        entries = await read(log, "s")
        assert [entry.event for entry in entries] == events
        assert [entry.seq for entry in entries] == list(range(1, 51))
        assert entries[0].ms == 0
        assert all(a.ms <= b.ms for a, b in pairwise(entries))

    async def test_append_returns_the_last_seq(self, log: StreamLog) -> None:
        """`append` names the place of its last event; an empty batch changes nothing."""
        log.create(head("s"))
        assert log.append(StreamId("s"), [start("s"), text("a")]) == 2
        assert log.append(StreamId("s"), [text("b")]) == 3
        assert log.append(StreamId("s"), []) == 3
        assert log.append(StreamId("s"), [ev.Done(reason="stop")]) == 4

    async def test_follow_before_append(self, log: StreamLog) -> None:
        """A reader that waits is woken by the first batch and by each later one."""
        log.create(head("s"))
        reader = log.reader(StreamId("s"), BEGINNING)
        found: list[Entry] = []
        async with asyncio.TaskGroup() as tasks:
            for batch in ([start("s")], [text("a"), text("b")], [ev.Done(reason="stop")]):
                waiting = tasks.create_task(take(reader))
                await asyncio.sleep(0)
                log.append(StreamId("s"), batch)
                found += await waiting
        assert [entry.seq for entry in found] == [1, 2, 3, 4]
        assert not await take(reader)
        reader.close()

    async def test_follow_after_done(self, log: StreamLog) -> None:
        """An ended stream is read like a live one, then takes are empty for ever."""
        events = whole(log, "s", 7)
        await log.settled(StreamId("s"))
        reader = log.reader(StreamId("s"), BEGINNING)
        assert [entry.event for entry in await rest(reader)] == events
        assert not await take(reader)
        reader.close()
        reader.close()

    async def test_resume_after_every_seq(self, log: StreamLog) -> None:
        """A reader that comes back gets exactly the rest, the same as the first time."""
        whole(log, "s", 40)
        await log.settled(StreamId("s"))
        entries = await read(log, "s")
        for after in range(41):
            assert await read(log, "s", after) == entries[after:]

    async def test_cursor_past_the_end(self, log: StreamLog) -> None:
        """It is given nothing, and `info` says how the stream ended."""
        whole(log, "s", 5)
        await log.settled(StreamId("s"))
        assert await read(log, "s", 6) == []
        assert await read(log, "s", 5_000) == []
        info = await log.info(StreamId("s"))
        assert (info.state, info.events) == ("done", 5)

    async def test_cursor_past_the_end_of_a_live_stream(self, log: StreamLog) -> None:
        """It waits for what comes after it, or for the end."""
        stream = begin(log, "s")
        reader = log.reader(stream, Seq(3))
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(take(reader))
            log.append(stream, [text("2"), text("3")])
            await asyncio.sleep(0.01)
            assert not waiting.done()
            log.append(stream, [text("4")])
            assert [entry.seq for entry in await waiting] == [4]
        log.append(stream, [ev.Done(reason="stop")])
        assert [entry.seq for entry in await rest(reader)] == [5]

    async def test_two_readers(self, log: StreamLog) -> None:
        """Each has its own place; both are given everything."""
        stream = begin(log, "s")
        early, late = log.reader(stream, BEGINNING), log.reader(stream, BEGINNING)
        found = list(await take(early))
        for n in range(20):
            log.append(stream, [text(str(n))])
            found += await take(early)
        log.append(stream, [ev.Done(reason="length")])
        found += await rest(early)
        assert await rest(late) == found
        assert len(found) == 22

    async def test_slow_reader(self, log: StreamLog) -> None:
        """A reader that is far behind neither loses anything nor holds up the writer."""
        stream = begin(log, "s")
        slow = log.reader(stream, BEGINNING)
        assert [entry.seq for entry in await take(slow)] == [1]
        for n in range(3_000):
            assert log.append(stream, [text(str(n))]) == n + 2
            if n % 100 == 0:
                await log.settled(stream)
        log.append(stream, [ev.Done(reason="stop")])
        entries = await rest(slow)
        assert [entry.seq for entry in entries] == list(range(2, 3_003))
        assert entries == (await read(log, "s"))[1:]

    async def test_batch_atomicity(self, log: StreamLog) -> None:
        """A batch is seen whole or not at all by whoever is at the end."""
        stream = begin(log, "s")
        reader = log.reader(stream, Seq(1))
        for size in (1, 2, 5, 100):
            last = log.append(stream, [text(str(n)) for n in range(size)])
            entries = await take(reader)
            assert (len(entries), entries[-1].seq) == (size, last)

    async def test_long_stream(self, log: StreamLog) -> None:
        """500 events of every type come back as they were."""
        stream = begin(log, "s")
        kinds: list[Event] = [
            ev.Progress(what="queued", at=1, of=2, text="wait"),
            ev.ReasoningDelta(part=0, text="hm", opaque="sig"),
            ev.TextDelta(part=1, text="line\u2028end \x00 \U0001f600", choice=1),
            ev.ToolCallDelta(part=2, call="call_1", name="add", arguments='{"a":'),
            ev.Image(part=3, blob=ev.Blob(sha256="0" * 64, media_type="image/png", size=9)),
            ev.Finish(choice=1, reason="length"),
            ev.Usage(input_tokens=1, output_tokens=2, timings=ev.Timings(load=3)),
        ]
        events = [kinds[n % len(kinds)] for n in range(498)]
        for at in range(0, 498, 2):
            log.append(stream, events[at : at + 2])
        failed = ev.Failed(code="engine_failed", message="broke", retryable=True)
        log.append(stream, [failed])
        assert await log.settled(stream) == 500
        assert [e.event for e in await read(log, "s")] == [start("s"), *events, failed]
        assert (await log.info(stream)).state == "failed"

    async def test_big_payload(self, log: StreamLog) -> None:
        """Big prompts and big events keep their place among small ones."""
        prompt = "p" * 300_000
        log.create(head("s", prompt=prompt))
        stream = StreamId("s")
        events: list[Event] = [
            start("s"),
            text("small"),
            text("b" * 200_000),
            text("after"),
            text("c" * 100_000),
            ev.Done(reason="stop"),
        ]
        for event in events:
            log.append(stream, [event])
        assert (await log.head(stream)).request.messages[0].text == prompt
        assert await log.settled(stream) == 6
        assert [entry.event for entry in await read(log, "s")] == events
        assert [entry.event for entry in await read(log, "s", 3)] == events[3:]

    async def test_head(self, log: StreamLog) -> None:
        """The head is there from the beginning and stays."""
        stream = begin(log, "s")
        assert await log.head(stream) == head("s")
        log.append(stream, [ev.Done(reason="stop")])
        await log.settled(stream)
        assert await log.head(stream) == head("s")

    async def test_ownership_and_listing(self, log: StreamLog) -> None:
        """Listings show one owner's streams, or all, the newest first, live ones too."""
        for n in range(6):
            stream = begin(log, f"s{n}", owner=f"key{n % 2}", created=1_000 + n)
            if n < 4:
                log.append(stream, [ev.Done(reason="cancelled" if n == 3 else "stop")])
            await log.settled(stream)
        everything = await log.recent(None, 100)
        assert [info.stream for info in everything] == ["s5", "s4", "s3", "s2", "s1", "s0"]
        states = [info.state for info in everything]
        assert states == ["live", "live", "cancelled", "done", "done", "done"]
        assert [info.stream for info in await log.recent("key1", 100)] == ["s5", "s3", "s1"]
        assert [info.stream for info in await log.recent(None, 2)] == ["s5", "s4"]
        assert await log.recent("nobody", 100) == []
        info = await log.info(StreamId("s3"))
        assert (info.owner, info.events, info.ended is not None) == ("key1", 2, True)
        assert info.bytes > 0

    async def test_blobs(self, log: StreamLog) -> None:
        """Bytes beside the log are kept once, belong to their streams and go with the last one."""
        data = b"picture" * 50_000
        for name in ("a", "b"):
            kept = await log.put_blob(begin(log, name), data, "image/png")
            log.append(StreamId(name), [ev.Image(part=1, blob=kept), ev.Done(reason="stop")])
            await log.settled(StreamId(name))
        sha = sha256(data).hexdigest()
        await raises(UnknownStreamError, lambda: log.blob(begin(log, "c"), sha))
        await log.erase(StreamId("a"))
        await raises(UnknownStreamError, lambda: log.blob(StreamId("a"), sha))
        assert await log.blob(StreamId("b"), sha) == data

    async def test_erase(self, log: StreamLog) -> None:
        """An erased stream is unknown everywhere; a live one can't be erased."""
        whole(log, "s", 5)
        await log.settled(StreamId("s"))
        live = begin(log, "live")
        await raises(InvalidRequestError, lambda: log.erase(live))
        await log.erase(StreamId("s"))
        await self._is_unknown(log, "s")
        assert [(i.stream, i.state) for i in await log.recent(None, 9)] == [("live", "live")]

    async def test_unknown_stream(self, log: StreamLog) -> None:
        await self._is_unknown(log, "nope")
        await raises(UnknownStreamError, lambda: log.append(StreamId("nope"), [text("x")]))

    async def _is_unknown(self, log: StreamLog, name: str) -> None:
        stream = StreamId(name)
        await raises(UnknownStreamError, lambda: log.info(stream))
        await raises(UnknownStreamError, lambda: log.head(stream))
        await raises(UnknownStreamError, lambda: log.erase(stream))
        await raises(UnknownStreamError, lambda: log.settled(stream))
        # At `reader`, or at the first `take` of a log that has to look for the stream.
        await raises(UnknownStreamError, lambda: read(log, name))

    async def test_misuse(self, log: StreamLog) -> None:
        """One `Start`, one terminal, one stream of a name."""
        log.create(head("s"))
        stream = StreamId("s")
        await raises(InvalidRequestError, lambda: log.create(head("s")))
        await raises(InternalError, lambda: log.append(stream, [text("no start")]))
        log.append(stream, [start("s"), ev.Done(reason="stop")])
        await raises(InternalError, lambda: log.append(stream, [text("too late")]))
        assert [e.seq for e in await read(log, "s")] == [1, 2]

    async def test_cancelled_take_loses_nothing(self, log: StreamLog) -> None:
        """A take that is given up, as a heartbeat does, takes nothing with it."""
        stream = begin(log, "s")
        reader = log.reader(stream, Seq(1))
        for n in range(5):
            try:
                async with asyncio.timeout(0.005):
                    await reader.take()
            except TimeoutError:
                pass
            log.append(stream, [text(str(n))])
            entries = await take(reader)
            assert [e.seq for e in entries] == [n + 2]

    async def test_closed_reader(self, log: StreamLog) -> None:
        """Closing ends a take that waits, and leaves other readers alone."""
        stream = begin(log, "s")
        closing, staying = log.reader(stream, Seq(1)), log.reader(stream, Seq(1))
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(take(closing))
            other = tasks.create_task(take(staying))
            await asyncio.sleep(0.01)
            closing.close()
            assert not await waiting
            log.append(stream, [text("a")])
            assert [e.seq for e in await other] == [2]

    async def test_status(self, log: StreamLog) -> None:
        """It says how many streams are live and that the log can be written."""
        before = log.status()
        assert (before.writable, before.trouble, before.live) == (True, None, 0)
        stream = begin(log, "s")
        await log.settled(stream)
        during = log.status()
        assert (during.live, during.backlog_bytes) == (1, 0)
        assert during.bytes > before.bytes
        log.append(stream, [ev.Done(reason="stop")])
        await log.settled(stream)
        assert log.status().live == 0

    async def test_many_streams_at_once(self, log: StreamLog) -> None:
        """Streams do not mix."""
        names = [f"s{n}" for n in range(40)]
        for name in names:
            begin(log, name)
        for n in range(10):
            for name in names:
                log.append(StreamId(name), [text(f"{name}.{n} ")])
            await asyncio.sleep(0)
        for name in names:
            log.append(StreamId(name), [ev.Done(reason="stop")])
        for name in names:
            entries = await read(log, name)
            said = [e.event.text for e in entries if isinstance(e.event, ev.TextDelta)]
            assert said == [f"{name}.{n} " for n in range(10)]
            assert isinstance(entries[-1].event, TERMINAL)
