"""Whether a model is to think first, in all the spellings that clients use for it.

`enable_thinking` at the top level (the portal's llama.cpp client, vLLM's older servers), in
`chat_template_kwargs` (vLLM, llama.cpp; DeepSeek's templates call it `thinking`), either of them
inside a literal `extra_body` (a client that doesn't merge it as OpenAI's SDK does), and Qwen's
switches `/think` and `/no_think` at the end of what the user said.

Clients send these without knowing what answers, so they are hints: where an engine can't be told
whether to think, `gateway.admission` drops them and names them, instead of refusing the request.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from penstock.core.messages import Message, TextPart
from penstock.core.request import Effort

_SWITCHES: Final = {"/no_think": False, "/think": True}
_SPELLED: Final = tuple(_SWITCHES)
_EFFORTS: Final[dict[bool, Effort]] = {False: "none", True: "medium"}


class TemplateArguments(msgspec.Struct, frozen=True):
    """`chat_template_kwargs`; what else a template may take is ignored."""

    enable_thinking: bool | None = None
    thinking: bool | None = None


class ExtraBody(msgspec.Struct, frozen=True):
    """A literal `extra_body`."""

    enable_thinking: bool | None = None
    chat_template_kwargs: TemplateArguments | None = None


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """The three fields of a body; `None` is "not given"."""

    enable_thinking: bool | None = None
    chat_template_kwargs: TemplateArguments | None = None
    extra_body: ExtraBody | None = None


class Said(Protocol):
    """A body with these fields."""

    @property
    def enable_thinking(self) -> bool | None: ...
    @property
    def chat_template_kwargs(self) -> TemplateArguments | None: ...
    @property
    def extra_body(self) -> ExtraBody | None: ...


class Wish(NamedTuple):
    """`effort`: `None` when nothing was said. `spelled`: for `Request.effort_hint`, where it was
    said first. `messages`: without the switch.
    """

    effort: Effort | None
    spelled: str
    messages: tuple[Message, ...]


def wish(fields: Said, messages: Sequence[Message]) -> Wish:
    """What a request says about thinking. Where two places differ, "no" wins: with Qwen's own
    templates `enable_thinking=False` overrules `/think`, and `/no_think` overrules `True`.
    """
    said = list(_in_fields(fields)) if _is_said(fields) else []
    kept, switch = _without_switch(tuple(messages))
    if switch:
        said.append((switch, _SWITCHES[switch]))
    if not said:
        return Wish(None, "", kept)
    think = all(value for _, value in said)
    spelled = next(name for name, value in said if value is think)
    return Wish(_EFFORTS[think], spelled, kept)


def _is_said(fields: Said) -> bool:
    found = (fields.enable_thinking, fields.chat_template_kwargs, fields.extra_body)
    return found != (None, None, None)


def _in_fields(fields: Said) -> Iterator[tuple[str, bool]]:
    extra = fields.extra_body or ExtraBody()
    for at, flag, template in (
        ("", fields.enable_thinking, fields.chat_template_kwargs),
        ("extra_body.", extra.enable_thinking, extra.chat_template_kwargs),
    ):
        template = template or TemplateArguments()
        if flag is not None:
            yield f"{at}enable_thinking", flag
        if template.enable_thinking is not None:
            yield f"{at}chat_template_kwargs.enable_thinking", template.enable_thinking
        if template.thinking is not None:
            yield f"{at}chat_template_kwargs.thinking", template.thinking


def _without_switch(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], str]:
    """The messages without the switch that ends the last user message's text, and that switch."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role == "user":
            found, switch = _cut(messages[at])
            if not switch:
                break
            return (*messages[:at], found, *messages[at + 1 :]), switch
    return messages, ""


def _cut(message: Message) -> tuple[Message, str]:
    parts = message.parts
    for at in range(len(parts) - 1, -1, -1):
        part = parts[at]
        if isinstance(part, TextPart):
            text, switch = _split(part.text)
            if not switch:
                break
            cut = (*parts[:at], TextPart(text), *parts[at + 1 :])
            return msgspec.structs.replace(message, parts=cut), switch
    return message, ""


def _split(text: str) -> tuple[str, str]:
    """A text without the switch at its end, and that switch."""
    end = text.rstrip()
    if end.endswith(_SPELLED):
        for switch in _SWITCHES:
            said = end.removesuffix(switch)
            # A path such as `/usr/think` is no switch, and a switch alone is all that was said.
            if said != end and said.strip() and said[-1].isspace():
                return said.rstrip(), switch
    return text, ""
