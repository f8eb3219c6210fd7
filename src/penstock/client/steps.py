"""What a client does with the world, as values: the logic yields steps, a driver takes them.

The logic of a client is generators that do no I/O. A driver runs them: `aio.py` awaits each step,
`sync.py` blocks in it. So there is one logic, and both faces behave alike.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Protocol, TypeVar, cast

import msgspec

from penstock.core.cards import ModelCard
from penstock.core.errors import GatewayError
from penstock.core.events import Blob, Entry, Seq
from penstock.core.ports import StreamInfo
from penstock.core.request import Request

T = TypeVar("T")


class Opened(Protocol):
    """An answer whose body is still to be read. Header names are in lower case."""

    @property
    def status(self) -> int:
        """Of HTTP."""

    @property
    def headers(self) -> Mapping[str, str]:
        """As they came."""

    def close(self) -> None:
        """Lets go of the connection; one whose body was read to its end is kept for the next."""


class Open(msgspec.Struct, frozen=True):
    """Asks, and waits for the headers: `connect` seconds for a connection, `seconds` for all."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    connect: float
    seconds: float


class Read(msgspec.Struct, frozen=True, gc=False):
    """Whatever has come, for at most `seconds`; empty at the end of the body."""

    opened: Opened
    seconds: float


class Sleep(msgspec.Struct, frozen=True, gc=False):
    """Nothing, for a while."""

    seconds: float


class Work(msgspec.Struct, frozen=True):
    """Something to await, where the other end lives in this process."""

    make: Callable[[], Awaitable[object]]


Step = Open | Read | Sleep | Work
Steps = Generator[Step, object, T]


class SilenceError(Exception):
    """A step ran out of its seconds. Never leaves the client."""


class RefusedConnectionError(Exception):
    """A connection could not be made, so nothing was sent. Never leaves the client."""


def opening(step: Open) -> Steps[Opened]:
    """The answer's head."""
    return cast("Opened", (yield step))


def reading(opened: Opened, seconds: float) -> Steps[bytes]:
    """The next bytes."""
    return cast("bytes", (yield Read(opened, seconds)))


async def awaited(steps: Steps[T], take: Callable[[Step], Awaitable[object]]) -> T:
    """Takes all steps of one piece of work by awaiting each; its value."""
    try:
        step = next(steps)
        while True:
            try:
                found = await take(step)
            except (GatewayError, SilenceError) as error:
                step = steps.throw(error)
            else:
                step = steps.send(found)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        steps.close()


def taken(steps: Steps[T], take: Callable[[Step], object]) -> T:
    """The same by calls that block."""
    try:
        step = next(steps)
        while True:
            try:
                found = take(step)
            except (GatewayError, SilenceError) as error:
                step = steps.throw(error)
            else:
                step = steps.send(found)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        steps.close()


class Source(Protocol):
    """One stream being read."""

    @property
    def stream(self) -> str:
        """Its id; empty where nobody keeps streams."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer that began it."""

    def take(self) -> Steps[Sequence[Entry]]:
        """All that one read brought; empty once the stream has ended. Raises `GatewayError`."""

    def close(self) -> None:
        """Lets go of its connection. The run's own policy decides what that means."""


class Line(msgspec.Struct, frozen=True):
    """One message of a session. `state` is said of an answer that is not whole."""

    role: str
    content: str
    state: str = ""


class Server(Protocol):
    """Somebody who answers: a Penstock, another server, or a gateway in this process.

    What one can't do raises `ModalityError` and says so.
    """

    def begin(self, request: Request) -> Steps[Source]:
        """Asks. Raises what is refused before anything starts."""

    def follow(self, stream: str, after: Seq) -> Source:
        """A kept stream from after `after`."""

    def cancel(self, stream: str) -> Steps[bool]:
        """Stops a run; false when it had ended."""

    def models(self) -> Steps[Sequence[ModelCard]]:
        """What can be asked for."""

    def streams(self, limit: int) -> Steps[Sequence[StreamInfo]]:
        """The newest of one's own."""

    def picture(self, stream: str, blob: Blob) -> Steps[bytes]:
        """The bytes of a stream's picture."""

    def history(self, session: str) -> Steps[Sequence[Line]]:
        """What a session holds, its system message first. Raises `UnknownSessionError`."""

    def forget(self, session: str) -> Steps[None]:
        """Erases a session, should there be one."""
