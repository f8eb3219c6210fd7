"""A kept stream, read over as many connections as it takes."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from penstock.client._address import Address
from penstock.client._reading import Reading
from penstock.client.steps import Opened, SilenceError, Sleep, Steps
from penstock.client.steps import reading as read
from penstock.core.errors import (
    EngineTimeoutError,
    GatewayError,
    UnavailableError,
)
from penstock.core.events import (
    Entry,
    Image,
    Progress,
    ReasoningDelta,
    Seq,
    TextDelta,
    ToolCallDelta,
)

_SIGNS: Final = frozenset({TextDelta, ReasoningDelta, ToolCallDelta, Image, Progress})
"""What resets the token clocks. Heartbeats do not."""
_LIVED: Final = 1.0
"""Seconds after which a connection that still brings anything, if only heartbeats, is a good one.
Less, and one that breaks again and again would look like one."""


class Following:
    """One stream of a Penstock. A lost connection is made anew and goes on from the cursor.

    `begun`: the answer that started the run; it is held until the stream is read, so that the run
    is never without a reader.
    """

    def __init__(
        self, address: Address, stream: str, after: Seq, begun: Opened | None = None
    ) -> None:
        self.stream = stream
        self.headers: Mapping[str, str] = begun.headers if begun is not None else {}
        self._address = address
        self._reading = Reading(stream, after)
        self._patience = address.patience()
        self._begun = begun
        self._opened: Opened | None = None
        self._quiet = 0.0
        self._spoken = after > 0
        self._closed = False
        self._connected_at = 0.0

    def take(self) -> Steps[Sequence[Entry]]:
        """See `steps.Source`.

        Raises `EngineTimeoutError` for an answer that stays silent, what the server says against
        reading, and the trouble of the connection once patience has ended.
        """
        self._closed = False
        while not self._reading.finished:
            try:
                found = yield from self._read()
            except SilenceError as error:
                self.close()
                raise self._silence() from error
            except GatewayError as trouble:
                self._drop()
                if self._closed:  # by another thread or task
                    raise
                wait = self._patience.after(trouble)
                if wait:
                    yield Sleep(wait)
                continue
            if found:
                self._patience.rewarded()
                return found
        self.close()
        return ()

    def close(self) -> None:
        """Lets go of every connection."""
        self._closed = True
        self._drop()
        self._let_go()

    def _read(self) -> Steps[list[Entry]]:
        """One read. Raises a retryable error for a connection that is of no use any more, and
        `SilenceError` when a token clock has run out.
        """
        opened = self._opened
        if opened is None:
            opened = yield from self._connect()
        address = self._address
        begun = address.clock()
        try:
            data = yield from read(opened, min(address.silence, self._left()))
        except SilenceError as error:
            if self._left() <= address.silence:
                raise
            raise UnavailableError("the connection fell silent") from error
        if not data:
            raise UnavailableError("the stream's connection was closed")
        found = self._reading.take(data)
        if self._reading.trouble is None and address.clock() - self._connected_at > _LIVED:
            self._patience.rewarded()
        if found and (type(found[-1].event) in _SIGNS or _signs(found)):
            self._quiet = 0.0
            self._spoken = True
        else:
            self._quiet += address.clock() - begun
            if self._left() <= 0 and not self._reading.finished:
                raise SilenceError
        if self._reading.trouble is not None:
            if not found:
                raise self._reading.trouble
            self._drop()
        return found

    def _connect(self) -> Steps[Opened]:
        address = self._address
        self._reading.reconnected()
        url = f"{address.v1}{self._reading.path}?{urlencode(self._reading.params)}"
        try:
            opened = yield from address.open(
                "GET",
                url,
                headers={"Accept": "text/event-stream"},
                seconds=address.timeouts.connect + address.silence,
            )
        except SilenceError as error:
            raise UnavailableError(f"no answer from {address.root}") from error
        self._opened = opened
        self._connected_at = address.clock()
        self.headers = self.headers or opened.headers
        self._let_go()
        return opened

    def _left(self) -> float:
        times = self._address.timeouts
        return (times.between_tokens if self._spoken else times.first_token) - self._quiet

    def _silence(self) -> GatewayError:
        times = self._address.timeouts
        if self._spoken:
            what = f"nothing for {times.between_tokens:g} s in the middle of the answer"
        else:
            what = f"no first token within {times.first_token:g} s"
        return EngineTimeoutError(f"{what}; raise the timeout, or see what the server is doing")

    def _drop(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _let_go(self) -> None:
        if self._begun is not None:
            self._begun.close()
            self._begun = None


def _signs(found: Sequence[Entry]) -> bool:
    return any(type(entry.event) in _SIGNS for entry in found)
