"""Which API a server speaks."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final

import msgspec

from penstock.client._address import Address, Api
from penstock.client._elsewhere import Elsewhere, Ollama
from penstock.client._penstock import Penstock
from penstock.client.steps import Line, RefusedConnectionError, Server, Sleep, Source, Step, Steps
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    EngineError,
    EngineProtocolError,
    GatewayError,
    OverloadedError,
    UnavailableError,
)
from penstock.core.events import Blob, Seq
from penstock.core.ports import StreamInfo
from penstock.core.request import Request
from penstock.wire import json

_KNOWN: Final[Mapping[str, Callable[[Address], Server]]] = {
    "penstock": Penstock,
    "openai": Elsewhere,
    "ollama": Ollama,
}
_NOT_NOW: Final = frozenset({EngineError, OverloadedError, UnavailableError})
"""What a proxy says whose server is away: not what the server is."""


class _Health(msgspec.Struct):
    """`api_key_required` is what tells ours from anybody's."""

    api_key_required: bool


class _Version(msgspec.Struct):
    version: str


def _detected(address: Address) -> Steps[tuple[Server, bool]]:
    """A Penstock by its `/health`, an Ollama by its `/api/version`, else OpenAI's API; and whether
    that is sure: it is not where something answered that it can't answer now.

    Raises `UnavailableError` when nobody is there.
    """
    ours = yield from _answers(address, "/health", _Health)
    if ours:
        return Penstock(address), True
    ollama = yield from _answers(address, "/api/version", _Version)
    server = Ollama(address) if ollama else Elsewhere(address)
    return server, ours is not None and ollama is not None


def _answers(address: Address, path: str, kind: type[msgspec.Struct]) -> Steps[bool | None]:
    patience = address.patience()
    while True:
        try:
            data = yield from address.whole("GET", address.bare + path)
            json.decode(data, kind, EngineProtocolError)
        except GatewayError as error:
            cut = isinstance(error, UnavailableError) and error.__cause__ is not None
            if isinstance(error.__cause__, RefusedConnectionError):
                raise
            if not cut:
                return None if type(error) in _NOT_NOW else False
            yield Sleep(patience.after(error))
        else:
            return True


class Found:
    """The server at an address. What it speaks is asked once, when it is first needed."""

    def __init__(self, address: Address, api: Api) -> None:
        self._address = address
        self._server: Server | None = None
        if api != "auto":
            self._server = _KNOWN[api](address)

    def begin(self, request: Request) -> Steps[Source]:
        """See `steps.Server`."""
        return (yield from (yield from self._there()).begin(request))

    def follow(self, stream: str, after: Seq) -> Source:
        """See `steps.Server`. Whoever names a stream means a Penstock."""
        return (self._server or Penstock(self._address)).follow(stream, after)

    def cancel(self, stream: str) -> Steps[bool]:
        """See `steps.Server`."""
        return (yield from (yield from self._there()).cancel(stream))

    def models(self) -> Steps[Sequence[ModelCard]]:
        """See `steps.Server`."""
        return (yield from (yield from self._there()).models())

    def streams(self, limit: int) -> Steps[Sequence[StreamInfo]]:
        """See `steps.Server`."""
        return (yield from (yield from self._there()).streams(limit))

    def picture(self, stream: str, blob: Blob) -> Steps[bytes]:
        """See `steps.Server`."""
        return (yield from (yield from self._there()).picture(stream, blob))

    def history(self, session: str) -> Steps[Sequence[Line]]:
        """See `steps.Server`."""
        return (yield from (yield from self._there()).history(session))

    def forget(self, session: str) -> Steps[None]:
        """See `steps.Server`."""
        yield from (yield from self._there()).forget(session)

    def _there(self) -> Generator[Step, object, Server]:
        if self._server is not None:
            return self._server
        server, sure = yield from _detected(self._address)
        if sure:
            self._server = server
        return server
