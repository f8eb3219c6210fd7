"""Tools as OpenAI's API describes them; other dialects borrowed the shape."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.request import ToolChoice, ToolSpec
from penstock.wire import json

NULL = Raw(b"null")
"""A field that is absent or `null`: both mean "not given"."""


def null() -> Raw:
    """For a field's default: msgspec can describe a factory in a schema, and no `Raw`."""
    return NULL


class Function(msgspec.Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: Raw = msgspec.field(default_factory=null)
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True):
    """An entry of `tools`. Types other than `function` are refused by name."""

    type: str = "function"
    function: Function | None = None


class NamedFunction(msgspec.Struct, frozen=True):
    """The function of a tool choice."""

    name: str


class AllowedTool(msgspec.Struct, frozen=True):
    """A tool, named again. Only `function` is known."""

    type: str = "function"
    function: NamedFunction | None = None


class AllowedTools(msgspec.Struct, frozen=True):
    """Which of the tools may be called this time."""

    mode: Literal["auto", "required"]
    tools: tuple[AllowedTool, ...]


class NamedChoice(msgspec.Struct, frozen=True):
    """A tool choice that is an object."""

    type: str = "function"
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None


Choice = Literal["none", "auto", "required"] | NamedChoice


def given(raw: Raw) -> bool:
    """Whether a field was sent with a value."""
    return bytes(raw).strip() != b"null"


def kept(raw: Raw) -> Raw:
    """A copy that does not keep the whole request body alive."""
    return Raw(bytes(raw).strip())


def schema(raw: Raw, param: str) -> Raw | msgspec.UnsetType:
    """A JSON schema, unchanged. It must be an object."""
    if not given(raw):
        return msgspec.UNSET
    found = kept(raw)
    if not bytes(found).startswith(b"{"):
        raise InvalidRequestError(f"{param}: a JSON schema is an object", param=param)
    return found


def specs(tools: tuple[Tool, ...], at: str) -> tuple[ToolSpec, ...]:
    """`tools` as ours; `at` is the path of the list."""
    found = []
    for n, tool in enumerate(tools):
        param = f"{at}[{n}]"
        if tool.type != "function":
            raise UnsupportedParameterError(
                f"{param}.type: tools of type {tool.type!r} are not supported, only 'function'",
                param=f"{param}.type",
            )
        if tool.function is None:
            raise InvalidRequestError(f"{param}.function is missing", param=f"{param}.function")
        function = tool.function
        parameters = schema(function.parameters, f"{param}.function.parameters")
        found.append(
            ToolSpec(
                name=function.name,
                description=function.description,
                parameters=parameters,
                strict=function.strict,
            )
        )
    return tuple(found)


def choice(asked: Choice | None, tools: tuple[ToolSpec, ...], at: str) -> ToolChoice | None:
    """`tool_choice` as ours. `None` for what every engine does anyway: `auto`, or no tools."""
    if asked is None or asked == "auto" or (asked == "none" and not tools):
        return None
    if not tools:
        raise InvalidRequestError(f"{at} needs tools", param=at)
    if not isinstance(asked, NamedChoice):
        return ToolChoice(mode=asked)
    if asked.type != "function" or asked.function is None:
        raise UnsupportedParameterError(
            f"{at}: only {{'type': 'function', 'function': {{'name': …}}}} is supported",
            param=at,
        )
    if asked.function.name not in {tool.name for tool in tools}:
        raise InvalidRequestError(f"{at}: no tool is named {asked.function.name!r}", param=at)
    return ToolChoice(mode="required", name=asked.function.name)


def offer(
    asked: Choice | None, tools: tuple[ToolSpec, ...], at: str
) -> tuple[tuple[ToolSpec, ...], ToolChoice | None]:
    """The tools and the choice among them; `allowed_tools` leaves the others out.

    OpenAI's own difference, that the model still reads the others so that its cache stays, changes
    no answer.
    """
    if not isinstance(asked, NamedChoice) or asked.type != "allowed_tools":
        return tools, choice(asked, tools, at)
    within = f"{at}.allowed_tools"
    if asked.allowed_tools is None:
        raise InvalidRequestError(f"{within} is missing", param=within)
    names: set[str] = set()
    for n, tool in enumerate(asked.allowed_tools.tools):
        name = tool.function.name if tool.function is not None else ""
        if name not in {spec.name for spec in tools}:
            param = f"{within}.tools[{n}]"
            raise InvalidRequestError(f"{param}: no tool is named {name!r}", param=param)
        names.add(name)
    if not names:
        raise InvalidRequestError(f"{within}.tools must not be empty", param=f"{within}.tools")
    allowed = tuple(tool for tool in tools if tool.name in names)
    return allowed, choice(asked.allowed_tools.mode, allowed, at)


def arguments(text: str) -> Raw | str:
    """A call's arguments as a JSON object where they are one, else as the text they are."""
    text = text.strip() or "{}"
    return json.raw(text) if text.startswith("{") and json.is_json(text) else text
