"""One chat completion on the wire: its bytes, its three clocks, its end."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence

import aiohttp
import msgspec

from penstock.client._completions import Completion, Received
from penstock.client._lost import lost
from penstock.core.errors import EngineTimeoutError, GatewayError
from penstock.core.events import ReasoningDelta, TextDelta, ToolCallDelta
from penstock.core.ports import Timeouts

_DELTAS = (TextDelta, ReasoningDelta, ToolCallDelta)


class Asked(msgspec.Struct, frozen=True):
    """What was sent, for those who want to see it. No header here holds the key."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, object]


class Answering:
    """An answer that is arriving. `stream` names it at a Penstock; elsewhere it is `None`."""

    def __init__(
        self, asked: Asked, response: aiohttp.ClientResponse, timeouts: Timeouts, began: float
    ) -> None:
        self.asked = asked
        self.status = response.status
        self.headers: Mapping[str, str] = dict(response.headers)
        self.stream: str | None = response.headers.get("Penstock-Stream")
        self._response = response
        self._timeouts = timeouts
        self._completion = Completion()
        self._deadline = began + timeouts.first_token
        self._spoken = False
        self._ended = False

    @property
    def malformed(self) -> int:
        """How many events made no sense so far."""
        return self._completion.malformed

    @property
    def ended(self) -> bool:
        """Whether the answer has come to its end."""
        return self._ended

    async def take(self) -> Sequence[Received]:
        """All that one read brought, its terminal last; empty once the answer has ended.

        Raises `EngineTimeoutError` for silence (heartbeats are silence), `UnavailableError` for a
        connection that broke.
        """
        while not self._ended:
            found = await self._read()
            if found:
                return found
        return ()

    async def _read(self) -> list[Received]:
        if self._response.content_type == "application/json":
            data = await self._bytes(self._response.read())
            return [self._completion.whole(data), *self._end()]
        data = await self._bytes(self._response.content.readany())
        if not data:
            return self._end()
        found = self._completion.feed(data)
        if any(isinstance(event, _DELTAS) for one in found for event in one.events):
            loop = asyncio.get_running_loop()
            self._deadline = loop.time() + self._timeouts.between_tokens
            self._spoken = True
        return found + (self._end() if self._completion.finished else [])

    async def _bytes(self, reading: Coroutine[object, object, bytes]) -> bytes:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await reading
        except TimeoutError as error:
            raise self._silence() from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._cut(error) from error

    def _end(self) -> list[Received]:
        self._ended = True
        return [] if self._completion.failed else [Received(b"", (self._completion.end(),))]

    def _cut(self, error: BaseException) -> GatewayError:
        return lost(error, self.asked.url)

    def _silence(self) -> GatewayError:
        if self._spoken:
            silent = f"nothing for {self._timeouts.between_tokens:g} s in the middle of the answer"
        else:
            silent = f"no first token within {self._timeouts.first_token:g} s"
        return EngineTimeoutError(f"{silent}; raise the timeout, or see what the server is doing")
