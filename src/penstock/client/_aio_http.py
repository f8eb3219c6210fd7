"""Steps over aiohttp."""

import asyncio
from collections.abc import Mapping
from typing import TypeVar, cast

import aiohttp

from penstock.client._lost import lost
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
from penstock.core.errors import UnavailableError

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

    async def run(self, steps: Steps[T]) -> T:
        """All steps of one piece of work; its value."""
        return await awaited(steps, self._take)

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        try:
            async with asyncio.timeout(step.seconds):
                response = await self._http.request(
                    step.method,
                    step.url,
                    headers=step.headers,
                    data=step.body,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=step.connect),
                    allow_redirects=False,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise lost(error, step.url) from RefusedConnectionError(str(error))
        except TimeoutError as error:
            raise SilenceError from error
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, step.url) from error
        return _Answer(response)

    @property
    def _http(self) -> aiohttp.ClientSession:
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
