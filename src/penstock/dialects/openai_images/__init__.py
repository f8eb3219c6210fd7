"""OpenAI's images API: `/v1/images/generations` and `/v1/images/edits`."""

from typing import ClassVar

from penstock.core.description import Description
from penstock.core.errors import GatewayError, InternalError
from penstock.core.folding import Reply
from penstock.core.ports import Answer, Call, Opening, Route
from penstock.core.queries import Found
from penstock.core.request import Request
from penstock.dialects._openai_errors import error_answer
from penstock.dialects.openai_images import parse
from penstock.dialects.openai_images.description import DESCRIPTION
from penstock.dialects.openai_images.encode import Encoder
from penstock.dialects.openai_images.whole import whole

__all__ = ["Dialect", "Encoder"]


class Dialect:
    """OpenAI's images, as its own clients ask for them, streamed or not."""

    name: ClassVar[str] = "openai_images"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1/images",)
    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/v1/images/generations", "generate"),
        Route("POST", "/v1/images/edits", "generate", media_type="multipart/form-data"),
    )
    description: ClassVar[Description] = DESCRIPTION
    credentials: ClassVar[tuple[str, ...]] = ("authorization", "api-key", "x-api-key")

    def parse(self, call: Call) -> Request:
        """A request for pictures. Raises `InvalidRequestError`."""
        if call.route.path.endswith("/edits"):
            return parse.edit(call.body, call.headers.get("content-type", ""))
        return parse.generation(call.body)

    def opening(self, request: Request) -> Opening:
        """Clients take a bare end of stream for success: a failed one is aborted."""
        return Opening("sse", abort_on_failure=True)

    def encoder(self, request: Request) -> Encoder:
        """A fresh encoder."""
        return Encoder(request)

    def whole(self, request: Request, reply: Reply) -> Answer:
        """All pictures of a reply; an error where it has none."""
        return whole(request, reply)

    def answer(self, found: Found) -> Answer:
        """No question is asked in this dialect."""
        return self.error(InternalError(f"this dialect has no {found.query.operation}"))

    def error(self, error: GatewayError) -> Answer:
        """OpenAI's error object, with the status of the error's class."""
        return error_answer(error)
