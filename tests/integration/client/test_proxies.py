"""On the way to a server there may be a proxy; none is on the way to this machine."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from tests.integration.client.faces import Face
from tests.integration.serving import FINISH, SSE_HEAD, Serving, Upstream, said

from penstock.core import errors

END = b"0\r\n\r\n"


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_the_environments_proxy(face: Face, monkeypatch: pytest.MonkeyPatch):
    with closing(Upstream([[SSE_HEAD, said("Hi"), FINISH, END]])) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:s%20cret@127.0.0.1:{proxy.port}")
        async with face.within(
            face.client("http://models.example:8080", api="openai", model="m", key="sk-1")
        ) as client:
            assert (await face.call(client.generate, "Go")).text == "Hi"
        (asked,) = proxy.requests
    head = asked.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"POST http://models.example:8080/v1/chat/completions HTTP/1.1"
    assert b"Host: models.example:8080" in head
    assert b"Proxy-Authorization: Basic bWU6cyBjcmV0" in head
    assert b"Authorization: Bearer sk-1" in head


async def test_none_to_this_machine_and_to_none_that_is_named(
    face: Face, server: Serving, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with face.within(face.client(server.url)) as client:
        assert await face.call(client.models)
    monkeypatch.setenv("no_proxy", "near.invalid")
    async with face.within(face.client("http://near.invalid", api="openai")) as client:
        with pytest.raises(errors.UnavailableError, match="no such host"):
            await face.call(client.models)


async def test_a_proxy_that_is_none(face: Face, monkeypatch: pytest.MonkeyPatch):
    async with face.within(face.client("http://far.invalid", api="openai")) as client:
        monkeypatch.setenv("http_proxy", "http://me:sk-secret@host:port")
        with pytest.raises(errors.InvalidRequestError, match="http_proxy: no address") as caught:
            await face.call(client.models)
    assert "secret" not in str(caught.value)


@pytest.fixture
def tunnel() -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that lets nobody through, and what it was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                with near:
                    asked.append(near.recv(65536))
                    near.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


async def test_a_safe_connection_goes_through_a_tunnel(
    face: Face, tunnel: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
):
    port, asked = tunnel
    monkeypatch.setenv("https_proxy", f"http://me:pw@127.0.0.1:{port}")
    async with face.within(
        face.client("https://models.invalid", api="openai", key="sk-1")
    ) as client:
        with pytest.raises(errors.UnavailableError, match="403"):
            await face.call(client.models)
    assert asked[0].startswith(b"CONNECT models.invalid:443 HTTP/1.")
    assert b"Proxy-Authorization: Basic bWU6cHc=\r\n" in asked[0]
    assert b"sk-1" not in asked[0]
