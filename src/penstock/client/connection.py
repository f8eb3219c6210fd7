"""A server's wire as the command line shows it: raw answers beside what they say. See `aio`."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from penstock.client import _completions, _pictures
from penstock.client._address import authorization, checked_key, split
from penstock.client._answering import Answering, Asked
from penstock.client._completions import Received
from penstock.client._lost import lost
from penstock.client._openai_models import models
from penstock.client._proxies import proxy_of
from penstock.client._reading import Reading
from penstock.client._refusals import refusal
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    EngineProtocolError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    UnavailableError,
)
from penstock.core.events import BEGINNING, Entry, Failed, Seq
from penstock.core.folding import Folder, Reply
from penstock.core.ports import StreamInfo, Timeouts
from penstock.core.request import Request
from penstock.core.secrets import Secret
from penstock.wire import json
from penstock.wire.native import StreamCancelled, StreamList

__all__ = ["Answering", "Connection", "Received"]

T = TypeVar("T")

_SILENT_SECONDS: Final = 30.0
"""A followed stream has a heartbeat at least every 10 s: longer silence is a dead connection."""
_LIVED: Final = 1.0
"""Seconds after which a connection that brings at least heartbeats is a good one."""
_MOST_OF_A_REFUSAL: Final = 64 * 1024
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0


class _Health(msgspec.Struct):
    """`api_key_required` is what tells ours from anybody's."""

    status: str
    version: str
    api_key_required: bool


class Connection:
    """One server; use as an async context manager.

    `url`: the server's address; `/v1` is added when it has no path. A user and a password in it are
    sent where no key is, and never shown. `key` is sent as a bearer token. `timeouts` in seconds.
    `patience`: how many seconds a followed stream may be unreachable. `direct`: by no proxy of the
    environment. Every error is one of `penstock.core.errors` and says what to do.
    """

    def __init__(
        self,
        url: str,
        *,
        key: Secret | str | None = None,
        timeouts: Timeouts | None = None,
        patience: float = 60.0,
        direct: bool = False,
    ) -> None:
        if "?" in url or "#" in url:
            raise InvalidRequestError("an address ends with its path: no ? and no #")
        parts = split(url)
        who, _, place = parts.netloc.rpartition("@")
        self.url = f"{parts.scheme}://{place}{parts.path.rstrip('/') or '/v1'}"
        self._key = checked_key(key)
        self._authorization = authorization(self._key, who)
        self._timeouts = timeouts or Timeouts()
        self._patience = patience
        self._direct = direct
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Raises `InvalidRequestError` for a proxy that makes no sense."""
        proxy = None if self._direct else proxy_of(self.url)
        self._session = aiohttp.ClientSession(
            proxy=proxy.url if proxy is not None else None,
            headers={"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    # ── streams of a Penstock ────────────────────────────────────────────────────────────────────

    async def follow(self, stream: str, after: Seq = BEGINNING) -> AsyncGenerator[Entry, None]:
        """The stream's entries after `after`, to its end, over however many connections.

        None comes twice. Raises `NotFoundError` for an unknown stream, `UnavailableError` when the
        server could not be reached for `patience` seconds.
        """
        reading = Reading(stream, after)
        loop = asyncio.get_running_loop()
        wait, lost_at = _FIRST_WAIT, None
        while not reading.finished:
            began = loop.time()
            try:
                async with aclosing(self._follow_once(reading)) as batches:
                    async for entries in batches:
                        if entries or loop.time() - began > _LIVED:
                            wait, lost_at = _FIRST_WAIT, None
                        for entry in entries:
                            yield entry
                trouble: GatewayError = UnavailableError("the stream's connection was closed")
            except GatewayError as error:
                if not error.retryable or isinstance(error, EngineProtocolError):
                    raise
                trouble = error
            if reading.finished:
                return
            lost_at = lost_at or loop.time()
            if loop.time() - lost_at > self._patience:
                raise trouble
            await asyncio.sleep(trouble.retry_after or wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _follow_once(self, reading: Reading) -> AsyncGenerator[list[Entry], None]:
        reading.reconnected()
        url = self.url + reading.path
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeouts.connect, sock_read=_SILENT_SECONDS
        )
        headers = {**self._headers(), "Accept": "text/event-stream"}
        try:
            async with self._http.get(
                url, params=reading.params, headers=headers, timeout=timeout
            ) as response:
                await self._check(response)
                async for data in response.content.iter_any():
                    entries = reading.feed(data)
                    yield entries
                    if reading.finished:
                        return
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, self.url) from error

    async def streams(self, limit: int = 50) -> Sequence[StreamInfo]:
        """The newest streams that this key may see."""
        found = await self._ask("GET", f"/streams?limit={limit}", StreamList)
        return found.data

    async def cancel(self, stream: str) -> bool:
        """Stops a stream's run; false when it had ended."""
        path = f"{Reading(stream).path}/cancel"
        return (await self._ask("POST", path, StreamCancelled)).cancelled

    @asynccontextmanager
    async def draw(self, request: Request) -> AsyncIterator[str]:
        """Asks for pictures; the id of the stream that has them, to be followed.

        The connection is kept until the block is left: the run is nobody's until it is followed.
        """
        headers = {
            **self._headers(),
            "Content-Type": "application/json",
            "Penstock-On-Disconnect": "linger",
        }
        data = json.encode(_pictures.body(request))
        try:
            async with asyncio.timeout(self._timeouts.connect + self._timeouts.first_token):
                response = await self._http.post(
                    f"{self.url}/images/generations", data=data, headers=headers
                )
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, self.url) from error
        try:
            await self._check(response)
            stream = response.headers.get("Penstock-Stream")
            if stream is None:
                raise EngineProtocolError(f"{self.url} is no Penstock: it names no stream")
            yield stream
        finally:
            response.close()

    async def picture(self, stream: str, sha256: str) -> bytes:
        """A picture of a stream, asked for again where the connection is lost.

        Raises `EngineProtocolError` for bytes that are not the ones named.
        """
        path = f"{self.url}{Reading(stream).path}/blobs/{sha256}"
        loop = asyncio.get_running_loop()
        began, wait = loop.time(), _FIRST_WAIT
        while True:
            try:
                data = await self._bytes(path)
            except (UnavailableError, EngineTimeoutError) as error:
                if loop.time() - began > self._patience:
                    raise
                await asyncio.sleep(error.retry_after or wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            if hashlib.sha256(data).hexdigest() != sha256:
                raise EngineProtocolError("a picture arrived with other bytes than were kept")
            return data

    # ── any OpenAI-compatible server ─────────────────────────────────────────────────────────────

    async def models(self) -> Sequence[ModelCard]:
        """What the server offers."""
        data = bytes(await self._ask("GET", "/models", msgspec.Raw))
        with self._reading():
            return models(data)

    @asynccontextmanager
    async def chat(self, request: Request) -> AsyncIterator[Answering]:
        """Asks, and gives the answer as it arrives. Leaving early closes the connection.

        The usage is asked for; a server that refuses that wish is asked once more without it.
        """
        try:
            answering = await self._begin(request, ask_usage=True)
        except InvalidRequestError as error:
            if "stream_options" not in error.message:
                raise
            answering = await self._begin(request, ask_usage=False)
        asked, response, began = answering
        try:
            yield Answering(asked, response, self._timeouts, began)
        finally:
            response.close()

    async def complete(self, request: Request) -> Reply:
        """The whole answer. Raises what broke it."""
        folder = Folder()
        seq = 0
        async with self.chat(request) as answering:
            while batch := await answering.take():
                for event in [event for one in batch for event in one.events]:
                    if isinstance(event, Failed):
                        raise EngineProtocolError(event.message)
                    seq += 1
                    folder.feed(Entry(Seq(seq), 0, event))
        return folder.reply()

    async def _begin(
        self, request: Request, *, ask_usage: bool
    ) -> tuple[Asked, aiohttp.ClientResponse, float]:
        body = _completions.body(request, ask_usage=ask_usage)
        url = f"{self.url}/chat/completions"
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        shown = {**headers, **self._shown()}
        began = asyncio.get_running_loop().time()
        seconds = self._timeouts.first_token
        try:
            async with asyncio.timeout(self._timeouts.connect + seconds):
                response = await self._http.post(
                    url, data=json.encode(body), headers={**self._headers(), **headers}
                )
        except aiohttp.ClientConnectionError as error:
            raise lost(error, self.url) from error
        except TimeoutError as error:
            raise EngineTimeoutError(
                f"{self.url} took the request and gave no sign within {seconds:g} s; raise the "
                "timeout, or see what the server is doing"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, self.url) from error
        try:
            await self._check(response)
        except BaseException:
            response.close()
            raise
        return Asked(url, shown, body), response, began

    async def is_penstock(self, within: float) -> bool:
        """Whether a Penstock answers at this address, asked for at most `within` seconds."""
        parts = urlsplit(self.url)
        try:
            async with (
                asyncio.timeout(within),
                self._http.get(f"{parts.scheme}://{parts.netloc}/health") as response,
            ):
                health = json.decode(await response.content.read(4096), _Health, GatewayError)
                return health.status == "ok"
        except (aiohttp.ClientError, OSError, GatewayError):
            return False

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client as `async with Connection(…) as client`")
        return self._session

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": self._authorization.reveal()} if self._authorization else {}

    def _shown(self) -> Mapping[str, str]:
        return {name: f"{value.partition(' ')[0]} ***" for name, value in self._headers().items()}

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            body = b""
            with suppress(aiohttp.ClientError, OSError):  # what came of it will do
                async with asyncio.timeout(self._timeouts.connect):
                    while len(body) < _MOST_OF_A_REFUSAL:
                        piece = await response.content.readany()
                        if not piece:
                            break
                        body += piece
            raise refusal(response.status, body, response.headers.get("Retry-After"), self._key)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """An answer that makes no sense: then it isn't the server that was meant."""
        try:
            yield
        except EngineProtocolError as error:
            raise EngineProtocolError(
                f"what {self.url} answers makes no sense; check the address ({error.message})"
            ) from error

    async def _bytes(self, url: str) -> bytes:
        try:
            async with (
                asyncio.timeout(self._timeouts.connect + self._timeouts.between_tokens),
                self._http.get(url, headers=self._headers()) as response,
            ):
                await self._check(response)
                return await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, self.url) from error

    async def _ask(self, method: str, path: str, kind: type[T]) -> T:
        try:
            async with (
                asyncio.timeout(self._timeouts.connect + self._timeouts.between_tokens),
                self._http.request(method, self.url + path, headers=self._headers()) as response,
            ):
                await self._check(response)
                data = await response.read()
            with self._reading():
                return json.decode(data, kind, EngineProtocolError)
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, self.url) from error
