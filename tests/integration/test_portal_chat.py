"""The session chat over HTTP: real servers in processes of their own, with the embedded model where
a model matters and a recording where a pace does.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.integration.portal import OPEN, Client, Heard, events, page_reads, said, socket_reads
from tests.integration.serving import Serving, serve, start
from tests.postgres import empty, serving_postgres

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
LIKELIEST = {"temperature": 0}
"""Else the demo model may leave out what a tool said."""
KEYS = '[security]\nallowed_api_keys = ["key-of-anna", "key-of-bert"]\n'


def tape(folder: Path, *, pieces: int = 400, interval_ms: float = 5, more: str = "") -> str:
    """A configuration whose model takes its time: `pieces` pieces of text. The model `endless` goes
    on until it is stopped.
    """
    tapes = folder / "tapes"
    tapes.mkdir(exist_ok=True, parents=True)
    for name, count in ("tape", pieces), ("endless", 20_000):
        lines: list[dict[str, object]] = [
            {"type": "text", "part": 0, "text": f"{n} "} for n in range(count)
        ]
        lines.append({"type": "done", "reason": "stop"})
        path = tapes / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    binding = f'path = "{tapes}"\nmodel = "tape"\ninterval_ms = {interval_ms}\n'
    return f'{more}\n[bindings.tape]\nengine = "replay"\n{binding}'


@pytest.fixture(autouse=True)
def clients_are_closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = f'{KEYS}[bindings.local]\nengine = "llamacpp"\n'
    with serve(tmp_path_factory.mktemp("embedded"), config) as serving:
        yield serving


@pytest.fixture
def anna(embedded: Serving) -> Client:
    return Client(embedded.url, "key-of-anna")


def settled(client: Client, session: str) -> None:
    """Waits until no turn is live."""
    for _ in range(400):
        if client.history(session)[-1].get("state") != "live":
            return
        time.sleep(0.01)
    raise AssertionError(client.history(session))


class Begun:
    """A stream that a thread reads; waits until its first piece is here."""

    def __init__(
        self, client: Client, session: str, message: str = "Go", model: str = "tape"
    ) -> None:
        self.received = ""
        self.stream = ""
        self._first = threading.Event()
        self._client = client
        self._body = {"session_id": session, "message": message, "model": model}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._first.wait(20)

    def _read(self) -> None:
        try:
            with self._client.http.stream(
                "POST", "/chat/session/stream", json=self._body
            ) as answer:
                self.stream = answer.headers["penstock-stream"]
                for text in answer.iter_text():
                    self.received += text
                    self._first.set()
        except httpx.HTTPError:
            pass  # The server was killed.

    def stopped(self) -> str:
        """Stops the run; what was received."""
        path = f"/v1/streams/{self.stream}/cancel"
        answer = self._client.http.post(self._client.http.base_url.join(path))
        assert answer.json()["cancelled"] is True
        return self.wait()

    def wait(self) -> str:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.received


# ── the embedded model ───────────────────────────────────────────────────────────────────────────


def test_a_conversation(anna: Client):
    first = anna.say("talk", "Hello!", system_prompt="Be brief.")
    assert first.status_code == 200
    assert first.json()["session_id"] == "talk"
    found = anna.stream("talk", "What is 2 plus 3?", system_prompt="Too late.")
    assert found[-1] == {"done": True, "session_id": "talk"}
    assert anna.history("talk") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": first.json()["response"]},
        {"role": "user", "content": "What is 2 plus 3?"},
        {"role": "assistant", "content": said(found)},
    ]
    again = anna.http.post("/chat/session/history", json={"session_id": "talk"})
    assert again.json()["messages"] == anna.history("talk")
    (line,) = [
        line
        for line in anna.http.get("/chat/sessions").json()["sessions"]
        if line["session_id"] == "talk"
    ]
    assert (line["title"], line["model"], line["turns"]) == ("Hello!", "default", 2)


def test_after_done_the_history_has_the_turn(anna: Client):
    for n in range(8):
        found = anna.stream("durable", f"What is 1 plus {n}?")
        *_, asked, answered = anna.history("durable")
        assert (asked["content"], answered["content"]) == (f"What is 1 plus {n}?", said(found))
        assert "state" not in answered


def test_tools_in_a_session(anna: Client):
    found = anna.stream("tools", "What is the weather in Paris?", tools=[WEATHER], **LIKELIEST)
    assert [list(event) for event in found[-2:]] == [
        ["tool_calls", "session_id"],
        ["done", "session_id"],
    ]
    calls = found[-2]["tool_calls"]
    assert isinstance(calls, list)
    assert calls[0]["name"] == "get_weather"
    assert calls[0]["arguments"] == {"city": "Paris"}
    result = {"tool_call_id": calls[0]["id"], "content": '{"temperature": 21, "sky": "clear"}'}
    body = {"session_id": "tools", "tool_results": [result], "tools": [WEATHER], **LIKELIEST}
    answer = anna.http.post("/chat/session", json=body)
    assert answer.status_code == 200
    assert "21" in answer.json()["response"]
    assert [m["role"] for m in anna.history("tools")] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    refused = anna.http.post("/chat/session", json=body)
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "tool_results", 0, "tool_call_id"]


def test_a_call_that_was_cut_does_not_end_its_session(anna: Client):
    """An answer's room may end within a call; its arguments are then no JSON."""
    asked = {"tools": [WEATHER], "tool_choice": "required", **LIKELIEST}
    for n in range(8, 24):
        session = f"cut {n}"
        told = anna.say(session, "What is the weather?", max_tokens=n, **asked)
        calls = told.json().get("tool_calls", [])
        if calls and isinstance(calls[0]["arguments"], str):
            break
    else:
        raise AssertionError("no call was cut")
    result = {"tool_call_id": calls[0]["id"], "content": "these arguments are no JSON"}
    body = {"session_id": session, "tool_results": [result], "tools": [WEATHER]}
    assert anna.http.post("/chat/session", json=body).status_code == 200
    assert anna.say(session, "Never mind. Hello!").status_code == 200
    assert anna.history(session)[2]["tool_calls"] == calls


def test_tools_without_a_session(anna: Client):
    asked = {"role": "user", "content": "What is the weather in Rome?"}
    body = {"messages": [asked], "tools": [WEATHER], **LIKELIEST}
    first = anna.http.post("/chat", json=body).json()
    (call,) = first["tool_calls"]
    called = {"role": "assistant", "content": first["response"], "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": '{"temperature": 17}'}
    body["messages"] = [asked, called, result]
    assert "17" in anna.http.post("/chat", json=body).json()["response"]


def test_two_keys_with_the_same_id_never_meet(embedded: Serving, anna: Client):
    bert = Client(embedded.url, "key-of-bert")
    anna.say("mine", "Hello from Anna")
    assert bert.http.get("/chat/session/mine/history").status_code == 404
    assert bert.http.delete("/chat/session/mine").json()["ok"] is True
    bert.say("mine", "Hello from Bert")
    assert anna.history("mine")[1]["content"] == "Hello from Anna"
    assert bert.history("mine")[1]["content"] == "Hello from Bert"
    assert len(anna.history("mine")) == 3


def test_who_has_no_key_is_told_so(embedded: Serving):
    nobody = Client(embedded.url)
    nobody.http.headers["Authorization"] = ""  # What the page sends before a login.
    for verb, path in (("POST", "/chat/stream"), ("GET", "/chat/sessions")):
        answer = nobody.http.request(verb, path, json={})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json() == {"detail": "Not authenticated"}
    wrong = Client(embedded.url, "wrong").http.get("/chat/sessions")
    assert wrong.json() == {"detail": "Could not validate credentials"}
    assert nobody.http.get("/health").status_code == 200


def test_sessions_are_dropped_whether_they_exist_or_not(anna: Client):
    anna.say("gone/with slash", "Hello!")
    for _ in range(2):
        answer = anna.http.delete("/chat/session/gone/with slash")
        cleared = {"ok": True, "message": "Session gone/with slash cleared"}
        assert answer.json() == cleared
    answer = anna.http.get("/chat/session/gone/with slash/history")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Session not found"})


def test_what_the_portal_always_sends_is_accepted(anna: Client):
    probe: dict[str, object] = {
        "model": "default",
        "messages": [{"role": "system", "content": "test"}],
    }
    probe |= {"max_tokens": 1, "enable_thinking": False, "cache_prompt": True, "top_p": None}
    answer = anna.http.post("/chat", json=probe)
    assert answer.status_code == 200
    assert answer.json()["session_id"] is None


def test_refusals_name_the_field(anna: Client):
    answer = anna.http.post("/chat", json={"messages": [{"role": "user", "content": None}]})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "messages", 0, "content"]
    answer = anna.http.post("/chat", json=[])
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body"]
    answer = anna.say("", "Hi")
    assert answer.json()["detail"][0]["loc"] == ["body", "session_id"]
    for session in ("x" * 300, "history", "stream", "/mine", "mine/history"):
        assert anna.say(session, "Hi").status_code == 422
    assert anna.say("new", "Hi", model="nothing").status_code == 404
    assert anna.http.get("/chat/session/new/history").status_code == 404


def test_a_small_context_keeps_the_newest_turns(tmp_path: Path):
    config = '[bindings.local]\nengine = "llamacpp"\ncontext = 256\n'
    with serve(tmp_path, config) as serving:
        client = Client(serving.url)
        for n in range(25):
            found = client.stream("long", f"What is {n} plus 3?", max_tokens=40)
            assert "done" in found[-1], found
        assert len(client.history("long")) == 1 + 25 * 2
        refused = client.say("long", "word " * 2000)
        assert refused.status_code == 400, refused.text
        assert client.say("long", "What is 2 plus 3?").status_code == 200
        long: dict[str, object] = {"messages": [{"role": "user", "content": "word " * 2000}]}
        refused = client.http.post("/chat", json=long)
        assert refused.status_code == 400, refused.text
        assert isinstance(refused.json()["detail"], str)


# ── paced recordings ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("paced")
    with serve(folder, tape(folder, pieces=200)) as serving:
        yield serving


def test_a_second_message_is_refused_while_the_first_is_answered(paced: Serving):
    client = Client(paced.url)
    begun = Begun(client, "busy", model="endless")
    answer = client.say("busy", "And?")
    assert answer.status_code == 409
    assert int(answer.headers["retry-after"]) >= 1
    assert [m.get("state") for m in client.history("busy")[1:]] == ["live"]
    assert client.say("other", "Hi").status_code == 200
    assert "done" in events(begun.stopped())[-1]
    assert client.say("busy", "And now?", model="tape").status_code == 200
    assert len(client.history("busy")) == 5


def test_a_dropped_session_has_its_run_stopped(paced: Serving):
    client = Client(paced.url)
    begun = Begun(client, "dropped", model="endless")
    assert client.http.delete("/chat/session/dropped").json()["ok"] is True
    found = events(begun.wait())
    assert found[-1] == {"done": True, "session_id": "dropped"}
    assert len(found) < 20_000
    assert client.http.get("/chat/session/dropped/history").status_code == 404
    assert client.say("dropped", "Again").status_code == 200
    assert len(client.history("dropped")) == 3


def test_a_turn_without_readers_is_kept_whole(paced: Serving):
    client = Client(paced.url)
    body = {"session_id": "left", "message": "Go"}
    headers = {"Penstock-On-Disconnect": "finish"}
    with client.http.stream("POST", "/chat/session/stream", json=body, headers=headers) as answer:
        next(answer.iter_bytes())
    settled(client, "left")
    last = client.history("left")[-1]
    assert last["content"].split() == [str(n) for n in range(200)]
    assert "state" not in last


@pytest.mark.parametrize("path", ["/chat", "/chat/stream", "/chat/session", "/chat/session/stream"])
def test_last_event_id_resumes_on_every_route(paced: Serving, path: str):
    client = Client(paced.url)
    body: dict[str, object] = {"messages": [{"role": "user", "content": "Go"}]}
    streamed = "/chat/stream"
    if "session" in path:
        body = {"session_id": f"resumed {path}", "message": "Go"}
        streamed = "/chat/session/stream"
    seen = ""
    with client.http.stream("POST", streamed, json=body, headers={"Last-Event-ID": ""}) as answer:
        for text in answer.iter_text():
            seen += text
            if seen.count("\n\n") > 20:
                break
    blocks = seen.split("\n\n")[:20]
    last = blocks[-1].split("\n")[0].removeprefix("id: ")
    rest = client.http.post(path, headers={"Last-Event-ID": last})  # No body at all.
    assert rest.headers["content-type"].startswith("text/event-stream")
    found = events("\n\n".join(blocks) + "\n\n" + rest.text)
    assert said(found).split() == [str(n) for n in range(200)]
    assert next(iter(found[-1])) == "done"
    assert re.fullmatch(r"[0-9a-f]+@\d+\.\d+", last)


def test_messages_wait_in_line_where_that_is_configured(tmp_path: Path):
    more = '[sessions]\nbusy = "queue"\nmax_waiting = 2\nwait_seconds = 20\n'
    with serve(tmp_path, tape(tmp_path, pieces=100, more=more)) as serving:
        client = Client(serving.url)
        begun = Begun(client, "line", "first", "endless")
        answers: list[int] = []
        threads = []
        for n in range(2):
            threads.append(
                threading.Thread(
                    target=lambda n=n: answers.append(
                        client.say("line", f"next {n}", model="tape").status_code
                    )
                )
            )
            threads[-1].start()
            time.sleep(0.3)
        assert client.say("line", "one too many").status_code == 409
        begun.stopped()
        for thread in threads:
            thread.join(30)
        assert answers == [200, 200]
        asked = [m["content"] for m in client.history("line") if m["role"] == "user"]
        assert asked == ["first", "next 0", "next 1"]


def test_waiting_has_an_end(tmp_path: Path):
    more = '[sessions]\nbusy = "queue"\nwait_seconds = 0.3\n'
    with serve(tmp_path, tape(tmp_path, pieces=200, more=more)) as serving:
        client = Client(serving.url)
        begun = Begun(client, "line", model="endless")
        assert client.say("line", "next").status_code == 409
        assert "done" in events(begun.stopped())[-1]


# ── deaths and neighbours ────────────────────────────────────────────────────────────────────────


def test_a_killed_server_leaves_a_marked_turn(tmp_path: Path):
    config = tape(tmp_path)
    serving = start(tmp_path, config)
    try:
        client = Client(serving.url)
        begun = Begun(client, "killed", "What was cut?", "endless")
        while begun.received.count("\n\n") < 20:
            time.sleep(0.005)
    finally:
        serving.kill()
    received = said(events(begun.wait().rpartition("\n\n")[0] + "\n\n"))
    serving = start(tmp_path, config)
    try:
        client = Client(serving.url)
        system, asked, answered = client.history("killed")
        assert system["role"] == "system"
        assert asked == {"role": "user", "content": "What was cut?"}
        assert answered["role"] == "assistant"
        assert answered["state"] == "interrupted"
        assert answered["content"].startswith(received)
        assert 20 <= len(answered["content"].split()) < 20_000
        found = client.stream("killed", "Go on", model="tape")
        assert "done" in found[-1]
        assert [m["role"] for m in client.history("killed")] == [
            "system",
            *["user", "assistant"] * 2,
        ]
    finally:
        serving.stop()


def test_a_stopped_server_marks_its_turns_itself(tmp_path: Path):
    config = tape(tmp_path)
    with serve(tmp_path, config) as serving:
        begun = Begun(Client(serving.url), "stopped", model="endless")
        serving.stop()
        begun.wait()
    with serve(tmp_path, config) as serving:
        *_, answered = Client(serving.url).history("stopped")
        assert answered["state"] == "interrupted"
        assert answered["error"]


def test_two_servers_on_one_store(tmp_path: Path):
    """One session, two processes: one turn at a time, and each sees what the other did."""
    config = tape(tmp_path / "data", pieces=150)
    shared = {"HOME": str(tmp_path / "data"), "PENSTOCK_STREAMS__FOLDER": str(tmp_path / "streams")}
    with (
        serve(tmp_path / "a", config, environment=shared) as one,
        serve(tmp_path / "b", config, environment=shared) as other,
    ):
        here, there = Client(one.url), Client(other.url)
        begun = Begun(here, "both", "from here", "endless")
        assert there.say("both", "from there").status_code == 409
        assert there.history("both")[-1]["state"] == "live"
        begun.stopped()
        assert there.say("both", "from there", model="tape").status_code == 200
        # Here the end is seen once the other server has written it into the store.
        settled(here, "both")
        assert here.history("both") == there.history("both")
        asked = [m["content"] for m in here.history("both") if m["role"] == "user"]
        assert asked == ["from here", "from there"]
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda c=c: statuses.append(c.say("race", "Go").status_code))
            for c in [here, there] * 3
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        settled(here, "race")
        assert statuses.count(200) >= 1
        assert set(statuses) <= {200, 409}
        assert len(here.history("race")) == 1 + 2 * statuses.count(200)


@pytest.mark.services
def test_a_conversation_in_postgresql(tmp_path: Path):
    with serving_postgres() as url:
        empty(url)
        config = tape(tmp_path, more=f'[stores]\nurl = "{url}"\n')
        serving = start(tmp_path, config)
        try:
            begun = Begun(Client(serving.url), "kept", "What was cut?", "endless")
        finally:
            serving.kill()
        begun.wait()
        with serve(tmp_path, config) as serving:
            client = Client(serving.url)
            said_ = client.say("kept", "Go on\u0000\u2028", model="tape")
            assert said_.status_code == 200
            assert client.http.delete("/chat/session/other").json()["ok"] is True
            found = [(m["role"], m.get("state")) for m in client.history("kept")]
            cut = [("user", None), ("assistant", "interrupted")]
            assert found == [("system", None), *cut, ("user", None), ("assistant", None)]
        assert not (tmp_path / ".local/share/penstock/stores.sqlite").exists()


# ── the portal's own page ────────────────────────────────────────────────────────────────────────


def recorded(folder: Path, lines: list[dict[str, object]]) -> str:
    path = folder / "recording.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f'[bindings.tape]\nengine = "replay"\npath = "{path}"\nbatch = 4\ninterval_ms = 10\n'


def test_the_page_is_told_of_an_error_without_words(tmp_path: Path):
    said_: list[dict[str, object]] = [{"type": "text", "part": 0, "text": "so f"}]
    end: dict[str, object] = {"type": "failed", "code": "engine_failed", "message": ""}
    with serve(tmp_path, recorded(tmp_path, [*said_, end])) as serving:
        body = {"messages": [{"role": "user", "content": "Go"}]}
        heard = Heard()
        page_reads(socket_reads(serving.port, "/api/llm/chat/stream", body), heard)
    assert (heard.text, heard.completed, heard.errors) == ("so f", 0, ["engine_failed"])


@pytest.mark.parametrize("ending", ["done", "failed"])
def test_the_pages_reader_loses_nothing(tmp_path: Path, ending: str):
    """Long pieces, many pieces a batch, characters of every length; whole events in every read."""
    words = ["plain ", "café ", "日本語 ", "😀 ", "line\n", '"quoted" ', "\u2028", "back\\slash "]
    texts = [words[n % 8] * (1 + n % 60 * 3) for n in range(120)]
    texts += ["😀" * 1500, "long " * 3000]
    lines: list[dict[str, object]] = [{"type": "text", "part": 0, "text": text} for text in texts]
    end: dict[str, object] = {"type": "done", "reason": "stop"}
    if ending == "failed":
        end = {"type": "failed", "code": "engine_failed", "message": "broken " * 800}
    with serve(tmp_path, recorded(tmp_path, [*lines, end])) as serving:
        body = {"session_id": "page", "message": "Go"}
        reads = list(socket_reads(serving.port, "/api/llm/chat/session/stream", body))
    heard = Heard()
    page_reads(iter(reads), heard)
    assert heard.text == "".join(texts)
    assert heard.completed == (1 if ending == "done" else 0)
    assert len(heard.errors) == (0 if ending == "done" else 1)
    blocks = b"".join(reads).split(b"\n\n")
    assert max(map(len, blocks)) <= 1000
    assert not any(b"[DONE]" in block for block in blocks)
    assert all(re.fullmatch(rb"data: \{.*\}", block) for block in blocks if block)
