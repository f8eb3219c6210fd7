"""A chat request's bytes to a `Request`. Whatever is wrong is an error that names the field."""

from typing import Final, get_args

from msgspec.structs import replace

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import ImagePart, Message, Part, Role, TextPart, ToolCall
from penstock.core.request import Effort, ReplyFormat, Request, Sampling
from penstock.dialects import _openai_shapes as shapes
from penstock.dialects import _thinking, _tools
from penstock.dialects._openai_fields import CHAT, ignored, model_name, refuse
from penstock.wire import json

_EFFORTS: Final[dict[str, Effort]] = {name: name for name in get_args(Effort)}
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def parse(data: bytes) -> Request:
    """The request of a body. Raises `InvalidRequestError`."""
    body = json.decode(data, shapes.ChatBody, InvalidRequestError)
    refuse(body, CHAT)
    if not body.messages:
        raise InvalidRequestError("messages must not be empty", param="messages")
    tools = _tools.specs(body.tools or (), "tools")
    tools, tool_choice = _tools.offer(body.tool_choice, tools, "tool_choice")
    messages = tuple([_message(message, n) for n, message in enumerate(body.messages)])
    wish = _thinking.wish(body, messages)
    effort = _effort(body.reasoning_effort)
    return Request(
        model=model_name(body.model),
        messages=wish.messages,
        sampling=_sampling(body),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=body.parallel_tool_calls if tools else None,
        reply_format=_reply_format(body.response_format),
        effort=wish.effort if effort is None else effort,
        effort_hint=wish.spelled if effort is None else "",
        choices=body.n or 1,
        stream=bool(body.stream),
        include_usage=wants_usage(body),
        ignored=(*ignored(body, CHAT), *_hints(body), *stream_hints(body)),
    )


def wants_usage(body: shapes.Generated) -> bool:
    """Whether the stream is to end with the counts."""
    options = body.stream_options
    return options is not None and bool(options.include_usage)


def stream_hints(body: shapes.Generated) -> tuple[str, ...]:
    """The hints within `stream_options`."""
    options = body.stream_options
    if options is None or not options.include_obfuscation:
        return ()
    return ("stream_options.include_obfuscation",)


def _hints(body: shapes.ChatBody) -> tuple[str, ...]:
    for message in body.messages:
        for part in message.content if isinstance(message.content, tuple) else ():
            if _tools.given(getattr(part, "prompt_cache_breakpoint", _tools.NULL)):
                return ("messages.content.prompt_cache_breakpoint",)
    return ()


def _sampling(body: shapes.ChatBody) -> Sampling:
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequestError("top_logprobs needs logprobs", param="top_logprobs")
    limit = body.max_completion_tokens
    return replace(
        sampling(body),
        max_tokens=body.max_tokens if limit is None else limit,
        logprobs=body.logprobs or None,
        top_logprobs=body.top_logprobs or None,
    )


def sampling(body: shapes.Generated) -> Sampling:
    """The neutral value of a parameter (no penalty, no bias) is not a wish."""
    stop = (body.stop,) if isinstance(body.stop, str) else body.stop or ()
    repeat = body.repeat_penalty
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=None if body.top_k is None else max(body.top_k, 0),
        min_p=body.min_p,
        max_tokens=body.max_tokens,
        stop=tuple(text for text in stop if text),
        seed=body.seed,
        presence_penalty=body.presence_penalty or None,
        frequency_penalty=body.frequency_penalty or None,
        repeat_penalty=body.repetition_penalty if repeat is None else repeat,
        repeat_last_n=body.repeat_last_n,
        logit_bias=body.logit_bias or None,
    )


def texts(asked: tuple[str | int | tuple[int, ...], ...], param: str) -> tuple[str, ...]:
    """The texts of a list. Tokens are refused: whose they are, only their sender knows."""
    if not asked:
        raise InvalidRequestError(f"{param} must not be empty", param=param)
    found = tuple(text for text in asked if isinstance(text, str))
    if len(found) < len(asked):
        raise UnsupportedParameterError(
            f"{param}: tokens are not supported, send their text", param=param
        )
    return found


def _effort(asked: str | None) -> Effort | None:
    if asked is None:
        return None
    if asked in _EFFORTS:
        return _EFFORTS[asked]
    known = ", ".join(_EFFORTS)
    if asked in ("xhigh", "max"):
        raise UnsupportedParameterError(
            f"reasoning_effort {asked!r} is not supported, only {known}", param="reasoning_effort"
        )
    raise InvalidRequestError(f"reasoning_effort must be one of {known}", param="reasoning_effort")


def _reply_format(asked: shapes.ResponseFormat | None) -> ReplyFormat | None:
    if asked is None or asked.type == "text":
        return None
    if asked.type == "json_object":
        schema = _tools.schema(asked.schema, "response_format.schema")
        return ReplyFormat(kind="json_schema" if schema else "json_object", schema=schema)
    at = "response_format.json_schema"
    if asked.json_schema is None:
        raise InvalidRequestError(f"{at} is missing", param=at)
    schema = _tools.schema(asked.json_schema.schema, f"{at}.schema")
    if not schema:
        raise InvalidRequestError(f"{at}.schema is missing", param=f"{at}.schema")
    return ReplyFormat(
        kind="json_schema",
        schema=schema,
        name=asked.json_schema.name,
        description=asked.json_schema.description,
        strict=asked.json_schema.strict,
    )


def _message(message: shapes.ChatMessage, n: int) -> Message:
    at = f"messages[{n}]"
    role = _ROLES.get(message.role)
    if role is None:
        raise UnsupportedParameterError(
            f"{at}.role: the role 'function' is not supported, use 'tool'", param=f"{at}.role"
        )
    for name in ("function_call", "audio"):
        if _tools.given(getattr(message, name)):
            raise UnsupportedParameterError(f"{at}.{name} is not supported", param=f"{at}.{name}")
    if message.content is None and role in ("system", "user"):
        raise InvalidRequestError(f"{at}.content is missing", param=f"{at}.content")
    if role == "tool" and not message.tool_call_id:
        raise InvalidRequestError(f"{at}.tool_call_id is missing", param=f"{at}.tool_call_id")
    return Message(
        role=role,
        parts=_parts(message, at),
        tool_calls=_calls(message.tool_calls or ()) if role == "assistant" else (),
        tool_call_id=message.tool_call_id if role == "tool" else None,
        name=message.name,
        reasoning=message.reasoning_content or message.reasoning,
    )


def _calls(calls: tuple[shapes.Call, ...]) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in calls
    )


def _parts(message: shapes.ChatMessage, at: str) -> tuple[Part, ...]:
    content = message.content or message.refusal or message.content
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(_part(part, f"{at}.content[{n}]") for n, part in enumerate(content))


def _part(part: shapes.Part, at: str) -> Part:
    match part:
        case shapes.TextPart(text=text) | shapes.RefusalPart(refusal=text):
            return TextPart(text)
        case shapes.ImageUrlPart(image_url=shapes.ImageAddress(url=url, detail=detail)):
            return ImagePart(url=_address(url, f"{at}.image_url.url"), detail=detail)
        case shapes.ImageUrlPart(image_url=str(url)):
            return ImagePart(url=_address(url, f"{at}.image_url"))
        case shapes.ImagePart(image=url):
            return ImagePart(url=_address(url, f"{at}.image"))
        case _:
            raise UnsupportedParameterError(
                f"{at}: parts of type {part.__struct_config__.tag!r} are not supported", param=at
            )


def _address(url: str, param: str) -> str:
    if not url.startswith(("https://", "http://", "data:image/")):
        raise InvalidRequestError(
            f"{param} must begin with https://, http:// or data:image/", param=param
        )
    return url
