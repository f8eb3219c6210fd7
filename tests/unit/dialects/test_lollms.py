"""What the vectors of lollms do not show."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import events as ev
from penstock.core.cards import BindingCard, ModelCard, Personality
from penstock.core.errors import ConfigError, InvalidRequestError, ModalityError
from penstock.core.ports import Call
from penstock.core.queries import Found, Operation, Query
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
