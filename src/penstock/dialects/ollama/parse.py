"""Bodies of `/api/generate` and `/api/chat` to requests. Raises `InvalidRequestError`."""

import binascii
import re
from collections.abc import Sequence
from typing import Final, cast

import msgspec
from msgspec import Raw

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import ImagePart, Message, Part, Role, TextPart, ToolCall, say
from penstock.core.queries import Query
from penstock.core.request import Effort, ReplyFormat, Request, Sampling
from penstock.dialects import _tools
from penstock.dialects.ollama import continuing, shapes
from penstock.wire import json

GENERATE: Final = "generate"
CHAT: Final = "chat"
_ROLES: Final = ("system", "user", "assistant", "tool")
_KINDS: Final = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "UklGR": "webp", "R0lGOD": "gif"}
"""How pictures of each kind begin in base64."""
_EFFORTS: Final = ("low", "medium", "high")
_NO_TIME: Final = re.compile(r"0+(\.0*)?(ns|us|µs|ms|s|m|h)?")
_BESIDE_RAW: Final = {
    "raw": ("system", "template", "context", "images", "think"),
    "suffix": ("system", "context", "images", "think"),
}


def generate(data: bytes) -> Request | Query:
    """`POST /api/generate`; a body without a prompt loads the model, or unloads it."""
    body = json.decode(data, shapes.Generate, InvalidRequestError)
    images = _images(body.images or (), "images")
    if not body.prompt and not images and not body.suffix:
        return _loading(body, GENERATE)
    for name in ("raw", "suffix"):
        if getattr(body, name):
            _refuse_beside(name, body)
    if body.template:
        raise _unsupported("template", "a model's own is always used; raw takes a prompt as it is")
    parts: tuple[Part, ...] = (*images, TextPart(body.prompt or ""))
    messages: tuple[Message, ...] = (Message(role="user", parts=parts),)
    if body.system:
        messages = (say("system", body.system), *messages)
    request = _request(body, messages, GENERATE)
    if body.raw or body.suffix:
        request = msgspec.structs.replace(
            request, raw=True, suffix=body.suffix or None, effort=None, effort_hint=""
        )
    return msgspec.structs.replace(
        request,
        continues=continuing.stream_of(body.context) if body.context else None,
    )


def chat(data: bytes) -> Request | Query:
    """`POST /api/chat`; a body without messages loads the model, or unloads it."""
    body = json.decode(data, shapes.Chat, InvalidRequestError)
    if not body.messages:
        return _loading(body, CHAT)
    request = _request(body, _messages(body.messages), CHAT)
    return msgspec.structs.replace(request, tools=_tools.specs(body.tools or (), "tools"))


def _loading(body: shapes.Common, form: str) -> Query:
    _checked(body.options or {})
    if body.keep_alive is not None and _NO_TIME.fullmatch(str(body.keep_alive)):
        return Query("unload_model", body.model, form=form)
    ignored = () if body.keep_alive in (None, "") else ("keep_alive",)
    return Query("load_model", body.model, form=form, ignored=ignored)


def _refuse_beside(said: str, body: shapes.Generate) -> None:
    for name in _BESIDE_RAW[said]:
        if getattr(body, name):
            raise InvalidRequestError(f"{name}: not possible together with {said}", param=name)


def _request(body: shapes.Common, messages: tuple[Message, ...], form: str) -> Request:
    if body.debug_render_only:
        raise _unsupported("_debug_render_only", "an engine renders the template itself")
    sampling, ignored = _options(body.options or {})
    if body.logprobs:
        sampling = msgspec.structs.replace(
            sampling, logprobs=True, top_logprobs=body.top_logprobs or None
        )
    effort, hint = _effort(body.think)
    hints = [name for name in shapes.HINTED if getattr(body, name, None) not in (None, "")]
    return Request(
        model=body.model,
        messages=messages,
        sampling=sampling,
        reply_format=_format(body.format),
        effort=effort,
        effort_hint=hint,
        stream=body.stream is not False,
        include_usage=True,
        form=form,
        ignored=(*hints, *ignored),
    )


def _effort(think: bool | str | None) -> tuple[Effort | None, str]:
    """Not to think is a hint: a model that never thinks already does as it was told."""
    if think is None or think == "":
        return None, ""
    if isinstance(think, bool):
        return ("medium", "") if think else ("none", "think")
    if think not in _EFFORTS:
        raise InvalidRequestError(
            f"think: true, false or one of {', '.join(_EFFORTS)}, not {think[:40]!r}", param="think"
        )
    return cast("Effort", think), ""


def _format(raw: Raw) -> ReplyFormat | None:
    text = bytes(raw).strip()
    if text in (b"null", b'""'):
        return None
    if text == b'"json"':
        return ReplyFormat(kind="json_object")
    if not text.startswith(b"{"):
        raise InvalidRequestError('format: "json" or a JSON schema', param="format")
    return ReplyFormat(kind="json_schema", schema=_tools.kept(raw))


def _options(options: dict[str, Raw]) -> tuple[Sampling, list[str]]:
    """The sampling, and the options that are only hints here."""
    found = _checked(options)
    given = [name for name, raw in options.items() if _tools.given(raw)]
    stop = (found.stop,) if isinstance(found.stop, str) else tuple(found.stop or ())
    sampling = Sampling(
        temperature=found.temperature,
        top_p=found.top_p,
        top_k=found.top_k,
        min_p=found.min_p,
        # Below zero is "as many as it likes" (-1) or "as there is room for" (-2); Ollama's runner
        # takes 0 for no limit too.
        max_tokens=max(0, found.num_predict or 0) or None,
        stop=tuple(text for text in stop if text),
        seed=found.seed,
        presence_penalty=found.presence_penalty,
        frequency_penalty=found.frequency_penalty,
        repeat_penalty=found.repeat_penalty,
        repeat_last_n=found.repeat_last_n,
    )
    return sampling, [f"options.{name}" for name in given if name in shapes.HINTED_OPTIONS]


def _checked(options: dict[str, Raw]) -> shapes.Options:
    """The options that are honoured. `null` is "not given"; those that can't be are refused."""
    given = {name: raw for name, raw in options.items() if _tools.given(raw)}
    for name, idle in shapes.REFUSED_OPTIONS.items():
        value = json.decode(bytes(given.get(name, b"0")), object, InvalidRequestError)
        if value not in idle:
            raise _unsupported(f"options.{name}", "no engine here samples that way")
    known = {name: raw for name, raw in given.items() if name in shapes.Options.__struct_fields__}
    plain = {name: _plain(raw) for name, raw in known.items()}
    return json.convert(plain, shapes.Options, InvalidRequestError, "options")


def _plain(raw: Raw) -> object:
    """A value; `20.0` is 20, as Ollama has it: JSON does not tell them apart."""
    value = json.decode(bytes(raw), object, InvalidRequestError)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _messages(said: Sequence[shapes.Said]) -> tuple[Message, ...]:
    found: list[Message] = []
    waiting: list[ToolCall] = []
    for n, one in enumerate(said):
        at = f"messages[{n}]"
        role = one.role.lower()
        if role not in _ROLES:
            raise InvalidRequestError(
                f"{at}.role: one of {', '.join(_ROLES)}, not {one.role[:40]!r}", param=f"{at}.role"
            )
        calls = tuple(_call(call, n, m, at) for m, call in enumerate(one.tool_calls or ()))
        waiting += calls
        text = (TextPart(one.content),) if one.content else ()
        answered = _answered(one, waiting, n) if role == "tool" else None
        found.append(
            Message(
                role=cast("Role", role),
                parts=(*_images(one.images or (), f"{at}.images"), *text),
                tool_calls=calls,
                tool_call_id=answered,
                name=one.tool_name if role == "tool" else None,
                reasoning=one.thinking or None,
            )
        )
    return tuple(found)


def _call(call: shapes.Called, n: int, m: int, at: str) -> ToolCall:
    arguments = bytes(call.function.arguments).strip()
    if arguments.startswith(b'"'):
        arguments = json.decode(arguments, str, InvalidRequestError).strip().encode() or b"{}"
    if arguments == b"null":
        arguments = b"{}"
    if not (arguments.startswith(b"{") and json.is_json(arguments)):
        path = f"{at}.tool_calls[{m}].function.arguments"
        raise InvalidRequestError(f"{path}: an object", param=path)
    return ToolCall(
        id=call.id or f"call_{n}_{m}", name=call.function.name, arguments=arguments.decode()
    )


def _answered(said: shapes.Said, waiting: list[ToolCall], n: int) -> str:
    """Which call this is the result of: by its id, else by its name, else in their order.

    Ollama's own clients name at most the tool.
    """
    for known in (
        lambda call: call.id == said.tool_call_id,
        lambda call: call.name == said.tool_name,
        lambda _: not said.tool_call_id,
    ):
        for call in waiting:
            if known(call):
                waiting.remove(call)
                return call.id
    return said.tool_call_id or f"call_{n}"


def _images(images: Sequence[str], at: str) -> tuple[ImagePart, ...]:
    found = []
    for n, said in enumerate(images):
        data = "".join(said.split())
        kind = next((kind for head, kind in _KINDS.items() if data.startswith(head)), None)
        if kind is None or not _is_base64(data):
            raise InvalidRequestError(
                f"{at}[{n}]: not the base64 of a PNG, JPEG, WebP or GIF", param=f"{at}[{n}]"
            )
        found.append(ImagePart(url=f"data:image/{kind};base64,{data}"))
    return tuple(found)


def _is_base64(data: str) -> bool:
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        return False
    return len(data) % 4 == 0


def _unsupported(param: str, why: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(f"{param}: not supported; {why}", param=param)
