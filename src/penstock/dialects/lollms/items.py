"""`input_data` to messages (2.1, 2.2 and 7.7 of the project's specification of lollms_server).

The original hears only the first `user_prompt` and drops every unknown role without a word. Here
everything that is said in a row by the user is one message, `system_prompt` counts, an earlier
answer may be given back as `assistant`, and what does not count is named in the answer.
"""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import ImagePart, Message, Part, TextPart, ToolCall, say
from penstock.dialects import _tools
from penstock.dialects.lollms.shapes import Body, Item, Metadata
from penstock.wire import json

ROLES: Final = ("user_prompt", "system_context", "system_prompt", "assistant", "tool_result")
"""Roles of text that count. Pictures count in any role."""


class Items(msgspec.Struct, frozen=True):
    """The items that count, each with its place in the body, and the paths of those that don't."""

    counted: tuple[tuple[int, Item], ...]
    ignored: tuple[str, ...]

    def texts(self, role: str) -> list[str]:
        """All text of a role, stripped."""
        return [i.data.strip() for _, i in self.counted if i.type == "text" and i.role == role]


def items(body: Body) -> Items:
    """What a body says. `prompt` counts only without `input_data`, `text_prompt` comes first."""
    counted: list[tuple[int, Item]] = []
    ignored: list[str] = []
    first = body.text_prompt or (body.prompt if body.input_data is None else None)
    if first is not None:
        counted.append((-1, Item(type="text", role="user_prompt", data=first)))
    for n, item in enumerate(body.input_data or ()):
        _check(item, n)
        if item.type == "text" and item.role not in ROLES:
            ignored.append(f"input_data[{n}]")
        else:
            counted.append((n, item))
    if not counted:
        why = "Field required" if body.input_data is None else "nothing in it is for the model"
        raise InvalidRequestError(f"input_data: {why}", param="input_data")
    return Items(tuple(counted), tuple(ignored))


def _check(item: Item, n: int) -> None:
    param = f"input_data[{n}]"
    if item.type not in ("text", "image"):
        raise UnsupportedParameterError(
            f"{param}.type: inputs of type {item.type!r} are not supported", param=f"{param}.type"
        )
    if item.type == "image" and item.mime_type is None and _needs_mime_type(item.data):
        raise InvalidRequestError(f"{param}: mime_type is required for base64 data", param=param)


def _needs_mime_type(data: str) -> bool:
    """The original's rule: longer than 50 characters, of which the first 24 are strict base64."""
    return len(data) > 50 and _is_base64(data[:24])


def _is_base64(data: str) -> bool:
    try:
        b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def conversation(counted: Sequence[tuple[int, Item]]) -> list[Message]:
    """Every turn but the system's, in order. Texts of one turn are joined by a blank line."""
    found: list[Message] = []
    said: list[Part] = []
    for n, item in counted:
        if item.type == "image":
            said.append(ImagePart(url=address(item, n, "image/png")))
        elif item.role == "user_prompt":
            said.append(TextPart(item.data))
        elif item.role in ("assistant", "tool_result"):
            found += _turn(said)
            said = []
            found += _result(item, n) if item.role == "tool_result" else _answer(item)
    return found + _turn(said)


def _turn(said: list[Part]) -> list[Message]:
    if not said:
        return []
    texts = [part.text for part in said if isinstance(part, TextPart)]
    images = [part for part in said if isinstance(part, ImagePart)]
    text = [TextPart("\n\n".join(texts))] if texts else []
    return [Message(role="user", parts=(*text, *images))]


def _answer(item: Item) -> list[Message]:
    return [say("assistant", item.data)]


def address(item: Item, n: int, undeclared: str) -> str:
    """Where a picture is; base64 becomes a `data:` address, of type `undeclared` without a type."""
    if item.data.startswith(("data:image/", "http://", "https://")):
        return item.data
    if not _is_base64(item.data):
        param = f"input_data[{n}].data"
        raise InvalidRequestError(f"{param} is neither base64 nor an address", param=param)
    return f"data:{item.mime_type or undeclared};base64,{item.data}"


def _result(item: Item, n: int) -> list[Message]:
    """A tool's result. With the call's name beside its id, the call itself is said first."""
    at = f"input_data[{n}].metadata"
    told = item.metadata or Metadata()
    call = _string(told.tool_call_id, f"{at}.tool_call_id") or f"call_{n}"
    name = _string(told.name, f"{at}.name")
    result = Message(role="tool", parts=(TextPart(item.data),), tool_call_id=call, name=name)
    if name is None:
        return [result]
    made = ToolCall(id=call, name=name, arguments=_arguments(told))
    return [Message(role="assistant", tool_calls=(made,)), result]


def _arguments(told: Metadata) -> str:
    """As `function_call` told them: an object, or the text that the model wrote."""
    if not _tools.given(told.arguments):
        return "{}"
    text = bytes(told.arguments).strip()
    return json.decode(text, str, InvalidRequestError) if text[:1] == b'"' else text.decode()


def _string(raw: msgspec.Raw, at: str) -> str | None:
    value = json.decode(bytes(raw), object, InvalidRequestError)
    return None if value is None else json.convert(value, str, InvalidRequestError, at)
