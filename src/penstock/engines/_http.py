"""What engines that call an upstream over HTTP share: one pool of connections, one way to fail."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol
from urllib.parse import SplitResult, urlunsplit
from urllib.request import getproxies_environment

import aiohttp

from penstock.core.errors import ConfigError, EngineProtocolError, GatewayError, UnknownModelError
from penstock.core.ports import Timeouts
from penstock.core.secrets import Secret
from penstock.engines._addresses import parts_of
from penstock.engines._aiohttp import AiohttpCarrier
from penstock.engines._plain import PlainCarrier
from penstock.engines._upstream_errors import our_errors, refusal, translated

_ERROR_BYTES: Final = 64 * 1024
_WHOLE_BYTES: Final = 64 * 1024 * 1024
_DRAIN_SECONDS: Final = 0.05
_IDLE_SECONDS: Final = 4.0
"""Under the five seconds after which uvicorn, and so vLLM, closes an idle connection: a request
sent on a connection that is being closed is lost."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Answer(Protocol):
    """A response as a carrier gives it. `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]

    @property
    def closed(self) -> bool:
        """Whether the connection is no longer ours."""

    async def readany(self) -> bytes:
        """All that has arrived, waiting for at least one byte; empty at the end."""

    def close(self) -> None:
        """Closes the connection, unless the body was read to its end."""


class Carrier(Protocol):
    """What brings requests to one upstream."""

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Waits for status and headers. Raises aiohttp's errors or `OSError`."""

    async def aclose(self) -> None:
        """Closes every connection. Idempotent."""


class Reply:
    """An accepted streamed request: status 200, its headers, and the body as it comes."""

    def __init__(self, answer: Answer, address: str) -> None:
        self._answer = answer
        self._readany = answer.readany
        self._address = address
        self.finished = False
        """Set it when the stream has said its last word; the connection may then be used again."""

    @property
    def media_type(self) -> str:
        """Of the body, lower case, without parameters; empty when the upstream said none."""
        return self._answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """All that has arrived, waiting for at least one byte; empty at the end."""
        try:
            return await self._readany()
        except (aiohttp.ClientError, OSError) as error:
            raise translated(error, self._address) from error

    async def whole(self) -> bytes:
        """The rest of the body. Raises `EngineProtocolError` beyond 64 MiB."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > _WHOLE_BYTES:
                raise EngineProtocolError("the upstream's answer is too large")
        self.finished = True
        return b"".join(pieces)

    async def drain(self) -> None:
        """Waits a moment for the end of a finished body, so that its connection can be kept."""
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await self._readany():
                    pass
        except (aiohttp.ClientError, OSError, GatewayError):
            pass  # it is closed instead


class Upstream:
    """One server that an engine calls. Made without I/O; connections appear on first use.

    `url` may hold user info or a query: neither is ever shown. No total timeout: a stream may last,
    and its silence is measured by the run. Redirects are never followed, since they could carry our
    key elsewhere. Proxies are taken from the environment, except for this machine itself.
    """

    def __init__(
        self,
        url: str,
        timeouts: Timeouts,
        *,
        key: Secret | None = None,
        headers: Mapping[str, Secret] | None = None,
        verify_tls: bool = True,
    ) -> None:
        parts = parts_of(url)
        self._secrets = [secret.reveal() for secret in (key, *(headers or {}).values()) if secret]
        self._timeouts = timeouts
        told = _headers(key, headers or {})
        if (parts.username or parts.password) and "authorization" in map(str.lower, told):
            raise ConfigError("names a user, but there is a key too: send only one", param="url")
        self._carrier = _carrier(parts, told, timeouts, verify_tls)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
        self.address = f"{parts.scheme}://{host}{port}"
        """For people: where it is, without secrets."""

    def masked(self, text: str) -> str:
        """The text with our key and header values blotted out, should an upstream echo them."""
        for secret in self._secrets:
            if secret:
                text = text.replace(secret, "***")
        return text

    @asynccontextmanager
    async def post(
        self,
        path: str,
        body: bytes,
        accept: str,
        *,
        media_type: str = "application/json",
        waits: bool = True,
    ) -> AsyncIterator[Reply]:
        """Sends a body. Raises before it yields for everything but HTTP 200.

        Leaving the block closes the connection at once, unless the reply is `finished`. `waits`:
        for the status as long as for a first token; not, where the caller has clocks of its own.
        """
        headers = {"Content-Type": media_type, "Accept": accept}
        answer = await self._request("POST", path, body, headers, waits=waits)
        reply = Reply(answer, self.address)
        try:
            if answer.status != 200:
                raise await self._refusal(answer)
            yield reply
        finally:
            if reply.finished and not answer.closed:
                await reply.drain()
            answer.close()

    async def get(self, path: str) -> bytes | None:
        """A whole answer of status 200, within `connect` seconds; none when there is no such route.

        Raises a `GatewayError` for everything else.
        """
        with our_errors(self.address):
            async with asyncio.timeout(self._timeouts.connect):
                answer = await self._request("GET", path, None, {"Accept": "application/json"})
                try:
                    if answer.status in (404, 405):
                        return None
                    if answer.status != 200:
                        raise await self._refusal(answer)
                    return await Reply(answer, self.address).whole()
                finally:
                    answer.close()

    async def ask(self, path: str, body: bytes) -> bytes | None:
        """A whole answer of status 200 to a JSON body; none when the server can't do such things.

        That is no such route, or 501. An unknown model stays `UnknownModelError`.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        with our_errors(self.address):
            async with asyncio.timeout(self._timeouts.connect + self._timeouts.first_token):
                answer = await self._request("POST", path, body, headers)
                reply = Reply(answer, self.address)
                try:
                    if answer.status == 200:
                        return await reply.whole()
                    error = await self._refusal(answer)
                finally:
                    answer.close()
        if answer.status in (404, 405, 501) and not isinstance(error, UnknownModelError):
            return None
        raise error

    async def aclose(self) -> None:
        """Closes every connection. Idempotent."""
        await self._carrier.aclose()

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        waits: bool = True,
    ) -> Answer:
        limit = self._timeouts.connect + self._timeouts.first_token if waits else None
        with our_errors(self.address):
            async with asyncio.timeout(limit):
                return await self._carrier.send(method, path, headers, body)

    async def _refusal(self, answer: Answer) -> GatewayError:
        body = b""
        try:
            async with asyncio.timeout(self._timeouts.connect):
                while len(body) < _ERROR_BYTES and (piece := await answer.readany()):
                    body += piece
        except (aiohttp.ClientError, OSError):
            pass  # the status says enough
        return refusal(answer.status, answer.headers, body[:_ERROR_BYTES], self.masked)


def _carrier(
    parts: SplitResult, headers: Mapping[str, str], timeouts: Timeouts, verify_tls: bool
) -> Carrier:
    """The cheap one where the address allows it; both behave alike."""
    host = parts.hostname or ""
    proxies = host not in _LOOPBACK
    bare = parts.scheme == "http" and not (parts.username or parts.password or parts.query)
    # What is not ASCII in an address, aiohttp knows how to write.
    bare = bare and urlunsplit(parts).isascii()
    if bare and not (proxies and "http" in getproxies_environment()):
        return PlainCarrier(parts, headers, timeouts, idle_seconds=_IDLE_SECONDS)
    return AiohttpCarrier(
        urlunsplit(parts).rstrip("/"),
        headers,
        timeouts,
        verify_tls=verify_tls,
        proxies=proxies,
        idle_seconds=_IDLE_SECONDS,
    )


def _headers(key: Secret | None, more: Mapping[str, Secret]) -> dict[str, str]:
    found = {"User-Agent": "penstock", "Accept-Encoding": "identity"}
    if key is not None:
        if not key.reveal().isascii():
            raise ConfigError("holds characters that no key has: quotation marks?", param="key")
        found["Authorization"] = f"Bearer {key.reveal()}"
    found.update({name: value.reveal() for name, value in more.items()})
    for name, value in found.items():
        if not (name.isascii() and name.isprintable() and value.isprintable()) or ":" in name:
            at = "key" if name == "Authorization" else "headers"
            raise ConfigError("holds characters that no header may have", param=at)
    return found
