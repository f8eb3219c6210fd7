"""A real server that takes requests on its standard input, whatever dialects there are.

    python -m tests.images.server CONFIG

Says its address first, then the id of the stream of each request (one as JSON a line).
"""

import asyncio
import os
import sys
from pathlib import Path

from penstock import compose
from penstock.config import loading
from penstock.core.errors import GatewayError
from penstock.core.principals import LOCAL
from penstock.core.request import Request
from penstock.gateway.gateway import Gateway
from penstock.wire import json


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def take(gateway: Gateway) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            request = json.decode(line, Request, GatewayError)
            head = await gateway.submit(request, "test", LOCAL)
        except GatewayError as error:
            tell(f"refused {error.code} {error.param} {error.message}")
        else:
            tell(head.stream)


async def main(path: Path) -> None:
    config = loading.load(path, os.environ, {})
    ready: asyncio.Future[compose.Serving] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(compose.serve(config, ready.set_result))
        serving = await ready
        await serving.gateway.bindings.started(60)
        tell(serving.url)
        tasks.create_task(take(serving.gateway))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
