"""One connection to a broker, made again whenever it breaks; what is sent waits for it.

aiomqtt acknowledges a message on arrival, and drops it when its queue is full. Here a message is
acknowledged when whoever handles it says so, and the broker keeps our session while we are away:
what was not acknowledged comes again.
"""

import asyncio
import logging
import random
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from penstock.config.schema import Mqtt
from penstock.core.errors import ConfigError, UnavailableError
from penstock.transports.mqtt.client import (
    Client,
    Incoming,
    Outgoing,
    incoming,
    made,
    number,
    properties,
)
from penstock.transports.mqtt.shapes import Status
from penstock.wire import json

logger = logging.getLogger(__name__)

WANTED: Final = "is a Penstock there whose [mqtt] has this project?"
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 60.0
_TRIES: Final = 2
_TRIES_ALONE: Final = 2
"""Connections that a message may break before nothing else is sent beside it, and from then on."""
_LASTING_SECONDS: Final = 5.0
_TOO_OFTEN: Final = 3
_RETRY_SECONDS: Final = 0.2
_KEEP_ALIVE: Final = 30
_SESSION_SECONDS: Final = 24 * 3600
"""How long a broker of MQTT 5 keeps our session; with 3.1.1 it decides itself."""
_IN_FLIGHT: Final = 64
_REFUSED: Final = 128
"""From here on a code says no."""
_NOBODY: Final = 16
"""MQTT 5's "No matching subscribers"."""
_UNSUPPORTED_VERSION: Final = (1, 132)
"""The answer to a CONNECT of a version that a broker does not speak: of 3.1.1, of 5."""


class Broker(NamedTuple):
    """Where a broker is."""

    host: str
    port: int
    tls: ssl.SSLContext | None


def broker(settings: Mqtt) -> Broker:
    """Of `[mqtt] url`. Raises `ConfigError`."""
    try:
        parts = urlsplit(settings.url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"mqtt.url: {error}", param="mqtt.url") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ConfigError("mqtt.url: expected mqtt://HOST or mqtts://HOST", param="mqtt.url")
    try:
        parts.hostname.encode("idna")  # as the look-up will
    except UnicodeError as error:
        what = f"mqtt.url: {parts.hostname!r} names no host"
        raise ConfigError(what, param="mqtt.url") from error
    if parts.username or parts.password:
        raise ConfigError(
            "mqtt.url: name and password go into [mqtt] username and password", param="mqtt.url"
        )
    if parts.scheme == "mqtt":
        return Broker(parts.hostname, port or 1883, None)
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"mqtt.ca_file: {settings.ca_file} can't be read: {error}", param="mqtt.ca_file"
        ) from error
    return Broker(parts.hostname, port or 8883, context)


class Link:
    """Use `run` in a task. `told(trouble)` is called when the connection breaks, with `None` when
    it stands again. `status_topic` empty: nobody is told that we are there, and the broker keeps
    nothing of us.
    """

    def __init__(
        self,
        settings: Mqtt,
        client_id: str,
        filters: Sequence[str],
        status_topic: str,
        told: Callable[[str | None], None],
    ) -> None:
        self._settings = settings
        self._broker = broker(settings)
        self._client_id = client_id
        self._filters = list(filters)
        self._status_topic = status_topic
        self._told = told
        self._modern = settings.protocol == "5"
        self._client: Client | None = None
        self._connected = asyncio.Event()
        self._scopes: set[asyncio.Timeout] = set()
        self._suspects = asyncio.Lock()
        self._trouble: str | None = None
        self._stood_at: float | None = None
        self._brief = 0

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    async def run(self, receive: Callable[[Incoming], None]) -> None:
        """Connects again and again, longer apart each time, for ever.

        A connection that does not last is no success: two clients of one name, who throw each other
        out, must not do so many times a second.
        """
        wait = _FIRST_WAIT
        while True:
            try:
                async with self._new_client() as client:
                    await self._stand(client)
                    await self._take(client, receive)
            except aiomqtt.MqttError as error:
                if self._lasted():
                    wait = _FIRST_WAIT
                self._broke(error)
                if self._modern and _refuses_version(error):
                    self._modern, wait = False, _FIRST_WAIT
            finally:
                self._lose()
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - spreads, hides nothing
            wait = min(wait * 2, _LONGEST_WAIT)

    async def subscribe(self, topic: str) -> None:
        """Listens on a topic, over every connection from now on."""
        self._filters.append(topic)
        client = self._client
        if client is not None:
            with suppress(aiomqtt.MqttError):  # The next connection does it.
                await client.subscribe(topic, 1)

    async def unsubscribe(self, topic: str) -> None:
        """Listens there no more."""
        self._filters.remove(topic)
        client = self._client
        if client is not None:
            with suppress(aiomqtt.MqttError):
                await client.unsubscribe(topic)

    async def _stand(self, client: Client) -> None:
        if self._filters:
            answers = await client.subscribe([(one, 1) for one in self._filters])
            refused = [
                name
                for name, answer in zip(self._filters, answers, strict=False)
                if number(answer) >= _REFUSED
            ]
            if refused:
                raise aiomqtt.MqttError(f"the broker lets us not subscribe to {refused[0]}")
        self._client = client
        if self._status_topic:
            await client.publish(self._status_topic, self.status("online"), qos=1)
        self._connected.set()
        self._stood_at = time.monotonic()
        self._trouble = None
        self._told(None)

    async def _take(self, client: Client, receive: Callable[[Incoming], None]) -> None:
        async for message in client.messages:
            receive(incoming(client, message))

    def _lasted(self) -> bool:
        """Whether there was a connection, and for a while. Counts those that were too brief."""
        if self._stood_at is None:
            return False
        lasted = time.monotonic() - self._stood_at >= _LASTING_SECONDS
        self._stood_at = None
        self._brief = 0 if lasted else self._brief + 1
        return lasted

    def _broke(self, error: aiomqtt.MqttError) -> None:
        trouble = f"the broker at {self._broker.host}:{self._broker.port}: {error}"
        if self._brief >= _TOO_OFTEN:
            trouble += f"; is another client called {self._client_id} too? see [mqtt] client_id"
        if trouble != self._trouble:
            logger.warning("%s; trying again", trouble)
        self._trouble = trouble
        self._told(trouble)

    def _lose(self) -> None:
        self._client = None
        self._connected.clear()
        # aiomqtt lets those who publish wait for an acknowledgement that can't come any more.
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now)
        self._scopes.clear()

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    async def publish(self, *messages: Outgoing) -> None:
        """Sends all, in order, and returns once the broker has them; over a new connection when
        this one breaks, and then perhaps twice.

        Raises `UnavailableError` for one that the broker refuses, and for one that breaks every
        connection: a broker closes it on what is larger than it allows, and for ever sent again it
        would be the end of all other traffic.
        """
        for _ in range(_TRIES):
            if await self._carry(messages):
                return
        for one in messages:
            async with self._suspects:  # Alone: so it is seen which of them it is.
                await self._carry_alone(one)

    async def _carry_alone(self, message: Outgoing) -> None:
        for _ in range(_TRIES_ALONE):
            if await self._carry([message]):
                return
        raise UnavailableError(
            f"the broker closes the connection on a message of {len(message.payload)} bytes on "
            f"{message.topic}; it may be larger than the broker allows"
        )

    async def _carry(self, messages: Sequence[Outgoing]) -> bool:
        """Whether they arrived; false: the connection broke meanwhile."""
        while True:
            await self._connected.wait()
            carried = await self._try(messages)
            if carried is not None:
                return carried
            await asyncio.sleep(_RETRY_SECONDS)

    async def _try(self, messages: Sequence[Outgoing]) -> bool | None:
        client = self._client
        if client is None:
            return None
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                # Tasks begin in the order in which they are made, and paho sends in that order.
                sent = [self._send(client, one) for one in messages]
                found = await asyncio.gather(*sent, return_exceptions=True)
        except TimeoutError:
            return False
        finally:
            self._scopes.discard(scope)
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, aiomqtt.MqttError):
                raise one
        return None if any(found) else True

    async def _send(self, client: Client, message: Outgoing) -> None:
        code = await client.send(message, properties(message) if self._modern else None)
        if code >= _REFUSED:
            said = ReasonCode(PacketTypes.PUBACK, identifier=code)
            raise UnavailableError(f"the broker takes no message on {message.topic}: {said}")
        if code == _NOBODY and message.heard:
            raise UnavailableError(f"nobody listens on {message.topic}; {WANTED}")

    async def leave(self) -> None:
        """Says that we are gone, if the broker can hear it: a clean end sends no last will."""
        client = self._client
        if client is not None and self._status_topic:
            with suppress(aiomqtt.MqttError):
                await client.publish(self._status_topic, self.status("offline"), qos=1, timeout=2)

    def status(self, state: Literal["online", "offline"]) -> bytes:
        """The payload of the status topic, now."""
        return json.encode(Status(self._client_id, state, round(time.time(), 3)))

    def _new_client(self) -> Client:
        settings, broker = self._settings, self._broker
        kept = bool(self._status_topic)
        lasting = made(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = _SESSION_SECONDS if kept else 0
        will = aiomqtt.Will(self._status_topic, self.status("offline"), qos=1)
        client = Client(
            broker.host,
            broker.port,
            username=settings.username or None,
            password=settings.password.reveal() if settings.password is not None else None,
            logger=logger,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if self._modern else aiomqtt.ProtocolVersion.V311,
            will=will if self._status_topic else None,
            keepalive=_KEEP_ALIVE,
            max_inflight_messages=_IN_FLIGHT,
            tls_context=broker.tls,
            clean_session=None if self._modern else not kept,
            clean_start=not kept if self._modern else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=lasting if self._modern else None,
        )
        client.hold()
        return client


def _refuses_version(error: aiomqtt.MqttError) -> bool:
    return isinstance(error, aiomqtt.MqttCodeError) and number(error.rc) in _UNSUPPORTED_VERSION


async def check(settings: Mqtt) -> str | None:
    """What is wrong with the broker, or `None`. Raises `ConfigError`."""
    place = broker(settings)
    try:
        async with aiomqtt.Client(
            place.host,
            place.port,
            username=settings.username or None,
            password=settings.password.reveal() if settings.password is not None else None,
            identifier=f"penstock-doctor-{secrets.token_hex(4)}",
            tls_context=place.tls,
            timeout=5,
            keepalive=5,
        ):
            return None
    except aiomqtt.MqttError as error:
        return f"{place.host}:{place.port}: {error}"
