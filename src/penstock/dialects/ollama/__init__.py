"""Ollama's API: `/api/generate`, `/api/chat`, and everything that its clients ask besides."""

from typing import ClassVar

from penstock.core.description import Description
from penstock.core.errors import GatewayError
from penstock.core.folding import Reply
from penstock.core.ports import Answer, Call, Opening, Route
from penstock.core.queries import Found, Query
from penstock.core.request import Request
from penstock.dialects.ollama import encode, errors, listings, parse, questions
from penstock.dialects.ollama.description import DESCRIPTION
from penstock.dialects.ollama.encode import Encoder

__all__ = ["Dialect", "Encoder"]


class Dialect:
    """Ollama, as its released clients speak it."""

    name: ClassVar[str] = "ollama"
    prefixes: ClassVar[tuple[str, ...]] = ("/api",)
    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/api/generate", "generate"),
        Route("POST", "/api/chat", "generate"),
        Route("GET", "/api/tags", "models"),
        Route("POST", "/api/show", "model_details"),
        Route("GET", "/api/ps", "loaded_models"),
        Route("GET", "/api/version", "version", open=True),
        Route("POST", "/api/embed", "embed"),
        Route("POST", "/api/embeddings", "embed"),
        Route("POST", "/api/pull", "generate"),
        Route("POST", "/api/create", "generate"),
        Route("POST", "/api/push", "generate"),
        Route("DELETE", "/api/delete", "delete_model"),
        Route("POST", "/api/copy", "copy_model"),
        Route("HEAD", "/api/blobs/{digest}", "has_blob"),
        Route("POST", "/api/blobs/{digest}", "put_blob"),
    )
    description: ClassVar[Description] = DESCRIPTION
    credentials: ClassVar[tuple[str, ...]] = ("authorization", "x-api-key")

    def parse(self, call: Call) -> Request | Query:
        """A generation, a pull, or a question. Raises `InvalidRequestError`."""
        if call.route.path == "/api/generate":
            return parse.generate(call.body)
        if call.route.path == "/api/chat":
            return parse.chat(call.body)
        return questions.question(call)

    def opening(self, request: Request) -> Opening:
        """On `/api/generate` clients overlook an error line: a failed stream is aborted too."""
        return Opening("ndjson", abort_on_failure=request.form == parse.GENERATE)

    def encoder(self, request: Request) -> Encoder:
        """A fresh encoder."""
        return Encoder(request)

    def whole(self, request: Request, reply: Reply) -> Answer:
        """One object."""
        return Answer(200, encode.whole(request, reply))

    def answer(self, found: Found) -> Answer:
        """Listings, vectors, and what the store did."""
        operation = found.query.operation
        if operation == "has_blob":
            return Answer(200 if found.exists else 404, b"")
        return Answer(201 if operation == "put_blob" else 200, listings.answer(found))

    def error(self, error: GatewayError) -> Answer:
        """`{"error": "…"}`."""
        return errors.error_answer(error)
