"""What a program says, as a request. No I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, TypedDict, get_args

import msgspec

from penstock.core.errors import InvalidRequestError
from penstock.core.messages import ImagePart, Message, Part, TextPart, ToolCall, say
from penstock.core.request import (
    Effort,
    ImageAsk,
    ReplyFormat,
    Request,
    Sampling,
    ToolChoice,
    ToolSpec,
)
from penstock.wire import json

Messages = Sequence[Message | Mapping[str, object]]
Prompt = str | Messages
"""One user's text, or a conversation: `Message`s, or OpenAI's `{"role": …, "content": …}`."""

_SAMPLING: Final = frozenset(Sampling.__struct_fields__)
_IMAGE: Final = frozenset(ImageAsk.__struct_fields__)


class TurnOptions(TypedDict, total=False):
    """What may be said beside a turn of a session. Nothing given: as the server does by default.

    `tools`: `ToolSpec`s, or OpenAI's objects. `tool_choice`: `"auto"`, `"none"`, `"required"`, or
    a tool's name. `max_tokens` counts tokens of the answer.
    """

    model: str
    system: str
    tools: Sequence[ToolSpec | Mapping[str, object]]
    tool_choice: str
    temperature: float
    top_p: float
    max_tokens: int


class Options(TurnOptions, total=False):
    """What may be said beside a prompt. Nothing given: as the server does by default.

    `json_schema`: the answer is JSON that obeys it; `{}` is any JSON object. `effort`: how much to
    think.
    """

    top_k: int
    min_p: float
    stop: str | Sequence[str]
    seed: int
    presence_penalty: float
    frequency_penalty: float
    repeat_penalty: float
    json_schema: Mapping[str, object]
    effort: Effort


class ImageOptions(TypedDict, total=False):
    """What may be said beside a picture's prompt. `size`: width and height in pixels.

    `previews`: how many pictures of the work in progress are wanted, at most 3.
    """

    model: str
    size: tuple[int, int]
    count: int
    seed: int
    steps: int
    negative_prompt: str
    guidance_scale: float
    sampler: str
    file_format: Literal["png", "jpeg", "webp"]
    previews: int


class _Image(msgspec.Struct):
    url: str


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    image_url: _Image | str | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _Call(msgspec.Struct):
    id: str
    function: _Function


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _Tool(msgspec.Struct):
    class Function(msgspec.Struct):
        name: str
        description: str | None = None
        parameters: dict[str, object] | None = None
        strict: bool | None = None

    function: Function


def request(prompt: Prompt, options: Options | TurnOptions, model: str) -> Request:
    """Raises `InvalidRequestError` naming the field."""
    said = _given(options)
    system = said.pop("system", None)
    found = [say("system", str(system))] if system else []
    if isinstance(prompt, str):
        found.append(say("user", prompt))
    else:
        found += _conversation(prompt)
    if not found:
        raise InvalidRequestError("there is nothing to answer: no message", param="messages")
    tools = said.pop("tools", ())
    choice = said.pop("tool_choice", None)
    schema = said.pop("json_schema", None)
    effort = said.pop("effort", None)
    if effort is not None and effort not in get_args(Effort):
        what = f"effort must be one of {', '.join(get_args(Effort))}"
        raise InvalidRequestError(what, param="effort")
    name = said.pop("model", None)
    stop = said.get("stop")
    if stop is not None:
        said["stop"] = (stop,) if isinstance(stop, str) else stop
    unknown = sorted(set(said) - _SAMPLING)
    if unknown:
        raise InvalidRequestError(f"there is no option {unknown[0]!r}", param=unknown[0])
    values: dict[str, object] = {
        "sampling": json.convert(said, Sampling, InvalidRequestError),
        "tool_choice": None if choice is None else _choice(str(choice)),
        "reply_format": None if schema is None else _format(schema),
        "effort": effort,
    }
    return msgspec.structs.replace(
        Request(model=str(name or model), messages=_texts(found), stream=True),
        tools=_tools(tools),
        **values,
    )


def image_request(prompt: str, options: ImageOptions, model: str) -> Request:
    """Raises `InvalidRequestError` naming the field."""
    said = _given(options)
    name, seed = said.pop("model", None), said.pop("seed", None)
    unknown = sorted(set(said) - _IMAGE)
    if unknown:
        raise InvalidRequestError(f"there is no option {unknown[0]!r}", param=unknown[0])
    return Request(
        model=str(name or model),
        messages=_texts([say("user", prompt)]),
        modality="image",
        sampling=json.convert({"seed": seed}, Sampling, InvalidRequestError),
        image=json.convert(said, ImageAsk, InvalidRequestError),
        stream=True,
    )


def _given(options: Options | TurnOptions | ImageOptions) -> dict[str, object]:
    """What was said: `None` is not given."""
    return {name: value for name, value in options.items() if value is not None}


def _texts(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same. Raises for halves of characters, as bytes that are no UTF-8 become."""
    for n, message in enumerate(messages):
        try:
            message.text.encode()
        except UnicodeEncodeError as error:
            what = f"messages[{n}] is no text: it holds half of a character at {error.start}"
            raise InvalidRequestError(what, param=f"messages[{n}]") from error
    return tuple(messages)


def _conversation(said: object) -> Iterator[Message]:
    if isinstance(said, Mapping) or not isinstance(said, Iterable):
        what = f"a text or a list of messages is needed, not {type(said).__name__}"
        raise InvalidRequestError(what, param="messages")
    for n, one in enumerate(said):
        yield _message(n, one)


def _message(n: int, said: object) -> Message:
    if isinstance(said, Message):
        return said
    at = f"messages[{n}]"
    if not isinstance(said, Mapping):
        what = f"{at} must have a role and a content, it is {type(said).__name__}"
        raise InvalidRequestError(what, param=at)
    one = json.convert(dict(said), _Message, InvalidRequestError, at)
    content = one.content or ""
    parts: tuple[Part, ...]
    if isinstance(content, str):
        parts = (TextPart(content),) if content else ()
    else:
        parts = tuple(_part(at, part) for part in content)
    calls = tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in one.tool_calls or ()
    )
    return Message(
        role="system" if one.role == "developer" else one.role,
        parts=parts,
        tool_calls=calls,
        tool_call_id=one.tool_call_id,
        name=one.name,
    )


def _part(at: str, part: _Part) -> Part:
    if part.type == "text":
        return TextPart(part.text)
    if part.type == "image_url" and part.image_url is not None:
        found = part.image_url
        return ImagePart(url=found if isinstance(found, str) else found.url, at=at)
    raise InvalidRequestError(
        f"{at}: a part is `text` or `image_url`, not {part.type!r}", param=f"{at}.content"
    )


def _tools(said: object) -> tuple[ToolSpec, ...]:
    if not isinstance(said, Sequence) or isinstance(said, str):
        raise InvalidRequestError("tools must be a list", param="tools")
    return tuple(
        one if isinstance(one, ToolSpec) else _tool(f"tools[{n}]", one)
        for n, one in enumerate(said)
    )


def _tool(at: str, said: object) -> ToolSpec:
    function = json.convert(said, _Tool, InvalidRequestError, at).function
    return tool(function.name, function.description, function.parameters, strict=function.strict)


def tool(
    name: str,
    description: str | None = None,
    parameters: Mapping[str, object] | None = None,
    *,
    strict: bool | None = None,
) -> ToolSpec:
    """A function that the model may call. `parameters`: the JSON schema of its arguments."""
    schema = msgspec.UNSET if parameters is None else json.raw(json.encode(parameters))
    return ToolSpec(name=name, description=description, parameters=schema, strict=strict)


def _choice(said: str) -> ToolChoice:
    if said in ("auto", "none", "required"):
        return ToolChoice(mode=said)  # type: ignore[arg-type]
    return ToolChoice(mode="required", name=said)


def _format(schema: object) -> ReplyFormat:
    if not schema:
        return ReplyFormat(kind="json_object")
    return ReplyFormat(kind="json_schema", schema=json.raw(json.encode(schema)))


def turn(session: str, prompt: Prompt, options: TurnOptions, model: str) -> Request:
    """One turn of a session. Raises `InvalidRequestError`."""
    return msgspec.structs.replace(request(prompt, options, model), session=session)
