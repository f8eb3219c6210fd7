"""lollms' own way of asking: `requests` + `sseclient-py`, and the exact shapes on the wire."""

import json
from collections.abc import Iterator

import pytest
import requests
import sseclient
from tests.integration.serving import Serving, serve

KEY = "user1_key_abc123"  # the key that lollms' example clients carry


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = f'[security]\nallowed_api_keys = ["{KEY}"]\n'
    with serve(tmp_path_factory.mktemp("server"), config) as serving:
        yield serving


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["X-API-Key"] = KEY
        yield session


def prompt(text: str, **more: object) -> dict[str, object]:
    """The body of lollms' `streaming_client.py`."""
    return {
        "input_data": [{"type": "text", "role": "user_prompt", "data": text}],
        "personality": None,
        "generation_type": "ttt",
        "parameters": {"max_tokens": 200, "temperature": 0.7},
        **more,
    }


def test_the_streaming_client_of_lollms(server: Serving, session: requests.Session):
    reply = session.post(
        server.url + "/api/v1/generate",
        json=prompt("Write a short story about a robot discovering music.", stream=True),
        headers={"Accept": "text/event-stream"},
        stream=True,
        timeout=30,
    )
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert len(reply.headers["penstock-stream"]) == 32
    frames = []
    for event in sseclient.SSEClient(reply).events():  # type: ignore[arg-type]
        assert event.event == "message"
        frames.append(json.loads(event.data))
    assert all(list(f) == ["type", "content", "thoughts", "metadata"] for f in frames)
    chunks = [f["content"] for f in frames if f["type"] == "chunk"]
    assert len(chunks) > 20
    final = frames[-1]
    assert [f["type"] for f in frames].count("final") == 1
    assert final["type"] == "final"
    assert set(final["metadata"]) == {"request_id"}
    (item,) = final["content"]
    assert list(item) == ["type", "data", "mime_type", "thoughts", "metadata"]
    assert item["data"] == "".join(chunks)
    assert item["metadata"]["usage"]["completion_tokens"] > 0


def test_on_the_wire_each_frame_is_one_data_line(server: Serving, session: requests.Session):
    reply = session.post(
        server.url + "/api/v1/generate", json=prompt("Hello!", stream=True), timeout=30
    )
    assert reply.content.isascii()
    blocks = reply.content.split(b"\n\n")
    assert blocks.pop() == b""
    assert all(block.startswith(b"data: {") and b"\n" not in block for block in blocks)
    assert b"[DONE]" not in reply.content


def test_the_envelope(server: Serving, session: requests.Session):
    reply = session.post(
        server.url + "/api/v1/generate",
        json=prompt("What can you do?", personality="lollms", stream=False),
        timeout=30,
    )
    body = reply.json()
    assert list(body) == ["personality", "request_id", "output", "execution_time"]
    assert body["personality"] == "lollms"
    assert len(body["request_id"]) == 16
    assert len(body["output"][0]["data"]) > 20
    assert isinstance(body["execution_time"], float)


def test_a_legacy_prompt_is_answered_as_plain_text(server: Serving, session: requests.Session):
    asked = {"prompt": "What is the capital of France?", "personality": None, "stream": False}
    reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30)
    assert reply.headers["content-type"].startswith("text/plain")
    assert "Paris" in reply.text
    at_root = session.post(server.url + "/generate", json={**asked, "stream": True}, timeout=30)
    assert at_root.headers["content-type"].startswith("text/event-stream")


def test_an_unknown_personality_is_404_but_in_a_legacy_request_a_note(
    server: Serving, session: requests.Session
):
    url = server.url + "/api/v1/generate"
    modern = session.post(url, json=prompt("Hi", personality="nobody"), timeout=30)
    assert modern.status_code == 404
    assert isinstance(modern.json()["detail"], str)
    legacy = session.post(
        url,
        json={"prompt": "Hello!", "personality": "nobody", "stream": False},
        headers={"Accept": "application/json"},
        timeout=30,
    )
    assert legacy.status_code == 200
    assert "personality" in legacy.headers["penstock-ignored"]


def test_listings(server: Serving, session: requests.Session):
    def get(path: str) -> dict[str, object]:
        reply = session.get(server.url + path, timeout=30)
        assert reply.status_code == 200, reply.text
        assert KEY not in reply.text
        assert str(server.folder) not in reply.text
        found: dict[str, object] = reply.json()
        return found

    health = requests.get(server.url + "/api/v1/health", timeout=30).json()
    assert health["status"] == "ok"
    assert health["api_key_required"] is True
    bindings = get("/api/v1/list_bindings")
    assert list(bindings) == ["binding_types", "binding_instances"]
    assert "embedded" in bindings["binding_instances"]  # type: ignore[operator]
    personalities = get("/list_personalities")["personalities"]
    assert {"lollms", "my_coolbot"} <= set(personalities)  # type: ignore[call-overload]
    models = get("/api/v1/list_available_models/embedded")
    assert models["models"][0]["name"]  # type: ignore[index]
    kinds = [
        "ttt",
        "tti",
        "ttv",
        "ttm",
        "tts",
        "stt",
        "audio2audio",
        "i2i",
        "gguf",
        "diffusers_models",
    ]
    assert list(get("/api/v1/list_models")["models"]) == kinds  # type: ignore[call-overload]
    defaults = get("/api/v1/get_default_bindings")["defaults"]
    assert defaults["default_max_output_tokens"] == 1024  # type: ignore[index]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 403), ({"X-API-Key": ""}, 403), ({"X-API-Key": "wrong"}, 401)],
)
def test_keys(server: Serving, headers: dict[str, str], status: int):
    reply = requests.get(server.url + "/api/v1/list_bindings", headers=headers, timeout=30)
    assert reply.status_code == status
    assert isinstance(reply.json()["detail"], str)


@pytest.mark.parametrize(
    ("asked", "status", "loc"),
    [
        ({"input_data": "text"}, 422, ["body", "input_data"]),
        ({}, 422, ["body", "input_data"]),
        (prompt("Hi", stream=None), 422, ["body", "stream"]),
        (prompt("Hi", parameters={"temperature": "hot"}), 422, ["body", "parameters"]),
    ],
)
def test_bad_input_names_the_field(
    server: Serving,
    session: requests.Session,
    asked: dict[str, object],
    status: int,
    loc: list[str],
):
    reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30)
    assert reply.status_code == status
    assert reply.json()["detail"][0]["loc"][: len(loc)] == loc


def test_an_unknown_binding_is_404_before_anything_streams(
    server: Serving, session: requests.Session
):
    asked = prompt("Hi", binding_name="nowhere", stream=True)
    reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30)
    assert reply.status_code == 404
    assert "nowhere" in reply.json()["detail"]


def test_an_unknown_parameter_is_named_not_refused(server: Serving, session: requests.Session):
    asked = prompt("Hello!", parameters={"max_tokens": 20, "controlnet_scale": 2}, stream=False)
    reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30)
    assert reply.status_code == 200
    assert "controlnet_scale" in reply.headers["penstock-ignored"]
    assert "controlnet_scale" in str(reply.json()["output"][0]["metadata"]["ignored"])
