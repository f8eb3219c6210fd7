"""lollms' five example clients, and the exact shapes on the wire.

Their requests, and the rules by which they read answers, are those of the project's specification
of lollms_server, section 7, over `requests` + `sseclient-py` as in the originals.
"""

import json
from collections.abc import Iterator
from pathlib import Path

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


def test_the_shipped_personalities_speak_as_they_should(server: Serving, session: requests.Session):
    said = {}
    for name in ("lollms", "my_coolbot"):
        asked = prompt("What is the capital of Italy?", personality=name, stream=False)
        asked["parameters"] = {"temperature": 0}
        reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30).json()
        (item,) = reply["output"]
        assert item["metadata"]["finish_reason"] == "stop"
        said[name] = item["data"]
    assert "Rome" in said["lollms"]
    assert "beep" in said["my_coolbot"].lower()  # its prompt is heard, also by a tiny model
    assert "beep" not in said["lollms"].lower()


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
        (prompt("too long " * 1000), 422, ["body", "input_data"]),
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


# ── simple_client and chat_app (7.3, 7.4) ────────────────────────────────────────────────────────


class ConsoleChat:
    """What `simple_client.py` and `chat_app.py` do between the keyboard and the screen."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.key: str | None = KEY
        self.printed: list[str] = []
        self.personality: str | None = None
        self.binding: str | None = None
        self.model: str | None = None

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"Accept": accept}
        if self.key:
            headers["X-API-Key"] = self.key
        return headers

    def get(self, path: str) -> dict[str, object]:
        reply = requests.get(
            self.base + path, headers=self._headers("application/json"), timeout=120
        )
        reply.raise_for_status()
        found: dict[str, object] = reply.json()
        return found

    def connect(self) -> None:
        health = self.get("/health")
        assert isinstance(health, dict)
        assert health
        if not health.get("api_key_required", True):
            self.key = None
        self.printed.append(f"Server OK (Version: {health.get('version', 'N/A')})")

    def chat(self, text: str) -> str:
        """The reply as it is saved: the text items of `final`, else what came in chunks."""
        reply = requests.post(
            self.base + "/generate",
            json={
                "input_data": [{"type": "text", "role": "user_prompt", "data": text}],
                "generation_type": "ttt",
                "personality": self.personality,
                "binding_name": self.binding,
                "model_name": self.model,
                "stream": True,
            },
            headers=self._headers("text/event-stream"),
            stream=True,
            timeout=120,
        )
        reply.raise_for_status()
        kind = reply.headers.get("content-type", "")
        assert "text/event-stream" in kind, f"unexpected content type {kind}"
        said = ""
        for event in sseclient.SSEClient(reply).events():  # type: ignore[arg-type]
            if not event.data:
                continue
            chunk = json.loads(event.data)
            if chunk["type"] == "chunk" and chunk.get("content"):
                said += chunk["content"]
                self.printed.append(chunk["content"])
            elif chunk["type"] == "error":
                raise AssertionError(chunk["content"])
            elif chunk["type"] == "final":
                items = chunk.get("content")
                items = items if isinstance(items, list) else []
                texts = [item["data"] for item in items if item.get("type") == "text"]
                return "".join(texts) or said
        return said

    def imagine(self, text: str) -> requests.Response:
        return requests.post(
            self.base + "/generate",
            json={
                "input_data": [{"type": "text", "role": "user_prompt", "data": text}],
                "generation_type": "tti",
                "binding_name": None,
                "model_name": None,
                "stream": False,
            },
            headers=self._headers("application/json"),
            timeout=120,
        )


def test_the_console_clients_connect_chat_and_read_their_menus(server: Serving):
    client = ConsoleChat(server.url + "/api/v1")
    client.connect()
    assert client.printed[0].startswith("Server OK (Version: ")
    assert client.key == KEY
    assert client.chat("Hello!") == "".join(client.printed[1:])
    assert len(client.printed) > 2
    personalities = client.get("/list_personalities")["personalities"]
    names = [one["name"] for one in personalities.values()]  # type: ignore[attr-defined]
    assert {"lollms", "my_coolbot"} <= set(names)
    binding = next(iter(client.get("/list_bindings")["binding_instances"]))  # type: ignore[call-overload]
    models = client.get(f"/list_available_models/{binding}")["models"]
    client.personality, client.binding = "my_coolbot", binding
    client.model = models[0]["name"]  # type: ignore[index]
    assert client.chat("What can you do?")


def test_imagine_is_refused_while_nothing_here_makes_pictures(server: Serving):
    reply = ConsoleChat(server.url + "/api/v1").imagine("a cat")
    assert (reply.status_code, reply.json()["detail"]) == (501, "no binding here makes image")


def test_the_image_client_is_told_that_its_binding_is_not_there(
    server: Serving, session: requests.Session
):
    """Its request as it stands in `image_client.py` (7.2)."""
    asked = {
        "personality": "my_coolbot",
        "prompt": "Impressionist painting of a cat programmer working late at night, coffee cup "
        "nearby",
        "binding_name": "my_dalle_binding",
        "generation_type": "tti",
        "parameters": {
            "model": "dall-e-3",
            "size": "1024x1024",
            "quality": "standard",
            "style": "vivid",
        },
        "stream": False,
    }
    reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30)
    assert reply.status_code == 404
    assert reply.json() == {"detail": "no binding named 'my_dalle_binding'"}


@pytest.mark.parametrize("kind", ["tti", "ttv", "ttm", "tts", "stt", "i2i", "audio2audio"])
def test_what_nothing_here_makes_is_501_by_name(
    server: Serving, session: requests.Session, kind: str
):
    for stream in (True, False):
        asked = prompt("Hi", generation_type=kind, stream=stream)
        if kind == "i2i":
            text = {"type": "text", "role": "user_prompt", "data": "Hi"}
            image = {"type": "image", "role": "input_image", "data": "aGk="}
            asked["input_data"] = [text, image]
        reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30)
        assert reply.status_code == 501
        named = session.post(
            server.url + "/api/v1/generate", json={**asked, "binding_name": "embedded"}, timeout=30
        )
        assert named.status_code == 501
        what = {"tti": "image", "i2i": "image", "ttv": "video", "stt": "'stt'"}.get(kind, "audio")
        assert what in reply.json()["detail"]
        assert what in named.json()["detail"]


# ── web/ (7.5) ───────────────────────────────────────────────────────────────────────────────────


class WebPage:
    """`lollms-client.js` in a browser: pre-flight before every call, and its parser's rules."""

    def __init__(self, server: str, origin: str) -> None:
        self.server = server
        self.origin = origin
        self.shown = ""
        self.final: dict[str, object] | None = None
        self.generating = False

    def fetch(self, method: str, path: str, body: object = None) -> requests.Response:
        """As a browser does: without an allowing pre-flight nothing is sent."""
        asked = requests.options(
            self.server + path,
            headers={
                "Origin": self.origin,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type,x-api-key",
            },
            timeout=30,
        )
        assert asked.ok, asked.text
        assert asked.headers["access-control-allow-origin"] in (self.origin, "*")
        assert method in asked.headers["access-control-allow-methods"]
        allowed = asked.headers["access-control-allow-headers"].lower()
        assert "content-type" in allowed
        assert "x-api-key" in allowed
        reply = requests.request(
            method,
            self.server + path,
            headers={
                "Origin": self.origin,
                "Content-Type": "application/json",
                "X-API-Key": KEY,
            },
            data=None if body is None else json.dumps(body),
            stream=True,
            timeout=30,
        )
        assert reply.headers["access-control-allow-origin"] in (self.origin, "*")
        return reply

    def generate(self, text: str, *, stream: bool, kind: str = "ttt") -> object:
        """`generate()`: what a call that is not streamed shows; a stream is read by its parser."""
        asked = {
            "personality": None,
            "prompt": text,
            "binding_name": None,
            "model_name": None,
            "generation_type": kind,
            "stream": stream,
        }
        reply = self.fetch("POST", "/generate", asked)
        if not reply.ok:
            raise ConnectionError(reply.status_code)
        if stream:
            self.generating = True
            self._read(reply)
            return None
        if "application/json" in reply.headers["content-type"]:
            return reply.json()
        return reply.text

    def _read(self, reply: requests.Response) -> None:
        """Its `TextDecoder` and `split("\n\n")`; a message must start with `data:`, as one line."""
        buffer = ""
        for piece in reply.iter_content(chunk_size=None):
            buffer += piece.decode()
            *messages, buffer = buffer.split("\n\n")
            for message in messages:
                if not message.startswith("data:"):
                    continue  # it logs a warning
                chunk = json.loads(message[len("data:") :].strip())
                if chunk["type"] == "final":
                    self.final = chunk
                    self.generating = False  # nothing else clears the busy state
                elif chunk["type"] == "chunk" and chunk["content"]:
                    self.shown += chunk["content"]
        assert buffer == ""


@pytest.mark.parametrize("origin", ["null", "http://localhost:8080"])
def test_the_web_page(server: Serving, origin: str):
    page = WebPage(server.url, origin)
    bindings = page.fetch("GET", "/list_bindings").json()["binding_instances"]
    personalities = page.fetch("GET", "/list_personalities").json()["personalities"]
    assert "embedded" in bindings
    assert {"lollms", "my_coolbot"} <= {one["name"] for one in personalities.values()}
    models = page.fetch("GET", "/list_available_models/embedded").json()["models"]
    assert models[0]["name"]
    page.generate("Hello!", stream=True)
    assert page.shown
    assert page.final is not None
    assert page.final["metadata"]
    assert not page.generating
    whole = page.generate("Hello!", stream=False)
    assert isinstance(whole, str)  # it shows an object only as a dump
    assert whole
    with pytest.raises(ConnectionError, match="501"):
        page.generate("a cat", stream=False, kind="tti")


# ── tokens and models ────────────────────────────────────────────────────────────────────────────


def test_tokens_are_those_of_the_models_own_tokenizer(server: Serving, session: requests.Session):
    def post(route: str, **asked: object) -> dict[str, object]:
        reply = session.post(f"{server.url}/api/v1/{route}", json=asked, timeout=30)
        assert reply.status_code == 200, reply.text
        found: dict[str, object] = reply.json()
        return found

    text = "A café, naïvely."
    told = post("tokenize", text=text, binding_name=None, model_name=None)
    assert list(told) == ["tokens", "count"]
    assert told["count"] == len(told["tokens"])  # type: ignore[arg-type]
    assert 0 < told["count"] < len(text.encode())
    assert post("count_tokens", text=text, binding_name="embedded") == {"count": told["count"]}
    assert post("detokenize", tokens=told["tokens"]) == {"text": text}
    assert post("count_tokens", text="") == {"count": 0}
    assert post("tokenize", text=text, add_bos=None, add_eos=None) == told
    more = post("tokenize", text=text, add_bos=True, add_eos=True)
    assert more["count"] > told["count"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("route", "asked", "status", "loc"),
    [
        ("tokenize", {}, 422, ["body", "text"]),
        ("tokenize", {"text": 3}, 422, ["body", "text"]),
        ("tokenize", [1], 422, ["body"]),
        ("count_tokens", {"text": "a", "add_bos": "x"}, 422, ["body", "add_bos"]),
        ("detokenize", {"tokens": ["a"]}, 422, ["body", "tokens"]),
        ("detokenize", {}, 422, ["body", "tokens"]),
        ("tokenize", {"text": "a", "binding_name": "nowhere"}, 404, None),
        ("detokenize", {"tokens": [1], "binding_name": "nowhere"}, 404, None),
        ("tokenize", {"text": "a", "model_name": "nobody"}, 404, None),
    ],
)
def test_what_is_wrong_with_a_token_request_is_named(
    server: Serving,
    session: requests.Session,
    route: str,
    asked: object,
    status: int,
    loc: list[str] | None,
):
    reply = session.post(f"{server.url}/api/v1/{route}", json=asked, timeout=30)
    assert reply.status_code == status, reply.text
    detail = reply.json()["detail"]
    assert detail[0]["loc"][: len(loc)] == loc if loc else isinstance(detail, str)


def test_get_model_info_works(server: Serving, session: requests.Session):
    url = f"{server.url}/api/v1/get_model_info"
    told = session.get(f"{url}/embedded", timeout=30).json()
    assert list(told) == [
        "binding_instance_name",
        "model_name",
        "model_type",
        "context_size",
        "max_output_tokens",
        "supports_vision",
        "supports_audio",
        "supports_streaming",
        "details",
    ]
    assert (told["binding_instance_name"], told["model_type"]) == ("embedded", "ttt")
    assert told["context_size"] > 0
    assert told["supports_streaming"] is True
    again = session.get(f"{url}/embedded?model_name={told['model_name']}", timeout=30).json()
    assert again == told
    assert session.get(f"{url}/embedded?model_name=default", timeout=30).json() == told
    assert session.get(f"{url}/embedded?model_name=nobody", timeout=30).status_code == 404
    assert session.get(f"{url}/nowhere", timeout=30).status_code == 404


# ── what no listing may show, and bindings that are down ─────────────────────────────────────────


def test_no_listing_shows_a_secret_or_a_folder(tmp_path: Path):
    secrets = [
        "client-key-4711",
        "admin-key-4711",
        "upstream-key-4711",
        "upstream-user-4711",
        "upstream-password-4711",
    ]
    config = (
        f"[security]\nallowed_api_keys = ['{secrets[0]}']\nadmin_keys = ['{secrets[1]}']\n"
        "[bindings.embedded]\nengine = 'llamacpp'\n"
        "[bindings.cloud]\nengine = 'openai'\nurl = 'http://127.0.0.1:9/v1'\n"
        f"key = '{secrets[2]}'\nmodel = 'm'\n"
        "[bindings.other]\nengine = 'openai'\nmodel = 'm'\n"
        f"url = 'http://{secrets[3]}:{secrets[4]}@127.0.0.1:9/v1'\n"
    )
    with serve(tmp_path, config) as serving:
        for key in secrets[:2]:
            for path in (
                *(f"/api/v1/{route}" for route in LISTINGS),
                *("/list_bindings", "/list_personalities", "/list_available_models/cloud"),
            ):
                reply = requests.get(serving.url + path, headers={"X-API-Key": key}, timeout=30)
                assert reply.status_code == 200, (path, reply.text)
                told = reply.text + str(reply.headers)
                assert [secret for secret in secrets if secret in told] == [], path
                assert str(tmp_path) not in told, path
        session = {"X-API-Key": secrets[0]}
        active = requests.get(
            serving.url + "/api/v1/list_active_bindings", headers=session, timeout=30
        ).json()
        assert active["bindings"]["other"]["host"] == "http://127.0.0.1:9/v1"
        for name in ("cloud", "other"):
            asked = prompt("Hi", binding_name=name, stream=True)
            down = requests.post(
                serving.url + "/api/v1/generate", json=asked, headers=session, timeout=30
            )
            assert down.status_code in (502, 503)
            assert [secret for secret in secrets if secret in down.text] == []
        tokens = requests.post(
            serving.url + "/api/v1/tokenize",
            json={"text": "a", "binding_name": "cloud"},
            headers=session,
            timeout=30,
        )
        assert tokens.status_code in (501, 502, 503)
        assert [secret for secret in secrets if secret in serving.said] == []


LISTINGS = (
    "health",
    "list_bindings",
    "list_active_bindings",
    "list_models",
    "list_personalities",
    "list_functions",
    "get_default_bindings",
    "list_available_models/embedded",
    "list_available_models/cloud",
    "list_available_models/other",
    "get_model_info/embedded",
    "get_model_info/other",
)


def test_a_picture_is_refused_by_name_where_the_binding_sees_none(
    server: Serving, session: requests.Session
):
    pictures = ["iVBORw0KGgo=", "data:image/png;base64,iVBORw0KGgo=", "https://example.org/a.png"]
    for data in pictures:
        asked = prompt("What is this?", stream=False)
        image = {"type": "image", "role": "input_image", "data": data, "mime_type": "image/png"}
        asked["input_data"].append(image)  # type: ignore[attr-defined]
        reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30)
        assert reply.status_code == 400
        assert reply.json() == {
            "detail": "the binding 'embedded' does not support images (input_data)"
        }


def test_a_conversation_with_several_prompts_is_heard_whole(
    server: Serving, session: requests.Session
):
    asked = prompt("The word is Zanzibar.", stream=False)
    item = {"type": "text", "role": "user_prompt", "data": "Say it."}
    asked["input_data"].append(item)  # type: ignore[attr-defined]
    reply = session.post(server.url + "/api/v1/generate", json=asked, timeout=30)
    alone = session.post(
        server.url + "/api/v1/generate", json=prompt("Say it.", stream=False), timeout=30
    )
    used = [one.json()["output"][0]["metadata"]["usage"]["prompt_tokens"] for one in (reply, alone)]
    assert used[0] > used[1]
