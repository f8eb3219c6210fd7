"""The other end: asks a bridge over its broker, and reads a stream to its end, whatever breaks."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import msgspec

from penstock.config.schema import Mqtt
from penstock.core.errors import EngineProtocolError, UnavailableError, from_code
from penstock.core.events import TERMINAL, Entry
from penstock.transports.mqtt.client import Incoming, Outgoing
from penstock.transports.mqtt.link import WANTED, Link, check
from penstock.transports.mqtt.shapes import Trouble
from penstock.wire import json, native

_ASK_AGAIN_SECONDS: Final = 5.0
_FAREWELL_SECONDS: Final = 2.0


class _Any(msgspec.Struct, frozen=True):
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Asker:
    """Use as an async context manager. `session`: where the conversation goes on."""

    def __init__(self, settings: Mqtt, project: str, session: str) -> None:
        self._settings = settings
        self._project = project
        self._session = session
        identity = f"penstock-ask-{secrets.token_hex(6)}"
        own = msgspec.structs.replace(settings, client_id=identity)
        self._link = Link(own, identity, (), "", lambda _: None)
        self._came: asyncio.Queue[bytes] = asyncio.Queue()
        self._group = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises `UnavailableError` when the broker can't be reached or lets us not in."""
        trouble = await check(self._settings)
        if trouble is not None:
            raise UnavailableError(
                f"the MQTT broker at {trouble}; check its address, and name and password"
            )
        await self._group.__aenter__()
        self._task = self._group.create_task(self._link.run(self._receive))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if error is None or group.exceptions != (error,):
                raise

    def _receive(self, incoming: Incoming) -> None:
        incoming.acknowledge()
        self._came.put_nowait(incoming.payload)

    async def ask(self, fields: Mapping[str, object], within: float) -> AsyncIterator[Entry]:
        """The events of an answer, each once and in order, however often they come.

        `fields`: of the request, besides its ids. `within`: seconds of silence to bear. Raises
        `UnavailableError` after that, or when nobody listens, and the error that the bridge
        answers with.
        """
        request = secrets.token_hex(8)
        topic = f"{self._project}/stream/{request}"
        self._came = asyncio.Queue()
        await self._link.subscribe(topic)
        ended = False
        try:
            own = {"sessionId": self._session, "requestId": request, "stream": True}
            await self._say("user_input", {**fields, **own}, within)
            async for entry in self._entries(request, within):
                ended = isinstance(entry.event, TERMINAL)
                yield entry
        finally:
            if not ended:
                with suppress(UnavailableError):
                    await self._say(f"cancel/{request}", {}, _FAREWELL_SECONDS)
            await self._link.unsubscribe(topic)

    async def _entries(self, request: str, within: float) -> AsyncIterator[Entry]:
        last, silent = 0, 0.0
        while True:
            try:
                async with asyncio.timeout(_ASK_AGAIN_SECONDS):
                    payload = await self._came.get()
            except TimeoutError:
                silent += _ASK_AGAIN_SECONDS
                if silent >= within:
                    topic = f"{self._project}/user_input"
                    raise UnavailableError(f"nothing answers on {topic}; {WANTED}") from None
                if last:
                    await self._say(f"resume/{request}", {"after": last}, within)
                continue
            silent = 0.0
            entry = _read(payload)
            if entry is None or entry.seq <= last:
                continue
            if entry.seq > last + 1:
                await self._say(f"resume/{request}", {"after": last}, within)
                continue
            last = entry.seq
            yield entry
            if isinstance(entry.event, TERMINAL):
                return

    async def _say(self, kind: str, fields: Mapping[str, object], within: float) -> None:
        topic = f"{self._project}/{kind}"
        # A bridge that is away only now is still known to the broker, and will be told.
        message = Outgoing(topic, json.encode(fields), heard=kind == "user_input")
        try:
            async with asyncio.timeout(within):
                await self._link.publish(message)
        except TimeoutError:
            raise UnavailableError("the MQTT broker is away") from None


def _read(payload: bytes) -> Entry | None:
    """An event; `None` for one that is newer than we are. Raises the error that it is instead."""
    if not payload:
        return None
    if json.decode(payload, _Any, EngineProtocolError).error is not msgspec.UNSET:
        error = json.decode(payload, Trouble, EngineProtocolError).error
        raise from_code(error.code, error.message, error.param)
    found = native.entry(payload)
    return found if isinstance(found, Entry) else None
