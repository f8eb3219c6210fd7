"""Routes, errors by prefix, keys, health, metrics, and what browsers may do."""

import asyncio
import logging
import re
import signal
from contextlib import suppress

import pytest
from tests.integration.http.parts import serving
from tests.integration.http.stand_in import Dialect
from tests.integration.http.test_http_generate import CHAT, ask, gated, raw
from tests.integration.serving import ROOT
from typing_extensions import override

from penstock.config.schema import Server
from penstock.core.errors import ConfigError
from penstock.core.ports import Opening
from penstock.core.request import Request
from penstock.transports.http.app import create_app
from penstock.transports.http.server import HttpServer, run


async def test_paths_and_methods() -> None:
    async with serving([Dialect()]) as running:
        status, headers, body = await running.ask("GET", CHAT)
        assert status == 405
        assert headers["allow"] == "OPTIONS, POST"
        assert b'"code":"wrong_method"' in body
        status, _, body = await running.ask("GET", "/v1/nothing")
        assert status == 404
        assert b'"code":"unknown_route"' in body
        status, headers, body = await running.ask("GET", "/nothing")
        assert (status, body) == (404, b'{"error":{"message":"no route GET /nothing"}}')
        status, headers, body = await running.ask("GET", "/<b>", accept="text/html,*/*")
        assert status == 404
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert b"<b>" not in body
        status, headers, _ = await running.ask("OPTIONS", CHAT)
        assert (status, headers["allow"]) == (204, "OPTIONS, POST")
        status, _, _ = await running.ask("OPTIONS", "/nothing")
        assert status == 404


async def test_doubled_slashes_collapse() -> None:
    async with serving([Dialect()]) as running:
        for path in ("//v1//chat///completions", "/chat//completions"):
            status, _, _ = await running.ask("POST", path, ask())
            assert status == 200
        status, _, _ = await running.ask("GET", "//v1//models//hello")
        assert status == 200
        status, _, body = await running.ask("GET", "//v1//nothing")
        assert status == 404
        assert b'"code":"unknown_route"' in body
        status, _, body = await running.ask("GET", "/v1/models/org//name%2Fx")
        assert status == 404
        assert b"org//name/x" in body


async def test_head_has_the_headers_and_no_body() -> None:
    async with serving([Dialect()]) as running:
        for path in ("/", "/health", "/v1/models"):
            status, headers, body = await running.ask("HEAD", path)
            assert (status, body) == (200, b"")
            assert int(headers["content-length"]) > 0


async def test_request_ids() -> None:
    async with serving([Dialect()]) as running:
        _, headers, _ = await running.ask("GET", "/health", x_request_id="mine-1")
        assert headers["x-request-id"] == "mine-1"
        for odd in ("a b", "x" * 200, '"><script>'):
            _, headers, _ = await running.ask("GET", "/nothing", x_request_id=odd)
            assert len(headers["x-request-id"]) == 16


async def test_a_bug_is_an_error_of_the_dialect_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Dialect):
        @override
        def opening(self, request: Request) -> Opening:
            raise ZeroDivisionError("the secret of the server")

    async with serving([Broken()]) as running:
        status, headers, body = await running.ask("POST", CHAT, ask())
        assert status == 500
        assert b'"code":"internal_error"' in body
        assert b"secret" not in body
        [record] = [r for r in caplog.records if r.exc_info]
        assert headers["x-request-id"] in record.getMessage()
        await running.idle()


async def test_keys_are_taken_from_any_known_header_and_never_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving([Dialect()], keys=["sesame"]) as running:
        for headers in (
            {"authorization": "Bearer sesame"},
            {"authorization": "bearer  sesame"},
            {"x_api_key": "sesame"},
            {"api_key": "sesame"},
            {"authorization": "Bearer wrong", "x_api_key": "sesame"},
        ):
            status, _, _ = await running.ask("GET", "/v1/models", None, **headers)
            assert status == 200
        for headers, code in (
            ({}, b"missing_key"),
            ({"authorization": ""}, b"missing_key"),
            ({"authorization": "Basic sesame"}, b"missing_key"),
            ({"x_api_key": "open"}, b"invalid_key"),
        ):
            status, _, body = await running.ask("POST", CHAT, ask(), **headers)
            assert status == 401
            assert code in body
        for path in ("/health", "/ready", "/", "/docs", "/openapi.json"):
            status, _, _ = await running.ask("GET", path)
            assert status == 200
    assert "sesame" not in caplog.text


async def test_a_wrong_key_is_refused_before_the_body_is_read() -> None:
    async with serving([Dialect()], keys=["sesame"]) as running:
        reader, writer = await running.connect()
        writer.write(f"POST {CHAT} HTTP/1.1\r\ncontent-length: 1000\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in head
        writer.close()


async def test_health_ready_and_the_root() -> None:
    async with serving([Dialect()]) as running:
        status, _, body = await running.ask("GET", "/health")
        assert body == b'{"status":"ok","version":"1.2.3","api_key_required":false}'
        status, _, body = await running.ask("GET", "/ready")
        assert (status, body) == (200, b'{"status":"ready"}')
        _, headers, body = await running.ask("GET", "/")
        assert body == b"Penstock is running"
        _, headers, body = await running.ask("GET", "/", accept="text/html")
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["content-security-policy"].startswith("default-src 'self'")
        [binding] = running.gateway.bindings.visible
        binding.state, binding.trouble = "down", "the model file is missing"
        status, headers, body = await running.ask("GET", "/ready")
        assert status == 503
        assert b"the model file is missing" in body
        assert headers["retry-after"] == "5"


async def test_metrics_count_what_happened() -> None:
    async with serving([Dialect()]) as running:
        await running.ask("POST", CHAT, ask())
        await running.idle()
        status, headers, body = await running.ask("GET", "/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = body.decode().splitlines()
        labels = 'binding="scripted",dialect="openai_chat",model="hello",outcome="stop"'
        assert f"penstock_requests_total{{{labels}}} 1.0" in lines
        assert 'penstock_tokens_total{binding="scripted",kind="output",model="hello"} 2.0' in lines
        assert "penstock_first_token_seconds_count 1.0" in lines
        for name in (
            "streams_live",
            "readers",
            "log_backlog_bytes",
            "log_sync_age_seconds",
        ):
            assert f"penstock_{name} 0.0" in lines
        assert any(re.fullmatch(r"penstock_tasks [1-9]\d*\.0", line) for line in lines)
        for name in ("gap", "log_latency", "loop_lag"):
            assert any(line.startswith(f"penstock_{name}_seconds_bucket") for line in lines)
    page = (ROOT / "docs/http.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    counted = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    assert set(re.findall(r"`(penstock_\w+)`", page)) == counted


async def test_metrics_need_a_key_from_elsewhere() -> None:
    async with serving([Dialect()], keys=["sesame"]) as running:
        status, _, _ = await running.ask("GET", "/metrics")
        assert status == 200
        status, _, _ = await running.ask("GET", "/metrics", x_forwarded_for="192.0.2.1")
        assert status == 401
        status, _, _ = await running.ask(
            "GET", "/metrics", x_forwarded_for="192.0.2.1", x_api_key="sesame"
        )
        assert status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9601", 200),
        ("app.localhost", 200),
        ("127.0.0.1:1", 200),
        ("127.1.2.3", 200),
        ("[::1]:9601", 200),
        ("box.lan", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("192.168.1.5", 403),
        ("", 403),
    ],
)
async def test_without_a_key_only_known_names_are_answered(host: str, status: int) -> None:
    settings = Server(allowed_hosts=("box.lan",))
    async with serving([Dialect()], settings=settings) as running:
        found, _, body = await running.ask("POST", CHAT, ask(), host=host)
        assert found == status
        if status == 403:
            assert b'"code":"forbidden"' in body


async def test_with_a_key_or_insecure_addresses_are_answered() -> None:
    async with serving([Dialect()], keys=["k"]) as running:
        found, _, _ = await running.ask("GET", "/v1/models", host="x.example", api_key="k")
        assert found == 200
    settings = Server(insecure=True)
    async with serving([Dialect()], settings=settings) as running:
        found, _, _ = await running.ask("GET", "/v1/models", host="192.168.1.5")
        assert found == 200
        found, _, _ = await running.ask("GET", "/v1/models", host="evil.example")
        assert found == 403


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost", "always"),
        ("http://localhost:8080", "always"),
        ("http://127.0.0.1:5173", "always"),
        ("https://app.example:444", "always"),
        ("http://own.localhost:9", "always"),
        ("null", "keyed"),
        ("https://app.example", "never"),
        ("https://localhost", "never"),
        ("http://evil.example", "never"),
        ("http://localhost.evil.example", "never"),
    ],
)
async def test_origins(keyed: bool, origin: str, allowed: str) -> None:
    settings = Server(
        allowed_origins=("http://localhost", "http://127.0.0.1", "null", "https://app.example:444")
    )
    ok = allowed == "always" or (allowed == "keyed" and keyed)
    keys = ["k"] if keyed else []
    async with serving([Dialect()], settings=settings, keys=keys) as running:
        host = "own.localhost:9"
        status, headers, _ = await running.ask(
            "OPTIONS", CHAT, None, host=host, origin=origin,
            access_control_request_method="POST",
            access_control_request_headers="content-type,x-api-key",
        )  # fmt: skip
        assert status == (200 if ok else 403)
        if ok:
            assert headers["access-control-allow-origin"] == origin
            assert headers["access-control-allow-headers"] == "content-type,x-api-key"
            assert "POST" in headers["access-control-allow-methods"]
        else:
            assert "access-control-allow-origin" not in headers
        status, headers, _ = await running.ask(
            "POST", CHAT, ask(), host=host, origin=origin, api_key="k"
        )
        assert status == (200 if ok or keyed else 403)
        assert ("access-control-allow-origin" in headers) == ok
        if ok:
            exposed = headers["access-control-expose-headers"]
            limits = [f"x-ratelimit-{name}-requests" for name in ("limit", "remaining", "reset")]
            named = ["Penstock-Stream", "Penstock-Ignored", "x-request-id", "Retry-After", *limits]
            assert exposed == ", ".join(named)
            assert headers["vary"] == "Origin"
            assert ("access-control-allow-credentials" in headers) == (origin != "null")


async def test_an_error_can_be_read_by_the_page_that_caused_it() -> None:
    async with serving([Dialect()], keys=["k"]) as running:
        status, headers, _ = await running.ask("POST", CHAT, b"{}", origin="http://localhost:1")
        assert status == 401
        assert headers["access-control-allow-origin"] == "http://localhost:1"


async def test_a_page_must_send_json_as_json() -> None:
    async with serving([Dialect()]) as running:
        page = {"origin": "http://localhost:8080"}
        for declared, status in (
            ("text/plain", 415),
            ("application/x-www-form-urlencoded", 415),
            ("application/json", 200),
            ("Application/JSON; charset=utf-8", 200),
            ("", 200),
        ):
            found, _, _ = await running.ask("POST", CHAT, ask(), content_type=declared, **page)
            assert found == status
            found, _, _ = await running.ask("POST", CHAT, ask(), content_type=declared)
            assert found == 200


async def test_too_many_runs_are_told_when_to_come_back() -> None:
    gate = asyncio.Event()
    settings = Server(max_runs=1)
    async with serving([Dialect()], {"slow": gated(gate)}, settings=settings) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("slow")))
        await reader.readuntil(b'"a"')
        status, headers, _ = await running.ask("POST", CHAT, ask())
        assert status == 429
        assert headers["retry-after"] == "1"
        gate.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()


async def test_shutdown_lets_a_response_end_and_cuts_off_what_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    quick, never = asyncio.Event(), asyncio.Event()
    scripts = {"quick": gated(quick), "never": gated(never)}
    async with serving([Dialect()], scripts) as running:
        ends, first = await running.connect()
        first.write(raw(ask("quick")))
        await ends.readuntil(b'"a"')
        hangs, second = await running.connect()
        second.write(raw(ask("never")))
        await hangs.readuntil(b'"a"')
        idle, third = await running.connect()
        running.server.stop()
        assert await idle.read() == b""
        quick.set()
        assert (await ends.read()).endswith(b"0\r\n\r\n")
        with suppress(ConnectionResetError):
            assert not (await hangs.read()).endswith(b"0\r\n\r\n")
        for writer in (first, second, third):
            writer.close()
    assert [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR] == []


async def test_a_signal_ends_it_and_a_taken_port_is_said() -> None:
    async with serving([Dialect()]) as running:
        settings = Server(port=running.port)
        app = create_app(running.gateway, settings)
        with pytest.raises(ConfigError, match=f":{running.port}: .*in use") as caught:
            await HttpServer(app, settings).run_until_stopped(lambda _: None)
        assert caught.value.param == "server.port"
        await run(app, Server(port=0), lambda _: signal.raise_signal(signal.SIGTERM))


async def test_dialects_that_clash_are_found_when_the_app_is_made() -> None:
    class Other(Dialect):
        name = "other"

    async with serving([Dialect()]) as running:
        running.gateway.dialects = (Dialect(), Other())
        with pytest.raises(ConfigError, match="clashes"):
            create_app(running.gateway, Server())
