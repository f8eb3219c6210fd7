"""Where a server is, who asks, and what both have patience for: calls of it, as steps."""

import time
from collections.abc import Mapping
from typing import Literal, TypedDict, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

from penstock.client._patience import Clock, Patience
from penstock.client._proxies import basic
from penstock.client._refusals import refusal, silent
from penstock.client.steps import Open, Opened, SilenceError, Steps, opening, reading
from penstock.core import addresses
from penstock.core.errors import EngineProtocolError, GatewayError, InvalidRequestError
from penstock.core.ports import Timeouts
from penstock.core.secrets import Secret
from penstock.wire import json

T = TypeVar("T")

_MOST_OF_A_REFUSAL = 64 * 1024


Api = Literal["auto", "penstock", "openai", "ollama"]


class Settings(TypedDict, total=False):
    """What a client may be told. See `aio.AsyncClient`."""

    api: Api
    model: str
    timeouts: Timeouts
    patience: float
    silence: float


class Address:
    """`url`: scheme, host, port and any path; a user and a password in it are sent where no key is,
    and never shown. The settings as the clients have them.

    Raises `InvalidRequestError` for what is none of these.
    """

    def __init__(self, url: str, key: Secret | str | None, settings: Settings) -> None:
        parts = split(url)
        _check(settings)
        who, _, place = parts.netloc.rpartition("@")
        self.root = f"{parts.scheme}://{place}"
        self.url = self.root + parts.path.rstrip("/")
        self.key = checked_key(key)
        self._authorization = authorization(self.key, who)
        self.timeouts = settings.get("timeouts", Timeouts())
        self.silence = settings.get("silence", 30.0)
        self.clock: Clock = time.monotonic
        self._patience = settings.get("patience", 60.0)

    @property
    def v1(self) -> str:
        """Where OpenAI's routes are."""
        return self.url if urlsplit(self.url).path else f"{self.url}/v1"

    @property
    def bare(self) -> str:
        """Without `/v1`, whoever wrote it."""
        return self.url.removesuffix("/v1")

    def patience(self) -> Patience:
        """A fresh one."""
        return Patience(self._patience, self.clock)

    def open(
        self,
        method: str,
        url: str,
        body: object = None,
        headers: Mapping[str, str] = {},
        *,
        seconds: float | None = None,
    ) -> Steps[Opened]:
        """An answer whose status is 200. Raises what the server says against it."""
        sent = dict(headers)
        if self._authorization is not None and url.startswith(f"{self.root}/"):
            sent["Authorization"] = self._authorization.reveal()
        if body is not None:
            sent["Content-Type"] = "application/json"
        times = self.timeouts
        waits = times.connect + times.first_token if seconds is None else seconds
        step = Open(method, url, sent, _encoded(body), times.connect, waits)
        opened = yield from opening(step)
        if opened.status == 200:
            return opened
        try:
            data = b""
            while len(data) < _MOST_OF_A_REFUSAL:
                piece = yield from reading(opened, times.connect)
                if not piece:
                    break
                data += piece
        except (GatewayError, SilenceError):
            data = b""
        finally:
            opened.close()
        raise refusal(opened.status, data, opened.headers.get("retry-after"), self.key)

    def whole(self, method: str, url: str, body: object = None) -> Steps[bytes]:
        """An answer's whole body, asked for once."""
        seconds = self.timeouts.connect + self.timeouts.between_tokens
        try:
            opened = yield from self.open(method, url, body, seconds=seconds)
            pieces = []
            try:
                while piece := (yield from reading(opened, self.timeouts.between_tokens)):
                    pieces.append(piece)
            finally:
                opened.close()
        except SilenceError as error:
            raise silent(url, seconds) from error
        return b"".join(pieces)

    def ask(self, method: str, path: str, kind: type[T]) -> Steps[T]:
        """The same as a value."""
        return json.decode((yield from self.whole(method, path)), kind, EngineProtocolError)


def _encoded(body: object) -> bytes | None:
    return None if body is None else json.encode(body)


def checked_key(key: Secret | str | None) -> Secret | None:
    """An empty key is none. Raises `InvalidRequestError`, without the key, for one that no header
    can hold.
    """
    said = key.reveal() if isinstance(key, Secret) else key
    if not said:
        return None
    if not (said.isascii() and said.isprintable()):
        what = "the key holds characters that can't be sent; was a line end read with it?"
        raise InvalidRequestError(what, param="key")
    return Secret(said)


def authorization(key: Secret | None, who: str) -> Secret | None:
    """Of a key, else of the user and the password in the address."""
    if key is not None:
        return Secret(f"Bearer {key.reveal()}")
    return Secret(basic(who)) if who else None


def split(url: str) -> SplitResult:
    """Its parts. Raises `InvalidRequestError`, without a password, for what is no address."""
    parts = addresses.parts_of(url)
    if parts is None:
        said = "this" if "@" in url else repr(url)  # there may be a password in it
        raise InvalidRequestError(f"{said} is no address; it looks like http://HOST:PORT")
    return parts


def _check(settings: Settings) -> None:
    unknown = sorted(set(settings) - Settings.__optional_keys__)
    if unknown:
        raise InvalidRequestError(f"there is no setting {unknown[0]!r}", param=unknown[0])
    if settings.get("api", "auto") not in get_args(Api):
        known = ", ".join(get_args(Api))
        raise InvalidRequestError(f"api must be one of {known}", param="api")
    if not isinstance(settings.get("timeouts", Timeouts()), Timeouts):
        raise InvalidRequestError("timeouts must be penstock.Timeouts(…)", param="timeouts")
