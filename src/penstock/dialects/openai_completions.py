"""OpenAI's text completions: `/v1/completions`, as it was before there was chat.

LLMaaS answers the same path in chat's shape when the body has `messages` in place of a `prompt`.
"""

from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta, Raw

from penstock.core import ports
from penstock.core.description import Description
from penstock.core.errors import (
    GatewayError,
    InternalError,
    InvalidRequestError,
    UnsupportedParameterError,
)
from penstock.core.folding import Reply
from penstock.core.messages import say
from penstock.core.ports import Answer, Call, Opening, Route
from penstock.core.queries import Found
from penstock.core.request import Request, Sampling
from penstock.dialects import _openai_description, _openai_parse, _openai_shapes, _tools
from penstock.dialects import _openai_encode as chat
from penstock.dialects._openai_errors import error_answer
from penstock.dialects._openai_fields import COMPLETIONS, ignored, model_name, refuse
from penstock.dialects._openai_text import ECHO, Encoder, text_completion
from penstock.wire import json

__all__ = ["Body", "Dialect", "Encoder"]

CHAT: Final = "chat"
"""`Request.form` of one that came with `messages`."""

MAX_TOKENS: Final = 16
"""What OpenAI's reference says for a request that sets none."""


class Body(_openai_shapes.Generated, frozen=True, kw_only=True):
    """The body of `POST /v1/completions`."""

    prompt: _openai_shapes.Texts | None = None
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    best_of: Raw = msgspec.field(default_factory=_tools.null)


class Told(msgspec.Struct, frozen=True):
    """Which of the two kinds of body it is."""

    prompt: Raw = msgspec.field(default_factory=_tools.null)
    messages: Raw = msgspec.field(default_factory=_tools.null)


class Dialect:
    """OpenAI's text completions, and LLMaaS' chat at the same place."""

    name: ClassVar[str] = "openai_completions"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1/completions",)
    routes: ClassVar[tuple[Route, ...]] = (Route("POST", "/v1/completions", "generate"),)
    description: ClassVar[Description] = _openai_description.completions(Body)
    credentials: ClassVar[tuple[str, ...]] = ("authorization", "api-key", "x-api-key")

    def parse(self, call: Call) -> Request:
        """A generation. Raises `InvalidRequestError`."""
        told = json.decode(call.body, Told, InvalidRequestError)
        if not _tools.given(told.messages):
            return _text(call.body)
        if _tools.given(told.prompt):
            raise InvalidRequestError("messages: there is a prompt already", param="messages")
        return msgspec.structs.replace(_openai_parse.parse(call.body), form=CHAT)

    def opening(self, request: Request) -> Opening:
        """Clients take a bare end of stream for success: a failed one is aborted."""
        return Opening("sse", abort_on_failure=True)

    def encoder(self, request: Request) -> ports.Encoder:
        """A fresh encoder, of the kind that was asked for."""
        return chat.Encoder(request) if request.form == CHAT else Encoder(request)

    def whole(self, request: Request, reply: Reply) -> Answer:
        """A `text_completion`, or a `chat.completion`."""
        if reply.start is None:
            return self.error(InternalError("the stream has no beginning"))
        if request.form == CHAT:
            return chat.completion(request, reply.start, reply)
        return Answer(200, text_completion(request, reply.start, reply))

    def answer(self, found: Found) -> Answer:
        """No question is asked in this dialect."""
        return self.error(InternalError(f"this dialect has no {found.query.operation}"))

    def error(self, error: GatewayError) -> Answer:
        """OpenAI's error object, with the status of the error's class."""
        if isinstance(error, UnsupportedParameterError) and error.param == "raw":
            # What a binding without raw texts can't honour is called `prompt` here.
            error = UnsupportedParameterError(f"prompt: {error.message} texts", param="prompt")
        return error_answer(error)


def _text(data: bytes) -> Request:
    body = json.decode(data, Body, InvalidRequestError)
    refuse(body, COMPLETIONS)
    if body.echo and body.logprobs is not None:
        raise UnsupportedParameterError(
            "echo together with logprobs is not supported: no engine scores the prompt",
            param="echo",
        )
    return Request(
        model=model_name(body.model),
        messages=(say("user", _prompt(body.prompt)),),
        sampling=_sampling(body),
        choices=body.n or 1,
        stream=bool(body.stream),
        include_usage=_openai_parse.wants_usage(body),
        form=ECHO if body.echo else "",
        raw=True,
        suffix=body.suffix or None,
        ignored=(*ignored(body, COMPLETIONS), *_openai_parse.stream_hints(body)),
    )


def _sampling(body: Body) -> Sampling:
    """`logprobs: 0` asks for the chosen tokens' own; `None` for none."""
    return msgspec.structs.replace(
        _openai_parse.sampling(body),
        max_tokens=MAX_TOKENS if body.max_tokens is None else body.max_tokens,
        logprobs=None if body.logprobs is None else True,
        top_logprobs=body.logprobs or None,
    )


def _prompt(asked: _openai_shapes.Texts | None) -> str:
    """The one text of a prompt."""
    if asked is None:
        raise InvalidRequestError("prompt is missing", param="prompt")
    if isinstance(asked, str):
        return asked
    texts = _openai_parse.texts(asked, "prompt")
    if len(texts) > 1:
        raise UnsupportedParameterError(
            f"prompt: {len(texts)} prompts at once are not supported, send one at a time",
            param="prompt",
        )
    return texts[0]
