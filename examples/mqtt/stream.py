"""An answer as it is made, with aiomqtt: each event once, although each may come twice.

python examples/mqtt/stream.py [HOST [PORT]]
"""

import asyncio
import json
import sys
from uuid import uuid4

import aiomqtt


async def stream(client: aiomqtt.Client, text: str) -> None:
    request, seen = uuid4().hex, 0
    await client.subscribe(f"general/stream/{request}", qos=1)
    question = {"message": text, "sessionId": request, "requestId": request, "stream": True}
    await client.publish("general/user_input", json.dumps(question), qos=1)
    async for message in client.messages:
        entry = json.loads(message.payload)
        if "error" in entry:  # The stream never began.
            raise SystemExit(entry["error"]["message"])
        if entry["seq"] <= seen:
            continue
        if entry["seq"] > seen + 1:  # Something was missed: once more from where we were.
            await client.publish(f"general/resume/{request}", json.dumps({"after": seen}), qos=1)
            continue
        seen = entry["seq"]
        event = entry["event"]
        print(event.get("text", event.get("message", "")), end="", flush=True)
        if event["type"] in ("done", "failed"):
            return


async def main(host: str = "127.0.0.1", port: str = "1883") -> None:
    async with aiomqtt.Client(host, int(port)) as client:
        await stream(client, "Tell me a story about a lighthouse.")


asyncio.run(main(*sys.argv[1:]))
