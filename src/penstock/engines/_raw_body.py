"""Raw requests: the text of the only message, as it is. OpenAI's `POST /v1/completions`."""

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import ImagePart
from penstock.core.request import Request, Sampling

_SAMPLING = tuple(
    field
    for field in Sampling.__struct_fields__
    if field not in {"stop", "logprobs", "top_logprobs"}
)


def text(request: Request) -> str:
    """What goes to the model. Raises `InvalidRequestError` for what needs a template."""
    if len(request.messages) != 1:
        raise InvalidRequestError("a raw request is one text", param="messages")
    message = request.messages[0]
    if message.tool_calls or any(isinstance(part, ImagePart) for part in message.parts):
        raise InvalidRequestError("a raw request is one text", param="messages")
    if request.tools or request.tool_choice is not None:
        raise UnsupportedParameterError("a raw request can't have tools", param="tools")
    # Nothing turns thinking on where there is no template, so nothing has to turn it off.
    if request.effort not in (None, "none"):
        raise UnsupportedParameterError(
            "a raw request can't be told how much to think", param="reasoning_effort"
        )
    return message.text


def body(request: Request) -> dict[str, object]:
    """Everything that the request says; keys appear only when set.

    Always a stream with its usage. `logprobs` is a number here: how many likeliest tokens.
    """
    sampling = request.sampling
    found: dict[str, object] = {
        "model": request.model,
        "prompt": text(request),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.reply_format is not None:
        raise UnsupportedParameterError(
            "a raw request can't have a reply format", param="response_format"
        )
    optional: dict[str, object] = {name: getattr(sampling, name) for name in _SAMPLING}
    optional["stop"] = list(sampling.stop) or None
    optional["suffix"] = request.suffix
    optional["n"] = request.choices if request.choices > 1 else None
    if sampling.logprobs:
        optional["logprobs"] = sampling.top_logprobs or 0
    found.update({name: value for name, value in optional.items() if value is not None})
    return found
