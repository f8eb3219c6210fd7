"""OpenAI's chat API: `/v1/chat/completions` and `/v1/models`."""

from typing import ClassVar

from penstock.core.description import Description
from penstock.core.errors import GatewayError, InternalError
from penstock.core.folding import Reply
from penstock.core.ports import Answer, Call, Opening, Route
from penstock.core.queries import Found, Query
from penstock.core.request import Request
from penstock.dialects import _openai_description
from penstock.dialects._openai_cards import listing, one
from penstock.dialects._openai_encode import Encoder, completion
from penstock.dialects._openai_errors import error_answer
from penstock.dialects._openai_parse import parse

__all__ = ["Dialect", "Encoder"]


class Dialect:
    """OpenAI's chat API, as its own clients and those of compatible servers speak it."""

    name: ClassVar[str] = "openai_chat"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1", "/chat/completions")
    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/v1/chat/completions", "generate"),
        Route("POST", "/chat/completions", "generate"),
        Route("GET", "/v1/models", "models"),
        Route("GET", "/v1/models/{id:path}", "model"),
    )
    description: ClassVar[Description] = _openai_description.CHAT
    credentials: ClassVar[tuple[str, ...]] = ("authorization", "api-key", "x-api-key")

    def parse(self, call: Call) -> Request | Query:
        """A generation, or a question about models. Raises `InvalidRequestError`."""
        if call.route.operation == "generate":
            return parse(call.body)
        return Query(call.route.operation, call.path.get("id", ""))

    def opening(self, request: Request) -> Opening:
        """Clients take a bare end of stream for success: a failed one is aborted."""
        return Opening("sse", abort_on_failure=True)

    def encoder(self, request: Request) -> Encoder:
        """A fresh encoder."""
        return Encoder(request)

    def whole(self, request: Request, reply: Reply) -> Answer:
        """A `chat.completion`."""
        if reply.start is None:
            return self.error(InternalError("the stream has no beginning"))
        return completion(request, reply.start, reply)

    def answer(self, found: Found) -> Answer:
        """All models, or one by its id."""
        if found.query.operation == "models":
            return Answer(200, listing(found))
        try:
            return Answer(200, one(found))
        except GatewayError as error:
            return self.error(error)

    def error(self, error: GatewayError) -> Answer:
        """OpenAI's error object, with the status of the error's class."""
        return error_answer(error)
