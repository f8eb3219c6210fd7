"""How a server is reached: through a proxy, and by TLS."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.integration.ollama_client.test_faults import WHOLE
from tests.integration.serving import Upstream

from penstock.ollama_client import ModelResponse, OllamaClient, OllamaConfig, StreamChunk

BODY = b'{"response":"one two","done":true}'
FIRST = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
STALLED = b'HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{"response":"one"}\n'


def test_the_environments_proxy(monkeypatch: pytest.MonkeyPatch):
    with closing(Upstream([WHOLE])) as proxy:
        for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv("http_proxy", f"http://me:s%20cret@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "near.example")
        far = OllamaConfig(url="http://models.example:8080/api/generate")
        with OllamaClient(far) as client:
            assert client.generate("Go", stream=True).text == "one two"
        (asked,) = proxy.requests
        assert asked.startswith(b"POST http://models.example:8080/api/generate HTTP/1.1\r\n")
        assert b"\r\nHost: models.example:8080\r\n" in asked
        assert b"\r\nProxy-Authorization: Basic bWU6cyBjcmV0\r\n" in asked
    with closing(Upstream([WHOLE])) as here:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        with OllamaClient(OllamaConfig(url=f"{here.url}/api/generate")) as client:
            assert client.generate("Go", stream=True).text == "one two"


class Secured:
    """A server with TLS: one connection, two answers, the second of which stalls."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        made = (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=here "
            f"-addext subjectAltName=IP:127.0.0.1 -keyout {folder / 'key.pem'} "
            f"-out {self.certificate}"
        )
        subprocess.run(made.split(), check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "key.pem")
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, args=(context,), daemon=True).start()

    def _serve(self, context: ssl.SSLContext) -> None:
        while True:
            try:
                plain, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            with suppress(OSError), context.wrap_socket(plain, server_side=True) as near:
                for answer in (FIRST, FIRST, STALLED):
                    while b"}" not in near.recv(65536):
                        pass
                    near.sendall(answer)
                near.recv(1)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    with closing(Secured(tmp_path)) as found:
        yield found


def test_tls(secured: Secured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.certificate))
    config = OllamaConfig(url=f"https://127.0.0.1:{secured.port}/api/generate")
    with OllamaClient(config) as client:
        for _ in range(2):
            assert client.generate("Go") == ModelResponse("one two", True, None, 200)
        assert secured.connections == 1
        stream = client.generate_stream("Go")
        assert next(stream) == StreamChunk("one", False)
        threading.Timer(0.2, client.close).start()
        assert [chunk.error for chunk in stream] == ["The client was closed while it was reading"]


def test_a_certificate_that_nobody_vouches_for(secured: Secured):
    config = OllamaConfig(url=f"https://127.0.0.1:{secured.port}/api/generate")
    with OllamaClient(config) as client:
        found = client.generate("Go")
    assert not found.success
    assert "certificate" in (found.error or "").lower()
    assert secured.connections == 1
