"""One answer, asked for once and read over as many connections as it takes."""

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

import msgspec

from penstock.core.errors import EngineProtocolError, NotFoundError, from_code
from penstock.core.events import BEGINNING, Done, Entry, Failed, Seq, TextDelta
from penstock.core.secrets import Secret
from penstock.ollama_client.clocks import Clock
from penstock.ollama_client.exchange import Exchange
from penstock.ollama_client.pool import Pool
from penstock.ollama_client.shapes import Line, StreamChunk
from penstock.ollama_client.troubles import (
    TroubleError,
    closed,
    cut,
    refusal,
    unreadable,
    unsendable,
)
from penstock.wire import json, native, sse
from penstock.wire.lines import Lines

_SILENT_SECONDS: Final = 30.0
"""A Penstock gives a sign of life every 10 s: longer silence is a dead connection."""
_CONNECT_WAITS: Final = (0.0, 0.6, 1.2)
_BUSY: Final = (429, 503)
_BUSY_TIMES: Final = 3
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 2.0

Chunks = Generator[StreamChunk, None, None]


class Peer(msgspec.Struct, frozen=True):
    """A server: where it is asked, its streams are found, and what it is shown."""

    asked: str
    streams: str
    key: Secret | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """Of every request. Raises `TroubleError`."""
        found = {"Content-Type": "application/json", "User-Agent": "penstock"}
        if self.key is not None:
            shown = self.key.reveal()
            # The standard library's error for such a header shows it.
            if not (shown.isascii() and shown.isprintable()):
                text = "key: it holds a line break or another character that no header can carry"
                raise unsendable(text, "key")
            found["Authorization"] = f"Bearer {shown}"
        return found


class Question(msgspec.Struct, frozen=True):
    """What is asked, and what of it must be known here."""

    model: str
    said: Mapping[str, object]
    stream: bool = True

    def body(self) -> bytes:
        """As it is sent. Raises `TroubleError` for what JSON can't carry."""
        try:
            return json.encode(self.said)
        except (TypeError, ValueError, OverflowError) as error:
            raise unsendable(f"The request can't be written as JSON: {error}") from error


class Source:
    """The chunks of one answer. `stream`: its name at a Penstock, once that is known."""

    def __init__(
        self, pool: Pool, peer: Peer, asked: Question | str, begin: Callable[[], Clock]
    ) -> None:
        self.stream = asked if isinstance(asked, str) else None
        self.status: int | None = None
        self.trouble: TroubleError | None = None
        self._question = None if isinstance(asked, str) else asked
        self._pool = pool
        self._peer = peer
        self._begin = begin
        self._closings = pool.closings
        self._said = 0
        self._after = BEGINNING

    def chunks(self) -> Chunks:
        """All of them, once. The last has `done`, and says why if the answer is not whole.

        Raises nothing: a chunk says it.
        """
        try:
            self._clock = self._begin()
            if self._question is None:
                yield from self._recorded(None)
            else:
                yield from self._asked(self._question)
        except TroubleError as trouble:
            self.trouble = trouble
            self.status = trouble.status
            yield StreamChunk("", True, trouble.message)

    def _asked(self, question: Question) -> Chunks:
        try:
            with self._answer(question) as exchange:
                self.status = exchange.status
                self.stream = exchange.header("Penstock-Stream")
                if self.stream is not None:
                    exchange.limit_silence(_SILENT_SECONDS)
                yield from self._lines(exchange) if question.stream else self._whole(exchange)
                return
        except TroubleError as trouble:
            if trouble.kind != "cut" or self.stream is None:
                raise
            broken = trouble
        yield from self._recorded(broken)

    # ── the request ──────────────────────────────────────────────────────────────────────────────

    def _answer(self, question: Question) -> Exchange:
        """The answer's head. Asked again only where nothing can have been begun: a server that was
        not reached, or that said when to come back.
        """
        body = question.body()
        refused = 0
        while True:
            exchange = self._reach(body)
            if exchange.status == 200:
                return exchange
            with exchange:
                wait = _seconds(exchange.header("Retry-After"))
                trouble = refusal(
                    exchange.status, exchange.refusal(), question.model, self._peer.key
                )
            refused += 1
            busy = exchange.status in _BUSY and wait is not None and refused <= _BUSY_TIMES
            if wait is None or not busy or wait >= self._clock.left():
                raise trouble
            self._pause(wait)

    def _reach(self, body: bytes) -> Exchange:
        for wait in _CONNECT_WAITS:
            try:
                return self._send("POST", self._peer.asked, body)
            except TroubleError as trouble:
                if trouble.kind != "unreachable" or wait >= self._clock.left():
                    raise
                self._pause(wait)
        return self._send("POST", self._peer.asked, body)

    def _send(self, method: str, url: str, body: bytes | None = None) -> Exchange:
        return self._pool.ask(method, url, self._peer.headers, body, self._clock)

    def _pause(self, seconds: float) -> None:
        if self._pool.closed_within(min(seconds, self._clock.left()), self._closings):
            raise closed()
        self._clock.left()

    # ── the answer ───────────────────────────────────────────────────────────────────────────────

    def _lines(self, exchange: Exchange) -> Chunks:
        for data in _whole_lines(exchange):
            if not data.strip():
                continue  # a sign of life
            chunk = _chunk(data)
            if chunk.error and not chunk.done and self.stream is not None:
                # The log has what this line should have been.
                raise cut(chunk.error, exchange.status)
            self._said += len(chunk.text)
            exchange.said_all = chunk.done
            yield chunk
            if chunk.done:
                return
            self._clock.chunk()
        raise cut("it never said that it was done", exchange.status)

    def _whole(self, exchange: Exchange) -> Chunks:
        """An answer in one piece: the server's signs of life are all that can be waited for."""
        found = b""
        for data in exchange.pieces():
            found += data
            self._clock.chunk()
        try:
            line = json.decode(found, Line, EngineProtocolError)
        except EngineProtocolError as error:
            raise unreadable(f"JSON decode error: {error.message}") from error
        yield StreamChunk(line.text, True, line.trouble)

    # ── a stream of a Penstock ───────────────────────────────────────────────────────────────────

    def _recorded(self, broken: TroubleError | None) -> Chunks:
        """The rest of a stream from the server's log, after `broken` if that was its beginning."""
        reading = _Reading(self._said)
        wait = _FIRST_WAIT
        while True:
            try:
                with self._followed() as exchange:
                    for entry in reading.entries(exchange, self._after):
                        self._after, wait = entry.seq, _FIRST_WAIT
                        yield from self._told(entry, reading, broken)
                        if isinstance(entry.event, Done | Failed):
                            return
                trouble = cut("the stream's connection was closed")
            except TroubleError as error:
                trouble = error
            if trouble.kind not in {"cut", "unreachable"}:
                raise _both(broken, trouble)
            try:
                self._pause(wait)
            except TroubleError as late:
                raise _both(broken or trouble, late) from late
            wait = min(wait * 2, _LONGEST_WAIT)

    def _followed(self) -> Exchange:
        exchange = self._send("GET", f"{self._peer.streams}/{self.stream}?after={self._after}")
        if exchange.status == 200:
            self.status = 200
            exchange.limit_silence(_SILENT_SECONDS)
            return exchange
        with exchange:
            body = exchange.refusal()
        if exchange.status in _BUSY:
            raise cut(f"the server is busy (HTTP {exchange.status})")
        trouble = refusal(exchange.status, body, None, self._peer.key)
        if exchange.status == 404:
            text = f"Stream '{self.stream}' not found"
            trouble = TroubleError("refused", NotFoundError(text), 404)
        raise trouble

    def _told(self, entry: Entry, reading: "_Reading", broken: TroubleError | None) -> Chunks:
        match entry.event:
            case TextDelta(choice=0, text=text):
                fresh = reading.fresh(text)
                if fresh:
                    yield StreamChunk(fresh, False)
            case Done(reason="cancelled") if broken is not None:
                raise TroubleError("bad", cut("the server stopped the run").error, broken.status)
            case Done():
                yield StreamChunk("", True)
            case Failed(code=code, message=message):
                raise TroubleError("bad", from_code(code, message), 200)
            case _:
                pass
        self._clock.chunk()


class _Reading:
    """What is read of the log's text: not what was said before the connection broke."""

    def __init__(self, said: int) -> None:
        self._again = said

    def fresh(self, text: str) -> str:
        """What of the next text is new."""
        found = text[self._again :]
        self._again -= len(text) - len(found)
        return found

    def entries(self, exchange: Exchange, after: Seq) -> Iterator[Entry]:
        """The entries of one connection, each in its place."""
        events = sse.Decoder()
        for line in _whole_lines(exchange):
            for received in events.feed(line):
                try:
                    entry = native.entry(received.data)
                except EngineProtocolError as error:
                    raise cut(f"JSON decode error: {error.message}") from error
                seq = entry.seq if isinstance(entry, Entry) else entry
                if seq != after + 1:
                    raise cut(f"event {seq} came after event {after}")
                after = seq
                if isinstance(entry, Entry):
                    yield entry


def _whole_lines(exchange: Exchange) -> Iterator[bytes]:
    """The lines of a body; an NDJSON line that its end is missing from is one too."""
    lines = Lines()
    for data in exchange.pieces():
        try:
            yield from lines.feed(data)
        except ValueError as error:
            raise unreadable(str(error)) from error
    if json.is_json(lines.rest):
        yield lines.rest


def _chunk(data: bytes) -> StreamChunk:
    try:
        line = json.decode(data, Line, EngineProtocolError)
    except EngineProtocolError as error:
        return StreamChunk("", False, f"JSON decode error: {error.message}")
    trouble = line.trouble
    return StreamChunk(line.text, bool(line.done) or trouble is not None, trouble)


def _both(first: TroubleError | None, then: TroubleError) -> TroubleError:
    if first is None or then.kind == "closed":
        return then
    error = type(then.error)(f"{first.message}; and then: {then.message}")
    return TroubleError(then.kind, error, first.status)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None
