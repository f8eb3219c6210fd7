"""The prompt portal's session chat: `/api/llm/*`."""

from typing import ClassVar, Final

from penstock.core.description import Description
from penstock.core.errors import GatewayError
from penstock.core.folding import Reply
from penstock.core.ports import Answer, Call, Opening, Route
from penstock.core.queries import Found, Query
from penstock.core.request import Request
from penstock.dialects.portal_chat import errors, listings, parse
from penstock.dialects.portal_chat.description import DESCRIPTION
from penstock.dialects.portal_chat.encode import Encoder, whole

__all__ = ["Dialect", "Encoder"]

MOST_BYTES: Final = 1200
"""A write stays within one TCP segment: the portal's reader loses an event that two reads hold."""


class Dialect:
    """Stateless and session chat, as the portal's own page and its clients speak it."""

    name: ClassVar[str] = "portal_chat"
    prefixes: ClassVar[tuple[str, ...]] = ("/api/llm",)
    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/api/llm/chat", "generate"),
        Route("POST", "/api/llm/chat/stream", "generate"),
        Route("POST", "/api/llm/chat/session", "generate"),
        Route("POST", "/api/llm/chat/session/stream", "generate"),
        Route("POST", "/api/llm/chat/session/history", "session"),
        Route("GET", "/api/llm/chat/session/{id:path}/history", "session"),
        Route("DELETE", "/api/llm/chat/session/{id:path}", "drop_session"),
        Route("GET", "/api/llm/chat/sessions", "sessions"),
        Route("GET", "/api/llm/health", "health", open=True),
    )
    description: ClassVar[Description] = DESCRIPTION
    credentials: ClassVar[tuple[str, ...]] = ("authorization", "x-api-key")

    def parse(self, call: Call) -> Request | Query:
        """A generation, or a question. Raises `InvalidRequestError`."""
        return parse.parse(call)

    def opening(self, request: Request) -> Opening:
        """A failed stream ends with its error event and a clean close."""
        return Opening("sse", abort_on_failure=False, most_bytes=MOST_BYTES)

    def encoder(self, request: Request) -> Encoder:
        """A fresh encoder."""
        return Encoder(request)

    def whole(self, request: Request, reply: Reply) -> Answer:
        """`{"response", "session_id"}`."""
        return Answer(200, whole(request, reply))

    def answer(self, found: Found) -> Answer:
        """Histories, lists, the health. Raises nothing: an unknown session is a 404."""
        try:
            return Answer(200, listings.answer(found))
        except GatewayError as error:
            return self.error(error)

    def error(self, error: GatewayError) -> Answer:
        """`{"detail": …}`."""
        return errors.error_answer(error)
