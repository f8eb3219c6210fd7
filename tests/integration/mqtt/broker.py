"""A real mosquitto on a free port, and paho's own client to speak to it."""

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.integration.serving import free_port

SECONDS = 30.0


def program(name: str) -> str:
    """mosquitto is in a folder that only root has in its PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    assert found is not None, f"{name} is not installed: make test installs it"
    return found


@dataclass
class Broker:
    """One mosquitto. What it keeps lies in `folder`, so that it can be started again."""

    folder: Path
    config: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return (self.folder / "mosquitto.log").read_text()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "mosquitto.conf"
        path.write_text(
            f"listener {self.port} 127.0.0.1\n{self.config}\nlog_type all\n"
            f"persistence true\npersistence_location {self.folder}/\nuser root\n"
        )
        with (self.folder / "mosquitto.log").open("ab") as said:
            command = [program("mosquitto"), "-c", str(path)]
            self.process = subprocess.Popen(command, stdout=said, stderr=said)
        for _ in range(200):
            assert self.process.poll() is None, self.said
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError(self.said)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@contextmanager
def broker(folder: Path, config: str = "allow_anonymous true") -> Iterator[Broker]:
    found = Broker(folder, config)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@dataclass(frozen=True)
class Heard:
    """One message that came."""

    topic: str
    payload: bytes
    retain: bool
    facts: Mapping[str, str]
    correlation: bytes

    @property
    def text(self) -> str:
        return self.payload.decode()

    @property
    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.payload)
        return found


class Peer:
    """A client as others write it: paho, with a thread of its own. `version`: 4 is 3.1.1."""

    def __init__(
        self,
        port: int,
        *topics: str,
        version: int = 4,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._version = version
        self._topics = topics
        self._heard: list[Heard] = []
        self._came = threading.Condition()
        self._subscribed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion(version)
        )
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        if login is not None:
            self._client.username_pw_set(*login)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.connect("localhost" if tls else "127.0.0.1", port)
        self._client.loop_start()
        if topics:
            assert self._subscribed.wait(10)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        properties = message.properties
        facts = dict(getattr(properties, "UserProperty", None) or [])
        correlation = bytes(getattr(properties, "CorrelationData", None) or b"")
        heard = Heard(message.topic, bytes(message.payload), message.retain, facts, correlation)
        with self._came:
            self._heard.append(heard)
            self._came.notify_all()

    def say(
        self,
        topic: str,
        payload: bytes | str | Mapping[str, object],
        *,
        qos: int = 1,
        retain: bool = False,
        facts: Mapping[str, str] | None = None,
        reply_to: str = "",
        correlation: bytes = b"",
    ) -> None:
        properties = None
        if facts or reply_to or correlation:
            properties = Properties(PacketTypes.PUBLISH)
            if facts:
                properties.UserProperty = list(facts.items())
            if reply_to:
                properties.ResponseTopic = reply_to
            if correlation:
                properties.CorrelationData = correlation
        data = json.dumps(payload) if isinstance(payload, Mapping) else payload
        self._client.publish(topic, data, qos, retain, properties).wait_for_publish(10)

    def all(self) -> list[Heard]:
        with self._came:
            return list(self._heard)

    def wait(self, enough: Callable[[list[Heard]], bool], seconds: float = SECONDS) -> list[Heard]:
        """All that came, once it is enough."""
        with self._came:
            assert self._came.wait_for(lambda: enough(self._heard), seconds), self._heard
            return list(self._heard)

    def one(self, topic: str, seconds: float = SECONDS) -> Heard:
        """The first message on a topic."""
        found = self.wait(lambda heard: any(one.topic == topic for one in heard), seconds)
        return next(one for one in found if one.topic == topic)

    def forget(self) -> None:
        with self._came:
            self._heard.clear()


__all__ = ["SECONDS", "Broker", "Heard", "Peer", "broker", "program"]
