"""A server, or any OpenAI-compatible endpoint, as somebody who answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final

from penstock.cli._drawing import Drawing
from penstock.client.connection import Answering, Connection, Received
from penstock.core.cards import BindingCard, ModelCard
from penstock.core.errors import GatewayError, UnavailableError
from penstock.core.events import BEGINNING, Blob, Entry, Seq
from penstock.core.ports import StreamInfo
from penstock.core.request import Request

_CANCEL_SECONDS: Final = 2.0


class Endpoint:
    """`foreign`: not found by us but named by the user, so its default model is unknown."""

    def __init__(self, client: Connection, *, foreign: bool) -> None:
        self._client = client
        self.address = client.url
        self.default_model = None if foreign else "default"

    @asynccontextmanager
    async def ask(self, request: Request) -> AsyncIterator["RemoteAnswer"]:
        """Leaving before the end closes the connection, and cancels the run of a Penstock."""
        async with self._client.chat(request) as answering:
            try:
                yield RemoteAnswer(answering)
            finally:
                if answering.stream is not None and not answering.ended:
                    with suppress(GatewayError, TimeoutError):
                        async with asyncio.timeout(_CANCEL_SECONDS):
                            await self._client.cancel(answering.stream)

    @asynccontextmanager
    async def draw(self, request: Request) -> AsyncIterator[Drawing]:
        """Leaving before the end cancels the run, unless it is the connection that was lost."""
        async with (
            self._client.draw(request) as stream,
            aclosing(self._client.follow(stream, BEGINNING)) as entries,
        ):
            drawing = Drawing(stream, entries, self)
            try:
                yield drawing
            except UnavailableError:
                raise
            except BaseException:
                with suppress(GatewayError, TimeoutError):
                    async with asyncio.timeout(_CANCEL_SECONDS):
                        drawing.cancelled = await self._client.cancel(stream)
                raise

    async def picture(self, stream: str, blob: Blob) -> bytes:
        """The bytes of a stream's picture."""
        return await self._client.picture(stream, blob.sha256)

    async def models(self) -> Sequence[ModelCard]:
        """What can be asked for."""
        return await self._client.models()

    async def bindings(self) -> Sequence[BindingCard]:
        """Not part of this API."""
        return ()

    @asynccontextmanager
    async def follow(self, stream: str, after: Seq) -> AsyncIterator[AsyncIterator[Entry]]:
        """Past and live. A server that isn't there is said at once; one that goes is waited for."""
        await self._client.streams(1)
        async with aclosing(self._client.follow(stream, after)) as entries:
            yield entries

    async def recent(self, limit: int) -> Sequence[StreamInfo]:
        """The newest."""
        return await self._client.streams(limit)


class RemoteAnswer:
    """An answer over HTTP."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.stream = answering.stream

    @property
    def malformed(self) -> int:
        """How many events made no sense."""
        return self._answering.malformed

    @property
    def exchange(self) -> dict[str, object]:
        """What was sent and answered, without the key."""
        asked = self._answering.asked
        return {
            "url": asked.url,
            "request_headers": dict(asked.headers),
            "payload": dict(asked.body),
            "status": self._answering.status,
            "response_headers": dict(self._answering.headers),
        }

    async def take(self) -> Sequence[Received]:
        """All that has come since."""
        return await self._answering.take()
