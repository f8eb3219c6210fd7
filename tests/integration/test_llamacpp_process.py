"""The embedded engine in its process: its port, its voice, its end."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest
from tests.integration.embedded import DEMO, running, server


def listening() -> set[int]:
    """The ports on which this very process listens (Linux)."""
    mine = {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    found: set[int] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux' table of sockets")
async def test_its_port_is_closed_to_strangers() -> None:
    before = listening()
    async with running() as engine:
        address = urlsplit(server(engine).address)
        assert address.hostname == "127.0.0.1"
        assert listening() - before == {address.port}
        paths = ("/v1/models", "/models", "/metrics", "/props", "/slots", "/tokenize", "/v1/chat")
        for path in (*paths, "/completion", "/lora-adapters", "/api/tags"):
            for key in ({}, {"Authorization": "Bearer wrong"}):
                url = f"http://127.0.0.1:{address.port}{path}"
                assert await asyncio.to_thread(_status, url, key) == 401, path
        for path in ("/", "/index.html", "/health"):
            url = f"http://127.0.0.1:{address.port}{path}"
            assert await asyncio.to_thread(_status, url, {}) == 404, path
        assert server(engine)._key.reveal() not in repr(vars(server(engine)))
    assert listening() == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", address.port or 0)) != 0


def _status(url: str, headers: dict[str, str]) -> int:
    try:
        with urlopen(HttpRequest(url, headers=headers), timeout=10) as found:
            return int(found.status)
    except HTTPError as error:
        with error:
            return error.code


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of its own, with this engine and these questions at hand."""
    head = f"""
        import asyncio, sys
        from penstock.core.messages import say
        from penstock.core.ports import Timeouts
        from penstock.core.request import Request, Sampling, ReplyFormat, ToolSpec
        from penstock.engines.llamacpp import Config, Engine
        from penstock.wire import json
        BIAS = {{"0": -100, "1": -100, "2": -100}}
        STORY = (say("user", "Tell me a story"),)
        LONG = Request(messages=STORY, sampling=Sampling(logit_bias=BIAS))
        BAD = {str(DEMO.parent / "nothing.gguf")!r}
    """
    path = str(DEMO.parents[2])
    return subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", dedent(head) + dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_it_says_nothing_on_stdout_and_stderr() -> None:
    done = python("""
        async def main():
            engine = Engine(Config(), Timeouts())
            await engine.start()
            async for _ in engine.stream(LONG): pass
            words = Request(messages=(say("user", "Hello! " * 3000),))
            schema = json.raw('{"type":"bogus"}')
            wrong = Request(messages=LONG.messages,
                reply_format=ReplyFormat(kind="json_schema", schema=schema))
            properties = {"a": {"type": "string", "pattern": "(?=a)"}}
            odd = json.raw(json.encode({"type": "object", "properties": properties}))
            tools = Request(messages=LONG.messages, tools=(ToolSpec(name="f", parameters=odd),))
            for request in (words, wrong, tools):
                try:
                    async for _ in engine.stream(request): pass
                except Exception: pass
            await engine.aclose()
            try: await Engine(Config(path=BAD), Timeouts()).start()
            except Exception: pass
        asyncio.run(main())
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "way", ["return", "raise SystemExit(0)", "while True: await anext(stream)"]
)
def test_a_process_that_just_ends_neither_hangs_nor_crashes(way: str) -> None:
    done = python(f"""
        async def main():
            global engine
            engine = Engine(Config(parallel=1), Timeouts())
            await engine.start()
            stream = engine.stream(LONG)
            for _ in range(5): await anext(stream)
            asyncio.get_running_loop().call_later(0.3, asyncio.current_task().cancel)
            {way}
        try: asyncio.run(main())
        except (asyncio.CancelledError, StopAsyncIteration): pass
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ctrl_c_still_works_after_loading() -> None:
    done = python("""
        import os, signal
        async def main():
            engine = Engine(Config(), Timeouts())
            await engine.start()
            try:
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(30)
            finally:
                await engine.aclose()
        try: asyncio.run(main())
        except KeyboardInterrupt: print("interrupted")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
