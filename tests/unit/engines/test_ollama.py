"""The `ollama` engine: what it sends, what it makes of odd answers."""

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from penstock.core.errors import (
    BindingDownError,
    EngineError,
    EngineProtocolError,
    GatewayError,
    InvalidRequestError,
    ModalityError,
    UnknownModelError,
    UnsupportedParameterError,
)
from penstock.core.events import (
    Done,
    Event,
    Failed,
    ReasoningDelta,
    TextDelta,
    Timings,
    ToolCallDelta,
    Usage,
)
from penstock.core.messages import ImagePart, Message, TextPart, ToolCall, say
from penstock.core.ports import Timeouts
from penstock.core.queries import EmbedAsk, Embedded
from penstock.core.request import Effort, ReplyFormat, Request, Sampling, ToolChoice, ToolSpec
from penstock.core.secrets import Secret
from penstock.engines._ollama_body import body
from penstock.engines._ollama_body import raw as raw_body
from penstock.engines._ollama_models import cards, details, running, vectors
from penstock.engines._ollama_wire import Lines
from penstock.engines.ollama import Config, Engine
from penstock.testing.engines import play, said
from penstock.testing.upstreams import Connection, Script, scripted
from penstock.testing.vectors import REQUEST
from penstock.wire import json

pytestmark = pytest.mark.usefixtures("carrier")

QUICK = Timeouts(connect=1, first_token=2, between_tokens=2)
DONE = b'{"done":true,"done_reason":"stop"}\n'

TAGS = b"""{"models":[{"name":"codellama:13b","modified_at":"2023-11-04T14:56:49.277302595-07:00",
"size":7365960935,"digest":"9f438cb9cd581fc025612d27f7c1a6669ff83a8bb0ed86c94fcf4c5440555697",
"details":{"format":"gguf","family":"llama","families":null,
"parameter_size":"13B","quantization_level":"Q4_0"}}]}"""
"""From Ollama's docs/api.md, "List Local Models"."""


def made(*lines: bytes) -> list[Event]:
    reader = Lines()
    return [event for line in lines for event in reader.feed(line)] + reader.end()


def answering(status: str, answer: bytes) -> Script:
    async def script(connection: Connection) -> None:
        await connection.answer(status, ["Content-Type: application/json"], answer)

    return script


async def refused(script: Script) -> GatewayError:
    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url, key=Secret("sk-secret")), QUICK)
        with pytest.raises(GatewayError) as caught:
            await play(engine, REQUEST)
        await engine.aclose()
        return caught.value


def test_tags_in_the_text_of_models_that_ollama_does_not_know() -> None:
    events = made(
        b'{"message":{"content":"<thi"}}', b'{"message":{"content":"nk>hm</think>\\n\\na"}}', DONE
    )
    assert events == [
        ReasoningDelta(part=0, text="hm"),
        TextDelta(part=1, text="a"),
        Done(reason="stop"),
    ]


def test_calls_are_numbered_over_all_lines() -> None:
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"x": 1}}}]}}'
    own = b'{"message":{"tool_calls":[{"id":"i","function":{"name":"g","arguments":null}}]}}'
    assert made(line, own, DONE) == [
        ToolCallDelta(part=2, call="call_0", name="f", arguments='{"x": 1}'),
        ToolCallDelta(part=3, call="i", name="g", arguments="{}"),
        Done(reason="tool_calls"),
    ]


@pytest.mark.parametrize(
    "read", [cards, running, partial(vectors, wanted=1), partial(details, "m")]
)
@pytest.mark.parametrize("said", [b"<html>", b"[]", b'{"models":5,"embeddings":5,"details":5}'])
def test_lists_that_make_no_sense(read: Callable[[bytes], object], said: bytes) -> None:
    with pytest.raises(EngineProtocolError, match="the upstream sent") as caught:
        read(said)
    assert caught.value.param is None


def test_what_only_a_penstock_says() -> None:
    filtered = b'{"done":true,"done_reason":"content_filter"}'
    assert made(filtered) == [Done(reason="filtered")]
    _, end = made(b'{"message":{"content":"a"}}', b'{"done":true,"done_reason":"cancelled"}')
    assert isinstance(end, Failed)
    assert "cancelled" in end.message


def test_a_server_that_measures_no_time() -> None:
    usage, _ = made(b'{"done":true,"prompt_eval_count":3,"eval_count":2}')
    assert usage == Usage(input_tokens=3, output_tokens=2)
    told = b'{"embeddings":[[0.5]],"prompt_eval_count":1}'
    assert vectors(told, 1) == Embedded(vectors=((0.5,),), input_tokens=1)


def test_length() -> None:
    assert made(b'{"done":true,"done_reason":"length"}') == [Done(reason="length")]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b'{"message":5}',
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]}}',
    ],
)
def test_nonsense(line: bytes) -> None:
    (end,) = made(line, DONE)
    assert isinstance(end, Failed)
    assert end.code == "engine_protocol"
    assert "nonsense" not in end.message


def test_a_stream_without_an_end() -> None:
    _, end = made(b'{"message":{"content":"a"}}')
    assert isinstance(end, Failed)


def test_only_what_was_said() -> None:
    assert body(Request(model="m", messages=(say("user", "Hi"),))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }


def test_everything() -> None:
    call = ToolCall(id="c", name="f", arguments='{"x":1}')
    request = Request(
        model="m",
        messages=(
            Message(
                role="user", parts=(TextPart("look"), ImagePart(url="data:image/png;base64,AA=="))
            ),
            Message(role="assistant", tool_calls=(call,), reasoning="hm"),
            Message(role="tool", parts=(TextPart("42"),), tool_call_id="c"),
        ),
        sampling=Sampling(temperature=0.0, max_tokens=5, stop=("a",), repeat_last_n=3),
        tools=(ToolSpec(name="f"),),
        tool_choice=ToolChoice(mode="auto"),
        reply_format=ReplyFormat(kind="json_schema", schema=json.raw('{"type":"object"}')),
        effort="minimal",
    )
    assert json.decode(json.encode(body(request, 2048)), dict[str, object], EngineError) == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "look", "images": ["AA=="]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}],
            },
            {"role": "tool", "content": "42", "tool_name": "f"},
        ],
        "stream": True,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "format": {"type": "object"},
        "think": "low",
        "options": {
            "temperature": 0.0,
            "num_predict": 5,
            "repeat_last_n": 3,
            "stop": ["a"],
            "num_ctx": 2048,
        },
    }


def test_no_thinking_no_tools_and_any_json() -> None:
    found = body(
        Request(
            effort="none",
            tools=(ToolSpec(name="f"),),
            tool_choice=ToolChoice(mode="none"),
            reply_format=ReplyFormat(kind="json_object"),
        )
    )
    assert (found["think"], found["format"], "tools" in found) == (False, "json", False)


@pytest.mark.parametrize("choice", [ToolChoice(mode="required"), ToolChoice(name="f")])
def test_a_forced_call_is_refused(choice: ToolChoice) -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        body(Request(tool_choice=choice))
    assert caught.value.param == "tool_choice"


def test_a_picture_elsewhere_is_refused() -> None:
    message = Message(role="user", parts=(ImagePart(url="https://example.org/a.png"),))
    with pytest.raises(UnsupportedParameterError) as caught:
        body(Request(messages=(message,)))
    assert caught.value.param == "messages[0].content[0]"


@pytest.mark.parametrize("arguments", ["[1]", "{"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    call = ToolCall(id="c", name="f", arguments=arguments)
    with pytest.raises(InvalidRequestError) as caught:
        body(Request(messages=(Message(role="assistant", tool_calls=(call,)),)))
    assert (caught.value.param or "").endswith("tool_calls")


async def test_what_is_sent() -> None:
    async with scripted(answering("200 OK", DONE)) as upstream:
        config = Config(
            url=upstream.url + "/api/",
            key=Secret("sk-1"),
            model="own",
            context_size=99,
            keep_alive="10m",
        )
        engine = Engine(config, QUICK)
        assert said(await play(engine, Request(messages=REQUEST.messages))) == [Done(reason="stop")]
        await engine.aclose()
        (connection,) = upstream.connections
    assert connection.head.startswith(b"POST /api/chat HTTP/1.1\r\n")
    assert b"Authorization: Bearer sk-1\r\n" in connection.head
    found = json.decode(connection.body, dict[str, object], EngineError)
    assert (found["model"], found["options"], found["keep_alive"]) == (
        "own",
        {"num_ctx": 99},
        "10m",
    )


async def test_models() -> None:
    async with scripted(answering("200 OK", TAGS)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        (card,) = await engine.models()
        await engine.aclose()
    assert (card.name, card.size, card.modified) == ("codellama:13b", 7365960935, 1699135009)
    assert card.digest == "9f438cb9cd581fc025612d27f7c1a6669ff83a8bb0ed86c94fcf4c5440555697"
    assert (card.format, card.family, card.parameter_size, card.quantization) == (
        "gguf",
        "llama",
        "13B",
        "Q4_0",
    )


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",  # Go's zero time, which Ollama sends for "nobody knows"
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-08:00",
        "not a time",
    ],
)
def test_a_time_that_nobody_knows(moment: str) -> None:
    told = f'{{"models":[{{"name":"m","modified_at":"{moment}","expires_at":"{moment}"}}]}}'
    (card,), (loaded,) = cards(told.encode()), running(told.encode())
    assert card.modified is None
    assert loaded.until is None


async def test_an_unknown_model() -> None:
    answer = b'{"error":"model \'m\' not found"}'
    assert isinstance(await refused(answering("404 Not Found", answer)), UnknownModelError)


async def test_an_error_that_shows_our_key() -> None:
    answer = b'{"error":"who is sk-secret?"}'
    assert "sk-secret" not in (await refused(answering("401 Unauthorized", answer))).message


async def test_a_web_page() -> None:
    async def script(connection: Connection) -> None:
        await connection.answer(headers=["Content-Type: text/html"], body=b"<html>")

    assert isinstance(await refused(script), EngineProtocolError)


async def test_a_server_that_is_not_ollama() -> None:
    async with scripted(answering("404 Not Found", b"no")) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        with pytest.raises(BindingDownError, match="`url`"):
            await engine.start()
        await engine.aclose()


# ── raw texts, vectors, what is known of a model ─────────────────────────────────────────────────


def raw(text: str, **more: object) -> Request:
    asked = Request(model="m", messages=(say("user", text),), raw=True)
    return msgspec.structs.replace(asked, **more)


async def test_a_raw_text_goes_to_generate() -> None:
    """From Ollama's docs/api.md, "Generate a completion", request "Raw Mode" and its stream."""
    first = (
        b'{"model":"llama3.2","created_at":"2023-08-04T08:52:19.385406455-07:00",'
        b'"response":"The","done":false}\n'
    )
    last = (
        b'{"model":"llama3.2","created_at":"2023-08-04T19:22:45.499127Z","response":"",'
        b'"done":true,"context":[1,2,3],"total_duration":10706818083,'
        b'"load_duration":6338219291,"prompt_eval_count":26,"prompt_eval_duration":130079000,'
        b'"eval_count":259,"eval_duration":4232710000}\n'
    )

    async def script(connection: Connection) -> None:
        await connection.answer(headers=["Content-Type: application/x-ndjson"], body=first + last)

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        asked = raw("[INST] why is the sky blue? [/INST]", sampling=Sampling(temperature=0.0))
        found = said(await play(engine, asked))
        await engine.aclose()
        (connection,) = upstream.connections
    assert found == [
        TextDelta(part=1, text="The"),
        Usage(
            input_tokens=26,
            output_tokens=259,
            timings=Timings(load=6338219291, prompt=130079000, generation=4232710000),
        ),
        Done(reason="stop"),
    ]
    assert connection.head.startswith(b"POST /api/generate ")
    assert json.decode(connection.body, dict[str, object], EngineError) == {
        "model": "m",
        "prompt": "[INST] why is the sky blue? [/INST]",
        "raw": True,
        "stream": True,
        "options": {"temperature": 0.0},
    }


def test_a_gap_is_filled_by_ollamas_own_template() -> None:
    """`raw` together with `suffix` would drop the suffix without a word."""
    assert raw_body(raw("def f(", suffix="return")) == {
        "model": "m",
        "prompt": "def f(",
        "suffix": "return",
        "stream": True,
    }


def test_what_raw_can_have_and_what_not() -> None:
    schema = json.raw('{"type":"object"}')
    wanted = ReplyFormat(kind="json_schema", schema=schema)
    assert raw_body(raw("x", reply_format=wanted), 64)["options"] == {"num_ctx": 64}
    assert "format" in raw_body(raw("x", reply_format=wanted))
    for more, param in (
        ({"tools": (ToolSpec(name="f"),)}, "tools"),
        ({"effort": "high"}, "reasoning_effort"),
        ({"messages": ()}, "messages"),
        ({"messages": (Message(role="user", parts=(ImagePart(url="data:,"),)),)}, "messages"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            raw_body(raw("x", **more))
        assert caught.value.param == param


async def test_tags_in_a_raw_text_are_text() -> None:
    line = b'{"response":"<think>a</think>b","done":true}\n'
    async with scripted(answering("200 OK", line)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        found = said(await play(engine, raw("x")))
        await engine.aclose()
    assert found == [TextDelta(part=1, text="<think>a</think>b"), Done(reason="stop")]


@pytest.mark.parametrize(
    ("effort", "think"), [("none", False), ("minimal", "low"), ("high", "high")]
)
def test_thinking(effort: Effort, think: object) -> None:
    assert body(Request(messages=(say("user", "x"),), effort=effort))["think"] == think


EMBED = b"""{
  "model": "all-minilm",
  "embeddings": [[
    0.010071029, -0.0017594862, 0.05007221, 0.04692972, 0.054916814,
    0.008599704, 0.105441414, -0.025878139, 0.12958129, 0.031952348
  ]],
  "total_duration": 14143917,
  "load_duration": 1019500,
  "prompt_eval_count": 8
}"""
"""From Ollama's docs/api.md, "Generate Embeddings"."""


async def test_vectors() -> None:
    async with scripted(answering("200 OK", EMBED)) as upstream:
        engine = Engine(Config(url=upstream.url, context_size=512, keep_alive="1m"), QUICK)
        ask = EmbedAsk(model="all-minilm", texts=("Why is the sky blue?",), dimensions=10)
        found = await engine.embed(ask)
        assert (await engine.embed(EmbedAsk())).vectors == ()
        await engine.aclose()
        (connection,) = upstream.connections
    assert found.vectors[0][:2] == (0.010071029, -0.0017594862)
    assert [len(vector) for vector in found.vectors] == [10]
    assert found.input_tokens == 8
    assert found.timings == Timings(load=1019500, prompt=14143917 - 1019500)
    assert connection.head.startswith(b"POST /api/embed ")
    assert json.decode(connection.body, dict[str, object], EngineError) == {
        "model": "all-minilm",
        "input": ["Why is the sky blue?"],
        "truncate": False,
        "dimensions": 10,
        "options": {"num_ctx": 512},
        "keep_alive": "1m",
    }


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        ("404 Not Found", b"404 page not found", ModalityError),
        ("404 Not Found", b'{"error":"model \'m\' not found"}', UnknownModelError),
        ("400 Bad", b'{"error":"input length exceeds maximum context"}', InvalidRequestError),
        ("200 OK", b'{"embeddings":[]}', EngineProtocolError),
    ],
)
async def test_no_vectors(status: str, answer: bytes, error: type[GatewayError]) -> None:
    async with scripted(answering(status, answer)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        with pytest.raises(error) as caught:
            await engine.embed(EmbedAsk(model="m", texts=("x",), param="prompt"))
        await engine.aclose()
    if error is InvalidRequestError:
        assert caught.value.param == "prompt"


SHOW = rb"""{
  "parameters": "num_keep                       24\nstop                           \"<|start_header_id|>\"\nstop                           \"<|end_header_id|>\"\nstop                           \"<|eot_id|>\"",
  "template": "{{ if .System }}<|start_header_id|>system<|end_header_id|>{{ .System }}{{ end }}",
  "details": {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
    "parameter_size": "8.0B", "quantization_level": "Q4_0"},
  "model_info": {
    "general.architecture": "llama",
    "general.file_type": 2,
    "general.parameter_count": 8030261248,
    "llama.attention.layer_norm_rms_epsilon": 0.00001,
    "llama.context_length": 8192,
    "tokenizer.ggml.merges": [],
    "tokenizer.ggml.model": "gpt2"
  }
}"""  # noqa: E501
"""From Ollama's docs/api.md, "Show Model Information", shortened."""


async def test_one_model() -> None:
    async with scripted(answering("200 OK", SHOW)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        found = await engine.describe("llama3.2")
        await engine.aclose()
        assert upstream.connections[0].head.startswith(b"POST /api/show ")
        assert upstream.connections[0].body == b'{"model":"llama3.2"}'
    assert found.card.name == "llama3.2"
    assert found.card.context_size == 8192
    assert found.card.parameter_size == "8.0B"
    assert found.template.startswith("{{ if .System }}")
    assert found.parameters == {
        "num_keep": 24,
        "stop": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    }
    assert found.metadata["llama.attention.layer_norm_rms_epsilon"] == 0.00001
    assert "tokenizer.ggml.merges" not in found.metadata
    assert found.capabilities == ("completion",)


async def test_a_model_that_there_is_not() -> None:
    async with scripted(
        answering("404 Not Found", b'{"error":"model \'x\' not found"}')
    ) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        for asked in (engine.describe("x"), engine.load("x"), engine.unload("x")):
            with pytest.raises(UnknownModelError):
                await asked
        await engine.aclose()


PS = b"""{
  "models": [
    {
      "name": "mistral:latest",
      "model": "mistral:latest",
      "size": 5137025024,
      "digest": "2ae6f6dd7a3dd734790bbbf58b8909a606e0e7e97e94b7604e0aa7ae4490e6d8",
      "details": {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "7.2B",
        "quantization_level": "Q4_0"
      },
      "expires_at": "2024-06-04T14:38:31.83753-07:00",
      "size_vram": 5137025024
    }
  ]
}"""
"""From Ollama's docs/api.md, "List Running Models"."""


async def test_what_is_in_memory() -> None:
    async with scripted(answering("200 OK", PS)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        (found,) = await engine.loaded()
        await engine.aclose()
    assert found.card.name == "mistral:latest"
    assert found.card.quantization == "Q4_0"
    assert (found.size, found.gpu_size, found.until) == (5137025024, 5137025024, 1717537111)


async def test_loading_and_unloading() -> None:
    """From Ollama's docs/api.md, "Load a model" and "Unload a model"."""
    loaded = (
        b'{"model":"llama3.2","created_at":"2024-09-12T21:17:29.110811Z","message":'
        b'{"role":"assistant","content":""},"done_reason":"load","done":true}'
    )
    async with scripted(answering("200 OK", loaded)) as upstream:
        engine = Engine(Config(url=upstream.url, keep_alive="5m"), QUICK)
        await engine.load("llama3.2")
        await engine.unload("llama3.2")
        await engine.aclose()
        sent = [json.decode(c.body, dict[str, object], EngineError) for c in upstream.connections]
    asked = {"model": "llama3.2", "messages": [], "stream": False}
    assert sent == [{**asked, "keep_alive": "5m"}, {**asked, "keep_alive": 0}]
