"""What the vectors of lollms do not show."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import events as ev
from penstock.core.cards import BindingCard, ModelCard, Personality
from penstock.core.errors import ConfigError, InvalidRequestError, ModalityError
from penstock.core.ports import Call
from penstock.core.queries import Found, ModelDetails, Operation, Query
from penstock.core.request import Request
from penstock.dialects.lollms import Dialect, Encoder, encode, shapes
from penstock.wire import json

DIALECT = Dialect()
PAGE = Path(__file__).parents[3] / "docs" / "dialects" / "lollms.md"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
ITEM = {"type": "text", "role": "user_prompt", "data": "x"}


def parse(body: object) -> Request:
    route = next(route for route in DIALECT.routes if route.operation == "generate")
    found = DIALECT.parse(Call(route, {}, {}, {}, msgspec.json.encode(body)))
    assert isinstance(found, Request)
    return found


def read_or_refused(body: object, param: str) -> bool:
    """Read, and stored as it was read; or refused with the field that was wrong."""
    try:
        request = parse(body)
    except (InvalidRequestError, ModalityError) as error:
        return (error.param or "").startswith(param) or "not valid JSON" in error.message
    return json.decode(json.encode(request), Request, ConfigError) == request


def listing(operation: Operation, name: str = "", **found: object) -> object:
    answer = DIALECT.answer(
        msgspec.structs.replace(Found(query=Query(operation, name), version="1.2.3"), **found)
    )
    assert (answer.status, answer.content_type) == (200, "application/json")
    return json.decode(answer.body, object, ConfigError)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from(shapes.Body.__struct_fields__), values)
def test_any_value_of_any_field_is_read_or_refused_by_name(name: str, given_value: object):
    assert read_or_refused({"input_data": [ITEM]} | {name: given_value}, name)


@given(
    st.dictionaries(st.sampled_from(shapes.Parameters.__struct_fields__), values),
    st.dictionaries(st.text(), values),
)
def test_any_parameters_are_read_or_refused_by_name(
    known: dict[str, object], unknown: dict[str, object]
):
    assert read_or_refused({"input_data": [ITEM], "parameters": unknown | known}, "parameters")


@given(st.dictionaries(st.text(), values))
def test_unknown_parameters_are_named(parameters: dict[str, object]):
    known = shapes.Parameters.__struct_fields__
    unknown = {f"x{n}": v for n, v in parameters.items() if f"x{n}" not in known}
    told = [f"parameters.{name}" for name, v in unknown.items() if v is not None]
    request = parse({"input_data": [ITEM], "parameters": unknown})
    assert list(request.ignored) == told


@given(st.dictionaries(st.sampled_from(shapes.Item.__struct_fields__), values))
def test_any_item_is_read_or_refused_by_name(item: dict[str, object]):
    assert read_or_refused({"input_data": [ITEM | item]}, "input_data")


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"prompt": "a", "extra_data": {"b": 1}}, ()),
        ({"prompt": "a", "input_data": [ITEM]}, ("prompt",)),
        ({"prompt": None, "extra_data": None, "input_data": [ITEM]}, ()),
        ({"prompt": "a", "text_prompt": "b"}, ("prompt",)),
        ({"extra_data": [1], "input_data": [ITEM]}, ("extra_data",)),
        ({"prompt": "a", "extra_data": 1, "generation_type": "tti"}, ("extra_data",)),
    ],
)
def test_the_old_fields_are_named_where_they_do_not_count(
    body: dict[str, object], ignored: tuple[str, ...]
):
    assert parse(body).ignored == ignored


def test_the_page_names_every_parameter_and_role():
    page = PAGE.read_text()
    names = {*shapes.Parameters.__struct_fields__, *shapes.Body.__struct_fields__}
    assert sorted(name for name in names if f"`{name}`" not in page) == []


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


@given(st.text())
def test_the_short_way_of_text_writes_what_the_long_way_writes(text: str):
    entry = ev.Entry(ev.Seq(2), 5, ev.TextDelta(part=1, text=text))
    frames = Encoder(Request(stream=True)).feed(entry)
    assert [frame.data for frame in frames] == [json.encode(encode.StreamChunk("chunk", text))]


def test_health_is_open_and_says_whether_a_key_is_needed():
    assert listing("health", key_required=True) == {
        "status": "ok",
        "version": "1.2.3",
        "api_key_required": True,
    }
    assert [route.path for route in DIALECT.routes if route.open] == ["/api/v1/health"]


def test_bindings_are_types_and_instances_without_their_trouble():
    cloud = BindingCard(
        name="cloud",
        engine="openai",
        description="Any compatible server.",
        state="up",
        model="m",
        url="https://example.org/v1",
        inputs=("text", "image"),
    )
    down = BindingCard(
        name="other", engine="openai", description="", state="down", trouble="/home/me/x.gguf"
    )
    assert listing("bindings", bindings=(cloud, down)) == {
        "binding_types": {
            "openai": {
                "type_name": "openai",
                "display_name": "openai",
                "version": "1.2.3",
                "author": "Penstock",
                "description": "Any compatible server.",
                "requirements": [],
                "supports_streaming": True,
                "documentation_url": "",
                "supported_output_modalities": ["text"],
                "supported_input_modalities": ["text", "image"],
            }
        },
        "binding_instances": {
            "cloud": {
                "type": "openai",
                "binding_instance_name": "cloud",
                "default_model": "m",
                "state": "up",
                "host": "https://example.org/v1",
            },
            "other": {
                "type": "openai",
                "binding_instance_name": "other",
                "default_model": None,
                "state": "down",
            },
        },
    }


def test_models_of_a_binding_keep_their_nulls():
    bare = ModelCard(name="a")
    full = ModelCard(
        name="b",
        alias_of="a",
        modified=1_700_000_000,
        size=5,
        quantization="Q4_K_M",
        format="gguf",
        family="llama",
        parameter_size="8B",
        context_size=4096,
        max_output_tokens=512,
        license="MIT",
        inputs=("text", "image", "audio"),
    )
    nulls: dict[str, object] = {"template": None, "homepage": None}
    assert listing("binding_models", "my_llm", models=(bare, full)) == {
        "binding_instance_name": "my_llm",
        "models": [
            nulls
            | {
                "name": "a",
                "size": None,
                "modified_at": None,
                "quantization_level": None,
                "format": None,
                "family": None,
                "families": None,
                "parameter_size": None,
                "context_size": None,
                "max_output_tokens": None,
                "license": None,
                "supports_vision": False,
                "supports_audio": False,
                "details": {},
            },
            nulls
            | {
                "name": "b",
                "size": 5,
                "modified_at": "2023-11-14T22:13:20+00:00",
                "quantization_level": "Q4_K_M",
                "format": "gguf",
                "family": "llama",
                "families": ["llama"],
                "parameter_size": "8B",
                "context_size": 4096,
                "max_output_tokens": 512,
                "license": "MIT",
                "supports_vision": True,
                "supports_audio": True,
                "details": {"alias_of": "a"},
            },
        ],
    }


def test_personalities_show_no_absolute_path():
    lollms = Personality(
        name="lollms", conditioning="secret plan", version="1.0", tags=("a",), path="generic/lollms"
    )
    other = Personality(name="other", conditioning="", path="/srv/personalities/other")
    assert listing("personalities", personalities=(lollms, other)) == {
        "personalities": {
            name: {
                "name": name,
                "author": "",
                "version": version,
                "description": "",
                "category": "generic",
                "language": "english",
                "tags": tags,
                "icon": "default.png",
                "is_scripted": False,
                "path": path,
            }
            for name, version, tags, path in (
                ("lollms", "1.0", ["a"], "generic/lollms"),
                ("other", "", [], "other"),
            )
        }
    }


def test_model_files_always_have_ten_kinds():
    models = (
        ModelCard(name="z", format="gguf"),
        ModelCard(name="a", format="gguf"),
        ModelCard(name="sd", format="diffusers"),
        ModelCard(name="painter", outputs=("image",)),
        ModelCard(name="odd", outputs=()),
        ModelCard(name="chat"),
    )
    empty: dict[str, list[str]] = {
        kind: [] for kind in ("ttv", "ttm", "tts", "stt", "audio2audio", "i2i")
    }
    assert listing("model_files", models=models) == {
        "models": empty
        | {
            "ttt": ["chat", "odd"],
            "tti": ["painter"],
            "gguf": ["a", "z"],
            "diffusers_models": ["sd"],
        }
    }


def test_defaults_always_have_eight_keys():
    told = {"ttt_binding": "b", "default_context_size": 4096, "default_max_output_tokens": 1024}
    assert listing("defaults", defaults=told | {"other": 1}) == {
        "defaults": told
        | dict.fromkeys(["tti_binding", "tts_binding", "stt_binding", "ttv_binding", "ttm_binding"])
    }


# ── routes of their own ──────────────────────────────────────────────────────────────────────────


def test_all_thirteen_routes_and_the_four_at_the_root():
    at = {(route.method, route.path) for route in DIALECT.routes}
    assert at == {
        *(("GET", f"/api/v1/{name}") for name in (
            "health", "list_bindings", "list_active_bindings", "list_models",
            "list_available_models/{binding}", "list_personalities", "list_functions",
            "get_default_bindings", "get_model_info/{binding}",
        )),
        *(("POST", f"/api/v1/{name}") for name in (
            "generate", "tokenize", "detokenize", "count_tokens",
        )),
        ("POST", "/generate"),
        *(("GET", f"/{name}") for name in (
            "list_bindings", "list_personalities", "list_available_models/{binding}",
        )),
    }  # fmt: skip


def test_active_bindings_are_the_instances_of_the_list():
    card = BindingCard(
        name="cloud", engine="openai", description="", state="up", model="m", trouble="/home/me"
    )
    instances = listing("bindings", bindings=(card,))
    active = DIALECT.answer(
        Found(query=Query("bindings", form="active"), version="1", bindings=(card,))
    )
    assert json.decode(active.body, object, ConfigError) == {
        "bindings": instances["binding_instances"]  # type: ignore[index]
    }


def test_tokens_and_functions():
    assert listing("tokenize", tokens=(5, 6)) == {"tokens": [5, 6], "count": 2}
    assert listing("count_tokens", tokens=(5, 6)) == {"count": 2}
    assert listing("detokenize", text="a\u2028") == {"text": "a\u2028"}
    assert listing("functions", functions=("b.c", "a.b")) == {"functions": ["a.b", "b.c"]}


def test_what_is_known_of_a_model():
    card = ModelCard(
        name="m", binding="b", context_size=64, size=5, family="llama", inputs=("text", "image")
    )
    details = ModelDetails(
        card=card,
        template="{{ a secret plan }}",
        system="another",
        license="MIT",
        metadata={"llama.block_count": 4},
        capabilities=("completion", "vision", "tools"),
    )
    assert listing("model_details", "b", details=details) == {
        "binding_instance_name": "b",
        "model_name": "m",
        "model_type": "vlm",
        "context_size": 64,
        "max_output_tokens": None,
        "supports_vision": True,
        "supports_audio": False,
        "supports_streaming": True,
        "details": {
            "capabilities": ["completion", "vision", "tools"],
            "license": "MIT",
            "size": 5,
            "family": "llama",
            "llama.block_count": 4,
        },
    }
    kinds = {
        "ttt": ModelDetails(card=ModelCard(name="m")),
        "tti": ModelDetails(card=ModelCard(name="m", outputs=("image",))),
        "generic": ModelDetails(card=ModelCard(name="m"), capabilities=("embedding",)),
    }
    for kind, known in kinds.items():
        found = listing("model_details", "b", details=known)
        assert found["model_type"] == kind  # type: ignore[index]


@given(
    st.sampled_from(["tokenize", "detokenize", "count_tokens"]),
    st.dictionaries(st.sampled_from(["text", "tokens", "binding_name", "add_bos"]), values)
    | values,
)
def test_any_body_of_a_token_route_is_read_or_refused_by_name(operation: str, body: object):
    route = next(route for route in DIALECT.routes if route.operation == operation)
    try:
        found = DIALECT.parse(Call(route, {}, {}, {}, msgspec.json.encode(body)))
    except InvalidRequestError as error:
        answer = DIALECT.error(error)
        detail = json.decode(answer.body, object, ConfigError)["detail"]  # type: ignore[index]
        assert (answer.status, detail[0]["loc"][0]) == (422, "body")
    else:
        assert isinstance(found, Query)
        assert found.operation == operation


@pytest.mark.parametrize(
    ("parameters", "text", "effort", "hint", "kept"),
    [
        ({"enable_thinking": False}, "Hi", "none", "parameters.enable_thinking", "Hi"),
        ({"chat_template_kwargs": {"thinking": True}}, "Hi", "medium",
         "parameters.chat_template_kwargs.thinking", "Hi"),
        ({"extra_body": {"enable_thinking": True}}, "Hi /no_think", "none", "/no_think", "Hi"),
        ({"enable_thinking": None}, "Hi", None, "", "Hi"),
    ],
)  # fmt: skip
def test_thinking_is_switched_in_every_spelling(
    parameters: dict[str, object], text: str, effort: str | None, hint: str, kept: str
):
    request = parse({"input_data": [ITEM | {"data": text}], "parameters": parameters})
    said = (request.effort, request.effort_hint, request.messages[0].text, request.ignored)
    assert said == (effort, hint, kept, ())


def test_calls_of_the_servers_functions_are_not_the_clients():
    calls: list[ev.Event] = [
        ev.ToolCallDelta(part=2, call="c1", name="a__b", arguments="{}"),
        ev.ToolCallDelta(part=3, call="c2", name="theirs", arguments="{}"),
        ev.Done(reason="tool_calls"),
    ]
    encoder = Encoder(Request(stream=True, functions=("a.b",)))
    frames = [
        json.decode(frame.data, dict, ConfigError)
        for n, event in enumerate(calls, 1)
        for frame in encoder.feed(ev.Entry(ev.Seq(n), 0, event))
    ]
    assert [frame["type"] for frame in frames] == ["function_call", "final"]
    assert frames[0]["content"]["name"] == "theirs"


def test_every_kind_of_progress_has_its_words():
    for what in get_args(ev.Progress.__annotations__["what"]):
        (frame,) = Encoder(Request(stream=True)).feed(
            ev.Entry(ev.Seq(1), 0, ev.Progress(what=what))
        )
        chunk = json.decode(frame.data, dict, ConfigError)
        assert chunk["type"] == "info"
        assert len(chunk["content"]) > 3
