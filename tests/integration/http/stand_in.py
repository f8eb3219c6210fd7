"""Until the real ones are there: a log in memory and a small dialect in OpenAI's shape."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec

from penstock.core.errors import GatewayError, InvalidRequestError, UnknownStreamError
from penstock.core.events import TERMINAL, Done, Entry, Event, Failed, Seq, StreamId, TextDelta
from penstock.core.folding import Reply
from penstock.core.messages import say
from penstock.core.ports import (
    Answer,
    Call,
    Encoder,
    Found,
    Frame,
    Head,
    LogStatus,
    Opening,
    Query,
    Route,
    StreamInfo,
)
from penstock.core.request import Request
from penstock.wire import json


class _Stream:
    def __init__(self, head: Head) -> None:
        self.head = head
        self.entries: list[Entry] = []
        self.born = time.monotonic()
        self.changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        return bool(self.entries) and isinstance(self.entries[-1].event, TERMINAL)


class _Reader:
    def __init__(self, stream: _Stream, after: int) -> None:
        self.stream, self.at = stream, after

    async def take(self) -> Sequence[Entry]:
        while True:
            found = self.stream.entries[self.at :]
            if found or self.stream.ended:
                self.at += len(found)
                return found
            self.stream.changed.clear()
            await self.stream.changed.wait()

    def close(self) -> None:
        pass


class MemoryLog:
    def __init__(self) -> None:
        self.streams: dict[str, _Stream] = {}

    def _get(self, stream: str) -> _Stream:
        try:
            return self.streams[stream]
        except KeyError:
            raise UnknownStreamError(f"no stream {stream!r}") from None

    def create(self, head: Head) -> None:
        self.streams[head.stream] = _Stream(head)

    def append(self, stream: StreamId, events: Sequence[Event]) -> Seq:
        found = self._get(stream)
        ms = int((time.monotonic() - found.born) * 1000)
        for event in events:
            found.entries.append(Entry(Seq(len(found.entries) + 1), ms, event))
        found.changed.set()
        return Seq(len(found.entries))

    async def settled(self, stream: StreamId) -> Seq:
        return Seq(len(self._get(stream).entries))

    def reader(self, stream: StreamId, after: Seq) -> _Reader:
        return _Reader(self._get(stream), after)

    async def head(self, stream: StreamId) -> Head:
        return self._get(stream).head

    async def info(self, stream: StreamId) -> StreamInfo:
        found = self._get(stream)
        head = found.head
        return StreamInfo(
            stream=head.stream,
            owner=head.owner,
            dialect=head.dialect,
            binding=head.binding,
            model=head.model,
            state="done" if found.ended else "live",
            created=head.created,
            ended=None,
            events=len(found.entries),
            bytes=0,
        )

    async def recent(self, owner: str | None, limit: int) -> Sequence[StreamInfo]:
        names = [n for n, s in self.streams.items() if owner in (None, s.head.owner)]
        return [await self.info(StreamId(name)) for name in reversed(names[-limit:])]

    async def erase(self, stream: StreamId) -> None:
        self._get(stream)
        del self.streams[stream]

    def status(self) -> LogStatus:
        return LogStatus(
            writable=True, trouble=None, live=0, bytes=0, backlog_bytes=0, unsynced_seconds=0.0
        )

    async def aclose(self) -> None:
        pass


class _Body(msgspec.Struct):
    messages: list[dict[str, object]]
    model: str = ""
    stream: bool = False


class _Encoder:
    def feed(self, entry: Entry) -> Iterable[Frame]:
        match entry.event:
            case TextDelta(text=text):
                delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
                return [Frame(json.encode(delta))]
            case Done():
                return [
                    Frame(json.encode({"choices": [{"finish_reason": "stop"}]})),
                    Frame(b"[DONE]"),
                ]
            case Failed(message=message):
                return [Frame(json.encode({"error": {"message": message}}))]
            case _:
                return []


class Dialect:
    name: ClassVar[str] = "openai_chat"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1", "/chat/completions")
    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/v1/chat/completions", "generate"),
        Route("POST", "/chat/completions", "generate"),
        Route("GET", "/v1/models", "models"),
        Route("GET", "/v1/models/{id:path}", "model"),
    )
    credentials: ClassVar[tuple[str, ...]] = ("authorization", "api-key", "x-api-key")

    def parse(self, call: Call) -> Request | Query:
        if call.route.operation != "generate":
            return Query(call.route.operation, call.path.get("id", ""))
        body = json.decode(call.body, _Body, InvalidRequestError)
        if not body.messages:
            raise InvalidRequestError("messages: must not be empty", param="messages")
        return Request(model=body.model, messages=(say("user", "x"),), stream=body.stream)

    def opening(self, request: Request) -> Opening:
        return Opening("sse", abort_on_failure=True)

    def encoder(self, request: Request) -> Encoder:
        return _Encoder()

    def whole(self, request: Request, reply: Reply) -> Answer:
        return Answer(200, json.encode({"choices": [{"message": {"content": reply.first.text}}]}))

    def answer(self, found: Found) -> Answer:
        return Answer(200, json.encode({"data": [{"id": card.name} for card in found.models]}))

    def error(self, error: GatewayError) -> Answer:
        body = {
            "error": {
                "message": error.message,
                "type": "t",
                "param": error.param,
                "code": error.code,
            }
        }
        return Answer(error.status, json.encode(body))
