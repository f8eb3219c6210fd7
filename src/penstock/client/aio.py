"""The asynchronous client. `sync.py` has the same names; what does no I/O stands once, beside."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar, Unpack

from typing_extensions import override

from penstock.client import _asking
from penstock.client._address import Address, Api, Settings
from penstock.client._aio_http import AsyncHttp
from penstock.client._asking import ImageOptions, Messages, Options, Prompt, TurnOptions, tool
from penstock.client._detecting import Found
from penstock.client._drawn import Making, Picture, picture
from penstock.client._metrics import Metrics
from penstock.client._streaming import Plan, Streaming, failure, place
from penstock.client.steps import Line, Server, Steps
from penstock.core.cards import ModelCard
from penstock.core.events import Entry, Event, Failed, Progress, TextDelta
from penstock.core.folding import Reply
from penstock.core.ports import StreamInfo
from penstock.core.request import Request
from penstock.core.secrets import Secret

__all__ = [
    "Api",
    "AsyncClient",
    "AsyncDrawing",
    "AsyncSession",
    "AsyncStream",
    "Line",
    "Metrics",
    "Picture",
    "around",
    "tool",
]

T = TypeVar("T")


class Driver(Protocol):
    """What takes steps."""

    async def run(self, steps: Steps[T]) -> T:
        """All steps of one piece of work; its value."""

    async def close(self) -> None:
        """Lets go of everything."""


class AsyncStream(Streaming):
    """One answer as it arrives: a context manager, and an iterator over its events.

    Nothing is asked before it is entered or read. Leaving the block early closes the connection;
    the run then goes on, ends or waits as its server's policy says, and `cancel` stops it.
    """

    def __init__(self, driver: Driver, plan: Plan) -> None:
        super().__init__(plan)
        self._driver = driver

    async def __aenter__(self) -> Self:
        await self._driver.run(self._open())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.events()

    async def entries(self) -> AsyncIterator[Entry]:
        """Each event with its place (`seq`) and time (`ms` since the start), its end included.

        Raises `GatewayError` for what keeps the events from coming; an answer that failed ends with
        the event `Failed`. Stopping and iterating again goes on where it was.
        """
        paced = self._plan.speed > 0
        while True:
            for entry in self._batch:
                if paced and (wait := self._pause(entry)) > 0:
                    try:
                        await asyncio.sleep(wait)
                    except BaseException:
                        self._unread(entry)
                        raise
                self.seq = entry.seq
                yield entry
            if not await self._driver.run(self._more()):
                return

    async def events(self) -> AsyncIterator[Event]:
        """The events alone."""
        async for entry in self.entries():
            yield entry.event

    async def text(self, *, choice: int = 0) -> AsyncIterator[str]:
        """The pieces of one choice's text. Raises what broke the answer, after all that came."""
        async for entry in self.entries():
            event = entry.event
            if isinstance(event, TextDelta):
                if event.choice == choice:
                    yield event.text
            elif isinstance(event, Failed):
                raise failure(event)

    async def result(self, *, partial: bool = False) -> Reply:
        """The whole answer, however much of it was read before; it is waited for.

        Raises what broke it, unless `partial`: then `failed` says so beside what there is.
        """
        reply = await self._driver.run(self._whole())
        return self._judged(reply, partial=partial)

    async def cancel(self) -> bool:
        """Stops the run at its server; false when it had ended."""
        return await self._driver.run(self._stop())

    def replay(self, *, speed: float = 1.0) -> "AsyncStream":
        """The same stream from its beginning, with the gaps of its recording divided by `speed`; 0
        is at once. Raises `ModalityError` where streams are not kept.
        """
        return AsyncStream(self._driver, self._replayed(speed))

    async def close(self) -> None:
        """Lets go of the connection. Idempotent."""
        self._close()


class AsyncDrawing(Making):
    """Pictures being made: a context manager, and an iterator over their progress."""

    def __init__(self, driver: Driver, plan: Plan) -> None:
        super().__init__()
        self.stream = AsyncStream(driver, plan)
        self._driver = driver
        self._server = plan.server

    async def __aenter__(self) -> Self:
        await self.stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stream.close()

    async def __aiter__(self) -> AsyncIterator[Progress]:
        """What happens: places in a queue, a model that loads, steps. Raises what broke it."""
        async for event in self.stream.events():
            found = self._noted(event)
            if found is not None:
                yield found

    async def preview(self, progress: Progress) -> bytes | None:
        """The picture in progress as a file's bytes, where the event has one."""
        if progress.preview is None:
            return None
        return await self._driver.run(self._server.picture(self.stream.id, progress.preview))

    async def result(self) -> Sequence[Picture]:
        """The finished pictures; they are waited for. Raises what broke them."""
        async for _ in self:
            pass
        found = []
        for image in self._images:
            data = await self._driver.run(self._server.picture(self.stream.id, image.blob))
            found.append(picture(image, data))
        return found

    async def cancel(self) -> bool:
        """Stops the run at its server; false when it had ended."""
        return await self.stream.cancel()


class AsyncSession:
    """A conversation that its server keeps; elsewhere this client's memory does."""

    def __init__(self, client: "AsyncClient", session: str) -> None:
        self.id = session
        self._client = client

    def stream(self, message: Prompt, /, **options: Unpack[TurnOptions]) -> AsyncStream:
        """The next turn: a user's text, or the results of tools. `system` counts in the first."""
        return self._client._turn(self.id, message, options)  # noqa: SLF001

    async def generate(self, message: Prompt, /, **options: Unpack[TurnOptions]) -> Reply:
        """The next turn, whole. Raises what broke it."""
        async with self.stream(message, **options) as stream:
            return await stream.result()

    async def history(self) -> Sequence[Line]:
        """What was said, the system message first. Raises `UnknownSessionError`."""
        return await self._client._driver.run(  # noqa: SLF001
            self._client._server.history(self.id)  # noqa: SLF001
        )

    async def clear(self) -> None:
        """Erases it; where there is none, nothing happens."""
        await self._client._driver.run(self._client._server.forget(self.id))  # noqa: SLF001


class AsyncClient:
    """A client of one server: a Penstock, an OpenAI-compatible one, or Ollama.

    `url`: the server's address; `/v1` is added where it has no path. `key` is sent as a bearer
    token. `api`: what it speaks; by default that is found out. `model`: for requests that name
    none. `timeouts` in seconds: to connect, to the first token, between tokens. `patience`: how
    many seconds a stream of a Penstock may be unreachable. `silence`: seconds without even a
    heartbeat after which a connection is taken for dead. Every error is a
    `penstock.GatewayError`, with a `status`, a `code`, and what to do.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:9601",
        *,
        key: Secret | str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        address = Address(url, key, settings)
        self.url = address.url
        self._model = settings.get("model", "")
        self._server: Server = Found(address, settings.get("api", "auto"))
        self._driver: Driver = AsyncHttp()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def stream(
        self, prompt: Prompt, /, *, keep: bool = True, **options: Unpack[Options]
    ) -> AsyncStream:
        """An answer as it arrives, to a text or a conversation.

        `keep=False`: an answer that its server does not keep is not kept here for `result` either.
        Raises `InvalidRequestError` for options that make no sense; what the server refuses is
        raised when the stream is entered.
        """
        return self._streamed(_asking.request(prompt, options, self._model), keep=keep)

    async def generate(self, prompt: str, /, **options: Unpack[Options]) -> Reply:
        """The whole answer to a text. Raises what broke it."""
        async with self.stream(prompt, **options) as stream:
            return await stream.result()

    async def chat(self, messages: Messages, /, **options: Unpack[Options]) -> Reply:
        """The whole answer to a conversation. Raises what broke it."""
        async with self.stream(messages, **options) as stream:
            return await stream.result()

    def session(self, session: str) -> AsyncSession:
        """A conversation by an id of one's own choosing; it begins with its first turn."""
        return AsyncSession(self, session)

    def image(self, prompt: str, /, **options: Unpack[ImageOptions]) -> AsyncDrawing:
        """Pictures of a text, as they are made. Raises `InvalidRequestError` for bad options."""
        request = _asking.image_request(prompt, options, self._model)
        return AsyncDrawing(self._driver, Plan(server=self._server, request=request))

    def resume(self, stream_id: str, *, after: int = 0) -> AsyncStream:
        """A kept stream, live or ended, from the event after `after`.

        Raises `UnknownStreamError` when it is read, for one that there is not.
        """
        plan = Plan(server=self._server, stream=stream_id, after=place(after))
        return AsyncStream(self._driver, plan)

    async def models(self) -> Sequence[ModelCard]:
        """What can be asked for."""
        return await self._driver.run(self._server.models())

    async def streams(self, limit: int = 50) -> Sequence[StreamInfo]:
        """The newest streams that this key may see. Raises `ModalityError` where none are kept."""
        return await self._driver.run(self._server.streams(limit))

    async def cancel(self, stream_id: str) -> bool:
        """Stops a stream's run; false when it had ended."""
        return await self._driver.run(self._server.cancel(stream_id))

    async def close(self) -> None:
        """Closes every connection. Idempotent."""
        await self._driver.close()

    def _turn(self, session: str, message: Prompt, options: TurnOptions) -> AsyncStream:
        request = _asking.turn(session, message, options, self._model)
        return self._streamed(request, keep=True)

    def _streamed(self, request: Request, *, keep: bool) -> AsyncStream:
        return AsyncStream(self._driver, Plan(server=self._server, request=request, keep=keep))


def around(server: Server, driver: Driver, url: str) -> AsyncClient:
    """A client of somebody who is not reached over HTTP."""
    client = AsyncClient()
    client.url = url
    client._server = server  # noqa: SLF001
    client._driver = driver  # noqa: SLF001
    return client
