"""Who answers: a server, an endpoint, or a gateway in this process; all look the same from here."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib import import_module
from ipaddress import ip_address
from typing import Protocol, cast

from penstock.cli._drawing import Drawing, Gallery
from penstock.cli._endpoint import Endpoint
from penstock.cli._settings import Settings
from penstock.client.connection import Connection, Received
from penstock.config.schema import Config
from penstock.core.cards import BindingCard, ModelCard
from penstock.core.errors import ConfigError, InvalidRequestError
from penstock.core.events import Entry, Seq
from penstock.core.ports import StreamInfo, Timeouts
from penstock.core.request import Request


class Answer(Protocol):
    """A reply that is arriving."""

    @property
    def stream(self) -> str | None:
        """The stream's id, where there is one."""

    @property
    def malformed(self) -> int:
        """How many events made no sense."""

    @property
    def exchange(self) -> dict[str, object]:
        """What was sent and answered, for `--debug`. Holds no key."""

    async def take(self) -> Sequence[Received]:
        """All that has come since; empty once it has ended. Raises `GatewayError`."""


class Partner(Protocol):
    """Somebody who answers."""

    @property
    def address(self) -> str:
        """Where, for a person."""

    @property
    def default_model(self) -> str | None:
        """What to ask for when nobody named a model; `None`: it has to be named."""

    def ask(self, request: Request) -> AbstractAsyncContextManager[Answer]:
        """Leaving before the end stops the work there."""

    def draw(self, request: Request) -> AbstractAsyncContextManager[Drawing]:
        """The same for pictures."""

    async def models(self) -> Sequence[ModelCard]:
        """What can be asked for."""

    async def bindings(self) -> Sequence[BindingCard]:
        """How the bindings fare, where that is known."""


class Streams(Gallery, Protocol):
    """Somebody who has streams."""

    def follow(self, stream: str, after: Seq) -> AbstractAsyncContextManager[AsyncIterator[Entry]]:
        """Past and live, from after `after`."""

    async def recent(self, limit: int) -> Sequence[StreamInfo]:
        """The newest."""


class _InsideModule(Protocol):
    def open_inside(
        self, config: Config, *, pictures: bool
    ) -> AbstractAsyncContextManager[Partner]: ...

    def open_journal(self, config: Config) -> AbstractAsyncContextManager[Streams]: ...


@asynccontextmanager
async def partner(settings: Settings, *, pictures: bool = False) -> AsyncIterator[Partner]:
    """The named endpoint; else our server where it should be; else a gateway in this process, which
    can draw if `pictures` are wanted.
    """
    found = await _server(settings)
    if found is None:
        async with inside().open_inside(settings.config, pictures=pictures) as here:
            yield here
    else:
        async with found as client:
            yield Endpoint(client, foreign=settings.foreign)


@asynccontextmanager
async def streams(settings: Settings) -> AsyncIterator[Streams]:
    """The same for streams; without a server, straight from the journal's folder."""
    found = await _server(settings)
    if found is None:
        async with inside().open_journal(settings.config) as journal:
            yield journal
    else:
        async with found as client:
            yield Endpoint(client, foreign=settings.foreign)


def inside() -> _InsideModule:
    """What runs a gateway here; it needs the server's packages, so it is loaded when needed."""
    return cast("_InsideModule", needing_server("penstock.cli._inside"))


def needing_server(name: str) -> object:
    """A module that needs the packages of the extra `server`. Says so where they are missing."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("penstock"):
            raise
        raise ConfigError(
            f"no server was found, and running one here needs {error.name!r}: "
            "pip install 'penstock[all]', or name an endpoint with -c FILE"
        ) from error


def server_url(config: Config) -> str:
    """Where a server of this configuration is reached from this machine."""
    host = config.server.host
    with suppress(ValueError):
        if ip_address(host).is_unspecified:
            host = "127.0.0.1" if ip_address(host).version == 4 else "::1"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{config.server.port}"


async def _server(settings: Settings) -> Connection | None:
    client = settings.client
    seconds = client.defaults.timeout
    timeouts = Timeouts(connect=seconds, first_token=seconds, between_tokens=seconds)
    endpoint = client.api.endpoint
    try:
        if endpoint is not None:
            return Connection(endpoint, key=client.api.token, timeouts=timeouts)
        url = server_url(settings.config)
        found = Connection(url, key=settings.local_key, timeouts=timeouts, direct=True)
    except InvalidRequestError as error:
        if error.param is not None:
            raise
        name = "server.host" if endpoint is None else settings.key("api.endpoint")
        place = f" (in {settings.where})" if settings.where is not None else ""
        raise ConfigError(f"{name}: {error.message}{place}", param=name) from error
    async with found:
        return found if await found.is_penstock(within=0.3) else None
