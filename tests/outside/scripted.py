"""An OpenAI-compatible upstream that answers what the outside suites ask by heart.

It stands behind Penstock's `openai` engine where a suite wants an answer that a small model can't
be relied on to give (`magic_function(3)`, a name in Chinese). It answers from the request that
arrives: a call only of a tool that was really sent, JSON only where a format was really asked,
a text cut where a stop sequence was really given. What Penstock lost on the way is lost here.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override

MODEL = "scripted"
TEXT = "Hello, how are you today? Fine."
JOKE = {"setup": "Why did the cat sit on the keys?", "punchline": "To keep an eye on the mouse."}
_KNOWN: dict[str, dict[str, object]] = {
    "magic_function": {"input": 3},
    "magic_function_no_args": {},
    "greeting_generator": {"answer_style": "Pirate"},
    "get_weather": {"location": "San Francisco, CA"},
    "my_adder_tool": {"a": 3, "b": 4},
    "Joke": dict(JOKE),
    "JokeDict": dict(JOKE),
}


class Scripted:
    """The upstream, listening. `requests` holds every body that arrived."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        scripted = self

        class Handler(_Handler):
            requests = scripted.requests

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._whole({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.requests.append(asked)
        message, finish = reply(asked)
        words = sum(len(str(m.get("content") or "").split()) for m in asked["messages"])
        usage = {"prompt_tokens": words, "completion_tokens": 7, "total_tokens": words + 7}
        if not asked.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            self._whole(_head("chat.completion") | {"choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for delta in _deltas(message):
            self._chunk(delta, None)
        self._chunk({}, finish)
        self._event(_head("chat.completion.chunk") | {"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _chunk(self, delta: dict[str, object], finish: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self._event(_head("chat.completion.chunk") | {"choices": [choice]})

    def _event(self, value: dict[str, object]) -> None:
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _whole(self, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: `requests` has it all."""


def _head(kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": 1, "model": MODEL}


def reply(asked: dict[str, Any]) -> tuple[dict[str, object], str]:
    """The message that answers `asked`, and why it ends."""
    last = asked["messages"][-1]
    called = _called(asked) if last["role"] == "user" else None
    if called is not None:
        name, arguments = called
        function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
        call = {"id": "call_scripted", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    if (asked.get("response_format") or {}).get("type") in ("json_schema", "json_object"):
        return {"role": "assistant", "content": json.dumps(JOKE)}, "stop"
    text = TEXT
    stops = asked.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0]
    return {"role": "assistant", "content": text}, "stop"


def _called(asked: dict[str, Any]) -> tuple[str, dict[str, object]] | None:
    """The tool that is called: the one that was chosen, else the first; None without tools."""
    tools = {tool["function"]["name"]: tool["function"] for tool in asked.get("tools") or []}
    choice = asked.get("tool_choice")
    if not tools or choice == "none":
        return None
    name = choice["function"]["name"] if isinstance(choice, dict) else next(iter(tools))
    if name != "unicode_customer":
        properties = tools[name]["parameters"].get("properties", {})
        return name, {k: v for k, v in _KNOWN[name].items() if k in properties}
    quoted = re.search(r"'(.+?)'", str(asked["messages"][-1]["content"]))
    assert quoted is not None
    return name, {"customer_name": quoted[1], "description": "a company"}


def _deltas(message: dict[str, Any]) -> list[dict[str, object]]:
    """The message in small pieces; a call's arguments are cut too."""
    found: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
    text = message["content"] or ""
    found += [{"content": text[at : at + 5]} for at in range(0, len(text), 5)]
    for call in message.get("tool_calls", ()):
        function = call["function"]
        head = {"index": 0, "id": call["id"], "type": "function"}
        found.append(
            {"tool_calls": [head | {"function": {"name": function["name"], "arguments": ""}}]}
        )
        arguments = function["arguments"]
        for at in range(0, len(arguments), 4):
            piece = {"index": 0, "function": {"arguments": arguments[at : at + 4]}}
            found.append({"tool_calls": [piece]})
    return found
