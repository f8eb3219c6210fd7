"""A GGUF file in llama.cpp (xllamacpp), asked over its HTTP interface."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xllamacpp

from chatformat import Message


class Engine:
    """A llama.cpp server inside this process."""

    def __init__(self, path: Path, threads: int) -> None:
        params = xllamacpp.CommonParams()
        params.cpuparams.n_threads = threads
        params.model.path = str(path)
        params.n_ctx = 4096
        params.n_parallel = 4
        params.warmup = False
        params.verbosity = 0
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        started = time.perf_counter()
        self.server = xllamacpp.Server(params)
        self.load_seconds = time.perf_counter() - started

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send JSON and read JSON."""
        return json.loads(self._open(path, body).read())

    def _open(self, path: str, body: dict[str, Any]) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            self.server.listening_address + path, data, {"content-type": "application/json"}
        )
        return urllib.request.urlopen(request)

    def chat(self, messages: str | list[Message], **options: Any) -> dict[str, Any]:
        """One chat completion; returns the first choice."""
        body = {"messages": as_messages(messages), "max_tokens": 400, "temperature": 0, **options}
        choice: dict[str, Any] = self.post("/v1/chat/completions", body)["choices"][0]
        return choice

    def text(self, messages: str | list[Message], **options: Any) -> str:
        """The words of one chat completion."""
        return str(self.chat(messages, **options)["message"]["content"])

    def stream(self, messages: str | list[Message], **options: Any) -> Iterator[dict[str, Any]]:
        """The choices of a streamed chat completion."""
        body = {
            "messages": as_messages(messages),
            "max_tokens": 900,
            "temperature": 0,
            "stream": True,
            **options,
        }
        for line in self._open("/v1/chat/completions", body):
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                if chunk["choices"]:
                    yield chunk["choices"][0]


def as_messages(messages: str | list[Message]) -> list[Message]:
    """A single question as a conversation."""
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
