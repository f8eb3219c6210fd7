"""The client for programs without an event loop. `aio.py` has the same names."""

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar, Unpack

from typing_extensions import override

from penstock.client import _asking
from penstock.client._address import Address, Api, Settings
from penstock.client._asking import ImageOptions, Messages, Options, Prompt, TurnOptions, tool
from penstock.client._detecting import Found
from penstock.client._drawn import Making, Picture, picture
from penstock.client._metrics import Metrics
from penstock.client._streaming import Plan, Streaming, failure, place
from penstock.client._sync_http import SyncHttp
from penstock.client.steps import Line, Server, Steps
from penstock.core.cards import ModelCard
from penstock.core.events import Entry, Event, Failed, Progress, TextDelta
from penstock.core.folding import Reply
from penstock.core.ports import StreamInfo
from penstock.core.request import Request
from penstock.core.secrets import Secret

__all__ = [
    "Api",
    "Client",
    "Drawing",
    "Line",
    "Metrics",
    "Picture",
    "Session",
    "Stream",
    "around",
    "tool",
]

T = TypeVar("T")


class Driver(Protocol):
    """What takes steps."""

    def run(self, steps: Steps[T]) -> T:
        """All steps of one piece of work; its value."""

    def close(self) -> None:
        """Lets go of everything."""


class Stream(Streaming):
    """One answer as it arrives: a context manager, and an iterator over its events.

    Nothing is asked before it is entered or read. Leaving the block early closes the connection;
    the run then goes on, ends or waits as its server's policy says, and `cancel` stops it.
    """

    def __init__(self, driver: Driver, plan: Plan) -> None:
        super().__init__(plan)
        self._driver = driver

    def __enter__(self) -> Self:
        self._driver.run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self.events()

    def entries(self) -> Iterator[Entry]:
        """Each event with its place (`seq`) and time (`ms` since the start), its end included.

        Raises `GatewayError` for what keeps the events from coming; an answer that failed ends with
        the event `Failed`. Stopping and iterating again goes on where it was.
        """
        paced = self._plan.speed > 0
        while True:
            for entry in self._batch:
                if paced and (wait := self._pause(entry)) > 0:
                    try:
                        time.sleep(wait)
                    except BaseException:
                        self._unread(entry)
                        raise
                self.seq = entry.seq
                yield entry
            if not self._driver.run(self._more()):
                return

    def events(self) -> Iterator[Event]:
        """The events alone."""
        for entry in self.entries():
            yield entry.event

    def text(self, *, choice: int = 0) -> Iterator[str]:
        """The pieces of one choice's text. Raises what broke the answer, after all that came."""
        for entry in self.entries():
            event = entry.event
            if isinstance(event, TextDelta):
                if event.choice == choice:
                    yield event.text
            elif isinstance(event, Failed):
                raise failure(event)

    def result(self, *, partial: bool = False) -> Reply:
        """The whole answer, however much of it was read before; it is waited for.

        Raises what broke it, unless `partial`: then `failed` says so beside what there is.
        """
        reply = self._driver.run(self._whole())
        return self._judged(reply, partial=partial)

    def cancel(self) -> bool:
        """Stops the run at its server; false when it had ended."""
        return self._driver.run(self._stop())

    def replay(self, *, speed: float = 1.0) -> "Stream":
        """The same stream from its beginning, with the gaps of its recording divided by `speed`; 0
        is at once. Raises `ModalityError` where streams are not kept.
        """
        return Stream(self._driver, self._replayed(speed))

    def close(self) -> None:
        """Lets go of the connection. Idempotent."""
        self._close()


class Drawing(Making):
    """Pictures being made: a context manager, and an iterator over their progress."""

    def __init__(self, driver: Driver, plan: Plan) -> None:
        super().__init__()
        self.stream = Stream(driver, plan)
        self._driver = driver
        self._server = plan.server

    def __enter__(self) -> Self:
        self.stream.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stream.close()

    def __iter__(self) -> Iterator[Progress]:
        """What happens: places in a queue, a model that loads, steps. Raises what broke it."""
        for event in self.stream.events():
            found = self._noted(event)
            if found is not None:
                yield found

    def preview(self, progress: Progress) -> bytes | None:
        """The picture in progress as a file's bytes, where the event has one."""
        if progress.preview is None:
            return None
        return self._driver.run(self._server.picture(self.stream.id, progress.preview))

    def result(self) -> Sequence[Picture]:
        """The finished pictures; they are waited for. Raises what broke them."""
        for _ in self:
            pass
        found = []
        for image in self._images:
            data = self._driver.run(self._server.picture(self.stream.id, image.blob))
            found.append(picture(image, data))
        return found

    def cancel(self) -> bool:
        """Stops the run at its server; false when it had ended."""
        return self.stream.cancel()


class Session:
    """A conversation that its server keeps; elsewhere this client's memory does."""

    def __init__(self, client: "Client", session: str) -> None:
        self.id = session
        self._client = client

    def stream(self, message: Prompt, /, **options: Unpack[TurnOptions]) -> Stream:
        """The next turn: a user's text, or the results of tools. `system` counts in the first."""
        return self._client._turn(self.id, message, options)  # noqa: SLF001

    def generate(self, message: Prompt, /, **options: Unpack[TurnOptions]) -> Reply:
        """The next turn, whole. Raises what broke it."""
        with self.stream(message, **options) as stream:
            return stream.result()

    def history(self) -> Sequence[Line]:
        """What was said, the system message first. Raises `UnknownSessionError`."""
        return self._client._driver.run(  # noqa: SLF001
            self._client._server.history(self.id)  # noqa: SLF001
        )

    def clear(self) -> None:
        """Erases it; where there is none, nothing happens."""
        self._client._driver.run(self._client._server.forget(self.id))  # noqa: SLF001


class Client:
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
        self._driver: Driver = SyncHttp()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def stream(self, prompt: Prompt, /, *, keep: bool = True, **options: Unpack[Options]) -> Stream:
        """An answer as it arrives, to a text or a conversation.

        `keep=False`: an answer that its server does not keep is not kept here for `result` either.
        Raises `InvalidRequestError` for options that make no sense; what the server refuses is
        raised when the stream is entered.
        """
        return self._streamed(_asking.request(prompt, options, self._model), keep=keep)

    def generate(self, prompt: str, /, **options: Unpack[Options]) -> Reply:
        """The whole answer to a text. Raises what broke it."""
        with self.stream(prompt, **options) as stream:
            return stream.result()

    def chat(self, messages: Messages, /, **options: Unpack[Options]) -> Reply:
        """The whole answer to a conversation. Raises what broke it."""
        with self.stream(messages, **options) as stream:
            return stream.result()

    def session(self, session: str) -> Session:
        """A conversation by an id of one's own choosing; it begins with its first turn."""
        return Session(self, session)

    def image(self, prompt: str, /, **options: Unpack[ImageOptions]) -> Drawing:
        """Pictures of a text, as they are made. Raises `InvalidRequestError` for bad options."""
        request = _asking.image_request(prompt, options, self._model)
        return Drawing(self._driver, Plan(server=self._server, request=request))

    def resume(self, stream_id: str, *, after: int = 0) -> Stream:
        """A kept stream, live or ended, from the event after `after`.

        Raises `UnknownStreamError` when it is read, for one that there is not.
        """
        plan = Plan(server=self._server, stream=stream_id, after=place(after))
        return Stream(self._driver, plan)

    def models(self) -> Sequence[ModelCard]:
        """What can be asked for."""
        return self._driver.run(self._server.models())

    def streams(self, limit: int = 50) -> Sequence[StreamInfo]:
        """The newest streams that this key may see. Raises `ModalityError` where none are kept."""
        return self._driver.run(self._server.streams(limit))

    def cancel(self, stream_id: str) -> bool:
        """Stops a stream's run; false when it had ended."""
        return self._driver.run(self._server.cancel(stream_id))

    def close(self) -> None:
        """Closes every connection. Idempotent."""
        self._driver.close()

    def _turn(self, session: str, message: Prompt, options: TurnOptions) -> Stream:
        request = _asking.turn(session, message, options, self._model)
        return self._streamed(request, keep=True)

    def _streamed(self, request: Request, *, keep: bool) -> Stream:
        return Stream(self._driver, Plan(server=self._server, request=request, keep=keep))


def around(server: Server, driver: Driver, url: str) -> Client:
    """A client of somebody who is not reached over HTTP."""
    client = Client()
    client.url = url
    client._server = server  # noqa: SLF001
    client._driver = driver  # noqa: SLF001
    return client
