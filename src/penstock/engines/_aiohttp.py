"""aiohttp as the carrier of engines' requests: TLS, proxies, user info, whatever is needed."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Final

import aiohttp

from penstock.core.ports import Timeouts

_LOST: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)


class Answer:
    """A response as it comes. `headers` are found in any case."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._content = response.content
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def closed(self) -> bool:
        """Whether the connection is no longer ours."""
        return self._response.closed

    async def readany(self) -> bytes:
        """All that has arrived, waiting for at least one byte; empty at the end."""
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError):
            # aiohttp forgets what arrived together with the end of the connection.
            left = b"".join(self._content._buffer)  # noqa: SLF001
            self._content._buffer.clear()  # noqa: SLF001
            if left:
                return left
            raise

    def close(self) -> None:
        """Closes the connection, unless the body was read to its end."""
        self._response.close()


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


class AiohttpCarrier:
    """Connections to one base address. Made on first use, on the running loop.

    `headers` go with every request. No total timeout: a stream may last, and its silence is
    measured by the run. Redirects are never followed.
    """

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        *,
        verify_tls: bool,
        proxies: bool,
        idle_seconds: float,
    ) -> None:
        self._base = base
        self._headers = headers
        self._timeouts = timeouts
        self._verify_tls = verify_tls
        self._proxies = proxies
        self._idle_seconds = idle_seconds
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Sends a request and waits for status and headers. Raises what aiohttp raises."""
        session = self._session
        if session is None:
            session = self._session = self._made()
        while True:
            use = _Use()
            try:
                response = await session.request(
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
            else:
                return Answer(response)

    async def aclose(self) -> None:
        """Closes every connection. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _made(self) -> aiohttp.ClientSession:
        # aiohttp sets TCP_NODELAY on every connection.
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_kept)
        connect = self._timeouts.connect
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=self._idle_seconds, ssl=self._verify_tls
            ),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=connect, sock_connect=connect, sock_read=None
            ),
            trust_env=self._proxies,
            trace_configs=[trace],
        )
