"""A lollms request's bytes to a `Request`. Whatever is wrong is an error that names the field."""

from typing import Final

from msgspec.structs import replace

from penstock.core.errors import InvalidRequestError, ModalityError
from penstock.core.messages import say
from penstock.core.request import Modality, Request, Sampling
from penstock.dialects import _tools
from penstock.dialects._thinking import Wish, wish
from penstock.dialects.lollms import shapes
from penstock.dialects.lollms.items import Items, conversation, items
from penstock.dialects.lollms.painting import KNOWN as PICTURES
from penstock.dialects.lollms.painting import painting
from penstock.wire import json

MODALITIES: Final[dict[str, Modality]] = {
    "ttt": "text",
    "tti": "image",
    "i2i": "image",
    "ttv": "video",
    "ttm": "audio",
    "tts": "audio",
    "audio2audio": "audio",
}
"""`generation_type` → what is to come out. `stt` is not here: it takes sound in."""

_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1", "1.0"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0", "0.0"})
KNOWN: Final = frozenset(shapes.Parameters.__struct_fields__)
"""The entries of `parameters` that are understood; others are named in `metadata.ignored`."""


def parse(data: bytes, accept: str) -> Request:
    """The request of a body; `accept` is the header of that name.

    Raises `InvalidRequestError`, and `ModalityError` for `stt`.
    """
    body = json.decode(data, shapes.Body, InvalidRequestError)
    if body.generation_type not in MODALITIES:
        raise ModalityError(
            f"generation_type: nothing here makes {body.generation_type!r}", param="generation_type"
        )
    said = Request(
        model="" if body.model_name in (None, "default") else body.model_name,
        modality=MODALITIES[body.generation_type],
        binding=body.binding_name or None,
        personality=body.personality or None,
        freeform=True,
        stream=_truth(body.stream),
        legacy=body.input_data is None and not body.text_prompt,
    )
    found = items(body)
    if said.modality == "image":
        return _for_pictures(said, data, body, found)
    return _for_text(said, data, body, found, accept)


def _for_text(said: Request, data: bytes, body: shapes.Body, found: Items, accept: str) -> Request:
    asked = body.parameters or shapes.Parameters()
    tools = _tools.specs(asked.tools or (), "parameters.tools")
    system = _system(body, asked, found)
    messages = [say("system", system)] if system else []
    thinking = wish(asked, (*messages, *conversation(found.counted)))
    plain = said.legacy and said.modality == "text" and not tools and "json" not in accept.lower()
    return replace(
        said,
        messages=thinking.messages,
        sampling=_sampling(asked),
        tools=tools,
        tool_choice=_tools.choice(asked.tool_choice, tools, "parameters.tool_choice"),
        effort=thinking.effort,
        effort_hint=_hint(thinking),
        own_system=asked.system_message is not None or bool(found.texts("system_prompt")),
        functions=tuple(body.functions or ()),
        plain=plain,
        ignored=(*found.ignored, *_unheard(said, body), *_ignored(data, KNOWN)),
    )


def _for_pictures(said: Request, data: bytes, body: shapes.Body, found: Items) -> Request:
    picture = painting(data, body, found, stream=said.stream)
    seed = (body.parameters or shapes.Parameters()).seed
    ignored = (*found.ignored, *picture.ignored, *_unheard(said, body), *_ignored(data, PICTURES))
    return replace(
        said,
        messages=picture.messages,
        sampling=Sampling(seed=None if seed is None or seed < 0 else seed),
        image=picture.image,
        ignored=(*ignored, *(("functions",) if body.functions else ())),
    )


def _truth(value: bool | float | str) -> bool:
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise InvalidRequestError("stream: must be true or false", param="stream")
    return word in _TRUE


def _ignored(data: bytes, known: frozenset[str]) -> list[str]:
    named = json.decode(data, shapes.Named, InvalidRequestError).parameters or {}
    return [
        f"parameters.{name}"
        for name, raw in named.items()
        if name not in known and _tools.given(raw)
    ]


def _unheard(said: Request, body: shapes.Body) -> list[str]:
    """The first version's fields where they don't count: beside today's, or with a picture."""
    found = ["prompt"] if body.prompt and not said.legacy else []
    if _tools.given(body.extra_data) and (body.input_data is not None or said.modality == "image"):
        found.append("extra_data")
    return found


def _hint(said: Wish) -> str:
    """Where thinking was asked for: a field of `parameters`, or a switch in the text itself."""
    if not said.spelled or said.spelled.startswith("/"):
        return said.spelled
    return f"parameters.{said.spelled}"


def _system(body: shapes.Body, asked: shapes.Parameters, found: Items) -> str:
    """Context first, then the client's own system prompt; blocks are joined by a blank line.

    `extra_data` is the first version's: its JSON stands before everything else.
    """
    extra = bytes(body.extra_data).strip().decode()
    blocks = [
        "" if extra == "null" or body.input_data is not None else extra,
        *found.texts("system_context"),
        *found.texts("system_prompt"),
        asked.system_message or "",
    ]
    return "\n\n".join(block for block in blocks if block)


def _sampling(asked: shapes.Parameters) -> Sampling:
    """A negative seed is the original's word for a random one."""
    stop = asked.stop_sequences if asked.stop is None else asked.stop
    seed = asked.seed
    return Sampling(
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=None if asked.top_k is None else max(asked.top_k, 0),
        min_p=asked.min_p,
        max_tokens=asked.max_tokens,
        stop=tuple(text for text in ((stop,) if isinstance(stop, str) else stop or ()) if text),
        seed=None if seed is None or seed < 0 else seed,
        presence_penalty=asked.presence_penalty or None,
        frequency_penalty=asked.frequency_penalty or None,
        repeat_penalty=asked.repeat_penalty,
        repeat_last_n=asked.repeat_last_n,
    )
