"""One question, one answer, with any MQTT client: here paho's, over MQTT 3.1.1.

python examples/mqtt/simple.py [HOST [PORT]]
"""

import json
import sys
from uuid import uuid4

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
port = int(sys.argv[2]) if len(sys.argv) > 2 else 1883
session = f"example-{uuid4().hex[:8]}"


def ask(client: mqtt.Client, *_: object) -> None:
    """Once the answer's topic is listened to, the question."""
    question = {"message": "Hello!", "sessionId": session, "requestId": uuid4().hex}
    client.publish("general/user_input", json.dumps(question), qos=1)


def told(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
    """The answer is the bare text."""
    print(message.payload.decode())
    client.disconnect()


client = mqtt.Client(CallbackAPIVersion.VERSION2)
client.on_connect = lambda client, *_: client.subscribe(f"general/assistant_response/{session}", 1)
client.on_subscribe = ask
client.on_message = told
client.connect(host, port)
client.loop_forever()
