"""`kill -9` of the server in mid-stream: what any reader has received is in the log, and ends
honestly.

Each kill falls at a random moment while nine streams are producing, three in each dialect, each
with a reader on its socket. The next start of the server on the same folder is the restart.
"""

import asyncio
import json
import random
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import msgspec
import pytest
from tests.integration.serving import Serving, start

from penstock import registry
from penstock.core.events import Entry, Failed, Seq, StreamId
from penstock.core.ports import Dialect, StreamLog
from penstock.gateway.rendering import render
from penstock.wire import native, sse

KILLS = 50
PIECES = 400


def recording(folder: Path) -> Path:
    """Text with every kind of character, two milliseconds a piece."""
    path = folder / "recording.jsonl"
    words = ["plain ", "café ", "日本 ", "😀 ", "line\n", '"quoted" ', "\u2028", "back\\slash "]
    events = [{"type": "reasoning", "part": 0, "text": "hm "}]
    events += [{"type": "text", "part": 1, "text": f"{n}:{words[n % 8]}"} for n in range(PIECES)]
    events.append({"type": "done", "reason": "stop"})
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


@dataclass
class Watching:
    """A reader on a socket, in a thread: everything that it has received until the connection
    broke.
    """

    dialect: str
    serving: Serving
    path: str
    body: bytes | None = None
    stream: str = ""
    received: bytes = b""
    status: int = 0
    begun: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        verb = "GET" if self.body is None else "POST"
        head = f"{verb} {self.path} HTTP/1.0\r\nHost: 127.0.0.1\r\n"
        if self.body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n"
        raw = b""
        try:
            with socket.create_connection(("127.0.0.1", self.serving.port), 10) as connection:
                connection.sendall(head.encode() + b"\r\n" + (self.body or b""))
                while data := connection.recv(65536):
                    raw += data
                    if b"\r\n\r\n" in raw:
                        self._take(raw)
        except OSError:
            pass

    def _take(self, raw: bytes) -> None:
        head, _, self.received = raw.partition(b"\r\n\r\n")
        if not self.begun.is_set():
            lines = head.decode().lower().split("\r\n")
            self.status = int(lines[0].split()[1])
            named = dict(line.split(": ", 1) for line in lines[1:])
            self.stream = self.stream or named.get("penstock-stream", "")
            self.begun.set()


def begin(serving: Serving) -> list[Watching]:
    """Nine streams with a reader each; the native readers watch streams begun by a third party."""
    message = [{"role": "user", "content": "Go"}]
    openai = json.dumps({"model": "default", "messages": message, "stream": True}).encode()
    item = {"type": "text", "role": "user_prompt", "data": "Go"}
    lollms = json.dumps({"input_data": [item], "stream": True}).encode()
    readers = []
    for _ in range(3):
        readers.append(Watching("openai_chat", serving, "/v1/chat/completions", openai))
        readers.append(Watching("lollms", serving, "/api/v1/generate", lollms))
    for reader in list(readers[:6:2]):
        assert reader.begun.wait(10), serving.said
        path = f"/v1/streams/{reader.stream}"
        readers.append(Watching("native", serving, path, stream=reader.stream))
    for reader in readers:
        assert reader.begun.wait(10), serving.said
        assert reader.status == 200
    return readers


def rendered(dialect: str, request_head: object, entries: list[Entry]) -> bytes:
    """The stream as its dialect says it, from the beginning."""
    if dialect == "native":
        return sse.frame(native.frames(entries), [str(entry.seq) for entry in entries])
    module: Dialect = registry.load("dialects", dialect).Dialect()
    encoder = module.encoder(request_head.request)  # type: ignore[attr-defined]
    return sse.frame(render(encoder, entries))


async def read_all(log: StreamLog, stream: str) -> list[Entry]:
    found: list[Entry] = []
    reader = log.reader(StreamId(stream), Seq(0))
    while batch := await reader.take():
        found.extend(batch)
    reader.close()
    return found


async def check(serving: Serving, readers: list[Watching], head_of: dict[str, object]) -> None:
    """After the restart: prefix, one honest end, and the rest for who comes back."""
    async with httpx.AsyncClient(base_url=serving.url, timeout=20) as client:
        for reader in readers:
            path = f"/v1/streams/{reader.stream}"
            whole = await client.get(path)
            assert whole.status_code == 200, whole.text
            lines = [line[6:] for line in whole.text.split("\n") if line.startswith("data: ")]
            entries = [msgspec.json.decode(line, type=Entry) for line in lines]
            ends = [e for e in entries if isinstance(e.event, Failed)]
            assert [end.event.code for end in ends] == ["interrupted"]  # type: ignore[union-attr]
            assert entries[-1] is ends[0]
            assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
            anew = rendered(reader.dialect, head_of[reader.stream], entries)
            assert anew.startswith(reader.received), (reader.dialect, reader.received[-200:])
            if reader.dialect == "native":
                seen = reader.received.count(b"\n\n")
                rest = await client.get(path, headers={"Last-Event-ID": str(seen)})
                assert rest.content == rendered("native", None, entries[seen:])


async def heads(serving: Serving, readers: list[Watching]) -> dict[str, object]:
    """The heads, read from the folder beside the running server, as a second process would."""
    from_folder = registry.load("streams", "journal").inspect_heads
    found: dict[str, object] = await from_folder(serving.streams, {r.stream for r in readers})
    return found


@pytest.mark.timeout(420)
async def test_fifty_kills(tmp_path: Path):
    await kill(tmp_path, KILLS, random.Random(20261121))


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_five_hundred_kills(tmp_path: Path):
    await kill(tmp_path, 500, random.Random())


async def kill(folder: Path, times: int, dice: random.Random) -> None:
    path = recording(folder)
    configs = [
        f'[bindings.tape]\nengine = "replay"\npath = "{path}"\ninterval_ms = 2\n'
        f'[streams]\nsync = "{sync}"\nsegment_bytes = 65536\n'
        for sync in ("interval", "always")
    ]
    before: list[Watching] = []
    received = 0
    for turn in range(times + 1):
        serving = start(folder, configs[turn % 2])
        try:
            if before:
                head_of = await heads(serving, before)
                await check(serving, before, head_of)
            if turn == times:
                break
            before = begin(serving)
            await asyncio.sleep(dice.uniform(0.0, 0.4))
        finally:
            serving.kill()
        for reader in before:
            reader.thread.join(10)
        received += sum(len(reader.received) for reader in before)
    assert received > times * 1000  # the kills did fall in mid-stream
