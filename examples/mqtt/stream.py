"""An answer as it is made, with aiomqtt: each event once, although each may come twice.

    python examples/mqtt/stream.py [HOST [PORT]]
"""

import asyncio
import json
import sys
from uuid import uuid4

import aiomqtt


async def stream(client: aiomqtt.Client, text: str) -> None:
    request = uuid4().hex
    await client.subscribe(f"general/stream/{request}", qos=1)
    question = {"message": text, "sessionId": request, "requestId": request, "stream": True}
    await client.publish("general/user_input", json.dumps(question), qos=1)
    seen = 0
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
        if event["type"] == "text":
            print(event["text"], end="", flush=True)
        elif event["type"] in ("done", "failed"):
            print(event.get("message", ""))
            return


async def main() -> None:
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1883
    async with aiomqtt.Client(host, port) as client:
        await stream(client, "Tell me a story about a lighthouse.")


asyncio.run(main())
