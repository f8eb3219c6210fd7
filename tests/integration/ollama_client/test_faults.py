"""What breaks between `OllamaClient` and a server: told once, with all the text, asked once."""

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.integration.serving import END, Upstream, free_port, piece
from typing_extensions import override

from penstock.core.errors import InvalidRequestError
from penstock.llm_client import LLMClient
from penstock.ollama_client import ModelResponse, OllamaClient, OllamaConfig, StreamChunk

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n"
    b"connection: close\r\n\r\n"
)
JSON = HEAD.replace(b"x-ndjson", b"json")

Script = Sequence[bytes | float | str]


def line(text: str) -> bytes:
    """As Ollama's API document has it."""
    return piece(
        b'{"model":"tinyllama","created_at":"2023-08-04T08:52:19.385406455-07:00","response":"%s",'
        b'"done":false}\n' % text.encode()
    )


DONE = piece(
    b'{"model":"tinyllama","created_at":"2023-08-04T19:22:45.499127Z","response":"","done":true,'
    b'"total_duration":10706818083,"load_duration":6338219291,"prompt_eval_count":26,'
    b'"prompt_eval_duration":130079000,"eval_count":259,"eval_duration":4232710000}\n'
)
WHOLE: Script = [HEAD, line("one "), line("two"), DONE, END]


def answer(status: bytes, body: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%scontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
        status,
        more,
        len(body),
        body,
    )


class Told:
    """A server of scripts and a client of it."""

    def __init__(self, *scripts: Script) -> None:
        self.upstream = Upstream(scripts)
        self.config = OllamaConfig(url=f"{self.upstream.url}/api/generate")
        self.client = OllamaClient(self.config)

    def chunks(self, timeout: float = 20, total: float | None = None) -> list[StreamChunk]:
        stream = self.client.generate_stream("Go", timeout=timeout, timeout_total=total)
        return list(stream)

    def collected(self, timeout: float = 20) -> ModelResponse:
        return self.client.generate("Go", stream=True, timeout=timeout)

    @property
    def asked(self) -> int:
        return len(self.upstream.requests)

    def close(self) -> None:
        self.client.close()
        self.upstream.close()


def both_words(text: str | None) -> bool:
    return text is not None and "timeout" in text.lower() and "timed out" in text.lower()


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("script", [["stall"], [HEAD, "stall"], [HEAD, piece(b" "), "stall"]])
def test_a_slow_first_token_is_asked_for_once(script: Script):
    with closing(Told(script)) as told:
        chunks = told.chunks(0.3)
        assert [(chunk.text, chunk.done) for chunk in chunks] == [("", True)]
        assert both_words(chunks[0].error)
        assert "0.3 seconds" in (chunks[0].error or "")
        assert told.asked == 1


def test_an_answer_in_one_piece_is_asked_for_once():
    with closing(Told(["stall"])) as told:
        found = told.client.generate("Go", timeout=0.3)
        assert not found.success
        assert both_words(found.error)
        assert told.asked == 1


def test_a_stall_in_the_middle_keeps_the_text():
    with closing(Told([HEAD, line("one "), line("two"), "stall"])) as told:
        found = told.collected(0.3)
        assert (found.text, found.success, found.done) == ("one two", False, True)
        assert both_words(found.error)
        *chunks, last = told.chunks(0.3)
        assert [chunk.text for chunk in chunks] == ["one ", "two"]
        assert (last.text, last.done) == ("", True)
        assert both_words(last.error)
        assert "next chunk" in (last.error or "")


def test_signs_of_life_are_no_chunks():
    spaces: Script = [piece(b" "), 0.05] * 40
    with closing(Told([HEAD, line("one"), *spaces, DONE, END])) as told:
        assert both_words(told.chunks(0.5)[-1].error)


def test_signs_of_life_keep_an_answer_in_one_piece_waiting():
    spaces: Script = [piece(b" "), 0.05] * 20
    body = piece(b'{"model":"tinyllama","response":"one two","done":true}')
    with closing(Told([JSON, *spaces, body, END])) as told:
        assert told.client.generate("Go", timeout=0.6) == ModelResponse("one two", True, None, 200)


def test_a_limit_for_the_whole_answer():
    words = [piece_ for n in range(60) for piece_ in (line(f"{n} "), 0.05)]
    with closing(Told([HEAD, *words, DONE, END])) as told:
        *chunks, last = told.chunks(20, 0.5)
        assert chunks
        assert both_words(last.error)
        assert "0.5 seconds" in (last.error or "")
        assert "whole answer" in (last.error or "")
        told.config.timeout_total = 0.5
        assert both_words(told.collected().error)


def test_the_configured_limits_are_read_at_each_call():
    script: Script = [HEAD, 0.4, line("one"), "stall"]
    with closing(Told(script)) as told:
        told.config.timeout_first_request, told.config.timeout_chunk = 20, 0.2
        chunks = list(told.client.generate_stream("Go"))
        assert [chunk.text for chunk in chunks] == ["one", ""]
        assert "0.2 seconds" in (chunks[-1].error or "")
        told.config.timeout_first_request = 0.1
        (chunk,) = told.client.generate_stream("Go")
        assert "0.1 seconds (timeout of the first chunk)" in (chunk.error or "")


def test_a_slow_reader_is_not_a_slow_server():
    with closing(Told(WHOLE)) as told:
        texts = []
        for chunk in told.client.generate_stream("Go", timeout=0.3):
            texts.append(chunk.text)
            assert chunk.error is None
            time.sleep(0.5)
        assert texts == ["one ", "two", ""]


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_no_time_at_all_is_an_error_of_ours(timeout: float):
    with closing(Told(WHOLE)) as told:
        (chunk,) = told.chunks(timeout)
        assert chunk.done
        assert (chunk.error or "").startswith("timeout: a number of seconds above 0")
        assert told.asked == 0


# ── endings ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (b'"out of memory"', "out of memory"),
        (b'{"message":"no luck","code":1}', "no luck"),
        (b'""', "the server gave no reason"),
    ],
)
def test_an_error_in_the_stream_is_told(error: bytes, text: str):
    script = [HEAD, line("one "), piece(b'{"error":%s}\n' % error), END]
    with closing(Told(script)) as told:
        assert told.collected() == ModelResponse("one ", False, text, 200)
        assert told.chunks() == [StreamChunk("one ", False), StreamChunk("", True, text)]
        assert told.asked == 2


def test_an_error_in_an_answer_of_one_piece_is_told():
    with closing(Told([answer(b"200 OK", b'{"error":"out of memory"}')])) as told:
        assert told.client.generate("Go") == ModelResponse("", False, "out of memory", 200)


@pytest.mark.parametrize("end", [[END], ["reset"], []])
def test_a_stream_that_never_says_that_it_is_done_is_not_whole(end: Script):
    with closing(Told([HEAD, line("one "), line("two"), 0.1, *end])) as told:
        found = told.collected()
        assert (found.text, found.success) == ("one two", False)
        assert (found.error or "").startswith("Response ended prematurely")
        *chunks, last = told.chunks()
        assert "".join(chunk.text for chunk in chunks) == "one two"
        assert last.done
        assert (last.error or "").startswith("Response ended prematurely")
        assert told.asked == 2


def test_an_answer_of_one_piece_that_is_cut():
    script: Script = [b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + b'{"response":"one']
    with closing(Told(script)) as told:
        found = told.client.generate("Go")
        assert not found.success
        assert "bytes are missing" in (found.error or "")


def test_a_line_that_is_no_json_is_told_and_passed():
    with closing(Told([HEAD, line("one "), piece(b"<html>\n"), line("two"), DONE, END])) as told:
        chunks = told.chunks()
        assert [chunk.text for chunk in chunks] == ["one ", "", "two", ""]
        assert (chunks[1].error or "").startswith("JSON decode error: ")
        assert [chunk.done for chunk in chunks] == [False, False, False, True]
        assert told.collected() == ModelResponse("one two", True, None, 200)


def test_blank_lines_and_a_last_line_without_its_end():
    last = piece(b'{"response":"two","done":true}')
    with closing(Told([HEAD, piece(b"\n \n"), line("one "), piece(b"\n"), last, END])) as told:
        assert told.chunks() == [StreamChunk("one ", False), StreamChunk("two", True)]


def test_byte_by_byte():
    whole = b"".join(part for part in WHOLE if isinstance(part, bytes))
    with closing(Told([whole[n : n + 1] for n in range(len(whole))])) as told:
        assert told.chunks() == [
            StreamChunk("one ", False),
            StreamChunk("two", False),
            StreamChunk("", True),
        ]


# ── what there is ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "body", "healthy", "names", "said"),
    [
        (200, b'{"models":[{"name":"m:latest","size":5}]}', True, ["m:latest"], "[OK] Connected"),
        (200, b'{"models":[]}', True, [], "[!] Connected to Ollama, but it has no models"),
        (200, b"<html>", True, [], "[!] Ollama answered with status 200: JSON decode error"),
        (200, b'{"models":[{"size":5}]}', True, [], "[!] Ollama answered with status 200: "),
        (500, b"<html>", False, [], "[!] Ollama answered with status 500: HTTP 500: <html>"),
        (404, b'{"error":"no"}', False, [], "[!] Ollama answered with status 404: HTTP 404: no"),
    ],
)
def test_a_list_of_models(status: int, body: bytes, healthy: bool, names: list[str], said: str):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/ollama/api/tags"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/ollama/api/generate"
            with OllamaClient(OllamaConfig(url=url)) as client:
                assert client.health_check() is healthy
                assert client.get_model_names() == names
                assert not client.model_exists("m")  # exactly that name
                good, message = client.test_connection()
        finally:
            server.shutdown()
            thread.join()
    assert good is bool(names)
    assert message.startswith(said)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [b"500 Oh", b"502 Oh", b"503 Oh", b"504 Oh", b"400 Oh"])
def test_a_refusal_keeps_its_words_and_is_not_repeated(status: bytes):
    with closing(Told([answer(status, b'{"error":"model runner has stopped"}')])) as told:
        code = int(status[:3])
        text = f"HTTP {code}: model runner has stopped"
        assert told.collected() == ModelResponse("", False, text, code)
        assert told.asked == 1


def test_a_server_that_says_when_to_come_back():
    busy: Script = [answer(b"429 Wait", b'{"error":"busy"}', b"Retry-After: 0.1\r\n")]
    with closing(Told(busy, busy, WHOLE)) as told:
        assert told.collected() == ModelResponse("one two", True, None, 200)
        assert told.asked == 3
    with closing(Told(busy)) as told:
        assert told.collected() == ModelResponse("", False, "HTTP 429: busy", 429)
        assert told.asked == 4
    late: Script = [answer(b"429 Wait", b"busy", b"Retry-After: 3600\r\n")]
    with closing(Told(late)) as told:
        assert told.collected() == ModelResponse("", False, "HTTP 429: busy", 429)
        assert told.asked == 1


def test_closing_the_client_ends_its_waits():
    busy: Script = [answer(b"429 Wait", b"busy", b"Retry-After: 50\r\n")]
    with closing(Told(busy)) as told:
        began = time.monotonic()
        threading.Timer(0.3, told.client.close).start()
        assert told.collected(60).error == "The client was closed while it was reading"
        assert time.monotonic() - began < 30  # it would have been 50


def test_an_answer_that_is_no_http():
    with closing(Told([b"SSH-2.0-OpenSSH_9.2\r\n"])) as told:
        found = told.collected()
        assert not found.success
        assert told.asked == 1


@pytest.mark.parametrize(
    "url",
    [
        "localhost:11434",
        "http://[::1",
        "http://a:b/api/generate",
        "http://a..b/api/generate",
        f"http://{'a' * 64}.example/api/generate",
        "http://127.0.0.1:9/api/generate once",
        "http://127.0.0.1:9/api/générer",
    ],
)
def test_an_address_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with OllamaClient(OllamaConfig(url=url)) as client:
        found = client.generate("Go")
        assert not found.success
        assert url in (found.error or "")
        assert "prematurely" not in (found.error or "")
        assert not client.health_check()
        assert client.list_models() == []


@pytest.mark.parametrize("proxy", ["http://me:s3cret@", "me:s3cret/@proxy:1", "http://[::1"])
def test_a_proxy_that_is_none(proxy: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with OllamaClient(OllamaConfig(url="http://models.example/api/generate")) as client:
        assert (client.generate("Go").error or "").startswith("http_proxy: no address")
        good, said = client.test_connection()
    assert not good
    assert "s3cret" not in said


def test_what_can_not_be_written_is_told():
    """Half a character of UTF-16, as Python reads what a terminal got wrong."""
    with closing(Told(WHOLE)) as told:
        (chunk,) = told.client.generate_stream("\udce9")
        assert chunk.done
        assert (chunk.error or "").startswith("The request can't be written as JSON: ")
        assert not told.client.generate("Go", options={"seed": object()}).success
        llm = LLMClient(told.config)
        with pytest.raises(InvalidRequestError, match="can't be written as JSON"):
            llm.generate([{"role": "user", "content": "\udce9"}])
        assert told.asked == 0


@pytest.mark.parametrize("key", ["s3cret\n", "s3cr\u20ac\u00e9t", "s3cret\x00"])
def test_a_key_that_no_header_can_carry_is_not_shown(key: str):
    with closing(Told(WHOLE)) as told:
        told.config.key = key
        error = told.collected().error or ""
        assert error.startswith("key: ")
        assert "s3cr" not in error + told.client.test_connection()[1]
        assert told.asked == 0


def test_a_password_in_the_address_is_sent_and_not_shown():
    with closing(Told(WHOLE)) as told:
        base = f"127.0.0.1:{told.upstream.port}/api/generate"
        with OllamaClient(OllamaConfig(f"http://me:s%20cret@{base}")) as client:
            assert client.generate("Go", stream=True).text == "one two"
            client.config.key = "a key of its own"
            assert client.generate("Go", stream=True).text == "one two"
        basic, bearer = told.upstream.requests
        assert b"\r\nAuthorization: Basic bWU6cyBjcmV0\r\n" in basic
        assert b"\r\nHost: 127.0.0.1:" in basic
        assert b"\r\nAuthorization: Bearer a key of its own\r\n" in bearer
        assert b"Basic" not in bearer
    for address in (f"me:s3cret@127.0.0.1:{free_port()}", "me:s3cret@[::1", "me:s3cret/@there"):
        with OllamaClient(OllamaConfig(f"http://{address}/api/generate")) as client:
            found = client.generate("Go")
            assert not found.success
            assert "s3cret" not in (found.error or "") + client.test_connection()[1]
            assert "***@" in (found.error or "")


def test_a_key_is_not_repeated_to_anybody():
    with closing(Told([answer(b"400 Oh", b'{"error":"no such key: s3cret"}')])) as told:
        told.config.key = "s3cret"
        assert told.collected().error == "HTTP 400: no such key: ***"
        assert b"authorization: bearer s3cret" in told.upstream.requests[0].lower()


# ── leaving ──────────────────────────────────────────────────────────────────────────────────────


def test_dropping_the_stream_closes_its_connection():
    with closing(Told([HEAD, line("one"), "stall"])) as told:
        stream = told.client.generate_stream("Go")
        assert next(stream).text == "one"
        assert not told.upstream.gone.wait(0.1)
        del stream
        assert told.upstream.gone.wait(5)


def test_closing_the_client_ends_its_streams():
    with closing(Told([HEAD, line("one"), "stall"])) as told:
        chunks: list[StreamChunk] = []
        begun = threading.Event()

        def read() -> None:
            for chunk in told.client.generate_stream("Go"):
                chunks.append(chunk)
                begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(5)
        told.client.close()
        reader.join(5)
        assert not reader.is_alive()
        assert told.upstream.gone.wait(5)
        assert chunks[0] == StreamChunk("one", False)
        assert chunks[1:] == [StreamChunk("", True, "The client was closed while it was reading")]
