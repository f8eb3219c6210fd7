"""What llama.cpp says against a request, as errors of ours."""

from typing import Final

import msgspec

from penstock.core.errors import (
    EngineError,
    GatewayError,
    InvalidRequestError,
    UnavailableError,
)
from penstock.core.request import Request
from penstock.engines._threads import Feed
from penstock.wire import json

BEGINNING: Final = b'{"error"'
"""How a chunk begins that stands in place of the first one."""


async def taken(feed: Feed[bytes], request: Request) -> list[bytes]:
    """What has come; what llama.cpp raises, as ours."""
    try:
        return await feed.take()
    except ValueError as error:
        raise invalid(str(error), request) from error
    except RuntimeError as error:
        raise EngineError(f"llama.cpp failed: {error}") from error


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    type: str = ""


class _Refused(msgspec.Struct, frozen=True):
    error: _Error


def refusal(data: bytes, request: Request) -> GatewayError:
    """What stands in place of the first chunk when llama.cpp takes a request back."""
    error = json.decode(data, _Refused, EngineError).error
    match error.type:
        case "exceed_context_size_error":
            return InvalidRequestError(error.message, param="prompt" if request.raw else "messages")
        case "invalid_request_error":
            return InvalidRequestError(error.message)
        case "unavailable_error":
            return UnavailableError(error.message)
        case _:
            return EngineError(f"llama.cpp failed: {error.message}")


def invalid(message: str, request: Request) -> InvalidRequestError:
    """A request that llama.cpp finds wrong before it begins; mostly a schema."""
    message = message.rpartition("Automatic parser generation failed: ")[2]
    param: str | None = None
    if "logprobs" in message:
        param = "logprobs"
    elif request.reply_format is not None:
        param = "response_format"
    elif request.tools:
        param = "tools"
    return InvalidRequestError(message, param=param)
