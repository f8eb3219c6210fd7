"""The plainest reader of a streamed chat completion: it costs little, so that servers show."""

import http.client
import re
import time
from typing import Final

import msgspec

from benchmarks.processes import BenchError
from penstock.wire import json

_TOKENS: Final = re.compile(rb'"completion_tokens":\s*(\d+)')
_TEXT: Final = re.compile(rb'"content":\s*"[^"]')


class Answer(msgspec.Struct, frozen=True):
    """`tokens`: by the server's own count. `first_at`: when the first text was there."""

    tokens: int
    first_at: float


class NotReadyError(Exception):
    """The server says that it is still loading."""


def ask_when_ready(port: int, prompt: str, most: int = 256, patience: float = 60.0) -> Answer:
    """The same, asked again while the server says that it is not ready."""
    end = time.monotonic() + patience
    while True:
        try:
            return ask(port, prompt, most)
        except NotReadyError as error:
            if time.monotonic() > end:
                raise BenchError(f"not ready in {patience:.0f} s: {error}") from error
            time.sleep(0.005)


def ask(port: int, prompt: str, most: int = 256) -> Answer:
    """One greedy answer, read to its end."""
    body = json.encode(
        {
            "model": "penstock-demo",
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "max_tokens": most,
        }
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(
            "POST", "/v1/chat/completions", body, {"Content-Type": "application/json"}
        )
        reply = connection.getresponse()
        parts: list[bytes] = []
        first_at = 0.0
        while part := reply.read1(65536):
            parts.append(part)
            if not first_at and _TEXT.search(part):
                first_at = time.perf_counter()
    finally:
        connection.close()
    if reply.status == http.client.SERVICE_UNAVAILABLE:
        raise NotReadyError(b"".join(parts)[:200].decode(errors="replace"))
    counted = _TOKENS.findall(b"".join(parts))
    if reply.status != 200 or not counted or not first_at:
        raise BenchError(f"no answer: status {reply.status} {b''.join(parts)[:300]!r}")
    return Answer(int(counted[-1]), first_at)
