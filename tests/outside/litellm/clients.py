"""LiteLLM as a client of two dialects. Prints one JSON object: case -> what it found.

Runs in an environment of its own (`locks/clients-litellm.txt`), started by
`tests/outside/test_litellm.py`, which says in the environment where Penstock listens.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its price list comes from the network else

import litellm
import openai

URL = os.environ["PENSTOCK_URL"]
litellm.telemetry = False
DIALECTS: dict[str, dict[str, Any]] = {
    "openai": {"api_base": URL + "/v1", "api_key": "none", "max_retries": 0},
    "ollama_chat": {"api_base": URL},
}
MAGIC = {
    "type": "function",
    "function": {
        "name": "magic_function",
        "description": "A magic function.",
        "parameters": {
            "type": "object",
            "properties": {"input": {"type": "integer"}},
            "required": ["input"],
        },
    },
}


def ask(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def to(dialect: str, model: str) -> dict[str, Any]:
    return {"model": f"{dialect}/{model}", "temperature": 0, **DIALECTS[dialect]}


def completion(dialect: str) -> object:
    found = litellm.completion(messages=ask("Hello!"), max_tokens=20, **to(dialect, "demo"))
    choice = found.choices[0]
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "tokens": [found.usage.prompt_tokens, found.usage.completion_tokens],
    }


def acompletion(dialect: str) -> object:
    async def run() -> object:
        asked = {"messages": ask("Hello!"), "max_tokens": 20, **to(dialect, "demo")}
        whole = await litellm.acompletion(**asked)
        text = ""
        async for chunk in await litellm.acompletion(stream=True, **asked):
            text += chunk.choices[0].delta.content or ""
        return {"text": whole.choices[0].message.content, "streamed": text}

    return asyncio.run(run())


def streaming(dialect: str) -> object:
    text, finish, usage, deltas = "", None, None, 0
    for chunk in litellm.completion(
        messages=ask("Hello!"),
        max_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
        **to(dialect, "demo"),
    ):
        if chunk.choices and chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
            deltas += 1
        if chunk.choices:
            finish = chunk.choices[0].finish_reason or finish
        usage = getattr(chunk, "usage", None) or usage
    tokens = None if usage is None else [usage.prompt_tokens, usage.completion_tokens]
    return {"text": text, "finish": finish, "tokens": tokens, "deltas": deltas}


def tools(dialect: str) -> object:
    messages = ask("What is magic_function(3)?")
    asked = {"messages": messages, "tools": [MAGIC], **to(dialect, "scripted")}
    found = litellm.completion(**asked)
    (call,) = found.choices[0].message.tool_calls
    streamed = list(litellm.completion(stream=True, **asked))
    rebuilt = litellm.stream_chunk_builder(streamed, messages=messages)
    (again,) = rebuilt.choices[0].message.tool_calls
    messages.append(found.choices[0].message.model_dump())
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "5"})
    after = litellm.completion(**asked)
    return {
        "whole": [call.function.name, json.loads(call.function.arguments)],
        "streamed": [again.function.name, json.loads(again.function.arguments)],
        "finish": found.choices[0].finish_reason,
        "after": after.choices[0].message.content,
    }


def reasoning(dialect: str) -> object:
    asked = {"messages": ask("What is a token?"), "reasoning_effort": "low", **to(dialect, "demo")}
    if dialect == "openai":
        asked["allowed_openai_params"] = ["reasoning_effort"]
    message = litellm.completion(**asked).choices[0].message
    return {"text": message.content, "thought": getattr(message, "reasoning_content", None)}


def json_schema(dialect: str) -> object:
    schema = {
        "type": "object",
        "properties": {"old": {"type": "boolean"}},
        "required": ["old"],
        "additionalProperties": False,
    }
    asked = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    found = litellm.completion(
        messages=ask("A person."), response_format=asked, **to(dialect, "demo")
    )
    return json.loads(found.choices[0].message.content)


def embeddings(dialect: str) -> object:
    named = {"ollama_chat": "ollama"}.get(dialect, dialect)
    options = {"model": f"{named}/demo", **DIALECTS[dialect]}
    found = litellm.embedding(input=["a token", "a dragon"], **options)
    return [len(item["embedding"]) for item in found.data]


def unknown_model(dialect: str) -> object:
    try:
        litellm.completion(messages=ask("Hi"), **to(dialect, "no-such-model"))
    except openai.OpenAIError as error:  # LiteLLM's errors are kinds of it
        return {"name": type(error).__name__, "status": getattr(error, "status_code", None)}
    return None


def broken_stream(dialect: str) -> object:
    text = ""
    try:
        for chunk in litellm.completion(messages=ask("Hi"), stream=True, **to(dialect, "broken")):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    except openai.OpenAIError as error:
        return {"text": text, "name": type(error).__name__}
    return {"text": text, "name": None}


CASES: tuple[Callable[[str], object], ...] = (
    completion,
    acompletion,
    streaming,
    tools,
    reasoning,
    json_schema,
    embeddings,
    unknown_model,
    broken_stream,
)


def main() -> None:
    found: dict[str, object] = {}
    for dialect in DIALECTS:
        for case in CASES:
            try:
                found[f"{dialect}.{case.__name__}"] = case(dialect)
            except Exception as error:  # noqa: BLE001  the case that threw is named
                found[f"{dialect}.{case.__name__}"] = {"threw": repr(error)}
    print("\n" + json.dumps(found))


main()
