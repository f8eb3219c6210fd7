"""What goes to a broker and comes from it, and the client that carries it: aiomqtt's, with
acknowledgements by hand, and with the broker's refusals.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import aiomqtt
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from typing_extensions import override


class Outgoing(NamedTuple):
    """What is to be published. `facts` become user properties where the broker speaks MQTT 5.

    `heard`: that nobody listens is an error, where the broker says so.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    facts: Mapping[str, str] = {}
    correlation: bytes = b""
    heard: bool = False


class Incoming(NamedTuple):
    """What came in. `acknowledge` tells the broker that it need not come again."""

    topic: str
    payload: bytes
    acknowledge: Callable[[], None]
    retained: bool = False
    facts: Mapping[str, str] = {}
    reply_to: str = ""
    correlation: bytes = b""


class Client(aiomqtt.Client):
    """A client whose messages are acknowledged by hand, and that hears what the broker refuses."""

    def hold(self) -> None:
        """Before it connects."""
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._client.manual_ack_set(True)

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """The broker need not send it again."""
        self._client.ack(message.mid, message.qos)

    async def send(self, message: Outgoing, properties: Properties | None) -> int:
        """The broker's answer: a reason code of MQTT 5, else 0. Raises `aiomqtt.MqttError`."""
        info = self._client.publish(
            message.topic, message.payload, message.qos, message.retain, properties
        )
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "could not publish")
        if info.is_published():
            return 0
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[info.mid] = answer
        try:
            async with asyncio.timeout(self.timeout):
                return await answer
        except TimeoutError:
            raise aiomqtt.MqttError("not acknowledged in time") from None
        finally:
            self._answers.pop(info.mid, None)

    @override
    def _on_publish(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        super()._on_publish(client, userdata, mid, reason_code, properties)
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(number(reason_code))


def number(code: object) -> int:
    """A code of 3.1.1 or of 5."""
    if isinstance(code, ReasonCode):
        return int(code.value)
    return code if isinstance(code, int) else -1


def made(packet: int) -> Properties:
    """None yet, of a type of packet."""
    return Properties(packet)  # type: ignore[no-untyped-call]


def properties(message: Outgoing) -> Properties:
    """Those of MQTT 5."""
    found = made(PacketTypes.PUBLISH)
    if message.facts:
        found.UserProperty = list(message.facts.items())
    if message.correlation:
        found.CorrelationData = message.correlation
    return found


def incoming(client: Client, message: aiomqtt.Message) -> Incoming:
    """The same message in our words."""
    properties = message.properties
    pairs: list[tuple[str, str]] = getattr(properties, "UserProperty", None) or []
    payload = message.payload
    return Incoming(
        message.topic.value,
        payload if isinstance(payload, bytes) else str(payload or "").encode(),
        lambda: client.acknowledge(message),
        retained=bool(message.retain),
        facts=dict(pairs),
        reply_to=str(getattr(properties, "ResponseTopic", None) or ""),
        correlation=bytes(getattr(properties, "CorrelationData", None) or b""),
    )
