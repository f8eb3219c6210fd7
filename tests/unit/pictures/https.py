"""An HTTPS server on loopback without a certificate: its cipher needs none, so nothing secret lies
here. Only these tests may connect to it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from penstock.pictures.fetching import Address


def loopback(address: Address) -> bool:
    return address.is_loopback


def nameless(side: int) -> ssl.SSLContext:
    """TLS without a certificate."""
    found = ssl.SSLContext(side)
    found.maximum_version = ssl.TLSVersion.TLSv1_2
    if side == ssl.PROTOCOL_TLS_CLIENT:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    found.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    return found


@dataclass
class Server:
    """Answers each path with the bytes of `pages`; notes what it was asked."""

    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def url(self, path: str = "/") -> str:
        return f"https://localhost:{self.port}{path}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.asked.append(head)
                page = self.pages.get(head.split(" ")[1])
                if page is None:
                    await reader.read()  # until the client is gone
                    return
                writer.write(page)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(pages: dict[str, bytes]) -> AsyncIterator[Server]:
    found = Server(pages)
    listening = await asyncio.start_server(
        found.answer, "127.0.0.1", 0, ssl=nameless(ssl.PROTOCOL_TLS_SERVER)
    )
    found.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield found
        listening.close()


def page(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
