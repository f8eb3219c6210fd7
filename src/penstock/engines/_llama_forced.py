"""A call that must be made: written under a grammar from its first character on.

With `tool_choice: "required"` llama.cpp only promises that a call comes at last: a model may talk
before it, as long as it likes. So the conversation is rendered by llama.cpp with the tools in it,
as the model was trained to see them, and what follows can be nothing but one call of one of them
whose arguments obey its schema. Where the model's template shows how it writes a call, the call is
opened in that way.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Final, Protocol

import msgspec
import xllamacpp
from msgspec import UNSET
from msgspec.structs import replace

from penstock.core.errors import EngineError, InvalidRequestError
from penstock.core.events import Done, Event, ReasoningDelta, TextDelta, ToolCallDelta
from penstock.core.messages import Message, TextPart, ToolCall
from penstock.core.request import Request, ToolSpec
from penstock.engines import _llama_body, _llama_errors, _raw_body
from penstock.wire import json

_ANYTHING: Final[Mapping[str, object]] = {"type": "object"}
_NOTHING: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}
_TIGHT: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""An option of the grammar's engine: a weak model writes white space rather than what it must."""
_MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_VALUES: Final = frozenset({"const", "default", "enum", "examples", "required"})
_OPEN: Final = frozenset(
    {"additionalProperties", "unevaluatedProperties", "patternProperties"}
    | {"allOf", "anyOf", "oneOf", "if"}
)
_TOGETHER: Final = frozenset({"allOf", "if", "then", "else", "not"})
"""Keys whose schemas say only a part of what an object is."""
_EITHER: Final = frozenset({"anyOf", "oneOf"})
_MEMBERS: Final = (
    _OPEN
    | _TOGETHER
    | {"properties", "$ref", "required", "enum", "const", "minProperties", "propertyNames"}
)
_HEAD: Final = re.compile(
    r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\S)'
)
_LARK: Final = "%llguidance"
_SAMPLE: Final = "penstock_sample"
_SAMPLE_ID: Final = "aaaaaaaaa"
"""Nine letters and digits: the only ids that Mistral's templates take."""
_WRITTEN: Final = re.compile(
    r"""(?P<opening>[^{\[]{0,100})\{\s*"name"\s*:\s*"penstock_sample"\s*,\s*"""
    r""""(?P<key>arguments|parameters)"\s*:\s*\{\s*"k"\s*:\s*1\s*\}\s*\}"""
    r"""(?P<closing>\s*(?:</\w+>|\[/\w+\]))?"""
)
"""A call of the sample, as templates write them that write JSON."""


class _Server(Protocol):
    def ask(self, path: str, body: bytes) -> bytes: ...


class _Rendered(msgspec.Struct, frozen=True):
    prompt: str


class Writing(msgspec.Struct, frozen=True):
    """How a model writes a call: what stands before and after its JSON, and the arguments' key."""

    opening: str = ""
    closing: str = ""
    key: str = "arguments"


def is_forced(request: Request) -> bool:
    """Whether the reply has to be a call, and nothing before it.

    A model that is asked to think first is left to llama.cpp: its call comes after the thoughts.
    """
    choice = request.tool_choice
    must = choice is not None and (choice.mode == "required" or choice.name is not None)
    thinks = request.effort not in (None, "none")
    return must and bool(request.tools) and not request.raw and not thinks


def body(server: _Server, request: Request) -> bytes:
    """The body of one streamed completion that is a call. Blocks: llama.cpp is asked.

    Raises what `_llama_body.chat` raises.
    """
    quiet = replace(request, effort="none")
    chat = _llama_body.chat(quiet)
    try:
        prompt = _rendered(server, chat)
    except ValueError as error:
        raise _llama_errors.invalid(str(error), request) from error
    writing = _writing(server, request, chat, prompt)
    # The tools as `_llama_body` made them: of a named choice the one, patterns as can be obeyed.
    tools = _llama_body.offered(request)
    sampling = replace(request.sampling, stop=(), logprobs=None, top_logprobs=None)
    text = Message(role="user", parts=(TextPart(prompt + writing.opening),))
    asked = Request(model=request.model, messages=(text,), sampling=sampling, raw=True)
    found = _raw_body.body(asked)
    found["return_progress"] = True
    found["grammar"] = grammar(_schema(tools, writing.key), writing.closing)
    return json.encode(found)


def _rendered(server: _Server, chat: bytes) -> str:
    return json.decode(server.ask("/apply-template", chat), _Rendered, EngineError).prompt


def _writing(server: _Server, request: Request, chat: bytes, prompt: str) -> Writing:
    """By a call that the model's own template writes after the same conversation."""
    call = ToolCall(id=_SAMPLE_ID, name=_SAMPLE, arguments='{"k":1}')
    said = (
        Message(role="assistant", tool_calls=(call,)),
        # Without a result after it llama.cpp takes the call for one to be gone on with.
        Message(role="tool", parts=(TextPart("x"),), tool_call_id=_SAMPLE_ID, name=_SAMPLE),
    )
    more = replace(request, messages=(*request.messages, *said))
    try:
        shown = _rendered(server, _llama_body.chat(replace(more, effort="none")))
    except (EngineError, ValueError):
        return Writing()
    return opened(prompt, shown)


def opened(prompt: str, shown: str) -> Writing:
    """How a call is written. `prompt`: a conversation up to the model's turn; `shown`: with a call
    of `penstock_sample` after it. What can't be told is left out.
    """
    if not shown.startswith(prompt):
        return Writing()
    found = _WRITTEN.match(shown, len(prompt))
    if found is None:
        return Writing()
    return Writing(found["opening"], found["closing"] or "", found["key"])


def grammar(schema: Mapping[str, object], closing: str) -> str:
    """In the language of the library's grammars: JSON of a schema, and what may stand after it.

    A model that was taught to write `"}}` and the end of the line as one token must be able to.
    """
    text: str = xllamacpp.json_schema_to_grammar(json.encode(schema).decode())
    if not closing:
        return text
    end = json.encode(closing).decode()
    if text.startswith(_LARK):
        return (
            text.replace("start:", "call:", 1).rstrip()
            + f"\nstart: call closing?\nclosing: {end}\n"
        )
    return re.sub(r"^root ::=", "call ::=", text, flags=re.MULTILINE) + f"\nroot ::= call {end}?\n"


def _schema(tools: Sequence[ToolSpec], key: str) -> dict[str, object]:
    """Exactly one call: the name first, then the arguments."""
    schemas = {f"t{n}": _own(tool, n) for n, tool in enumerate(tools)}
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, key: {"$ref": f"#/$defs/t{n}"}},
            "required": ["name", key],
            "additionalProperties": False,
        }
        for n, tool in enumerate(tools)
    ]
    return {"anyOf": calls, "$defs": schemas, "x-guidance": _TIGHT}


def _own(tool: ToolSpec, n: int) -> object:
    if tool.parameters is UNSET:
        return _NOTHING
    at = f"tools[{n}].function.parameters"
    found = json.decode(bytes(tool.parameters), object, InvalidRequestError)
    if not isinstance(found, Mapping):
        raise InvalidRequestError(f"{at}: a JSON schema is an object", param=at)
    if found.get("type", "object") != "object":
        raise InvalidRequestError(f"{at}.type: arguments are an object", param=f"{at}.type")
    if not found:
        return _ANYTHING
    if found.get("type") == "object" and not any(found.get(name) for name in _MEMBERS):
        # "An object" without a word about its members: a function that takes none.
        return {**_NOTHING, **found} if "additionalProperties" not in found else found
    # What obeys two schemas at once may have members of both.
    closed = b'"allOf"' not in bytes(tool.parameters)
    found = {"type": "object", **found} if _is_open(found) else found
    try:
        return moved(found, f"#/$defs/t{n}", closed=closed)
    except RecursionError as error:
        raise InvalidRequestError("this schema is nested too deeply", param=at) from error


def _is_open(schema: Mapping[str, object]) -> bool:
    return not schema.keys() & {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}


def moved(schema: object, root: str, *, named: bool = False, closed: bool = True) -> object:
    """The schema with its references to itself as they are below `root`.

    `closed`: objects take only members that they name, where that leaves them possible; what is
    written then obeys the schema still. `named`: the members of `schema` are schemas by names of
    their own.
    """
    if isinstance(schema, list):
        return [moved(item, root, closed=closed) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, object] = {}
    for name, value in schema.items():
        if name == "$ref" and not named and isinstance(value, str) and value.startswith("#"):
            found[name] = root + value[1:]
        elif name in _VALUES and not named:
            found[name] = value
        else:
            whole = named or not _is_partial(name, schema)
            maps = not named and name in _MAPS
            found[name] = moved(value, root, named=maps, closed=closed and whole)
    if closed and not named and _names_all(schema) and not schema.keys() & _OPEN:
        found["additionalProperties"] = False
    return found


def _is_partial(name: str, schema: Mapping[object, object]) -> bool:
    """Whether what stands under `name` says only a part of what an object of `schema` is."""
    return name in _TOGETHER or (name in _EITHER and "properties" in schema)


def _names_all(schema: Mapping[object, object]) -> bool:
    """Whether an object can do with the members that its schema names."""
    members, required = schema.get("properties"), schema.get("required", [])
    if not isinstance(members, Mapping) or not isinstance(required, list):
        return False
    return all(name in members for name in required)


class Call:
    """The text of a call of one of `names` to its events. Fed in any pieces, it says the same."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._id = token_hex(16)
        self._head = ""
        self._open = False
        self._depth = 0
        self._quoted = self._escaped = False
        self._whole = False

    def feed(self, events: Iterable[Event]) -> list[Event]:
        """The events of a batch; text becomes a call, the end says whether it is whole.

        Raises `InvalidRequestError` for text that is no such call: a grammar that nothing can obey
        is dropped by llama.cpp without a word.
        """
        found: list[Event] = []
        for event in events:
            match event:
                case TextDelta(text=text):
                    found += self._read(text)
                case ReasoningDelta():
                    pass
                case Done(reason="stop"):
                    if not self._whole:
                        raise _not_obeyed()
                    found.append(Done(reason="tool_calls"))
                case _:
                    found.append(event)
        return found

    def _read(self, text: str) -> list[Event]:
        if self._open:
            return self._more(text)
        self._head += text
        parsed = _begun(self._head)
        if parsed is None:
            if self._head.lstrip()[:1] not in ("", "{"):
                raise _not_obeyed()
            return []
        self._open = True
        name, rest = parsed
        if name not in self._names or not rest.startswith("{"):
            raise _not_obeyed()
        first = ToolCallDelta(part=0, call=self._id, name=name)
        return [first, *self._more(rest)]

    def _more(self, text: str) -> list[Event]:
        """The arguments' own characters: what closes the object around them is no part of them."""
        if self._whole:
            return []
        end = len(text)
        for n, character in enumerate(text):
            if self._step(character):
                self._whole = True
                end = n + 1
                break
        arguments = text[:end]
        return [ToolCallDelta(part=0, call=self._id, arguments=arguments)] if arguments else []

    def _step(self, character: str) -> bool:
        """Whether this character ends the arguments."""
        if self._escaped:
            self._escaped = False
        elif self._quoted:
            self._escaped = character == "\\"
            self._quoted = character != '"'
        elif character == '"':
            self._quoted = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            return self._depth == 0
        return False


def call_of(request: Request) -> Call:
    """What reads the call of a forced request: of the tool that was named, if one was."""
    return Call(tool.name for tool in _llama_body.offered(request))


def _not_obeyed() -> InvalidRequestError:
    return InvalidRequestError(
        "llama.cpp can't keep to the schemas of these tools: perhaps no object obeys one of them",
        param="tools",
    )


def _begun(text: str) -> tuple[str, str] | None:
    """Name and beginning of the arguments, once both are there. The grammar keeps the order."""
    found = _HEAD.match(text)
    if found is None:
        return None
    return json.decode(found[1], str, EngineError), text[found.end() :]
