"""The bridge on a real mosquitto, with clients of 3.1.1 and of 5, and the embedded demo model."""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.mqtt.broker import Broker, Peer, broker
from tests.integration.serving import Serving, serve

PROJECTS = """
[mqtt.projects.general]
[mqtt.projects.maze]
system_prompt = "You know mazes."
"""
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


def configured(found: Broker, more: str = "", projects: str = PROJECTS) -> str:
    binding = '[bindings.local]\nengine = "llamacpp"\n'
    return f'[mqtt]\nurl = "{found.url}"\n{more}\n{projects}\n{binding}'


def connected(serving: Serving) -> None:
    """Waits until the bridge has its broker."""
    for _ in range(200):
        with urllib.request.urlopen(f"{serving.url}/ready") as answer:
            if "notes" not in json.load(answer):
                return
        time.sleep(0.05)
    raise AssertionError(serving.said)


def history(serving: Serving, session: str) -> list[dict[str, str]]:
    """Over HTTP: a turn that still runs is waited for."""
    found: list[dict[str, str]] = []
    for _ in range(200):
        with urllib.request.urlopen(f"{serving.url}/api/llm/chat/session/{session}/history") as got:
            found = json.load(got)["messages"]
        if found[-1].get("state") != "live":
            return found
        time.sleep(0.02)
    raise AssertionError(found)


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with broker(tmp_path_factory.mktemp("broker")) as found:
        yield found


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, mosquitto: Broker) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("server")
    with serve(folder, configured(mosquitto, "keep_state_seconds = 2")) as found:
        connected(found)
        yield found


def greedy(message: str, **more: object) -> dict[str, object]:
    return {"message": message, "temperature": 0, **more}


@pytest.mark.parametrize("version", [4, 5])
def test_two_sessions_at_once(serving: Serving, mosquitto: Broker, version: int) -> None:
    answers = "general/assistant_response/#"
    with Peer(mosquitto.port, answers, version=version) as peer:
        for session in ("anna", "bert"):
            peer.say("general/user_input", greedy("Hello!", sessionId=f"{session}{version}"))
        anna = peer.one(f"general/assistant_response/anna{version}")
        bert = peer.one(f"general/assistant_response/bert{version}")
    assert anna.text == bert.text  # Sampled greedily: what one session says is not in the other.
    for session in ("anna", "bert"):
        system, said, reply = history(serving, f"general/{session}{version}")
        assert system["role"] == "system"
        assert said["content"] == "Hello!"
        assert reply["content"] == anna.text


def test_an_answer_is_bare_text_on_the_reply_topic(serving: Serving, mosquitto: Broker) -> None:
    # As deployment/vllm_test_client.py asks: QoS 0, five levels, its own client id and request id.
    topic = "general/assistant_response/five/vllm-test-1/00ff"
    asked = greedy("Hello!", sessionId="five", replyTopic=topic, clientId="vllm-test-1")
    with Peer(mosquitto.port, "general/assistant_response/five/vllm-test-1/#") as peer:
        peer.say("general/user_input", asked | {"requestId": "00ff"}, qos=0)
        heard = peer.one(topic)
    assert heard.text == history(serving, "general/five")[-1]["content"]
    assert not heard.retain


def test_a_peer_of_mqtt_5_has_facts_and_its_correlation(
    serving: Serving, mosquitto: Broker
) -> None:
    with Peer(mosquitto.port, "general/assistant_response/#", version=5) as peer:
        peer.say(
            "general/user_input",
            "Hello!",
            facts={"sessionId": "props", "requestId": "p1"},
            reply_to="general/assistant_response/props/mine",
            correlation=b"\x00\xff7",
        )
        heard = peer.one("general/assistant_response/props/mine")
        assert heard.correlation == b"\x00\xff7"
        assert heard.facts["requestId"] == "p1"
        assert heard.facts["sessionId"] == "props"
        peer.say("general/user_input", greedy("Hi", sessionId="props", requestId="p2", model="no"))
        refused = peer.one("general/assistant_response/props")
    assert refused.text.startswith("Error: no model named 'no'")
    assert refused.facts["error"] == "unknown_model"


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"message": " "}, "invalid_request", "message"),
        ({"message": "x", "topP": 7}, "invalid_request", "topP"),
        ({"message": "x", "maxTokens": "many"}, "invalid_request", "maxTokens"),
        ({"message": "x", "model": "nobody"}, "unknown_model", "model"),
    ],
)
def test_an_error_is_json_where_json_is_wanted(
    serving: Serving, mosquitto: Broker, fields: dict[str, object], code: str, param: str
) -> None:
    asked = {"sessionId": "wrong", "requestId": f"w-{code}-{param}", "format": "json", **fields}
    with Peer(mosquitto.port, "general/assistant_response/wrong") as peer:
        peer.say("general/user_input", asked)
        told = peer.one("general/assistant_response/wrong").json
    assert told["requestId"] == asked["requestId"]
    error = told["error"]
    assert isinstance(error, dict)
    assert error["code"] == code
    assert error.get("param") == param
    assert error["message"]


def test_a_session_whose_id_is_no_topic_is_told_so(serving: Serving, mosquitto: Broker) -> None:
    with Peer(mosquitto.port, "general/assistant_response/#") as peer:
        peer.say("general/user_input", {"message": "x", "sessionId": "a/+"})
        heard = peer.one("general/assistant_response/invalid")
    assert heard.text.startswith("Error: sessionId: ")


def test_a_stream_is_every_event_once_and_its_last_is_retained_for_a_while(
    serving: Serving, mosquitto: Broker
) -> None:
    with Peer(mosquitto.port, "general/stream/s1") as peer:
        asked = greedy("Hello!", sessionId="streamed", requestId="s1", stream=True)
        peer.say("general/user_input", asked)
        heard = peer.wait(lambda all_: b'"done"' in all_[-1].payload if all_ else False)
        entries = [one.json for one in heard]
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
        with Peer(mosquitto.port, "general/stream/s1") as late:
            last = late.one("general/stream/s1")
            assert last.retain
            assert last.json == entries[-1]
            late.forget()
            late.say("general/resume/s1", {"after": 3})
            again = late.wait(lambda all_: len(all_) == len(entries) - 3)
            assert [one.json for one in again] == entries[3:]
        peer.wait(lambda all_: not all_[-1].payload)  # An empty retained message clears the topic.
    with Peer(mosquitto.port, "general/stream/s1") as later:
        later.say("general/resume/s1", {"after": len(entries) - 1})
        assert later.one("general/stream/s1").json == entries[-1]
        assert not later.all()[0].retain
    events = [entry["event"] for entry in entries]
    text = "".join(e["text"] for e in events if isinstance(e, dict) and e["type"] == "text")
    assert text == history(serving, "general/streamed")[-1]["content"]


def test_an_unknown_stream_is_an_error_on_its_topic(serving: Serving, mosquitto: Broker) -> None:
    with Peer(mosquitto.port, "general/stream/+") as peer:
        peer.say("general/resume/nothing", "")
        peer.say("general/user_input", {"message": "x", "sessionId": "s", "stream": True})
        told = peer.one("general/stream/nothing").json
        refused = peer.wait(lambda all_: len(all_) == 2)[1].json
    assert isinstance(told["error"], dict)
    assert told["error"]["code"] == "unknown_stream"
    assert isinstance(refused["error"], dict)
    assert refused["error"]["param"] == "requestId"


def test_functions_are_called_and_their_results_told(serving: Serving, mosquitto: Broker) -> None:
    topic = "general/assistant_response/tools"
    asked = greedy(
        "What is the weather in Paris?",
        sessionId="tools",
        requestId="t1",
        tools=[WEATHER],
        toolChoice="required",
    )
    with Peer(mosquitto.port, topic) as peer:
        peer.say("general/user_input", asked)
        told = peer.one(topic).json
        calls = told["tool_calls"]
        assert isinstance(calls, list)
        assert calls[0]["name"] == "get_weather"
        assert "city" in calls[0]["arguments"]
        assert told["finishReason"] == "tool_calls"
        peer.forget()
        results = [{"tool_call_id": calls[0]["id"], "content": "sunny"}]
        more = {"sessionId": "tools", "requestId": "t2", "toolResults": results, "format": "json"}
        peer.say("general/user_input", more)
        assert "error" not in peer.one(topic).json


def test_a_state_becomes_a_hint_that_is_json(serving: Serving, mosquitto: Broker) -> None:
    state = {
        "sessionId": "game",
        "player_pos": {"x": 1, "y": 1},
        "exit_pos": [7, 7],
        "visible_map": [[0, 1]],
        "germs": [],
        "oxygenPellets": [[2, 2]],
        "oxygenCollected": 3,
    }
    with Peer(mosquitto.port, "maze/hint/+") as peer:
        peer.say("maze/state", state)
        assert isinstance(peer.one("maze/hint/game").json, dict)
    system, said, _ = history(serving, "maze/game")
    assert system["content"] == "You know mazes."
    assert json.loads(said["content"]) == {
        "player_pos": {"x": 1, "y": 1},
        "exit_pos": [7, 7],
        "visible_map": [[0, 1]],
        "germs": [],
        "oxygen": [[2, 2]],
        "oxygen_collected": 3,
    }


def system_of(serving: Serving, session: str) -> str:
    return history(serving, session)[0]["content"]


def test_template_clear_and_delete(serving: Serving, mosquitto: Broker) -> None:
    with Peer(mosquitto.port, "maze/hint/#", "maze/assistant_response/#") as peer:

        def talk(session: str) -> None:
            peer.forget()
            peer.say("maze/user_input", greedy("Hello!", sessionId=session))
            peer.one(f"maze/assistant_response/{session}")

        def admin(topic: str, payload: dict[str, object], told: str) -> None:
            peer.forget()
            peer.say(topic, payload)
            assert peer.one("maze/hint/t1").json == {"hint": told}

        talk("t1")
        talk("t2")
        new = {"prompt_template": {"content": "Be brief."}, "session_id": "t1", "reset": False}
        admin("maze/template", new, "Template updated")
        kept = history(serving, "maze/t1")
        assert kept[0]["content"] == "Be brief."
        assert len(kept) == 3
        assert system_of(serving, "maze/t2") == "You know mazes."  # Another's prompt is its own.

        admin("maze/clear_history/t1", {}, "History cleared")
        talk("t1")
        assert len(history(serving, "maze/t1")) == 3

        peer.say("maze/template", {"template": "New rules."})
        talk("t3")
        assert system_of(serving, "maze/t3") == "New rules."

        peer.say("maze/delete_session", {"sessionId": "t3"})
        peer.say("maze/template", b"no json")  # Ignored, as the original does.
        talk("t3")
        assert len(history(serving, "maze/t3")) == 3


def test_the_older_protocol(serving: Serving, mosquitto: Broker) -> None:
    with Peer(mosquitto.port, "llama/session/response", "llama/assistant_response/#") as peer:
        peer.say("llama/session", "", qos=0)
        session = peer.one("llama/session/response").text
        peer.say(f"llama/user_input/{session}", "Hello!", qos=0)
        topic = f"llama/assistant_response/{session}"
        assert peer.one(topic).text == history(serving, f"llama/{session}")[-1]["content"]
        peer.forget()
        peer.say(f"llama/user_input/{session}", "", qos=0)
        assert peer.one(topic).text == "Dialog has been reset."
        peer.forget()
        peer.say("llama/user_input", "Hello!", qos=0)
        assert peer.one("llama/assistant_response/default").text


@pytest.mark.parametrize("given", [True, False])
def test_a_redelivery_joins_the_stream_that_runs(
    serving: Serving, mosquitto: Broker, given: bool
) -> None:
    session = f"again{given}"
    topic = f"general/assistant_response/{session}"
    asked = greedy("Hello!", sessionId=session, **({"requestId": "again"} if given else {}))
    with Peer(mosquitto.port, topic) as peer:
        for _ in range(3):
            peer.say("general/user_input", asked)
        first = peer.one(topic).text
        peer.say("general/user_input", asked)  # It has its answer once more.
        found = peer.wait(lambda all_: len(all_) >= 2)
    assert {one.text for one in found} == {first}
    assert len(history(serving, f"general/{session}")) == 3  # One turn.


def test_two_hundred_requests_are_all_answered(serving: Serving, mosquitto: Broker) -> None:
    with Peer(mosquitto.port, "general/assistant_response/#") as peer:
        for n in range(200):
            fields = greedy("Hello!", sessionId=f"many{n % 50}", requestId=f"m{n}", maxTokens=1)
            reply = f"general/assistant_response/many{n % 50}/{n}"
            peer.say("general/user_input", fields | {"replyTopic": reply})
        found = peer.wait(lambda all_: len({one.topic for one in all_}) == 200, 90)
    assert not [one.text for one in found if one.text.startswith("Error")]
    assert len(history(serving, "general/many7")) == 9  # Four turns, in the order of their coming.


def test_the_status_topic_says_that_it_is_there(tmp_path: Path, mosquitto: Broker) -> None:
    more = 'client_id = "bridge-of-tests"\nheartbeat_seconds = 0.3\n'
    text = configured(mosquitto, f'projects = ["tested"]\nlegacy = []\n{more}', projects="")
    with Peer(mosquitto.port, "tested/status") as peer, serve(tmp_path, text) as found:
        beats = peer.wait(lambda all_: len(all_) >= 3)
        assert {one.json["status"] for one in beats} == {"online"}
        assert {one.json["service"] for one in beats} == {"bridge-of-tests"}
        assert abs(float(str(beats[-1].json["ts"])) - time.time()) < 60
        found.stop()
        assert peer.wait(lambda all_: all_[-1].json["status"] == "offline")
        peer.forget()
    with Peer(mosquitto.port, "tested/status") as peer, serve(tmp_path, text) as found:
        peer.wait(lambda all_: len(all_) >= 1)
        found.kill()  # The broker says it in our stead.
        assert peer.wait(lambda all_: all_[-1].json["status"] == "offline")
