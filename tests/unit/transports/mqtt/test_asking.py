"""Payloads to requests."""

import pytest

from penstock.core.errors import InvalidRequestError
from penstock.core.request import Request
from penstock.dialects.portal_chat import Dialect
from penstock.transports.mqtt import asking, topics
from penstock.transports.mqtt.client import Incoming
from penstock.transports.mqtt.shapes import Note
from penstock.wire import json


def incoming(payload: object, **more: object) -> Incoming:
    data = payload if isinstance(payload, bytes) else json.encode(payload)
    return Incoming("p/user_input", data, lambda: None, **more)  # type: ignore[arg-type]


def asked(payload: object, kind: topics.Kind = "user_input", **more: object) -> Request:
    came = incoming(payload, **more)
    found = asking.question(kind, "p", "", came)
    asking.check(found, came, 1000)
    return asking.request(found, Dialect(), "Of the project.", "its-model")


def said(request: Request) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in request.messages]


@pytest.mark.parametrize("payload", [b"Hello", b"42", b'["x"]', b'"quoted"', b"{broken"])
def test_what_is_no_object_is_the_message(payload: bytes) -> None:
    assert said(asked(payload))[-1] == ("user", payload.decode())


def test_every_key() -> None:
    fields = {
        "message": "Hi",
        "sessionId": 7,
        "temperature": 0,
        "topP": 0.5,
        "maxTokens": 9,
        "systemPrompt": "Mine.",
        "model": "m",
        "images": ["x"],
        "clientId": "c",
        "cache_prompt": True,
    }
    found = asked(fields)
    assert said(found) == [("system", "Mine."), ("user", "Hi")]
    assert found.session == "p/7"
    assert found.sampling.temperature == 0  # The original makes its default of it.
    assert (found.sampling.top_p, found.sampling.max_tokens) == (0.5, 9)
    assert found.model == "m"
    assert found.ignored == ("images",)


@pytest.mark.parametrize(
    ("fields", "system"),
    [
        ({}, "Of the project."),
        ({"systemPrompt": None, "temperature": None}, "Of the project."),
        ({"prompt_template": {"content": "Theirs."}}, "Theirs."),
        ({"prompt_template": "Theirs."}, "Theirs."),
        ({"prompt_template": 7}, "Of the project."),
    ],
)
def test_the_system_prompt(fields: dict[str, object], system: str) -> None:
    assert said(asked({"message": "x", **fields}))[0] == ("system", system)
    assert asked({"message": "x", **fields}).model == "its-model"


def test_a_session_without_a_name_is_a_new_one() -> None:
    first, second = asked(b"x").session, asked(b"x").session
    assert first != second
    assert first is not None
    assert first.startswith("p/default-")


def test_a_repetition_is_known_by_its_content_or_its_id() -> None:
    def key(payload: object) -> str:
        return asking.question("user_input", "p", "", incoming(payload)).note.key

    assert key(b"x") == key(b"x") != key(b"y")
    assert key({"message": "x", "sessionId": "s"}) != key({"message": "x", "sessionId": "t"})
    # With MQTT 5, who asks and where the answer goes may stand beside the same words.
    beside: list[dict[str, object]] = [
        {},
        {"facts": {"sessionId": "s"}},
        {"facts": {"sessionId": "t"}},
        {"reply_to": "p/assistant_response/mine"},
        {"correlation": b"1"},
    ]
    keys = [
        asking.question("user_input", "p", "", incoming(b"x", **one)).note.key for one in beside
    ]
    assert len(set(keys)) == len(keys)
    named = {"requestId": "r", "sessionId": "s"}
    assert key({"message": "x", **named}) == key({"message": "y", **named})
    # Two who count their requests from one mean different ones.
    assert key({"requestId": "1", "sessionId": "s"}) != key({"requestId": "1", "sessionId": "t"})
    mine, theirs = (f"p/assistant_response/{name}" for name in "ab")
    assert key({"requestId": "1", "replyTopic": mine}) == key(
        {"requestId": "1", "replyTopic": mine}
    )
    assert key({"requestId": "1", "replyTopic": mine}) != key(
        {"requestId": "1", "replyTopic": theirs}
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "message"),
        ({"message": " \n"}, "message"),
        ({"message": "x", "topP": 2}, "topP"),
        ({"message": "x", "temperature": "hot"}, "temperature"),
        ({"message": "x", "sessionId": "a/b"}, "sessionId"),
        ({"message": "x", "sessionId": "+"}, "sessionId"),
        ({"message": "x", "sessionId": "s" * 300}, "sessionId"),
        ({"message": "x", "requestId": "a/b"}, "requestId"),
        ({"message": "x", "requestId": 7}, "requestId"),
        ({"message": "x", "stream": True}, "requestId"),
        ({"message": "x", "tools": [{"type": "function"}]}, "tools[0].function"),
        ({"message": "x", "toolChoice": "required"}, "toolChoice"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_sent(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        asked(fields)
    assert raised.value.param == param
    assert raised.value.message.startswith(param) or "message" in param


def test_too_long() -> None:
    with pytest.raises(InvalidRequestError) as raised:
        asked(b"x" * 1001)
    assert raised.value.code == "request_too_large"


def test_mqtt_5_may_say_it_beside_the_payload() -> None:
    came = incoming(
        b"Hello",
        facts={"sessionId": "s", "requestId": "r", "format": "json"},
        reply_to="p/assistant_response/s/mine",
        correlation=b"\1",
    )
    note = asking.question("user_input", "p", "", came).note
    assert (note.session, note.request, note.given) == ("s", "r", True)
    assert (note.form, note.correlation) == ("json", "01")
    assert note.reply == "p/assistant_response/s/mine"


def test_a_note_survives_in_the_head_of_its_stream() -> None:
    found = asked({"message": "x", "sessionId": "s", "requestId": "r", "stream": True})
    note = json.decode(found.form, Note, InvalidRequestError)
    assert (note.project, note.session, note.request, note.stream) == ("p", "s", "r", True)
    assert found.stream


def test_the_state_of_a_game() -> None:
    state = {"sessionId": "g", "player_pos": [1, 2], "oxygenPellets": [], "lamps": 3}
    found = asked({**state, "temperature": 0.2, "prompt_template": {"content": "Guide."}}, "state")
    assert found.sampling.temperature == 0.2
    assert said(found)[0] == ("system", "Guide.")
    told = json.decode(said(found)[1][1], dict[str, object], InvalidRequestError)
    assert told == {"player_pos": [1, 2], "oxygen": [], "lamps": 3}
