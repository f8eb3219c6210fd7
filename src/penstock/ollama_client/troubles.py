"""What goes wrong between a program and its server, in the words that the guide's programs read.

"not found" is said of a model that isn't there; both "timeout" and "timed out" of every timeout.
"""

import re
import ssl
from typing import Final, Literal

import msgspec

from penstock.core.errors import (
    EngineProtocolError,
    EngineTimeoutError,
    ForbiddenError,
    GatewayError,
    InvalidKeyError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
    UnknownModelError,
)
from penstock.core.secrets import Secret
from penstock.ollama_client.shapes import Line
from penstock.wire import json

Kind = Literal["unreachable", "cut", "timeout", "closed", "refused", "bad"]
"""Nothing was sent; the connection broke; a clock ran out; our own side closed it; the server said
no; an answer of no use.
"""

_LONGEST: Final = 2000
_KINDS: Final[dict[int, type[GatewayError]]] = {
    401: InvalidKeyError,
    403: ForbiddenError,
    404: NotFoundError,
    429: OverloadedError,
}


class TroubleError(Exception):
    """Carries an error to where it becomes a chunk, or is raised."""

    def __init__(self, kind: Kind, error: GatewayError, status: int | None = None) -> None:
        super().__init__(error.message)
        self.kind = kind
        self.error = error
        self.status = status

    @property
    def message(self) -> str:
        """What a chunk says of it."""
        return self.error.message


def shown(url: str) -> str:
    """An address without the name and the password that it may have."""
    return re.sub(r"//.*@", "//***@", url)


def timed_out(seconds: float, what: str) -> TroubleError:
    """A clock of ours ran out."""
    text = f"Request timed out after {seconds:g} seconds (timeout of {what})"
    return TroubleError("timeout", EngineTimeoutError(text))


def unsendable(reason: str, param: str | None = None) -> TroubleError:
    """What the program gave can't be sent: nothing was."""
    return TroubleError("bad", InvalidRequestError(reason, param=param))


def unreachable(url: str, error: BaseException) -> TroubleError:
    """No connection could be made: nothing was sent."""
    reason = str(error) or type(error).__name__
    text = f"Cannot connect to Ollama. Is it running? (No connection to {shown(url)}: {reason})"
    # Neither a certificate nor a name that can't be one gets better by asking again.
    kind: Kind = "bad" if isinstance(error, ssl.SSLError | UnicodeError) else "unreachable"
    return TroubleError(kind, UnavailableError(text))


def cut(reason: str, status: int | None = None) -> TroubleError:
    """The connection broke after the request was sent: it may have been carried out."""
    text = f"Response ended prematurely: {reason}"
    return TroubleError("cut", UnavailableError(text), status)


def closed() -> TroubleError:
    """`close()` was called meanwhile."""
    return TroubleError("closed", UnavailableError("The client was closed while it was reading"))


def refusal(status: int, body: bytes, model: str | None, key: Secret | None) -> TroubleError:
    """An answer other than 200. The key is never part of its text."""
    if status == 404 and model is not None:
        text = (
            f"Model '{model}' not found. See which there are with `ollama list`, "
            f"and get it with `ollama pull {model}`."
        )
        return TroubleError("refused", UnknownModelError(text), status)
    text = _said(body)
    if key is not None and key.reveal():
        text = text.replace(key.reveal(), "***")
    usual = UnavailableError if status >= 500 else InvalidRequestError
    kind = _KINDS.get(status, usual)
    return TroubleError("refused", kind(f"HTTP {status}: {text}"), status)


def unreadable(reason: str) -> TroubleError:
    """An answer that makes no sense."""
    return TroubleError("bad", EngineProtocolError(reason), 200)


def _said(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=Line).trouble if json.is_json(body) else None
    except msgspec.ValidationError:
        found = None
    return (found or body.decode(errors="replace").strip())[:_LONGEST]
