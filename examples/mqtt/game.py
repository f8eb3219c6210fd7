"""A game that asks for hints: its state goes out, a JSON object comes back.

python examples/mqtt/game.py [HOST [PORT]]
"""

import asyncio
import json
import sys
from uuid import uuid4

import aiomqtt


async def main() -> None:
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1883
    game = f"game-{uuid4().hex[:8]}"
    state = {
        "sessionId": game,
        "player_pos": [1, 1],
        "exit_pos": [3, 1],
        "visible_map": [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]],
        "germs": [],
        "oxygenPellets": [[2, 1]],
        "oxygenCollected": 0,
    }
    async with aiomqtt.Client(host, port) as client:
        await client.subscribe(f"general/hint/{game}", qos=1)
        await client.publish("general/state", json.dumps(state), qos=1)
        async for message in client.messages:
            hint = json.loads(message.payload)
            print(hint.get("hint") or hint.get("error") or hint)
            return


asyncio.run(main())
