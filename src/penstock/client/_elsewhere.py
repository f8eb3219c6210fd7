"""Servers that keep no streams, OpenAI-compatible ones and Ollama, behind the same face."""

import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace
from typing_extensions import override

from penstock.client import _completions, _ollama, _pictures
from penstock.client._address import Address
from penstock.client._openai_models import models
from penstock.client._refusals import silent
from penstock.client.steps import Line, Opened, SilenceError, Source, Steps
from penstock.client.steps import reading as read
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    EngineProtocolError,
    EngineTimeoutError,
    InvalidRequestError,
    ModalityError,
    UnknownSessionError,
    UnknownStreamError,
)
from penstock.core.events import (
    Blob,
    Done,
    Entry,
    Event,
    Failed,
    Image,
    ReasoningDelta,
    Seq,
    Start,
    TextDelta,
    ToolCallDelta,
)
from penstock.core.folding import Folder, as_message
from penstock.core.messages import Message
from penstock.core.ports import StreamInfo
from penstock.core.request import Request
from penstock.wire import json
from penstock.wire.pictures import media_type

_SIGNS: Final = frozenset({TextDelta, ReasoningDelta, ToolCallDelta})


class Reader(Protocol):
    """Bytes of an answer to events."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """The events that `data` completes."""

    def end(self) -> Sequence[Event]:
        """The terminal, unless it was given."""


class _Openai:
    """`_completions.Completion` as a `Reader`."""

    def __init__(self, whole: bool) -> None:
        self._completion = _completions.Completion()
        self._whole = whole
        self._pieces: list[bytes] = []
        self._ended = False

    def feed(self, data: bytes) -> Sequence[Event]:
        if self._whole:
            self._pieces.append(data)
            return ()
        found = self._completion.events(data)
        return found + list(self.end()) if self._completion.finished else found

    def end(self) -> Sequence[Event]:
        if self._ended:
            return ()
        self._ended = True
        found: Sequence[Event] = ()
        if self._whole:
            found = self._completion.whole(b"".join(self._pieces)).events
        if self._completion.failed:
            return found
        return (*found, self._completion.end())


class Direct:
    """One answer of a server that keeps none. A lost connection is the end of it."""

    stream = ""

    def __init__(self, address: Address, opened: Opened, reader: Reader, model: str) -> None:
        self.headers: Mapping[str, str] = opened.headers
        self._address = address
        self._opened = opened
        self._reader = reader
        self._begun = address.clock()
        self._seq = 0
        self._spoken = False
        self._ended = False
        self._quiet = 0.0
        self._model = model

    def take(self) -> Steps[Sequence[Entry]]:
        """See `steps.Source`. Raises `EngineTimeoutError`, `UnavailableError`."""
        if not self._seq:
            return self._numbered(
                (
                    Start(
                        stream="",
                        asked=self._model,
                        binding=self._address.root,
                        model=self._model,
                        created=0,
                    ),
                )
            )
        while not self._ended:
            times = self._address.timeouts
            limit = times.between_tokens if self._spoken else times.first_token
            begun = self._address.clock()
            try:
                if self._quiet >= limit:
                    raise SilenceError
                data = yield from read(self._opened, limit - self._quiet)
            except SilenceError as error:
                self.close()
                raise _silence(self._spoken, limit) from error
            events = self._reader.feed(data) if data else self._reader.end()
            self._ended = not data or any(isinstance(e, Done | Failed) for e in events)
            if any(type(event) in _SIGNS for event in events):
                self._spoken, self._quiet = True, 0.0
            else:
                self._quiet += self._address.clock() - begun
            if self._ended:
                self.close()
            if events:
                return self._numbered(events)
        return ()

    def close(self) -> None:
        """Closes the connection: such servers take that for a stop."""
        self._opened.close()

    def _numbered(self, events: Sequence[Event]) -> Sequence[Entry]:
        ms = int((self._address.clock() - self._begun) * 1000)
        first = self._seq + 1
        self._seq += len(events)
        return [Entry(Seq(n), ms, event) for n, event in enumerate(events, first)]


def _silence(spoken: bool, seconds: float) -> EngineTimeoutError:
    if spoken:
        what = f"nothing for {seconds:g} s in the middle of the answer"
    else:
        what = f"no first token within {seconds:g} s"
    return EngineTimeoutError(f"{what}; raise the timeout, or see what the server is doing")


class Remembered:
    """An answer whose turn is kept once it is whole: one that broke off is not."""

    stream = ""

    def __init__(self, source: Source, kept: list[Message], said: Sequence[Message]) -> None:
        self.headers = source.headers
        self._source = source
        self._kept = kept
        self._said = said
        self._folder = Folder()

    def take(self) -> Steps[Sequence[Entry]]:
        """See `steps.Source`."""
        entries = yield from self._source.take()
        for entry in entries:
            self._folder.feed(entry)
        if entries and isinstance(entries[-1].event, Done):
            self._kept += (*self._said, as_message(self._folder.reply().first))
        return entries

    def close(self) -> None:
        """See `steps.Source`."""
        self._source.close()


class _Drawn(msgspec.Struct):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Pictures(msgspec.Struct):
    data: list[_Drawn]


class File:
    """The bytes of a picture, for as long as somebody has its stream."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class Drawn:
    """Pictures that came whole."""

    stream = ""
    headers: Mapping[str, str] = {}

    def __init__(self, events: Sequence[Event], files: Sequence["File"]) -> None:
        self._entries = [Entry(Seq(n), 0, event) for n, event in enumerate(events, 1)]
        self._files = files

    def take(self) -> Steps[Sequence[Entry]]:
        """See `steps.Source`."""
        found, self._entries = self._entries, []
        return found
        yield  # a generator without a step

    def close(self) -> None:
        """Nothing is open."""


class Elsewhere:
    """What servers without a log have in common: they can't give anything a second time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._kept: WeakValueDictionary[str, File] = WeakValueDictionary()
        self._sessions: dict[str, list[Message]] = {}

    def begin(self, request: Request) -> Steps[Source]:
        """See `steps.Server`. A session is kept here, in this client's memory."""
        if request.modality == "image":
            return (yield from self._draw(request))
        if request.session is None:
            return (yield from self._ask(request))
        before = self._sessions.setdefault(request.session, [])
        first_system = request.messages[0].role == "system" and bool(before)
        said = request.messages[1:] if first_system else request.messages
        whole = replace(request, session=None, messages=(*before, *said))
        return Remembered((yield from self._ask(whole)), before, said)

    def follow(self, stream: str, after: Seq) -> Source:
        """See `steps.Server`."""
        raise _nothing_kept()

    def cancel(self, stream: str) -> Steps[bool]:
        """See `steps.Server`. Closing the connection is what stops a run here."""
        raise _nothing_kept()
        yield

    def streams(self, limit: int) -> Steps[Sequence[StreamInfo]]:
        """See `steps.Server`."""
        raise _nothing_kept()
        yield

    def models(self) -> Steps[Sequence[ModelCard]]:
        """See `steps.Server`."""
        return models((yield from self._address.whole("GET", f"{self._address.v1}/models")))

    def history(self, session: str) -> Steps[Sequence[Line]]:
        """See `steps.Server`."""
        if session not in self._sessions:
            raise UnknownSessionError(f"no session {session!r} in this client")
        return tuple(Line(m.role, m.text) for m in self._sessions[session])
        yield

    def forget(self, session: str) -> Steps[None]:
        """See `steps.Server`."""
        self._sessions.pop(session, None)
        return
        yield

    def picture(self, stream: str, blob: Blob) -> Steps[bytes]:
        """See `steps.Server`. Given as long as the stream that it came in is held."""
        found = self._kept.get(blob.sha256)
        if found is None:
            raise UnknownStreamError("this picture is gone with its stream: the server keeps none")
        return found.data
        yield

    def _ask(self, request: Request) -> Steps[Source]:
        try:
            opened = yield from self._chat(request, ask_usage=True)
        except InvalidRequestError as error:
            if "stream_options" not in error.message:
                raise
            opened = yield from self._chat(request, ask_usage=False)
        kind = opened.headers.get("content-type", "")
        reader = _Openai(whole=kind.startswith("application/json"))
        return Direct(self._address, opened, reader, request.model)

    def _chat(self, request: Request, *, ask_usage: bool) -> Steps[Opened]:
        body = _completions.body(request, ask_usage=ask_usage)
        return (yield from self._post(f"{self._address.v1}/chat/completions", body))

    def _post(self, url: str, body: Mapping[str, object]) -> Steps[Opened]:
        try:
            return (yield from self._address.open("POST", url, body))
        except SilenceError as error:
            raise silent(url, self._address.timeouts.first_token) from error

    def _draw(self, request: Request) -> Steps[Source]:
        wished = _pictures.body(request)
        asked = {k: v for k, v in wished.items() if k not in ("stream", "partial_images")}
        opened = yield from self._post(f"{self._address.v1}/images/generations", asked)
        pieces = []
        try:
            while piece := (yield from read(opened, self._address.timeouts.first_token)):
                pieces.append(piece)
        except SilenceError as error:
            raise _silence(spoken=False, seconds=self._address.timeouts.first_token) from error
        finally:
            opened.close()
        found = json.decode(b"".join(pieces), _Pictures, EngineProtocolError).data
        model = request.model
        events: list[Event] = [
            Start(stream="", asked=model, binding=self._address.root, model=model, created=0)
        ]
        files = []
        for n, one in enumerate(found):
            data = yield from self._bytes(one)
            sha256 = hashlib.sha256(data).hexdigest()
            files.append(self._kept.setdefault(sha256, File(data)))
            blob = Blob(sha256=sha256, media_type=media_type(data), size=len(data))
            events.append(Image(part=n, blob=blob, prompt=one.revised_prompt))
        return Drawn([*events, Done(reason="stop")], files)

    def _bytes(self, drawn: _Drawn) -> Steps[bytes]:
        if drawn.b64_json is not None:
            try:
                return binascii.a2b_base64(drawn.b64_json)
            except binascii.Error as error:
                raise EngineProtocolError(f"a picture is no base64: {error}") from error
        if drawn.url is None:
            raise EngineProtocolError("the server answered with neither a picture nor its address")
        return (yield from self._address.whole("GET", drawn.url))


class Ollama(Elsewhere):
    """Its own API, which says more than its OpenAI one (timings, thinking)."""

    @override
    def _draw(self, request: Request) -> Steps[Source]:
        raise ModalityError("Ollama's API makes no pictures")
        yield

    @override
    def _ask(self, request: Request) -> Steps[Source]:
        url = f"{self._address.bare}/api/chat"
        opened = yield from self._post(url, _ollama.body(request))
        return Direct(self._address, opened, _ollama.Chat(), request.model)

    @override
    def models(self) -> Steps[Sequence[ModelCard]]:
        """See `steps.Server`."""
        data = yield from self._address.whole("GET", f"{self._address.bare}/api/tags")
        return _ollama.models(data)


def _nothing_kept() -> ModalityError:
    return ModalityError(
        "this server keeps no streams: reading again, resuming and cancelling by id need a Penstock"
    )
