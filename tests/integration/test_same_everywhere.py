"""One conversation, run once, told in every dialect: the same content, and the same bytes again."""

import json
from pathlib import Path

import httpx2 as httpx
import msgspec
import pytest
from tests.integration.hearing import READERS, Heard
from tests.integration.serving import Serving, start

from penstock import registry
from penstock.core import events as ev
from penstock.core.events import Entry, Seq
from penstock.core.folding import fold
from penstock.core.messages import say
from penstock.core.ports import Dialect
from penstock.core.request import Request
from penstock.wire import ndjson, sse

CALL = '{"city": "Orl\\u00e9ans", "days": [1, 2.5, null], "note": "\\"}{\\u2028 \\ud83d\\ude00"}'
EVENTS: list[ev.Event] = [
    ev.ReasoningDelta(part=0, text="The user asks for the weather"),
    ev.ReasoningDelta(part=0, text=" in Orl\u00e9ans."),
    ev.TextDelta(part=1, text="Let me look\u2028"),
    ev.TextDelta(part=1, text=" \U0001f600."),
    ev.ToolCallDelta(part=2, call="call_1", name="get_weather"),
    *[
        ev.ToolCallDelta(part=2, call="call_1", arguments=CALL[n : n + 7])
        for n in range(0, len(CALL), 7)
    ],
    ev.ToolCallDelta(part=3, call="call_2", name="now", arguments="{}"),
    ev.Usage(input_tokens=31, output_tokens=17, reasoning_tokens=9),
    ev.Done(reason="tool_calls"),
]
TOLD = Heard(
    "Let me look\u2028 \U0001f600.",
    "The user asks for the weather in Orl\u00e9ans.",
    [("get_weather", json.loads(CALL)), ("now", {})],
)


def speaking() -> list[str]:
    """Every dialect that a conversation can be told in."""
    found = []
    for name in sorted(registry.names("dialects")):
        dialect: Dialect = registry.load("dialects", name).Dialect()
        if any(route.operation == "generate" for route in dialect.routes):
            found.append(name)
    return [name for name in found if name not in ("openai_completions", "openai_images")]


def as_told(heard: Heard) -> Heard:
    """What should be understood in a dialect that may have no word for reasoning."""
    return Heard(TOLD.text, None if heard.reasoning is None else TOLD.reasoning, TOLD.calls)


def test_every_dialect_has_its_reader():
    assert set(speaking()) <= set(READERS)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tape") / "recording.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in EVENTS))
    return path


def rendered(server: Serving, stream: str, name: str, how: str) -> bytes:
    answer = httpx.get(f"{server.url}/v1/streams/{stream}/as/{name}?stream={how}", timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_run_once_and_told_in_every_dialect_before_and_after_a_restart(
    tmp_path: Path, recording: Path
):
    config = f'[bindings.tape]\nengine = "replay"\npath = "{recording}"\n'
    server = start(tmp_path, config)
    try:
        body = {"model": "default", "messages": [{"role": "user", "content": "Weather?"}]}
        asked = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)
        stream = asked.headers["penstock-stream"]
        first = {
            (name, how): rendered(server, stream, name, how)
            for name in speaking()
            for how in ("true", "false")
        }
        assert first["openai_chat", "false"] == asked.content
        for name in speaking():
            streamed, whole = READERS[name]
            heard = streamed(first[name, "true"])
            assert heard == as_told(heard), name
            assert whole(first[name, "false"]) == as_told(heard), name
    finally:
        server.kill()
    server = start(tmp_path, config)
    try:
        for (name, how), before in first.items():
            assert rendered(server, stream, name, how) == before
    finally:
        server.stop()


@pytest.mark.parametrize("name", speaking())
def test_a_call_cut_anywhere_is_the_same_call(name: str):
    """However the upstream's bytes were cut, the client of each dialect gets one and the same."""
    dialect: Dialect = registry.load("dialects", name).Dialect()
    streamed, whole = READERS[name]
    request = Request(model="m", stream=True, messages=(say("user", "Weather?"),))
    for cut in range(1, len(CALL)):
        entries = cut_at(cut)
        encoder = dialect.encoder(request)
        frames = [frame for entry in entries for frame in encoder.feed(entry)]
        framed = sse.frame if dialect.opening(request).framing == "sse" else ndjson.frame
        heard = streamed(framed(frames))
        assert heard == as_told(heard)
        assert whole(dialect.whole(request, fold(entries)).body) == as_told(heard)


def cut_at(cut: int) -> list[Entry]:
    first, last = CALL[:cut], CALL[cut:]
    start_ = ev.Start(stream="0" * 32, asked="m", binding="b", model="m", created=1_735_689_600_000)
    events: list[ev.Event] = [
        start_,
        ev.ReasoningDelta(part=0, text=TOLD.reasoning or ""),
        ev.TextDelta(part=1, text=TOLD.text),
        ev.ToolCallDelta(part=2, call="call_1", name="get_weather", arguments=first),
        ev.ToolCallDelta(part=2, call="call_1", arguments=last),
        ev.ToolCallDelta(part=3, call="call_2", name="now", arguments="{}"),
        ev.Done(reason="tool_calls"),
    ]
    return [Entry(Seq(n), n, event) for n, event in enumerate(events, 1)]
