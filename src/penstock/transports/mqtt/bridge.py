"""The bridge: what comes in on which topic, and what becomes of it.

A request is accepted once the head of its stream is in the log; only then the broker is told that
it need not come again. So whoever publishes with QoS 1 has an answer, or an error, for each
request, and a request that comes again joins the stream that it began.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from penstock.config.schema import Mqtt
from penstock.core.errors import (
    GatewayError,
    InternalError,
    InvalidRequestError,
    OverloadedError,
    UnknownStreamError,
)
from penstock.core.events import StreamId
from penstock.core.ports import StreamInfo
from penstock.core.principals import Principal
from penstock.gateway.gateway import Gateway, now_ms
from penstock.transports.mqtt import asking, topics
from penstock.transports.mqtt.admin import Admin
from penstock.transports.mqtt.answering import Answers, overloaded, stream_topic
from penstock.transports.mqtt.claim import Claim
from penstock.transports.mqtt.client import Incoming, Outgoing
from penstock.transports.mqtt.ledger import Changes, Known, Ledger, Lines, Rates
from penstock.transports.mqtt.link import Link
from penstock.transports.mqtt.shapes import Note, Trouble, problem
from penstock.wire import json

logger = logging.getLogger(__name__)

NAME: Final = "mqtt"
_RATE: Final = "Rate limit exceeded. Please slow down your requests."
_RECALLED: Final = 1000
_RECALL_MS: Final = 24 * 3600 * 1000
_CLAIM_SECONDS: Final = 1.0
_LOST_MS: Final = 600_000
"""Whoever asked longer ago than this is not told any more that the answer was interrupted."""


class Bridge:
    """Use as an async context manager. `identity`: how the broker knows us, where the configuration
    does not say. `folder`: of what tells other servers of this machine that we are the bridge.
    """

    def __init__(self, gateway: Gateway, settings: Mqtt, identity: str, folder: Path) -> None:
        self._gateway = gateway
        self._settings = settings
        self._projects = tuple(settings.projects)
        first = (*self._projects, *settings.legacy, "penstock")[0]
        self._status_topic = f"{first}/status"
        self._name = settings.client_id or identity
        self._claim = Claim(folder, settings.url, self._name)
        self._link = Link(
            settings,
            self._name,
            topics.filters(self._projects, settings.legacy),
            self._status_topic,
            self._told,
        )
        self._answers = Answers(gateway, self._link, settings.keep_state_seconds)
        self._ledger = Ledger(time.monotonic)
        self._admin = Admin(gateway, self._link, settings, self._ledger)
        self._lines = Lines()
        self._changes = Changes()
        self._rates = Rates(settings.requests_per_minute, time.monotonic)
        dialects = {dialect.name: dialect for dialect in gateway.dialects}
        self._dialect = dialects[asking.SESSION_DIALECT]
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def __aenter__(self) -> Self:
        self._told("not connected yet")
        await self._group.__aenter__()
        self._spawn(self._run())
        self._spawn(self._beat())
        self._spawn(self._clear())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._link.leave()
        for task in self._tasks:
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # The caller's own error comes back as it was, not wrapped by our tasks' group.
            if error is None or group.exceptions != (error,):
                raise
        finally:
            self._claim.free()
            self._told(None)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self._group.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except GatewayError as error:
            logger.warning("%s", error.message)
        except Exception:  # the transport's top: one bad message is no reason to end the server
            logger.exception("a message was not handled")

    def _told(self, trouble: str | None) -> None:
        if trouble is None:
            self._gateway.notes.pop(NAME, None)
        else:
            self._gateway.notes[NAME] = trouble

    # ── what goes on all the time ────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        await self._be_the_one()
        await self._recall()
        while True:
            await self._guarded(self._link.run(self._receive))
            await asyncio.sleep(1)

    async def _be_the_one(self) -> None:
        """Waits while another server of this machine is the bridge under our name."""
        waiting = False
        while not self._claim.take():
            if not waiting:
                waiting = True
                trouble = (
                    f"another server here is connected to {self._settings.url} as {self._name}"
                )
                self._told(f"{trouble}; this one waits for its end")
                logger.warning(
                    "%s; this one waits for its end. [mqtt] client_id gives it a name of its own",
                    trouble,
                )
            await asyncio.sleep(_CLAIM_SECONDS)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            await self._link.publish(Outgoing(self._status_topic, self._link.status("online"), 0))

    async def _clear(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._settings.keep_state_seconds))
            await self._answers.clear(self._in_use)

    def _in_use(self, topic: str) -> bool:
        project, _, request = topic.partition("/stream/")
        known = self._ledger.named(project, request)
        return known is not None and known.delivering

    async def _recall(self) -> None:
        """What a former process accepted: so that a redelivery finds it, and who waits for an
        answer that will never come is told.
        """
        seen: set[str] = set()
        for project in (*self._projects, *self._settings.legacy):
            try:
                principal = self._principal(project)
                if principal.id in seen:
                    continue
                seen.add(principal.id)
                lines = await self._gateway.recent(principal, _RECALLED)
            except GatewayError as error:
                logger.warning("project %s: %s", project, error.message)
                continue
            for line in reversed(lines):
                if line.dialect == NAME and now_ms() - line.created < _RECALL_MS:
                    await self._recall_one(line, principal)

    async def _recall_one(self, line: StreamInfo, principal: Principal) -> None:
        stream = StreamId(line.stream)
        try:
            head = await self._gateway.head(stream, principal)
            note = json.decode(head.request.form, Note, InternalError)
            line = await self._gateway.info(stream, principal)  # Its process may have died since.
        except GatewayError as error:
            logger.warning("stream %s: %s", stream, error.message)
            return
        if note.project not in (*self._projects, *self._settings.legacy):
            return  # Of another server, which shares the log.
        known = self._ledger.add(note, (now_ms() - line.created) / 1000)
        known.stream = stream
        known.accepted.set()
        ago = now_ms() - (line.ended or line.created)
        # One that still runs does so in a server that ends now: so that we are the bridge.
        if line.state == "live" or (line.state == "interrupted" and ago < _LOST_MS):
            self._spawn(self._answers.ending(known, stream))
        elif note.stream:
            left = self._settings.keep_state_seconds - ago / 1000
            self._answers.clear_later(stream_topic(note), max(0.0, left))

    # ── what comes in ────────────────────────────────────────────────────────────────────────────

    def _receive(self, incoming: Incoming) -> None:
        place = topics.address(incoming.topic, self._projects, self._settings.legacy)
        if place is None or (incoming.retained and place.kind != "template"):
            incoming.acknowledge()  # A retained question would be asked at every new connection.
        elif self._waiting >= 2 * self._settings.max_waiting:
            logger.warning("more messages than can even be refused: one is left to the broker")
        else:
            self._spawn(self._handle(place, incoming))

    async def _handle(self, place: topics.Address, incoming: Incoming) -> None:
        self._waiting += 1
        try:
            match place.kind:
                case "user_input" | "state":
                    await self._ask(place, incoming)
                case "old_input":
                    await self._old_input(place, incoming)
                case "old_session":
                    incoming.acknowledge()
                    payload = secrets.token_hex(8).encode()
                    topic = f"{place.project}/session/response"
                    await self._link.publish(Outgoing(topic, payload, 0))
                case "resume" | "cancel":
                    incoming.acknowledge()
                    await self._steer(place, incoming.payload)
                case _:
                    async with self._changes.one(place.project):
                        incoming.acknowledge()
                        principal = self._principal(place.project)
                        await self._admin.change(
                            place, incoming.payload, principal, retained=incoming.retained
                        )
        finally:
            self._waiting -= 1

    async def _old_input(self, place: topics.Address, incoming: Incoming) -> None:
        if incoming.payload.strip():
            await self._ask(place, incoming)
            return
        session = place.rest or "default"
        async with self._changes.one(place.project):
            await self._admin.drop(place.project, session, self._principal(place.project))
        incoming.acknowledge()
        topic = f"{place.project}/assistant_response/{session}"
        await self._link.publish(Outgoing(topic, b"Dialog has been reset.", 0))

    async def _ask(self, place: topics.Address, incoming: Incoming) -> None:
        await self._changes.passed(place.project)
        found = asking.question(place.kind, place.project, place.rest, incoming)
        known = self._ledger.find(found.note)
        if known is not None:
            await self._again(known, incoming)
            return
        known = self._ledger.add(found.note)
        try:
            self._check(found, incoming)
            async with self._lines.enter(found.note.project, found.note.session):
                stream = await self._begin(known, found)
                incoming.acknowledge()
                await self._answers.deliver(known, stream)
        except GatewayError as error:
            if known.stream is None:
                await self._answers.refuse(known.note, error)
                incoming.acknowledge()
            else:
                logger.warning("stream %s is not delivered: %s", known.stream, error.message)
        finally:
            if known.stream is None:
                self._ledger.forget(known)
            known.accepted.set()

    def _check(self, found: asking.Question, incoming: Incoming) -> None:
        if self._waiting > self._settings.max_waiting:
            raise overloaded()
        asking.check(found, incoming, self._settings.max_payload_bytes)
        wait = self._rates.wait(found.note.project, found.note.session)
        if wait is not None:
            raise OverloadedError(_RATE, retry_after=round(wait, 1))

    async def _begin(self, known: Known, found: asking.Question) -> StreamId:
        note = found.note
        principal = self._principal(note.project)
        system = self._admin.system(note.project, note.session)
        model = self._settings.project(note.project).model
        request = asking.request(found, self._dialect, system, model)
        head = await self._gateway.submit(request, NAME, principal, "finish")
        stream = StreamId(head.stream)
        await self._gateway.head(stream, principal)  # Returns once it is in the log.
        known.stream = stream
        known.accepted.set()
        return stream

    async def _again(self, known: Known, incoming: Incoming) -> None:
        await known.accepted.wait()
        incoming.acknowledge()
        if known.stream is not None and not known.delivering:
            await self._answers.ending(known, known.stream)

    async def _steer(self, place: topics.Address, payload: bytes) -> None:
        """Resumes or cancels a stream."""
        known = self._ledger.named(place.project, place.rest)
        if known is not None:
            await known.accepted.wait()  # It may be waiting for its turn in a session.
        try:
            if known is None or known.stream is None:
                raise UnknownStreamError(f"no request {place.rest!r}")
            if place.kind == "cancel":
                await self._gateway.cancel(known.stream, self._principal(place.project))
            else:
                await self._answers.resume(known, known.stream, _after(payload))
        except GatewayError as error:
            if topics.is_level(place.rest):
                topic = f"{place.project}/stream/{place.rest}"
                said = json.encode(Trouble(place.rest, problem(error)))
                await self._link.publish(Outgoing(topic, said))

    def _principal(self, project: str) -> Principal:
        key = self._settings.project(project).key
        return self._gateway.authenticate([key.reveal()] if key is not None else [])


def _after(payload: bytes) -> int:
    """`{"after": seq}`; from the beginning where nothing is said."""
    if not payload.strip():
        return 0
    found = json.decode(payload, dict[str, object], InvalidRequestError).get("after", 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise InvalidRequestError("after: expected a number from 0", param="after")
    return found
