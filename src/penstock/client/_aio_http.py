"""Steps over aiohttp."""

import asyncio
from collections.abc import Mapping
from typing import TypeVar, cast
from weakref import WeakSet

import aiohttp

from penstock.client._lost import lost
from penstock.client._proxies import proxy_of
from penstock.client._refusals import closed
from penstock.client.steps import (
    Open,
    Read,
    RefusedConnectionError,
    SilenceError,
    Sleep,
    Step,
    Steps,
    awaited,
)
from penstock.core.errors import InvalidRequestError, UnavailableError

T = TypeVar("T")


class _Answer:
    """See `steps.Opened`."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in response.headers.items()}
        self.content = response.content
        self.url = str(response.url)
        self._response = response

    def close(self) -> None:
        if self.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class AsyncHttp:
    """Takes steps, each awaited. Connections are pooled."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._used: WeakSet[_Answer] = WeakSet()

    async def run(self, steps: Steps[T]) -> T:
        """All steps of one piece of work; its value."""
        return await awaited(steps, self._take)

    async def close(self) -> None:
        """Closes every connection."""
        self._closed = True
        for answer in list(self._used):  # the session would leave its reader waiting
            answer.close()
        if self._session is not None:
            await self._session.close()

    async def _take(self, step: Step) -> object:
        if isinstance(step, Read):
            return await _read(cast("_Answer", step.opened), step.seconds)
        if isinstance(step, Open):
            return await self._open(step)
        if isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
            return None
        return await step.make()

    async def _open(self, step: Open) -> _Answer:
        proxy = proxy_of(step.url)
        try:
            async with asyncio.timeout(step.seconds):
                response = await self._http.request(
                    step.method,
                    step.url,
                    headers=step.headers,
                    data=step.body,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=step.connect),
                    allow_redirects=False,
                    proxy=proxy.url if proxy is not None else None,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise lost(error, step.url) from RefusedConnectionError(str(error))
        except TimeoutError as error:
            raise SilenceError from error
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, step.url) from error
        answer = _Answer(response)
        self._used.add(answer)
        return answer

    @property
    def _http(self) -> aiohttp.ClientSession:
        """Raises `InvalidRequestError` for a client that was closed, and in another event loop than
        the first one: its connections live there.
        """
        if self._closed:
            raise closed()
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            what = "an AsyncClient serves one event loop; make another one in this loop"
            raise InvalidRequestError(what)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"Accept-Encoding": "identity"},
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _read(answer: _Answer, seconds: float) -> bytes:
    content = answer.content
    try:
        if data := content.read_nowait():
            return data
        if content.at_eof():
            return b""
        async with asyncio.timeout(max(seconds, 0.0)):
            return await content.readany()
    except TimeoutError as error:
        raise SilenceError from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnavailableError(f"the connection to {answer.url} was cut ({error})") from error
