"""Entries to lines of `/api/generate`, `/api/chat` and `/api/pull`; replies to whole answers."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core import events as ev
from penstock.core.errors import from_code
from penstock.core.folding import Folder, Reply
from penstock.core.ports import Frame
from penstock.core.request import Request
from penstock.dialects.ollama import errors, lines
from penstock.dialects.ollama.parse import GENERATE
from penstock.wire import json

_GENERATE: Final = (b'Z","response":', b',"done":false}')
_CHAT: Final = (b'Z","message":{"role":"assistant","content":', b'},"done":false}')


class Encoder:
    """Renders one stream. Calls leave whole, in one line, as Ollama's own do.

    A piece of text, by far the most frequent event, is put between pieces of JSON that were
    rendered once; everything else goes through the structs.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._generate = request.form == GENERATE
        self._fetch = request.task != "generate"
        self._between, self._after = _GENERATE if self._generate else _CHAT
        self._most = request.sampling.top_logprobs or 0
        # Of what the last line tells: no text is kept.
        self._folder = Folder()
        self._first_ms: int | None = None
        self._second = -1
        self._begin(ev.Start(stream="", asked="", binding="", model="", created=0))

    def _begin(self, start: ev.Start) -> None:
        self._start = start
        self._before = b'{"model":' + json.encode(lines.name(start)) + b',"created_at":"'

    def feed(self, entry: ev.Entry) -> Iterable[Frame]:
        """The frames of one entry."""
        event = entry.event
        match event:
            case ev.TextDelta() | ev.ReasoningDelta():
                return self._said(entry.ms, event) if event.choice == 0 else ()
            case ev.Progress():
                told = self._fetch and event.what == "fetching"
                return (Frame(json.encode(lines.status(event))),) if told else ()
            case ev.Failed():
                return (Frame(errors.error_body(from_code(event.code, event.message))),)
            case ev.Start():
                self._begin(event)
            case ev.ToolCallDelta() | ev.Image():
                self._note_first(entry.ms)
            case ev.Usage() | ev.Finish() | ev.Done():
                pass  # told at the end, or nothing that Ollama has a word for
        self._folder.feed(entry)
        return self._end(event.reason) if isinstance(event, ev.Done) else ()

    def _said(self, ms: int, event: ev.TextDelta | ev.ReasoningDelta) -> Iterable[Frame]:
        if isinstance(event, ev.ReasoningDelta):
            if not event.text:
                return ()
            frame = self._line(ms, "", thinking=event.text)
        elif event.text or event.logprobs is not UNSET:
            frame = self._text(ms, event)
        else:
            return ()
        self._note_first(ms)
        return (frame,)

    def _note_first(self, ms: int) -> None:
        if self._first_ms is None:
            self._first_ms = ms

    def _text(self, ms: int, delta: ev.TextDelta) -> Frame:
        if delta.logprobs is not UNSET:
            scores = lines.scored((delta.logprobs,), self._most)
            return self._line(ms, delta.text, logprobs=scores)
        now = self._start.created + ms
        if now // 1000 != self._second:
            self._second = now // 1000
            self._head = self._before + lines.second(now).encode()
        text = json.encode(delta.text)
        return Frame(b"%b.%03d%b%b%b" % (self._head, now % 1000, self._between, text, self._after))

    def _line(
        self,
        ms: int,
        text: str,
        *,
        thinking: str = "",
        logprobs: tuple[lines.Scored, ...] | UnsetType = UNSET,
        calls: tuple[lines.Called, ...] = (),
    ) -> Frame:
        model, created = lines.name(self._start), lines.moment(self._start.created + ms)
        if self._generate:
            line: lines.Generated | lines.Chatted = lines.Generated(
                model=model,
                created_at=created,
                response=text,
                thinking=thinking or UNSET,
                done=False,
                logprobs=logprobs,
            )
        else:
            message = lines.Message("assistant", text, thinking, calls)
            line = lines.Chatted(
                model=model, created_at=created, message=message, done=False, logprobs=logprobs
            )
        return Frame(json.encode(line))

    def _end(self, reason: ev.FinishReason) -> list[Frame]:
        if self._fetch:
            # The store has said "success" itself.
            return [Frame(lines.CANCELLED)] if reason == "cancelled" else []
        reply = self._folder.reply()
        reply.first_ms = self._first_ms
        if self._generate:
            return [Frame(json.encode(lines.generated(self._request, reply, "")))]
        calls = lines.called(reply)
        frames = [self._line(reply.ms, "", calls=calls)] if calls else []
        ending = lines.chatted(reply, lines.Message("assistant", ""))
        return [*frames, Frame(json.encode(ending))]


def whole(request: Request, reply: Reply) -> bytes:
    """The answer in one piece."""
    choice = reply.first
    if request.task != "generate":
        return lines.CANCELLED if choice.reason == "cancelled" else lines.SUCCESS
    scores = lines.scored(choice.logprobs, request.sampling.top_logprobs or 0)
    if request.form == GENERATE:
        found = lines.generated(request, reply, choice.text)
        thinking = choice.reasoning or UNSET
        return json.encode(msgspec.structs.replace(found, thinking=thinking, logprobs=scores))
    message = lines.Message("assistant", choice.text, choice.reasoning, lines.called(reply))
    return json.encode(msgspec.structs.replace(lines.chatted(reply, message), logprobs=scores))
