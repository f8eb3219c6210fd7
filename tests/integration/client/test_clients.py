"""Both faces at a real gateway, at servers that are none, and around an engine of this process."""

import asyncio
import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image as Pillow
from tests.contract.image_vectors import PICTURE
from tests.integration.client.conftest import recording
from tests.integration.client.faces import Face
from tests.integration.client.fault_proxy import FaultProxy
from tests.integration.embedded import DEMO, ENDLESS
from tests.integration.images_server import KEY, ImagesServer, images_server
from tests.integration.serving import FINISH, SSE_HEAD, Serving, Upstream, said, start

import penstock
from penstock import Done, GatewayError, Message, Start, TextDelta, ToolCallDelta, Usage
from penstock.client.aio import tool
from penstock.core import errors
from penstock.core.events import Failed
from penstock.core.messages import say

RECORDED = recording()
TEXT = "".join(event.text for event in RECORDED if isinstance(event, TextDelta))
WEATHER = tool(
    "get_weather",
    "Get the weather in a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


@pytest.fixture
async def client(face: Face, server: Serving) -> AsyncIterator[Any]:
    async with face.within(face.client(server.url)) as found:
        yield found


async def test_a_stream_as_text_as_events_and_as_a_whole(face: Face, client: Any):
    async with face.within(client.stream("Go", model="played/long")) as stream:
        events = await face.every(stream)
    assert isinstance(events[0], Start)
    assert events[1:] == RECORDED
    assert stream.id == events[0].stream
    assert stream.seq == 200
    assert stream.ended
    reply = await face.call(stream.result)
    assert reply.text == TEXT
    assert reply.tool_calls[0].arguments == '{"a":01234}'
    assert reply.usage == RECORDED[-2]
    async with face.within(client.stream("Go", model="played/long")) as stream:
        assert "".join(await face.every(stream.text())) == TEXT
    async with face.within(client.stream("Go", model="played/long")) as stream:
        assert (await face.call(stream.result)).text == TEXT
        assert await face.every(stream) == []


async def test_metrics_are_of_this_stream(face: Face, client: Any):
    async with face.within(client.stream("Go", model="paced/long")) as stream:
        assert stream.metrics.first_token is None
        await face.every(stream.text())
    metrics = stream.metrics
    assert metrics.events == 200
    assert metrics.tokens == 197
    assert 0 < metrics.first_token < 60
    assert metrics.tokens_per_second > 0
    assert 0 <= metrics.gap_p50 <= metrics.gap_p99 < 60


async def test_going_on_after_a_break_and_elsewhere(face: Face, client: Any):
    async with face.within(client.stream("Go", model="played/long")) as stream:
        pieces = stream.entries()
        step = pieces.__next__ if face.kind == "sync" else pieces.__anext__
        first = [await face.call(step) for _ in range(70)]
        rest = await face.every(stream.entries())
    assert [entry.seq for entry in first + rest] == list(range(1, 201))
    async with face.within(client.resume(stream.id, after=150)) as resumed:
        assert [entry.seq for entry in await face.every(resumed.entries())] == list(range(151, 201))
        assert (await face.call(resumed.result)).text == TEXT


async def test_nothing_follows_the_last_event(face: Face, client: Any):
    async with face.within(client.stream("Go", model="played/long")) as stream:
        assert len(await face.every(stream)) == 200
    async with face.within(client.resume(stream.id, after=200)) as resumed:
        assert await face.every(resumed) == []
        assert resumed.ended
        resumed.seek(900)
        assert await face.every(resumed) == []
        assert resumed.ended


async def test_seek_goes_both_ways(face: Face, client: Any):
    stream = client.stream("Go", model="played/long")
    async with face.within(stream):
        assert len(await face.every(stream)) == 200
        stream.seek(190)
        assert len(await face.every(stream)) == 10
        stream.seek(0)
        assert len(await face.every(stream.entries())) == 200
        with pytest.raises(errors.InvalidRequestError, match="seq counts from 1"):
            stream.seek(-1)
        with pytest.raises(errors.InvalidRequestError, match="seq counts from 1"):
            client.resume(stream.id, after=-1)


async def test_a_replay_has_the_times_of_the_log(face: Face, client: Any):
    async with face.within(client.stream("Go", model="played/long")) as stream:
        entries = await face.every(stream.entries())
    lasted = entries[-1].ms / 1000
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with face.within(stream.replay(speed=0.5)) as replayed:
        assert await face.every(replayed.entries()) == entries
    # The clock of the log has whole milliseconds.
    assert loop.time() - begun >= 2 * (lasted - 0.002)
    async with face.within(stream.replay(speed=0)) as replayed:
        assert await face.every(replayed.entries()) == entries


async def test_a_reader_that_is_interrupted_loses_nothing(server: Serving):
    async with penstock.AsyncClient(server.url) as client:
        async with client.stream("Go", model="played/long") as stream:
            entries = [entry async for entry in stream.entries()]
        got: list[penstock.Entry] = []
        async with stream.replay(speed=0.3) as slow:
            while not slow.ended or len(got) < 200:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        async for entry in slow.entries():
                            got.append(entry)
        assert got == entries


async def test_one_client_in_many_threads(server: Serving):
    with penstock.Client(server.url) as client:

        def read(_: int) -> str:
            with client.stream("Go", model="played/long") as stream:
                return "".join(stream.text())

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(read, range(16))) == {TEXT}


async def test_a_closed_stream_never_looks_like_a_whole_one(face: Face, client: Any):
    async with face.within(client.stream("Go", model="played/long")) as stream:
        pass
    with pytest.raises(errors.InvalidRequestError, match="closed before its end"):
        await face.every(stream.text())
    stream.seek(0)
    assert "".join(await face.every(stream.text())) == TEXT


async def test_cancel_stops_the_run_and_leaving_does_not(face: Face, client: Any):
    options: dict[str, Any] = {"model": "embedded/penstock-demo", "max_tokens": 900}
    async with face.within(client.stream("A long story", **options)) as stream:
        assert await face.call(stream.cancel)
        *_, last = await face.every(stream)
    assert last == Done(reason="cancelled")
    assert not await face.call(client.cancel, stream.id)
    async with face.within(client.stream("Go", model="played/long")) as left:
        pass
    reply = await face.call(client.resume(left.id).result)
    assert reply.text == TEXT
    (newest, *_) = await face.call(client.streams, 5)
    assert newest.stream == left.id


async def test_whole_answers_and_models(face: Face, client: Any):
    reply = await face.call(client.generate, "Hello!", temperature=0, max_tokens=5)
    assert reply.text
    assert reply.usage.output_tokens <= 5
    talk = [say("system", "Be kind."), {"role": "user", "content": "Hello!"}]
    assert (await face.call(client.chat, talk, temperature=0, max_tokens=5)).text
    names = [card.name for card in await face.call(client.models)]
    assert "penstock-demo" in names


async def test_a_tool_is_called_and_answered(face: Face, client: Any):
    options: dict[str, Any] = {"model": "embedded/penstock-demo", "temperature": 0}
    asked = say("user", "What is the weather in Paris?")
    stream = client.stream([asked], tools=[WEATHER], tool_choice="get_weather", **options)
    async with face.within(stream):
        events = await face.every(stream)
    assert any(isinstance(event, ToolCallDelta) for event in events)
    reply = await face.call(stream.result)
    (call,) = reply.tool_calls
    assert call.name == "get_weather"
    told: list[object] = [
        asked,
        Message(role="assistant", tool_calls=(call,)),
        {"role": "tool", "tool_call_id": call.id, "content": "Sunny"},
    ]
    reply = await face.call(client.chat, told, tools=[WEATHER], max_tokens=10, **options)
    assert reply.text or reply.tool_calls


async def test_json_by_a_schema(face: Face, client: Any):
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    reply = await face.call(
        client.generate, "Yes?", json_schema=schema, temperature=0, model="embedded/penstock-demo"
    )
    assert reply.text.replace(" ", "").startswith('{"a":')


@pytest.mark.parametrize("api", ["penstock", "openai", "ollama"])
async def test_a_session_goes_on(face: Face, server: Serving, api: str):
    """A Penstock keeps it; for others the client does."""
    block = face.client(server.url, api=api, model="penstock-demo")
    async with face.within(block) as client:
        session = client.session(f"{face.kind} {api}/1")
        options = {"max_tokens": 4, "temperature": 0}
        first = await face.call(session.generate, "Hello!", system="Be kind.", **options)
        async with face.within(session.stream("And?", **options)) as stream:
            second = "".join(await face.every(stream.text()))
        lines = [(line.role, line.content) for line in await face.call(session.history)]
        assert lines == [
            ("system", "Be kind."),
            ("user", "Hello!"),
            ("assistant", first.text),
            ("user", "And?"),
            ("assistant", second),
        ]
        await face.call(session.clear)
        await face.call(session.clear)
        with pytest.raises(errors.UnknownSessionError):
            await face.call(session.history)


@pytest.mark.parametrize("api", ["penstock", "openai"])
async def test_a_tool_is_called_and_answered_in_a_session(face: Face, server: Serving, api: str):
    block = face.client(server.url, api=api, model="embedded/penstock-demo")
    async with face.within(block) as client:
        session = client.session(f"{face.kind} {api} tools")
        options: dict[str, Any] = {"tools": [WEATHER], "temperature": 0, "max_tokens": 40}
        reply = await face.call(
            session.generate, "Weather in Paris?", tool_choice="get_weather", **options
        )
        (call,) = reply.tool_calls
        told = [{"role": "tool", "tool_call_id": call.id, "content": "Sunny"}]
        await face.call(session.generate, told, **options)
        roles = [line.role for line in await face.call(session.history) if line.role != "system"]
    assert roles == ["user", "assistant", "tool", "assistant"]


async def test_a_session_has_one_turn_at_a_time(face: Face, client: Any):
    session = client.session(f"{face.kind} busy")
    async with face.within(session.stream("A story", model="embedded/penstock-demo")) as stream:
        with pytest.raises(errors.SessionBusyError) as caught:
            await face.call(session.generate, "Go", model="played/long")
        await face.call(stream.cancel)
    assert (caught.value.status, caught.value.retryable) == (409, True)
    assert caught.value.retry_after


async def test_refusals_are_errors_of_the_tree(face: Face, client: Any, server: Serving):
    with pytest.raises(errors.UnknownModelError, match="check the model's name") as caught:
        await face.call(client.generate, "Hi", model="nobody/nothing")
    assert (caught.value.status, caught.value.code) == (404, "unknown_model")
    with pytest.raises(errors.UnknownStreamError):
        await face.call(client.resume("0" * 32).result)
    with pytest.raises(errors.InvalidRequestError, match="temperature"):
        await face.call(client.generate, "Hi", temperature=9.0)
    with pytest.raises(errors.InvalidRequestError, match="no option 'tempo'"):
        client.stream("Hi", tempo=3)
    with pytest.raises(errors.InvalidRequestError, match=r"messages\[0\]"):
        client.stream([{"role": "nobody"}])
    with pytest.raises(errors.InvalidRequestError, match="is no address"):
        face.client("127.0.0.1:9601")
    assert "sk-" not in repr(face.client(server.url, key="sk-secret"))


async def test_what_was_ignored_is_named(face: Face, tmp_path: Path):
    """Here the model's name, by an alias for every name."""
    recording = tmp_path / "long.jsonl"
    recording.write_text('{"type":"done","reason":"stop"}\n')
    config = f'[bindings.p]\nengine = "replay"\npath = "{recording}"\n[models."*"]\nbinding = "p"\n'
    server = await asyncio.to_thread(start, tmp_path / "server", config)
    try:
        async with face.within(face.client(server.url)) as client:
            async with face.within(client.stream("Hi", model="nobody/knows")) as stream:
                assert stream.ignored == ("model",)
            async with face.within(client.stream("Hi")) as stream:
                assert stream.ignored == ()
    finally:
        await asyncio.to_thread(server.stop)


# ── servers that keep nothing ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("api", ["openai", "ollama"])
async def test_the_same_objects_at_other_servers(face: Face, server: Serving, api: str):
    block = face.client(server.url, api=api, model="penstock-demo")
    async with face.within(block) as client:
        stream = client.stream("Hello!", temperature=0, max_tokens=6)
        async with face.within(stream):
            events = await face.every(stream)
        assert isinstance(events[0], Start)
        assert isinstance(events[-1], Done)
        assert any(isinstance(event, Usage) for event in events)
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert (await face.call(stream.result)).text == text
        assert stream.id == ""
        assert stream.metrics.tokens > 0
        with pytest.raises(errors.ModalityError, match="keeps"):
            stream.seek(0)
        with pytest.raises(errors.ModalityError, match="keeps"):
            stream.replay()
        assert "penstock-demo" in [card.name for card in await face.call(client.models)]
        async with face.within(client.stream("Hello!", temperature=0, max_tokens=6)) as whole:
            assert (await face.call(whole.result)).text == text
            assert await face.every(whole) == []
            assert whole.seq == len(events)
        async with face.within(client.stream("A story", max_tokens=900)) as stopped:
            events_of = stopped.events()
            step = events_of.__next__ if face.kind == "sync" else events_of.__anext__
            assert isinstance(await face.call(step), Start)
            assert await face.call(stopped.cancel)
            assert (await face.every(stopped))[-1] == Done(reason="cancelled")
            assert (await face.call(stopped.result)).first.reason == "cancelled"
        forgetful = client.stream("Hello!", keep=False, max_tokens=2)
        async with face.within(forgetful):
            await face.every(forgetful)
        with pytest.raises(errors.ModalityError, match="keep=False"):
            await face.call(forgetful.result)
        options: dict[str, Any] = {"temperature": 0, "max_tokens": 40}
        talk = client.stream("Weather in Paris?", tools=[WEATHER], **options)
        async with face.within(talk):
            assert isinstance((await face.every(talk))[-1], Done)


async def test_what_a_server_speaks_is_found_out(face: Face, server: Serving):
    plain = Upstream([[SSE_HEAD, said("Hi"), FINISH, b"0\r\n\r\n"]])
    try:
        for url, kept in ((server.url, True), (plain.url, False)):
            async with (
                face.within(face.client(url)) as client,
                face.within(client.stream("Hi", model="", max_tokens=3)) as stream,
            ):
                assert isinstance((await face.every(stream))[-1], Done)
                assert bool(stream.id) is kept
    finally:
        plain.close()


async def test_what_a_server_speaks_is_not_guessed_for_good_while_it_is_away(
    face: Face, server: Serving
):
    """Its proxy answers for it, while it asks what is there and what it offers."""
    proxy = FaultProxy(server.port, "drop", events=1000, away=4)
    try:
        async with face.within(face.client(proxy.url)) as client:
            with pytest.raises(errors.UnavailableError):
                await face.call(client.models)
            with pytest.raises(GatewayError):  # half of the questions are answered
                await face.call(client.streams)
            async with face.within(client.stream("Go", model="played/long")) as stream:
                assert stream.id
    finally:
        proxy.close()


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        ([SSE_HEAD, said("Hi"), 0.1, "reset"], errors.UnavailableError, "was cut"),
        ([SSE_HEAD, said("Hi"), "stall"], errors.EngineTimeoutError, "middle of the answer"),
        ([SSE_HEAD, "stall"], errors.EngineTimeoutError, "no first token"),
        (["stall"], errors.EngineTimeoutError, "gave no sign"),
        ([SSE_HEAD, said("Hi"), b"0\r\n\r\n"], errors.EngineProtocolError, "incomplete"),
        ([SSE_HEAD, b"5\r\ndata:\r\n", b"7\r\n {no}\n\n\r\n"], errors.EngineProtocolError, "sense"),
    ],
)
async def test_an_answer_that_breaks_off_keeps_what_came(
    face: Face, script: list[bytes | float | str], kind: type[GatewayError], text: str
):
    plain = Upstream([script])
    times = penstock.Timeouts(connect=2, first_token=0.4, between_tokens=0.3)
    block = face.client(plain.url, api="openai", model="m", timeouts=times)
    got: list[str] = []
    try:
        async with face.within(block) as client:
            stream = client.stream("Hi")
            with pytest.raises(kind, match=text):
                if face.kind == "async":
                    async for piece in stream.text():
                        got.append(piece)
                else:
                    await asyncio.to_thread(_collect, stream, got)
    finally:
        plain.close()
    assert got == (["Hi"] if any(b"Hi" in p for p in script if isinstance(p, bytes)) else [])


def _collect(stream: Any, got: list[str]) -> None:
    for piece in stream.text():
        got.append(piece)


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def painter() -> AsyncIterator[ImagesServer]:
    async with images_server() as made:
        yield made


@pytest.mark.parametrize("direct", [True, False], ids=["openai", "penstock"])
async def test_pictures(face: Face, painter: ImagesServer, tmp_path: Path, direct: bool):
    binding = f'[bindings.p]\nengine = "openai_images"\nurl = "{painter.url}"\nkey = "{KEY}"\n'
    server = await asyncio.to_thread(start, tmp_path / "server", binding)
    try:
        url = painter.url if direct else server.url
        api = "openai" if direct else "auto"
        async with face.within(face.client(url, key=KEY if direct else None, api=api)) as client:
            drawing = client.image("a hill", model="gpt-image-1.5", size=(1024, 1024))
            async with face.within(drawing):
                for progress in await face.every(drawing):
                    assert progress.what in ("queued", "loading", "step")
                    await face.call(drawing.preview, progress)
                (picture,) = await face.call(drawing.result)
                assert await face.call(drawing.result) == [picture]
    finally:
        await asyncio.to_thread(server.stop)
    assert picture.data == PICTURE
    saved = picture.save(tmp_path / "hill")
    assert saved.suffix == ".png"
    with Pillow.open(saved) as opened, picture.image() as shown:
        assert opened.size == shown.size


async def test_a_picture_whose_connection_is_cut_is_asked_for_again(
    face: Face, painter: ImagesServer, tmp_path: Path
):
    binding = f'[bindings.p]\nengine = "openai_images"\nurl = "{painter.url}"\nkey = "{KEY}"\n'
    server = await asyncio.to_thread(start, tmp_path / "server", binding)
    proxy = FaultProxy(server.port, "drop", events=1000, cut_pictures=2)
    try:
        async with face.within(face.client(proxy.url)) as client:
            drawing = client.image("a hill", model="gpt-image-1.5")
            async with face.within(drawing):
                (picture,) = await face.call(drawing.result)
    finally:
        proxy.close()
        await asyncio.to_thread(server.stop)
    assert picture.data == PICTURE
    assert proxy.faults == 2


async def test_two_pictures_may_be_alike(face: Face):
    one = b'{"b64_json":"' + b64encode(PICTURE) + b'"}'
    body = b'{"created":0,"data":[' + one + b"," + one + b"]}"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
    plain = Upstream([[head + b"content-length: %d\r\n\r\n" % len(body), body]])
    try:
        async with (
            face.within(face.client(plain.url, api="openai")) as client,
            face.within(client.image("a hill", model="m", count=2)) as drawing,
        ):
            pictures = await face.call(drawing.result)
    finally:
        plain.close()
    assert [picture.data for picture in pictures] == [PICTURE, PICTURE]


async def test_a_server_without_a_painter_says_so(face: Face, client: Any):
    with pytest.raises(GatewayError) as caught:
        await face.call(client.image("a hill").result)
    assert caught.value.status in (404, 501)


# ── in this process ──────────────────────────────────────────────────────────────────────────────


async def test_an_engine_of_this_process(face: Face):
    async with face.within(penstock.open(f"llamacpp:{DEMO}")) as client:
        async with face.within(client.stream("Hello!", temperature=0, max_tokens=8)) as stream:
            text = "".join(await face.every(stream.text()))
        assert (await face.call(stream.result)).text == text
        assert len(await face.every(stream.replay(speed=0))) == stream.seq
        stream.seek(2)
        assert len(await face.every(stream)) > 0
        session = client.session("s")
        await face.call(session.generate, "Hello!", max_tokens=3)
        assert [line.role for line in await face.call(session.history)][1:] == ["user", "assistant"]
        await face.call(session.clear)
        with pytest.raises(errors.UnknownSessionError):
            await face.call(session.history)
        assert [card.name for card in await face.call(client.models)] == ["penstock-demo"]
        assert len(await face.call(client.streams)) == 2
        with pytest.raises(errors.UnknownModelError):
            await face.call(client.generate, "Hi", model="other")
        with pytest.raises(errors.GatewayError):
            await face.call(client.image("a hill").result)
        running = client.stream("A long story", max_tokens=900, seed=ENDLESS.seed)
        async with face.within(running):
            assert await face.call(running.cancel)
            assert (await face.every(running))[-1] == Done(reason="cancelled")


async def test_an_engine_that_is_none(face: Face, tmp_path: Path):
    with pytest.raises(errors.ConfigError, match="no engine named 'steam'"):
        penstock.open("steam:x")
    with pytest.raises(errors.ConfigError, match="timeouts must be"):
        penstock.open("llamacpp:", timeouts=cast("Any", 4))
    with pytest.raises(errors.ConfigError, match="colour"):
        async with face.within(penstock.open("llamacpp:", colour="red")):
            pass
    with pytest.raises(errors.BindingDownError, match="no file"):
        async with face.within(penstock.open(f"llamacpp:{tmp_path}/none.gguf")):
            pass


async def test_a_broken_stream_tells_and_keeps(face: Face, tmp_path: Path):
    recorded = tmp_path / "short.jsonl"
    recorded.write_text('{"type":"text","part":1,"text":"so far"}\n')
    async with face.within(penstock.open(f"replay:{recorded}", speed=0.0)) as client:
        stream = client.stream("Go")
        async with face.within(stream):
            events = await face.every(stream)
        assert isinstance(events[-1], Failed)
        with pytest.raises(errors.EngineProtocolError, match="no end"):
            await face.call(stream.result)
        partial = await face.call(stream.result, partial=True)
        assert partial.text == "so far"
        assert partial.failed == events[-1]
        stream.seek(0)
        with pytest.raises(errors.EngineProtocolError, match="no end"):
            await face.every(stream.text())


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


async def test_memory_does_not_grow_with_the_stream(face: Face, client: Any):
    """12 MB of text; the benchmark reads 100 (`benchmarks/clients.py`)."""
    read = 0
    marks: list[int] = []
    async with face.within(client.stream("Go", model="played/big")) as stream:
        tracemalloc.start()
        try:
            if face.kind == "async":
                async for text in stream.text():
                    read += len(text)
                    _mark(read, marks)
            else:
                for text in stream.text():
                    read += len(text)
                    _mark(read, marks)
        finally:
            tracemalloc.stop()
    assert read == 12_000_000
    assert max(marks) - min(marks) < 2_000_000


def _mark(read: int, marks: list[int]) -> None:
    if read >= 2_000_000 and read % 400_000 == 0:
        marks.append(tracemalloc.get_traced_memory()[0])
