"""A request as the body of OpenAI's `POST /v1/chat/completions`."""

import msgspec
from msgspec.structs import astuple

from penstock.core.errors import InvalidRequestError
from penstock.core.messages import ImagePart, Message, Part, TextPart
from penstock.core.request import ReplyFormat, Request, Sampling, ToolChoice, ToolSpec

_SAMPLING = Sampling.__struct_fields__


def body(request: Request) -> dict[str, object]:
    """Everything that the request says, and nothing that it doesn't: keys appear only when set.

    The answer is always asked for as a stream with its usage. `top_k`, `min_p`, `repeat_penalty`
    and `repeat_last_n` are llama.cpp's names; OpenAI has none of them. Raises
    `InvalidRequestError` for a picture that has no address.
    """
    found: dict[str, object] = {
        "model": request.model,
        "messages": [_message(n, message) for n, message in enumerate(request.messages)],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for name, value in zip(_SAMPLING, astuple(request.sampling), strict=True):
        if value is not None and value != ():
            found[name] = value
    optional: dict[str, object] = {
        "n": request.choices if request.choices > 1 else None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls,
        "response_format": _format(request.reply_format),
        "reasoning_effort": request.effort,
    }
    found.update({name: value for name, value in optional.items() if value is not None})
    return found


def _message(n: int, message: Message) -> dict[str, object]:
    found: dict[str, object] = {"role": message.role, "content": _content(n, message.parts)}
    if message.name is not None:
        found["name"] = message.name
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    if message.reasoning is not None:
        found["reasoning_content"] = message.reasoning
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    elif not message.parts:
        found["content"] = ""
    return found


def _content(n: int, parts: tuple[Part, ...]) -> object:
    match parts:
        case ():
            return None
        case (TextPart(text=text),):
            return text
        case _:
            return [_part(f"messages[{n}].content[{m}]", part) for m, part in enumerate(parts)]


def _part(at: str, part: Part) -> dict[str, object]:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart(url=None):
            raise InvalidRequestError("this picture has no address", param=at)
        case ImagePart(url=url, detail=None):
            return {"type": "image_url", "image_url": {"url": url}}
        case ImagePart(url=url, detail=detail):
            return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def _tool(tool: ToolSpec) -> dict[str, object]:
    function: dict[str, object] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not msgspec.UNSET:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice | None) -> object:
    if choice is None:
        return None
    if choice.name is not None:
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def _format(wanted: ReplyFormat | None) -> object:
    if wanted is None:
        return None
    if wanted.kind == "json_object":
        return {"type": "json_object"}
    schema: dict[str, object] = {"name": wanted.name or "reply"}
    if wanted.description is not None:
        schema["description"] = wanted.description
    if wanted.schema is not msgspec.UNSET:
        schema["schema"] = wanted.schema
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}
