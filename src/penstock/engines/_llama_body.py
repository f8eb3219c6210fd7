"""A request as llama.cpp's server understands it, and the refusals that it would not make itself.

What it was seen to do (llama.cpp as in xllamacpp 2026.10): a tool chosen by name is ignored; with
`tool_choice: "none"` a call comes as text; with tools and a format at once tools are forgotten; a
`pattern` outside its subset is dropped with a line on stderr. None of it reaches a client.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import Message
from penstock.core.request import ReplyFormat, Request, ToolChoice, ToolSpec
from penstock.engines import _raw_body
from penstock.engines._llama_facts import Gap
from penstock.engines._openai_wire import body
from penstock.wire import json

_ESCAPE: Final = r'\\["$()*+\-.?\[\\\]^nrt{|}]'
_CLASS: Final = r'\[\^?(?:[^\\\[\]]|\\["\-\[\\\]nrt])+\]'
_TIMES: Final = r"(?:[*+?]|\{\d+(?:,\d*)?\}|\{,\d+\})\??"
_PATTERN: Final = re.compile(
    rf"\^(?:\(\?:|\((?!\?)|\||(?:[^\\^$.*+?()\[\]{{}}|]|{_ESCAPE}|\.|{_CLASS}|\))(?:{_TIMES})?)*\$"
)
_CLASS_OR_ESCAPE: Final = re.compile(r"\[(?:[^\]\\]|\\.)*\]|\\.", re.DOTALL)
_SHORTHANDS: Final = {"d": "0-9", "w": "A-Za-z0-9_"}
_LONGEST_PATTERN: Final = 1_000
_DEEPEST_PATTERN: Final = 20
_LOOKED_AT: Final = re.compile(rb'"pattern"|"max(?:Length|Items)"|\\')
"""What may have to be changed or refused in a schema; a backslash may hide either."""
_BOUNDS: Final = (("minLength", "maxLength"), ("minItems", "maxItems"))
_FROM_TO: Final = re.compile(r"\{\s*([0-9]+)\s*,\s*([0-9]+)\s*\}")
_NO_SCHEMAS: Final = frozenset({"const", "default", "enum", "examples"})


def chat(request: Request) -> bytes:
    """The body of one streamed chat completion.

    Raises `InvalidRequestError` for what llama.cpp would misunderstand without a word.
    """
    _check_messages(request.messages)
    asked = _with_tools(request)
    asked = replace(asked, reply_format=_format(asked.reply_format), effort=None)
    found = body(asked)
    # Its progress is what lets a run be cancelled, and known to be accepted, within its prompt.
    found["return_progress"] = True
    if request.effort == "none":
        found["chat_template_kwargs"] = {"enable_thinking": False}
    elif request.effort is not None:
        found["reasoning_effort"] = request.effort
    if request.sampling.logprobs and not request.sampling.top_logprobs:
        found["top_logprobs"] = 1
    return json.encode(found)


def raw(request: Request, gap: Gap | None) -> bytes:
    """The body of one streamed completion of a text as it is; `gap`: the model's tokens for one.

    Raises `UnsupportedParameterError` for a `suffix` where the model has no such tokens.
    """
    wanted = _format(request.reply_format)
    # A suffix and numbers of likeliest tokens are said otherwise here.
    asked = replace(request, suffix=None, reply_format=None)
    found = _raw_body.body(asked)
    if request.suffix is not None:
        if gap is None:
            raise UnsupportedParameterError(
                "this model takes no suffix: it was not made to fill a gap", param="suffix"
            )
        prompt = [gap.prefix, found["prompt"], gap.suffix, request.suffix, gap.middle]
        found["prompt"] = [piece for piece in prompt if piece != ""]
    elif not found["prompt"]:
        raise InvalidRequestError("a raw request can't be empty", param="prompt")
    found["return_progress"] = True
    if found.pop("logprobs", None) is not None:
        found["n_probs"] = request.sampling.top_logprobs or 1
    if wanted is not None:
        found["json_schema"] = {"type": "object"} if wanted.schema is UNSET else wanted.schema
    return json.encode(found)


def offered(request: Request) -> tuple[ToolSpec, ...]:
    """The tools that may be called, as llama.cpp can obey them. Raises as `chat` does."""
    return _with_tools(request).tools


def _check_messages(messages: Sequence[Message]) -> None:
    for n, message in enumerate(messages):
        for m, call in enumerate(message.tool_calls):
            if call.arguments.strip() and not json.is_json(call.arguments):
                raise InvalidRequestError(
                    "the arguments of an earlier tool call are no JSON",
                    param=f"messages[{n}].tool_calls[{m}].function.arguments",
                )


def _with_tools(request: Request) -> Request:
    choice = request.tool_choice
    if choice is not None and choice.name is not None:
        named = tuple(tool for tool in request.tools if tool.name == choice.name)
        if not named:
            raise InvalidRequestError(f"there is no tool {choice.name!r}", param="tool_choice")
        request = replace(request, tools=named, tool_choice=ToolChoice(mode="required"))
    elif choice is not None and choice.mode == "none":
        request = replace(request, tools=(), tool_choice=None)
    if request.tools and request.reply_format is not None:
        raise UnsupportedParameterError(
            "this engine can't promise a format while tools may be called; "
            'set `tool_choice` to "none" or leave one of them out',
            param="response_format",
        )
    if request.tools and request.sampling.logprobs:
        raise UnsupportedParameterError(
            "this engine has no log probabilities while tools may be called; "
            'set `tool_choice` to "none" or leave one of them out',
            param="logprobs",
        )
    return replace(request, tools=tuple(_tool(n, tool) for n, tool in enumerate(request.tools)))


def _tool(n: int, tool: ToolSpec) -> ToolSpec:
    """A tool whose patterns llama.cpp can obey; the rest of them only guides the model anyway."""
    at = f"tools[{n}].function.parameters"
    found = _obeyed(tool.parameters, at, strict=bool(tool.strict))
    return tool if found is tool.parameters else replace(tool, parameters=found)


def _format(wanted: ReplyFormat | None) -> ReplyFormat | None:
    if wanted is None:
        return None
    found = _obeyed(wanted.schema, "response_format.json_schema.schema", strict=True)
    return wanted if found is wanted.schema else replace(wanted, schema=found)


def _obeyed(schema: Raw | UnsetType, at: str, *, strict: bool) -> Raw | UnsetType:
    if schema is UNSET or not _LOOKED_AT.search(bytes(schema)):
        return schema
    try:
        value = json.decode(bytes(schema), object, InvalidRequestError)
        _check_bounds(value, at)
        found = _patterns(value, at, strict=strict)
    except RecursionError as error:
        raise InvalidRequestError("this schema is nested too deeply", param=at) from error
    return schema if found is value else json.raw(json.encode(found))


def _check_bounds(value: object, at: str) -> None:
    """Raises `InvalidRequestError` for a length that is to be at least more than at most.

    llama.cpp counts from the one to the other, and takes all memory that there is. Looked for in
    everything that a `$ref` could lead to.
    """
    if isinstance(value, list):
        for n, item in enumerate(value):
            _check_bounds(item, f"{at}[{n}]")
    if not isinstance(value, Mapping):
        return
    for least, most in _BOUNDS:
        low, high = value.get(least), value.get(most)
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            raise InvalidRequestError(f"{least} is more than {most}", param=f"{at}.{least}")
    for name, inner in value.items():
        if name != "pattern" or not isinstance(inner, str):
            _check_bounds(inner, f"{at}.{name}")
        elif any(_number(low) > _number(high) for low, high in _FROM_TO.findall(inner)):
            raise InvalidRequestError("it repeats at least more than at most", param=f"{at}.{name}")


def _number(digits: str) -> tuple[int, str]:
    """Sorts as the number does, however long it is."""
    digits = digits.lstrip("0")
    return len(digits), digits


def _patterns(schema: object, at: str, *, strict: bool) -> object:
    """The schema with every `pattern` in llama.cpp's subset; itself when nothing had to change.

    One that can't be put so is refused when `strict`, else left out.
    """
    if isinstance(schema, list):
        items = [_patterns(item, f"{at}[{n}]", strict=strict) for n, item in enumerate(schema)]
        return schema if all(a is b for a, b in zip(items, schema, strict=True)) else items
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, object] = {}
    changed = False
    for key, value in schema.items():
        if key == "pattern" and isinstance(value, str):
            plain = _plain(value)
            if plain is None and strict:
                raise UnsupportedParameterError(
                    "this engine can't enforce this pattern: it takes those from `^` to `$`, "
                    "without look-around, named groups or classes such as \\s",
                    param=f"{at}.pattern",
                )
            changed |= plain != value
            if plain is not None:
                found[key] = plain
            continue
        deeper = key not in _NO_SCHEMAS
        found[key] = _patterns(value, f"{at}.{key}", strict=strict) if deeper else value
        changed |= found[key] is not value
    return found if changed else schema


def _plain(pattern: str) -> str | None:
    # Looked at before the search, which takes the square of the length for an open bracket.
    if len(pattern) > _LONGEST_PATTERN or pattern.count("(") > _DEEPEST_PATTERN:
        return None
    plain = _CLASS_OR_ESCAPE.sub(_spelled_out, pattern)
    return plain if _PATTERN.fullmatch(plain) else None


def _spelled_out(found: re.Match[str]) -> str:
    r"""`\d` and `\w` as the classes that they stand for in ECMAScript's regular expressions."""
    text = found.group()
    if text[0] == "\\":
        spelled = _SHORTHANDS.get(text[1])
        return f"[{spelled}]" if spelled else text
    return re.sub(r"\\(.)", lambda inner: _SHORTHANDS.get(inner[1], inner[0]), text)
