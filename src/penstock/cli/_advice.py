"""What to do about an error, for a person at a terminal."""

from typing import Final

from penstock.core.errors import (
    BindingDownError,
    EngineRefusedError,
    EngineTimeoutError,
    GatewayError,
    InvalidKeyError,
    LogUnavailableError,
    MissingKeyError,
    ModalityError,
    UnknownBindingError,
    UnknownModelError,
    UnknownStreamError,
    UnsupportedParameterError,
    from_code,
)
from penstock.core.events import Failed

_KEY: Final = (
    "give the key as [client.api] token (api.token in a client file); for a server on this machine "
    "also as PENSTOCK_KEY"
)
_ADVICE: Final[tuple[tuple[type[GatewayError], str], ...]] = (
    (UnknownModelError, "`penstock models` lists what there is"),
    (UnknownBindingError, "`penstock models` lists what there is"),
    (UnknownStreamError, "`penstock tail` alone lists the newest streams"),
    (UnsupportedParameterError, "leave it out, or choose another model"),
    (ModalityError, "add a binding that does as [bindings.NAME] to that configuration"),
    (BindingDownError, "`penstock doctor` says what to fix"),
    (LogUnavailableError, "is the disk full? `penstock doctor` looks"),
    (InvalidKeyError, _KEY),
    (MissingKeyError, _KEY),
    (EngineRefusedError, "`penstock doctor` checks the binding's key"),
    (EngineTimeoutError, "the limit is defaults.timeout of [client], or [timeouts] of the server"),
)


def single(group: BaseExceptionGroup) -> BaseException:
    """The one error in a group of one: a `TaskGroup` wraps what its body raises."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def explain(error: GatewayError) -> str:
    """Its message, and what to do where the message doesn't say."""
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), None)
    return f"{error.message}; {advice}" if advice else error.message


def of_event(failed: Failed) -> GatewayError:
    """The error that a stream ended with."""
    return from_code(failed.code, failed.message)
