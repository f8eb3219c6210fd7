"""What a client of each dialect makes of an answer: text, reasoning, calls. None is ours."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Heard:
    """An answer as its client understood it. `reasoning` is `None` where the dialect has no word
    for it.
    """

    text: str = ""
    reasoning: str | None = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)


def blocks(body: bytes) -> list[Any]:
    """The JSON of each event of a stream of server-sent events."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
        if lines and lines != ["[DONE]"]:
            found.append(json.loads("".join(lines)))
    return found


def lines(body: bytes) -> list[Any]:
    """The JSON of each line."""
    return [json.loads(line) for line in body.decode().split("\n") if line.strip()]


def openai_stream(body: bytes) -> Heard:
    heard, calls = Heard(), dict[int, list[str]]()
    for chunk in blocks(body):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            heard.text += delta.get("content") or ""
            heard.reasoning = (heard.reasoning or "") + (delta.get("reasoning_content") or "")
            for call in delta.get("tool_calls") or []:
                made = calls.setdefault(call["index"], ["", ""])
                made[0] += call["function"].get("name") or ""
                made[1] += call["function"].get("arguments") or ""
    heard.calls = [(name, json.loads(arguments)) for name, arguments in calls.values()]
    return heard


def openai_whole(body: bytes) -> Heard:
    message = json.loads(body)["choices"][0]["message"]
    calls = message.get("tool_calls") or []
    return Heard(
        message["content"] or "",
        message.get("reasoning_content") or "",
        [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls],
    )


def lollms_stream(body: bytes) -> Heard:
    heard = Heard()
    for chunk in blocks(body):
        if chunk["type"] == "chunk":
            heard.text += chunk["content"] or ""
            heard.reasoning = (heard.reasoning or "") + (chunk["thoughts"] or "")
        elif chunk["type"] == "function_call":
            heard.calls.append((chunk["content"]["name"], chunk["content"]["arguments"]))
        elif chunk["type"] == "final":
            assert _of_items(chunk["content"]) == heard
    return heard


def lollms_whole(body: bytes) -> Heard:
    return _of_items(json.loads(body)["output"])


def _of_items(items: list[Any]) -> Heard:
    heard = Heard()
    for item in items:
        if item["type"] == "text":
            heard.text += item["data"]
            heard.reasoning = (heard.reasoning or "") + (item.get("thoughts") or "")
        elif item["type"] == "json":
            heard.calls += [(c["name"], c["arguments"]) for c in item["data"]["tool_calls"]]
    return heard


def ollama_stream(body: bytes) -> Heard:
    heard = Heard()
    for line in lines(body):
        message = line["message"]
        heard.text += message.get("content") or ""
        heard.reasoning = (heard.reasoning or "") + (message.get("thinking") or "")
        for call in message.get("tool_calls") or []:
            heard.calls.append((call["function"]["name"], call["function"]["arguments"]))
    return heard


def portal_stream(body: bytes) -> Heard:
    heard = Heard(reasoning=None)
    for event in blocks(body):
        heard.text += event.get("content", "")
        heard.calls += [(call["name"], call["arguments"]) for call in event.get("tool_calls", [])]
    return heard


def portal_whole(body: bytes) -> Heard:
    reply = json.loads(body)
    calls = [(call["name"], call["arguments"]) for call in reply.get("tool_calls", [])]
    return Heard(reply["response"], None, calls)


READERS: dict[str, tuple[Callable[[bytes], Heard], Callable[[bytes], Heard]]] = {
    "openai_chat": (openai_stream, openai_whole),
    "lollms": (lollms_stream, lollms_whole),
    "ollama": (ollama_stream, ollama_stream),
    "portal_chat": (portal_stream, portal_whole),
}
"""Streamed and whole."""
