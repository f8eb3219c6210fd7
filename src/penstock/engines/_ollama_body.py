"""A request as the body of Ollama's `POST /api/chat` (Ollama's docs/api.md)."""

from typing import Final

from msgspec import UNSET, Raw

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import ImagePart, Message, ToolCall
from penstock.core.request import ReplyFormat, Request, Sampling, ToolSpec
from penstock.engines import _raw_body
from penstock.wire import json

_OPTIONS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "max_tokens": "num_predict",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
}
_THINK: Final[dict[str, bool | str]] = {"none": False, "minimal": "low", "medium": True}
"""`true` is what every thinking model takes, and `medium` for those with levels: Ollama refused
levels for all others until 2026 ("think value … is not supported for this model").
"""


def body(request: Request, context_size: int | None = None) -> dict[str, object]:
    """Everything that the request says; keys appear only when set.

    Raises `UnsupportedParameterError` for a forced tool call and for a picture that is no `data:`
    address: Ollama fetches nothing.
    """
    found: dict[str, object] = {
        "model": request.model,
        "messages": _messages(request.messages),
        "stream": True,
    }
    choice = request.tool_choice
    if choice is not None and (choice.mode == "required" or choice.name is not None):
        raise UnsupportedParameterError("Ollama can't be made to call a tool", param="tool_choice")
    if request.tools and (choice is None or choice.mode != "none"):
        found["tools"] = [_tool(tool) for tool in request.tools]
    if request.reply_format is not None:
        found["format"] = _format(request.reply_format)
    if request.effort is not None:
        found["think"] = _THINK.get(request.effort, request.effort)
    options = _options(request.sampling)
    if context_size is not None:
        options["num_ctx"] = context_size
    if options:
        found["options"] = options
    return found


def raw(request: Request, context_size: int | None = None) -> dict[str, object]:
    """The body of `POST /api/generate` for a text as it is.

    With a `suffix` Ollama's own template puts the two around the gap: `raw` would drop it.
    """
    found: dict[str, object] = {
        "model": request.model,
        "prompt": _raw_body.text(request),
        "stream": True,
    }
    if request.suffix is not None:
        found["suffix"] = request.suffix
    else:
        found["raw"] = True
    if request.reply_format is not None:
        found["format"] = _format(request.reply_format)
    options = _options(request.sampling)
    if context_size is not None:
        options["num_ctx"] = context_size
    if options:
        found["options"] = options
    return found


def _options(sampling: Sampling) -> dict[str, object]:
    values = {theirs: getattr(sampling, ours) for ours, theirs in _OPTIONS.items()}
    values["stop"] = list(sampling.stop) or None
    return {name: value for name, value in values.items() if value is not None}


def _messages(messages: tuple[Message, ...]) -> list[dict[str, object]]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    found: list[dict[str, object]] = []
    for n, message in enumerate(messages):
        one: dict[str, object] = {"role": message.role, "content": message.text}
        images = [
            _base64(f"messages[{n}].content[{m}]", part)
            for m, part in enumerate(message.parts)
            if isinstance(part, ImagePart)
        ]
        if images:
            one["images"] = images
        if message.reasoning is not None:
            one["thinking"] = message.reasoning
        if message.tool_calls:
            one["tool_calls"] = [_call(n, call) for call in message.tool_calls]
        if message.role == "tool":
            # Ollama tells results apart by the tool's name.
            one["tool_name"] = message.name or names.get(message.tool_call_id or "", "")
        found.append(one)
    return found


def _base64(at: str, part: ImagePart) -> str:
    head, comma, data = (part.url or "").partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise UnsupportedParameterError(
            "Ollama takes pictures as base64 `data:` addresses only", param=at
        )
    return data


def _call(n: int, call: ToolCall) -> dict[str, object]:
    arguments: object = {}
    if call.arguments.strip():
        there = json.is_json(call.arguments)
        arguments = json.decode(call.arguments, object, InvalidRequestError) if there else None
    if not isinstance(arguments, dict):
        raise InvalidRequestError(
            "the arguments of a tool call are no JSON object", param=f"messages[{n}].tool_calls"
        )
    return {"function": {"name": call.name, "arguments": arguments}}


def _tool(tool: ToolSpec) -> dict[str, object]:
    parameters: object = {"type": "object", "properties": {}}
    if isinstance(tool.parameters, Raw):
        parameters = tool.parameters
    function: dict[str, object] = {"name": tool.name, "description": tool.description or ""}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def _format(wanted: ReplyFormat) -> object:
    if wanted.kind == "json_schema" and wanted.schema is not UNSET:
        return wanted.schema
    return "json"
