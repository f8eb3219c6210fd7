"""Until the real one is there: a small dialect in OpenAI's shape."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from penstock.core.errors import GatewayError, InvalidRequestError
from penstock.core.events import Done, Entry, Failed, TextDelta
from penstock.core.folding import Reply
from penstock.core.messages import say
from penstock.core.ports import Answer, Call, Encoder, Frame, Opening, Route
from penstock.core.queries import Found, Query
from penstock.core.request import Request
from penstock.wire import json


class _Body(msgspec.Struct):
    messages: list[dict[str, object]]
    model: str = ""
    stream: bool = False


class _Encoder:
    def feed(self, entry: Entry) -> Iterable[Frame]:
        match entry.event:
            case TextDelta(text=text):
                delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
                return [Frame(json.encode(delta))]
            case Done():
                return [
                    Frame(json.encode({"choices": [{"finish_reason": "stop"}]})),
                    Frame(b"[DONE]"),
                ]
            case Failed(message=message):
                return [Frame(json.encode({"error": {"message": message}}))]
            case _:
                return []


class Dialect:
    name: ClassVar[str] = "openai_chat"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1", "/chat/completions")
    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/v1/chat/completions", "generate"),
        Route("POST", "/chat/completions", "generate"),
        Route("GET", "/v1/models", "models"),
        Route("GET", "/v1/models/{id:path}", "model"),
    )
    credentials: ClassVar[tuple[str, ...]] = ("authorization", "api-key", "x-api-key")

    def parse(self, call: Call) -> Request | Query:
        if call.route.operation != "generate":
            return Query(call.route.operation, call.path.get("id", ""))
        body = json.decode(call.body, _Body, InvalidRequestError)
        if not body.messages:
            raise InvalidRequestError("messages: must not be empty", param="messages")
        return Request(model=body.model, messages=(say("user", "x"),), stream=body.stream)

    def opening(self, request: Request) -> Opening:
        return Opening("sse", abort_on_failure=True)

    def encoder(self, request: Request) -> Encoder:
        return _Encoder()

    def whole(self, request: Request, reply: Reply) -> Answer:
        return Answer(200, json.encode({"choices": [{"message": {"content": reply.first.text}}]}))

    def answer(self, found: Found) -> Answer:
        return Answer(200, json.encode({"data": [{"id": card.name} for card in found.models]}))

    def error(self, error: GatewayError) -> Answer:
        body = {
            "error": {
                "message": error.message,
                "type": "t",
                "param": error.param,
                "code": error.code,
            }
        }
        return Answer(error.status, json.encode(body))
