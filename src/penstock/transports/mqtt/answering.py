"""A stream of the log onto its topics: each event as it comes, the whole answer at its end."""

import heapq
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec import UNSET

from penstock.core.errors import GatewayError, OverloadedError, UnavailableError, from_code
from penstock.core.events import Entry, Failed, Seq, StreamId
from penstock.core.folding import ChoiceReply, Folder, Reply
from penstock.gateway.gateway import Gateway
from penstock.transports.mqtt.client import Outgoing
from penstock.transports.mqtt.ledger import Known
from penstock.transports.mqtt.link import Link
from penstock.transports.mqtt.shapes import Called, Hint, Note, Trouble, Whole, problem
from penstock.wire import json

logger = logging.getLogger(__name__)

_AT_A_TIME: Final = 64
"""Most events sent without waiting for the broker: bounds what is in flight for one stream."""
_FENCED: Final = re.compile(r"```(?:json)?\n(.*)```", re.DOTALL)
"""How many models write an object that was asked of them."""
_OVERLOADED: Final = "Server is overloaded. Please try again in a moment."
"""The original's sentence, without the `Error: ` that its other errors begin with."""


class Answers:
    """Sends them. `keep_seconds`: how long after its end a stream's last event stays retained."""

    def __init__(self, gateway: Gateway, link: Link, keep_seconds: float) -> None:
        self._gateway = gateway
        self._link = link
        self._keep_seconds = keep_seconds
        self._to_clear: list[tuple[float, str]] = []

    async def deliver(self, known: Known, stream: StreamId) -> None:
        """Follows a stream to its end, and sends what its note asks for."""
        note, folder = known.note, Folder()
        topic = stream_topic(note)
        watch = self._gateway.watch(stream, Seq(0))
        known.delivering = True
        try:
            while entries := await watch.take():
                for entry in entries:
                    folder.feed(entry)
                if note.stream:
                    await self._send(known, topic, entries)
        finally:
            known.delivering = False
            watch.close()
        if note.stream:
            self.clear_later(topic, self._keep_seconds)
        else:
            await self._publish(note, whole(note, folder.reply(), stream))

    async def _publish(self, note: Note, *messages: Outgoing) -> None:
        """Raises `UnavailableError` for what the broker does not take, once the client knows."""
        try:
            await self._link.publish(*messages)
        except UnavailableError as error:
            await self._link.publish(refusal(note, error))
            raise

    async def _send(self, known: Known, topic: str, entries: Sequence[Entry]) -> None:
        for n in range(0, len(entries), _AT_A_TIME):
            some = entries[n : n + _AT_A_TIME]
            events = [_event(known.note, topic, one, retain=True) for one in some]
            await self._publish(known.note, *events)
            known.sent = some[-1].seq

    async def ending(self, known: Known, stream: StreamId) -> None:
        """Sends once more how an ended stream ended: the answer, or its last event."""
        watch = self._gateway.watch(stream, Seq(0))
        folder, last = Folder(), None
        try:
            while entries := await watch.take():
                last = entries[-1]
                for entry in entries:
                    folder.feed(entry)
        finally:
            watch.close()
        if not known.note.stream:
            await self._publish(known.note, whole(known.note, folder.reply(), stream))
        elif last is not None:
            known.sent = last.seq
            topic = stream_topic(known.note)
            await self._link.publish(_event(known.note, topic, last, retain=True))
            self.clear_later(topic, self._keep_seconds)

    async def resume(self, known: Known, stream: StreamId, after: int) -> None:
        """Sends again what comes after `after`, as far as it was sent before."""
        watch = self._gateway.watch(stream, Seq(after))
        topic = stream_topic(known.note)
        try:
            # What a live delivery has yet to send comes from it, in its place.
            upto = known.sent if known.delivering else None
            while upto is None or after < upto:
                entries = await watch.take()
                if not entries:
                    break
                after = entries[-1].seq
                wanted = [one for one in entries if upto is None or one.seq <= upto]
                for n in range(0, len(wanted), _AT_A_TIME):
                    some = wanted[n : n + _AT_A_TIME]
                    await self._link.publish(*[_event(known.note, topic, one) for one in some])
        finally:
            watch.close()

    async def refuse(self, note: Note, error: GatewayError) -> None:
        """Says why there is no stream, where the broker takes that."""
        try:
            await self._link.publish(refusal(note, error))
        except UnavailableError as trouble:
            logger.warning("%s", trouble.message)

    # ── retained events ──────────────────────────────────────────────────────────────────────────

    def clear_later(self, topic: str, seconds: float) -> None:
        """Takes a stream's last event from the broker after a while."""
        heapq.heappush(self._to_clear, (time.monotonic() + seconds, topic))

    async def clear(self, in_use: Callable[[str], bool]) -> None:
        """Clears what is due. `in_use`: a later request uses the topic."""
        while self._to_clear and self._to_clear[0][0] <= time.monotonic():
            _, topic = heapq.heappop(self._to_clear)
            if not in_use(topic):
                with suppress(UnavailableError):  # Then it took the event neither.
                    await self._link.publish(Outgoing(topic, b"", retain=True))


def stream_topic(note: Note) -> str:
    """Where a request's events are."""
    return f"{note.project}/stream/{note.request}"


def _facts(note: Note, **more: str) -> dict[str, str]:
    return {"requestId": note.request, "sessionId": note.session, **more}


def _event(note: Note, topic: str, entry: Entry, *, retain: bool = False) -> Outgoing:
    facts = _facts(note, seq=str(entry.seq))
    return Outgoing(topic, json.encode(entry), 1, retain, facts, bytes.fromhex(note.correlation))


def whole(note: Note, reply: Reply, stream: str) -> Outgoing:
    """The answer that is not streamed, or the error that its stream ended with."""
    if reply.failed is not None:
        return _failed(note, _raised(reply.failed), stream, reply.first.text)
    first = reply.first
    if note.form == "hint":
        payload = _hint(first)
    elif note.form == "json":
        payload = json.encode(
            Whole(
                response=first.text,
                session_id=note.session,
                request_id=note.request,
                stream_id=stream,
                tool_calls=_called(first) or UNSET,
                finish_reason=first.reason or UNSET,
                usage=reply.usage or UNSET,
            )
        )
    else:
        payload = first.text.encode()
    facts = _facts(note, stream=stream)
    return Outgoing(note.reply, payload, note.qos, False, facts, bytes.fromhex(note.correlation))


def refusal(note: Note, error: GatewayError) -> Outgoing:
    """An error of a request that never became a stream."""
    if not note.stream:
        return _failed(note, error, "", "")
    payload = json.encode(Trouble(note.request, problem(error)))
    correlation = bytes.fromhex(note.correlation)
    facts = _facts(note, error=error.code)
    return Outgoing(stream_topic(note), payload, 1, False, facts, correlation)


def _failed(note: Note, error: GatewayError, stream: str, said: str) -> Outgoing:
    if note.form == "hint":
        payload = json.encode(Hint(error=error.message))
    elif note.form == "json":
        payload = json.encode(
            Whole(
                response=said or UNSET,
                session_id=note.session,
                request_id=note.request,
                stream_id=stream or UNSET,
                error=problem(error),
            )
        )
    else:
        text = error.message if error.message == _OVERLOADED else f"Error: {error.message}"
        payload = text.encode()
    facts = _facts(note, error=error.code)
    return Outgoing(note.reply, payload, note.qos, False, facts, bytes.fromhex(note.correlation))


def _raised(failed: Failed) -> GatewayError:
    return from_code(failed.code, failed.message, failed.param)


def overloaded() -> GatewayError:
    """In the original's own words."""
    return OverloadedError(_OVERLOADED, retry_after=1.0)


def _hint(first: ChoiceReply) -> bytes:
    """What the model said where that is a JSON object; consumers of hints drop everything else."""
    text = first.text.strip()
    fenced = _FENCED.fullmatch(text)
    if fenced is not None:
        text = fenced[1].strip()
    if not first.tool_calls and text.startswith("{") and json.is_json(text):
        return text.encode()
    return json.encode(Hint(hint=first.text, tool_calls=_called(first) or UNSET))


def _called(first: ChoiceReply) -> tuple[Called, ...]:
    if first.reason == "cancelled":
        return ()
    return tuple(
        Called(
            call.id,
            call.name,
            json.raw(call.arguments) if json.is_json(call.arguments) else call.arguments,
        )
        for call in first.tool_calls
    )
