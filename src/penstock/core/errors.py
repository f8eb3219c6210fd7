"""Everything that can go wrong, as one tree.

GatewayError
├── InvalidRequestError              400  the request is malformed; `param` names the field
│   ├── UnsupportedParameterError    400  a field that this binding can't honour
│   ├── RequestTooLargeError         413
│   └── WrongMediaTypeError          415
├── MissingKeyError                  401  no key where one is needed
├── InvalidKeyError                  401
├── ForbiddenError                   403
├── NotFoundError                    404
│   ├── UnknownModelError  UnknownBindingError  UnknownPersonalityError
│   └── UnknownStreamError  UnknownRouteError  UnknownSessionError
├── WrongMethodError                 405
├── SessionBusyError                 409  a turn of this session still runs
├── RequestTimeoutError              408  the client was too slow to send its request
├── OverloadedError                  429  `retry_after` says when to come back
├── HeadersTooLargeError             431
├── EngineError                      502  the upstream failed
│   ├── EngineProtocolError          502  the upstream's bytes make no sense
│   ├── EngineRefusedError           502  the upstream refused our key or our request
│   └── EngineTimeoutError           504
├── ModalityError                    501  nothing here makes what was asked for
├── UnavailableError                 503
│   ├── BindingDownError             503
│   └── LogUnavailableError          503
│       └── LogFullError             503
├── InterruptedRunError              500  the process of the run died; only ever seen in a log
├── InternalError                    500
└── ConfigError                      500  a file or setting of ours is wrong; `param` is its path

`code` goes onto the wire and into the log: a code is never renamed, only added.
"""

from typing import ClassVar


class GatewayError(Exception):
    """Base of every error that a client may be told about.

    `message` is shown to clients, so it never holds a secret, a path of the server or a traceback.
    `param` is the dotted path of the offending field, where there is one.
    `retry_after` is in seconds. `ran`: a run had begun and came to this; work may have been done.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.ran = False


class InternalError(GatewayError):
    """A bug of ours."""


class InvalidRequestError(GatewayError):
    """The request is malformed; `param` names the field."""

    code = "invalid_request"
    status = 400


class UnsupportedParameterError(InvalidRequestError):
    """A published field that would change the answer and that this binding can't honour."""

    code = "unsupported_parameter"


class RequestTooLargeError(InvalidRequestError):
    """The body is larger than `[server] max_body_bytes`."""

    code = "request_too_large"
    status = 413


class WrongMediaTypeError(InvalidRequestError):
    """The body is declared as something that is not JSON."""

    code = "wrong_media_type"
    status = 415


class MissingKeyError(GatewayError):
    """A key is needed and none was presented."""

    code = "missing_key"
    status = 401


class InvalidKeyError(GatewayError):
    """The presented key is not one of ours."""

    code = "invalid_key"
    status = 401


class ForbiddenError(GatewayError):
    """The principal, the origin or the host name may not do this."""

    code = "forbidden"
    status = 403


class NotFoundError(GatewayError):
    """There is no such thing."""

    code = "not_found"
    status = 404


class UnknownModelError(NotFoundError):
    """No binding offers this model and no alias has this name."""

    code = "unknown_model"


class UnknownBindingError(NotFoundError):
    """No `[bindings.NAME]` of this name."""

    code = "unknown_binding"


class UnknownPersonalityError(NotFoundError):
    """No personality of this name."""

    code = "unknown_personality"


class UnknownStreamError(NotFoundError):
    """No stream of this id, or it belongs to another key."""

    code = "unknown_stream"


class UnknownRouteError(NotFoundError):
    """No route of this path."""

    code = "unknown_route"


class UnknownSessionError(NotFoundError):
    """No session of this id, or it belongs to another key."""

    code = "unknown_session"


class SessionBusyError(GatewayError):
    """A turn of this session still runs; `retry_after` says when to look again."""

    code = "session_busy"
    status = 409
    retryable = True


class WrongMethodError(GatewayError):
    """The path exists, the method does not; `allow` holds those that do."""

    code = "wrong_method"
    status = 405

    def __init__(self, message: str, *, allow: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allow = allow


class RequestTimeoutError(GatewayError):
    """Headers or body did not arrive in time."""

    code = "request_timeout"
    status = 408
    retryable = True


class OverloadedError(GatewayError):
    """A limit is reached; `retry_after` says when to come back."""

    code = "overloaded"
    status = 429
    retryable = True


class HeadersTooLargeError(GatewayError):
    """Too many headers, or too many bytes of them."""

    code = "headers_too_large"
    status = 431


class EngineError(GatewayError):
    """The upstream failed."""

    code = "engine_failed"
    status = 502
    retryable = True


class EngineProtocolError(EngineError):
    """The upstream's bytes make no sense, or it stopped without saying how it ended."""

    code = "engine_protocol"


class EngineRefusedError(EngineError):
    """The upstream refused our key or our request. Asking again changes nothing."""

    code = "engine_refused"
    retryable = False


class EngineTimeoutError(EngineError):
    """The upstream was silent for longer than `[timeouts]` allows."""

    code = "engine_timeout"
    status = 504


class ModalityError(GatewayError):
    """No binding makes this kind of thing."""

    code = "unsupported_modality"
    status = 501


class UnavailableError(GatewayError):
    """Not now."""

    code = "unavailable"
    status = 503
    retryable = True


class BindingDownError(UnavailableError):
    """The binding is configured but did not start or can't be reached."""

    code = "binding_down"


class LogUnavailableError(UnavailableError):
    """The stream log can't be written (disk full, I/O error). Old streams stay readable."""

    code = "log_unavailable"


class LogFullError(LogUnavailableError):
    """More bytes wait to be written than `[streams] max_backlog_bytes`. Wait for `settled`."""

    code = "log_full"


class InterruptedRunError(GatewayError):
    """The process that wrote the stream died. Only ever seen as a `Failed` event."""

    code = "interrupted"
    retryable = True


class ConfigError(GatewayError):
    """A setting is wrong; `param` is the path of its key, such as `bindings.groq.url`."""

    code = "config"


def error_classes() -> tuple[type[GatewayError], ...]:
    """Every class of the tree, parents first. Dialects are tested against all of them."""
    found: list[type[GatewayError]] = [GatewayError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return tuple(found)


def from_code(code: str, message: str, param: str | None = None) -> GatewayError:
    """The error that a `Failed` event of this code stands for; unknown codes become the base."""
    by_code = {cls.code: cls for cls in reversed(error_classes()) if cls is not WrongMethodError}
    found = by_code.get(code, GatewayError)(message, param=param)
    found.ran = True
    return found
