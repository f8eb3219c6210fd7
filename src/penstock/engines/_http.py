"""What engines that call an upstream over HTTP share: one pool of connections, one way to fail."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from penstock.core.errors import ConfigError, EngineProtocolError, GatewayError
from penstock.core.ports import Timeouts
from penstock.core.secrets import Secret
from penstock.engines._upstream_errors import our_errors, refusal, translated

_ERROR_BYTES: Final = 64 * 1024
_WHOLE_BYTES: Final = 64 * 1024 * 1024
_DRAIN_SECONDS: Final = 0.05
_IDLE_SECONDS: Final = 4.0
"""Under the five seconds after which uvicorn, and so vLLM, closes an idle connection: a request
sent on a connection that is being closed is lost."""
_LOST: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Reply:
    """An accepted streamed request: status 200, its headers, and the body as it comes."""

    def __init__(self, response: aiohttp.ClientResponse, address: str) -> None:
        self._response = response
        self._content = response.content
        self._address = address
        self.finished = False
        """Set it when the stream has said its last word; the connection may then be used again."""

    @property
    def media_type(self) -> str:
        """Of the body, lower case, without parameters; empty when the upstream said none."""
        if "Content-Type" not in self._response.headers:
            return ""
        return self._response.content_type.lower()

    async def read(self) -> bytes:
        """All that has arrived, waiting for at least one byte; empty at the end."""
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            # aiohttp forgets what arrived together with the end of the connection.
            left = b"".join(self._content._buffer)  # noqa: SLF001
            self._content._buffer.clear()  # noqa: SLF001
            if left:
                return left
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
                while await self._content.readany():
                    pass
        except (aiohttp.ClientError, OSError):
            pass  # it is closed instead


class _Use:
    """Whether a request went out on a connection that had been used before."""

    def __init__(self) -> None:
        self.kept = False


async def _note_kept(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    context.trace_request_ctx.kept = True


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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("must begin with http:// or https:// and name a host", param="url")
        self._base = url.rstrip("/")
        self._secrets = [secret.reveal() for secret in (key, *(headers or {}).values()) if secret]
        self._headers = _headers(key, headers or {})
        self._timeouts = timeouts
        self._verify_tls = verify_tls
        self._trust_env = parts.hostname not in _LOOPBACK
        self._session: aiohttp.ClientSession | None = None
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
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
    async def post(self, path: str, body: bytes, accept: str) -> AsyncIterator[Reply]:
        """Sends a JSON body. Raises before it yields for everything but HTTP 200.

        Leaving the block closes the connection at once, unless the reply is `finished`.
        """
        headers = {"Content-Type": "application/json", "Accept": accept}
        response = await self._request("POST", path, body, headers)
        reply = Reply(response, self.address)
        try:
            if response.status != 200:
                raise await self._refusal(response)
            yield reply
        finally:
            if reply.finished and not response.closed:
                await reply.drain()
            response.close()

    async def get(self, path: str) -> bytes | None:
        """A whole answer of status 200, within `connect` seconds; none when there is no such route.

        Raises a `GatewayError` for everything else.
        """
        with our_errors(self.address):
            async with asyncio.timeout(self._timeouts.connect):
                response = await self._request("GET", path, None, {"Accept": "application/json"})
                try:
                    if response.status in (404, 405):
                        return None
                    if response.status != 200:
                        raise await self._refusal(response)
                    return await Reply(response, self.address).whole()
                finally:
                    response.close()

    async def aclose(self) -> None:
        """Closes every connection. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        session = self._session
        if session is None:
            session = self._session = self._made()
        limit = self._timeouts.connect + self._timeouts.first_token
        with our_errors(self.address):
            async with asyncio.timeout(limit):
                while True:
                    use = _Use()
                    try:
                        return await session.request(
                            method,
                            f"{self._base}/{path}",
                            data=body,
                            headers=headers,
                            allow_redirects=False,
                            trace_request_ctx=use,
                        )
                    except _LOST:
                        # A kept connection that the server was just closing; a new one says more.
                        if not use.kept:
                            raise

    def _made(self) -> aiohttp.ClientSession:
        # aiohttp sets TCP_NODELAY on every connection.
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_kept)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_IDLE_SECONDS, ssl=self._verify_tls
            ),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=self._timeouts.connect,
                sock_connect=self._timeouts.connect,
                sock_read=None,
            ),
            trust_env=self._trust_env,
            trace_configs=[trace],
        )

    async def _refusal(self, response: aiohttp.ClientResponse) -> GatewayError:
        body = b""
        try:
            async with asyncio.timeout(self._timeouts.connect):
                while len(body) < _ERROR_BYTES:
                    piece = await response.content.read(_ERROR_BYTES - len(body))
                    if not piece:
                        break
                    body += piece
        except (aiohttp.ClientError, OSError):
            pass  # the status says enough
        return refusal(response.status, response.headers, body, self.masked)


def _headers(key: Secret | None, more: Mapping[str, Secret]) -> dict[str, str]:
    found = {"User-Agent": "penstock", "Accept-Encoding": "identity"}
    if key is not None:
        found["Authorization"] = f"Bearer {key.reveal()}"
    found.update({name: value.reveal() for name, value in more.items()})
    for name, value in found.items():
        if not (name.isascii() and name.isprintable() and value.isprintable()) or ":" in name:
            at = "key" if name == "Authorization" else "headers"
            raise ConfigError("holds characters that no header may have", param=at)
    return found
