"""lollms_server's API: `/api/v1/*` and the four addresses that its web page calls at the root."""

from typing import ClassVar

from penstock.core.description import Description
from penstock.core.errors import GatewayError
from penstock.core.folding import Reply
from penstock.core.ports import Answer, Call, Opening, Route
from penstock.core.queries import Found, Query
from penstock.core.request import Request
from penstock.dialects.lollms import errors, listings, parse, pictures, questions
from penstock.dialects.lollms.description import DESCRIPTION
from penstock.dialects.lollms.encode import Encoder, envelope

__all__ = ["Dialect", "Encoder"]


class Dialect:
    """lollms, as its own clients speak it: today's `input_data` and the first version's `prompt`.

    Follows the project's specification of lollms_server, bettered where the original is broken.
    """

    name: ClassVar[str] = "lollms"
    prefixes: ClassVar[tuple[str, ...]] = (
        "/api/v1",
        "/generate",
        "/list_bindings",
        "/list_personalities",
        "/list_available_models",
    )
    routes: ClassVar[tuple[Route, ...]] = (
        Route("GET", "/api/v1/health", "health", open=True),
        Route("GET", "/api/v1/list_bindings", "bindings"),
        Route("GET", "/api/v1/list_active_bindings", "bindings"),
        Route("GET", "/api/v1/list_personalities", "personalities"),
        Route("GET", "/api/v1/list_functions", "functions"),
        Route("GET", "/api/v1/list_models", "model_files"),
        Route("GET", "/api/v1/list_available_models/{binding}", "binding_models"),
        Route("GET", "/api/v1/get_default_bindings", "defaults"),
        Route("GET", "/api/v1/get_model_info/{binding}", "model_details"),
        Route("POST", "/api/v1/generate", "generate"),
        Route("POST", "/api/v1/tokenize", "tokenize"),
        Route("POST", "/api/v1/detokenize", "detokenize"),
        Route("POST", "/api/v1/count_tokens", "count_tokens"),
        Route("POST", "/generate", "generate"),
        Route("GET", "/list_bindings", "bindings"),
        Route("GET", "/list_personalities", "personalities"),
        Route("GET", "/list_available_models/{binding}", "binding_models"),
    )
    description: ClassVar[Description] = DESCRIPTION
    credentials: ClassVar[tuple[str, ...]] = ("x-api-key", "authorization")

    def parse(self, call: Call) -> Request | Query:
        """A generation, or a question. Raises `InvalidRequestError` or `ModalityError`."""
        if call.route.operation == "generate":
            return parse.parse(call.body, call.headers.get("accept", ""))
        return questions.question(call)

    def opening(self, request: Request) -> Opening:
        """A failed stream says so in its `error` and `final` frames, then closes cleanly."""
        return Opening("sse", abort_on_failure=False)

    def encoder(self, request: Request) -> Encoder:
        """A fresh encoder."""
        return Encoder(request)

    def whole(self, request: Request, reply: Reply) -> Answer:
        """The envelope; for the old `prompt` form the bare text."""
        if request.plain:
            text = reply.first.text.encode()
            return Answer(200, text, content_type="text/plain; charset=utf-8")
        return Answer(200, envelope(request, reply), pictures=pictures.shown_whole(request, reply))

    def answer(self, found: Found) -> Answer:
        """Listings."""
        return Answer(200, listings.answer(found))

    def error(self, error: GatewayError) -> Answer:
        """`{"detail": …}`."""
        return errors.error_answer(error)
