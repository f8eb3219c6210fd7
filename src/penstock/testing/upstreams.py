"""A scripted upstream on a loopback socket: for bytes and faults that a real one can't be made to
show.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager


class Connection:
    """One accepted request, and the wire back. What is written leaves at once."""

    def __init__(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.body = body
        self._writer = writer
        self.closed = asyncio.Event()
        """Set when the other side has closed or reset the connection."""
        self.more = asyncio.Event()
        """Set when the other side has sent more than its first request."""

    async def send(self, data: bytes) -> None:
        """Writes bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(
        self, status: str = "200 OK", headers: Sequence[str] = (), body: bytes = b""
    ) -> None:
        """A whole response that ends with the connection."""
        lines = [f"HTTP/1.1 {status}", "Connection: close", *headers]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def reset(self) -> None:
        """Breaks the connection without saying goodbye."""
        self._writer.transport.abort()


Script = Callable[[Connection], Awaitable[None]]


class Upstream:
    """Where the script is served, and what has been asked so far."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.connections: list[Connection] = []


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Upstream]:
    """Serves `script` once per connection, on a free port; the end of the script closes it."""
    writers: list[asyncio.StreamWriter] = []
    found: list[Upstream] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            connection = Connection(head, body, writer)
            found[0].connections.append(connection)
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(_watch(reader, connection))
                await script(connection)
                watch.cancel()
        except* (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side went away, which scripts are for
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.append(Upstream(server.sockets[0].getsockname()[1]))
    try:
        yield found[0]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def _watch(reader: asyncio.StreamReader, connection: Connection) -> None:
    try:
        while await reader.read(64 * 1024):
            connection.more.set()
    except ConnectionError:
        pass  # a reset is an end too
    connection.closed.set()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0
