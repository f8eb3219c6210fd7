"""A connection that breaks at a Penstock: the answer goes on, and none of it comes twice."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.ollama_client.cutting import Fault, Proxy
from tests.integration.serving import (
    END,
    FINISH,
    ROOT,
    SSE_HEAD,
    Serving,
    Upstream,
    said,
    serve,
    start,
)

from penstock.core.errors import GatewayError
from penstock.llm_client import LLMClient
from penstock.ollama_client import OllamaClient, OllamaConfig, StreamChunk, source

MODEL = "penstock-demo"
GREEDY: dict[str, object] = {"temperature": 0, "seed": 1, "num_predict": 100}
ASKED = "What is streaming?"
WORDS = [f"wörd{n} " for n in range(100)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(tmp_path_factory.mktemp("server"), "") as serving:
        yield serving


@pytest.fixture(scope="module")
def whole(server: Serving) -> str:
    """The answer, undisturbed."""
    with OllamaClient(OllamaConfig(f"{server.url}/api/generate", MODEL)) as client:
        found = client.generate(ASKED, options=GREEDY)
    assert found.success
    assert len(found.text) > 100
    return found.text


def client_of(proxy: Proxy) -> OllamaClient:
    return OllamaClient(OllamaConfig(f"{proxy.url}/api/generate", MODEL))


@pytest.mark.parametrize("what", ["cut", "reset", "garble"])
@pytest.mark.parametrize("after", [400, 700, 1400, 2600, 4000])
def test_a_connection_that_breaks_is_made_again(
    server: Serving, whole: str, what: Fault, after: int
):
    proxy = Proxy(server.port, [(what, after), (what, after + 300), ("none", 0)])
    with closing(proxy), client_of(proxy) as client:
        stream = client.generate_stream(ASKED, options=GREEDY)
        chunks = list(stream)
        assert [chunk.error for chunk in chunks] == [None] * len(chunks)
        assert [chunk.done for chunk in chunks].count(True) == 1
        assert "".join(chunk.text for chunk in chunks) == whole
        assert sum(data.startswith(b"POST") for data in proxy.asked) == 1
        assert proxy.connections > 1
        assert stream.stream_id is not None
        assert "".join(c.text for c in client.open_stream(stream.stream_id)) == whole


@pytest.mark.soak
@pytest.mark.parametrize("what", ["cut", "reset", "garble"])
def test_a_connection_that_breaks_anywhere(server: Serving, whole: str, what: Fault):
    with OllamaClient(OllamaConfig(f"{server.url}/api/generate", MODEL)) as client:
        lines = len(list(client.generate_stream(ASKED, options=GREEDY)))
    for after in range(300, 300 + 100 * lines, 31):  # a line has more than a hundred bytes
        proxy = Proxy(server.port, [(what, after), ("none", 0)])
        with closing(proxy), client_of(proxy) as client:
            found = client.generate(ASKED, stream=True, options=GREEDY)
        assert (found.text, found.error) == (whole, None), after


def test_a_connection_that_goes_silent_is_made_again(
    server: Serving, whole: str, monkeypatch: pytest.MonkeyPatch
):
    # A server that says nothing for longer than three of its heartbeats is gone; here sooner.
    monkeypatch.setattr(source, "_SILENT_SECONDS", 0.5)
    proxy = Proxy(server.port, [("stall", 1000), ("none", 0)])
    with closing(proxy), client_of(proxy) as client:
        found = client.generate(ASKED, stream=True, options=GREEDY)
    assert (found.text, found.error, found.status_code) == (whole, None, 200)
    assert proxy.connections == 2


def test_an_answer_byte_by_byte(server: Serving, whole: str):
    proxy = Proxy(server.port, [("dribble", 0)])
    with closing(proxy), client_of(proxy) as client:
        assert client.generate(ASKED, stream=True, options=GREEDY).text == whole
        assert client.generate(ASKED, options=GREEDY).text == whole


def test_an_answer_in_one_piece_that_is_cut_is_read_from_the_record(server: Serving, whole: str):
    proxy = Proxy(server.port, [("cut", 700), ("none", 0)])
    with closing(proxy), client_of(proxy) as client:
        found = client.generate(ASKED, options=GREEDY)
    assert (found.text, found.success, found.status_code) == (whole, True, 200)
    assert sum(data.startswith(b"POST") for data in proxy.asked) == 1


def test_before_the_answer_has_begun_there_is_nothing_to_resume(server: Serving):
    proxy = Proxy(server.port, [("cut", 20), ("none", 0)])
    with closing(proxy), client_of(proxy) as client:
        (chunk,) = client.generate_stream(ASKED)
    assert (chunk.error or "").startswith("Response ended prematurely")
    assert proxy.connections == 1


# ── a run that takes a second ────────────────────────────────────────────────────────────────────


def slow() -> Upstream:
    script: list[bytes | float | str] = [SSE_HEAD]
    for word in WORDS:
        script += [said(word), 0.01]
    return Upstream([[*script, FINISH, END]])


def behind(upstream: Upstream, streams: str = "") -> str:
    return (
        f'[bindings.up]\nengine = "openai"\nurl = "{upstream.url}"\nmodel = "scripted"\n'
        f"[streams]\n{streams}\n"
    )


def config_of(serving: Serving | Proxy) -> OllamaConfig:
    return OllamaConfig(f"{serving.url}/api/generate", "scripted")


def last_of(serving: Serving) -> dict[str, object]:
    """How the newest stream ended, when it has."""
    with urllib.request.urlopen(f"{serving.url}/v1/streams?limit=1", timeout=10) as listed:
        stream = json.loads(listed.read())["data"][0]["stream"]
    with urllib.request.urlopen(f"{serving.url}/v1/streams/{stream}", timeout=30) as followed:
        events = [line[6:] for line in followed.read().splitlines() if line.startswith(b"data: ")]
    event: dict[str, object] = json.loads(events[-1])["event"]
    return event


def test_many_drops_in_one_answer(tmp_path: Path):
    upstream = slow()
    with closing(upstream), serve(tmp_path, behind(upstream)) as serving:
        proxy = Proxy(serving.port, [("reset", 1500 + 700 * n) for n in range(6)] + [("none", 0)])
        with closing(proxy), OllamaClient(config_of(proxy)) as client:
            assert client.generate("Go", stream=True).text == "".join(WORDS)
            assert proxy.connections > 3
        proxy = Proxy(serving.port, [("cut", 2000), ("none", 0)])
        with closing(proxy):
            llm = LLMClient(config_of(proxy))
            pieces = list(llm.generate_stream([{"role": "user", "content": "Go"}]))
            llm.close()
            assert "".join(pieces) == "".join(WORDS)
            assert proxy.connections == 2


def test_a_server_that_dies_leaves_what_it_said(tmp_path: Path):
    upstream = slow()
    with closing(upstream):
        serving = start(tmp_path, behind(upstream))
        with OllamaClient(config_of(serving)) as client:
            stream = client.generate_stream("Go", timeout=1.5)
            texts = []
            for chunk in stream:
                texts.append(chunk.text)
                if len(texts) == 10:
                    serving.kill()
            assert chunk.done
            assert "ended prematurely" in (chunk.error or "")
            assert "timed out" in (chunk.error or "")
            assert "".join(WORDS).startswith(stream.text)
            assert stream.text == "".join(texts)
            assert len(texts) > 10


def test_a_server_that_comes_back_says_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    upstream = slow()
    with closing(upstream):
        serving = start(tmp_path, behind(upstream))
        proxy = Proxy(serving.port, [("none", 0)])
        with closing(proxy), OllamaClient(config_of(proxy)) as client:
            stream = client.generate_stream("Go")
            texts = [next(stream).text for _ in range(10)]
            serving.kill()
            serving = start(tmp_path, behind(upstream))
            proxy._to = serving.port
            try:
                chunks = list(stream)
            finally:
                serving.stop()
        assert chunks[-1].done
        assert chunks[-1].error
        assert "".join(WORDS).startswith("".join(texts) + "".join(c.text for c in chunks))


def test_a_run_that_the_server_stops_is_not_whole(tmp_path: Path):
    upstream = slow()
    with (
        closing(upstream),
        serve(tmp_path, behind(upstream, 'on_disconnect = "cancel"')) as serving,
    ):
        proxy = Proxy(serving.port, [("cut", 1500), ("none", 0)])
        with closing(proxy), OllamaClient(config_of(proxy)) as client:
            found = client.generate("Go", stream=True)
        assert not found.success
        assert "".join(WORDS).startswith(found.text)
        assert found.text
        assert (found.error or "").startswith("Response ended prematurely")


def test_a_failure_in_the_stream_is_the_end(tmp_path: Path):
    upstream = Upstream([[SSE_HEAD, said("one "), said("two"), "reset"]])
    with (
        closing(upstream),
        serve(tmp_path, behind(upstream)) as serving,
        OllamaClient(config_of(serving)) as client,
    ):
        found = client.generate("Go", stream=True)
        assert (found.text, found.success) == ("one two", False)
        assert found.error
        *chunks, last = client.generate_stream("Go")
        assert "".join(chunk.text for chunk in chunks) == "one two"
        assert last == StreamChunk("", True, found.error)
        llm = LLMClient(config_of(serving))
        texts = []
        with pytest.raises(GatewayError) as caught:
            for text in llm.generate_stream([{"role": "user", "content": "Go"}]):
                texts.append(text)
        llm.close()
        assert "".join(texts) == "one two"
        assert caught.value.message == found.error


# ── leaving ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["break", "close", "drop", "client"])
def test_leaving_stops_the_run_where_the_server_wants_that(tmp_path: Path, way: str):
    upstream = slow()
    with (
        closing(upstream),
        serve(tmp_path, behind(upstream, 'on_disconnect = "cancel"')) as serving,
        OllamaClient(config_of(serving)) as client,
    ):
        if way == "break":
            for _ in client.generate_stream("Go"):
                break
        else:
            stream = client.generate_stream("Go")
            assert next(stream).text
            if way == "close":
                stream.close()
            elif way == "client":
                client.close()
            else:
                del stream
        assert last_of(serving) == {"type": "done", "reason": "cancelled"}
        assert upstream.gone.wait(5)


@pytest.mark.parametrize(
    ("program", "last"),
    [
        ("keyboard_interrupt", b"\n\nGeneration cancelled by user.\n"),
        ("error_handling", b"\n\nStream interrupted by user.\n"),
    ],
)
def test_ctrl_c_stops_the_run(tmp_path: Path, program: str, last: bytes):
    """The guide's own programs for it."""
    upstream = slow()
    with (
        closing(upstream),
        serve(tmp_path, behind(upstream, 'on_disconnect = "cancel"')) as serving,
    ):
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "PENSTOCK_URL": serving.url,
            "PENSTOCK_MODEL": "scripted",
        }
        script = ROOT / f"examples/ollama_client/{program}.py"
        process = subprocess.Popen(
            [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.read(12)
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            said_last = process.stdout.read()
        assert process.returncode == 0
        assert said_last.endswith(last)
        assert last_of(serving) == {"type": "done", "reason": "cancelled"}
