"""One run, two readers at once: both see every event."""

import asyncio
import os

from penstock import AsyncClient

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")


async def watch(client: AsyncClient, name: str) -> str:
    async with client.resume(name) as stream:
        return "".join([text async for text in stream.text()])


async def main() -> None:
    async with AsyncClient(URL) as client:
        async with client.stream("Tell me a story.", max_tokens=100) as stream:
            async with asyncio.TaskGroup() as group:
                one = group.create_task(watch(client, stream.id))
                two = group.create_task(watch(client, stream.id))
            asked = (await stream.result()).text
        print(asked)
        print("all the same:", one.result() == two.result() == asked)


asyncio.run(main())
