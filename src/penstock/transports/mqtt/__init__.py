"""MQTT: a bridge to a broker. Requests come on topics, answers and streams go out on others."""

from penstock.transports.mqtt.asker import Asker
from penstock.transports.mqtt.bridge import Bridge
from penstock.transports.mqtt.link import check

__all__ = ["Asker", "Bridge", "check"]
