"""Further ports for clients whose address is fixed."""

import json
import socket
import urllib.request
from pathlib import Path

from tests.integration.serving import free_port, serve


def models(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=10) as answer:
        return [model["id"] for model in json.load(answer)["data"]]


def test_the_same_routes_on_several_ports_and_a_taken_one_is_a_warning(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy, second = taken.getsockname()[1], free_port()
        config = f"[server]\nalso_listen = [{busy}, {second}]\n"
        with serve(tmp_path, config) as server:
            assert models(server.port) == models(second) != []
            assert f"can't listen on 127.0.0.1:{busy}" in server.said
            assert "serving without it" in server.said
    with socket.create_server(("127.0.0.1", second)):
        pass  # it was let go of


def test_an_unknown_name_is_answered_where_the_configuration_says_so(tmp_path: Path):
    config = '[bindings.embedded]\nengine = "llamacpp"\n[models."*"]\nbinding = "embedded"\n'
    with serve(tmp_path, config) as server:
        body = {
            "model": "phi3:mini",
            "max_tokens": 3,
            "messages": [{"role": "user", "content": "Hi"}],
        }
        request = urllib.request.Request(
            server.url + "/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["penstock-ignored"] == "model"
            assert json.load(answer)["model"] == "phi3:mini"
        assert models(server.port) == ["penstock-demo"]
