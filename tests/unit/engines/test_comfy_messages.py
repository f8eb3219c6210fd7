"""What a ComfyUI says, by vectors that name their sources."""

from typing import Any

import pytest
from tests.integration.comfy import VECTORS, vector

from penstock.core.errors import EngineError, EngineProtocolError
from penstock.engines import _comfy_messages as told
from penstock.engines._said import unmasked
from penstock.wire import json

ID = "550e8400-e29b-41d4-a716-446655440000"
OF_NO_USE = {"execution_cached", "executed"}


def every() -> list[Any]:
    found: list[Any] = []
    for path in sorted(VECTORS.glob("*.json")):
        value = vector(path.stem)
        found += value if isinstance(value, list) else [value]
    return found


def test_every_vector_names_its_source():
    assert len(every()) > 20
    assert [one for one in every() if len(one["source"].split()) < 3] == []


@pytest.mark.parametrize("one", vector("messages"), ids=lambda one: one["type"])
def test_messages(one: dict[str, Any]):
    found = told.text(json.encode({"type": one["type"], "data": one["data"]}).decode())
    if one["type"] in OF_NO_USE:
        assert found is None
        return
    assert found is not None
    assert found.type == one["type"]
    if one["type"] == "status":
        return
    assert found.said.prompt_id == ID
    if one["type"] == "progress_state":
        assert isinstance(found.said.nodes, dict)
        assert (found.said.nodes["3"].value, found.said.nodes["3"].max) == (5, 20)
        return
    for name in found.said.__struct_fields__:
        if name in one["data"]:
            assert getattr(found.said, name) == one["data"][name]


@pytest.mark.parametrize("one", vector("binary"), ids=lambda one: one["source"][:60])
def test_previews(one: dict[str, Any]):
    found = told.binary(bytes.fromhex(one["hex"]))
    picture = bytes.fromhex(one["picture"])
    node = "3" if one["prompt_id"] else None
    assert found == told.Preview(picture, one["media_type"], one["prompt_id"], node)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1", b"\0\0\0\3\0\0\0\1a", b"\0\0\0\1\0\0\0\7abc"])
def test_other_binary_messages_are_of_no_use(data: bytes):
    assert told.binary(data) is None


def test_messages_of_unknown_types_are_of_no_use():
    assert told.text('{"type": "crystools.monitor", "data": [1]}') is None
    assert told.text("{}") is None
    with pytest.raises(EngineProtocolError):
        told.text("no json")
    with pytest.raises(EngineProtocolError):
        told.text('{"type": "progress", "data": {"value": "many"}}')


def test_the_queue_is_put_in_order():
    queue = told.queue(json.encode(vector("queue")["answer"]))
    assert (list(queue.running), list(queue.waiting)) == (["a"], ["b", "c", "d"])


def test_choices_in_both_forms():
    sampler = json.encode(vector("object_info_sampler")["answer"])
    expected = ["euler", "euler_ancestral", "dpmpp_2m"]
    assert told.choices(sampler, "KSampler", "sampler_name") == expected
    assert told.choices(sampler, "KSampler", "steps") is None
    assert told.choices(sampler, "KSampler", "nothing") is None
    models = json.encode(vector("object_info_checkpoint")["answer"])
    expected = ["v1-5-pruned-emaonly.ckpt", "sdxl.safetensors"]
    assert told.choices(models, "CheckpointLoaderSimple", "ckpt_name") == expected
    assert told.choices(b"{}", "KSampler", "sampler_name") is None


def test_history():
    past = told.past(json.encode(vector("history")["answer"]), ID)
    assert past is not None
    assert past.files == [told.File("ComfyUI_00001_.png", "", "output")]
    assert past.nanoseconds == 2_500_000_000
    past.check(unmasked)
    assert told.past(b"{}", ID) is None


def test_a_failed_run_in_the_history_says_why_without_paths_of_the_server():
    messages = {one["type"]: one["data"] for one in vector("messages")}
    for kind, said in (("execution_error", "out of memory"), ("execution_interrupted", "else")):
        status = {"status_str": "error", "completed": False, "messages": [[kind, messages[kind]]]}
        past = told.past(json.encode({ID: {"outputs": {}, "status": status}}), ID)
        assert past is not None
        with pytest.raises(EngineError, match=said) as caught:
            past.check(unmasked)
        assert "secret" not in caught.value.message


def test_temporary_pictures_count_when_nothing_was_saved():
    temp = {"filename": "a.png", "subfolder": "", "type": "temp"}
    saved = {"filename": "b.png", "subfolder": "x", "type": "output"}
    past = told.past(json.encode({ID: {"outputs": {"3": {"images": [temp]}, "9": {}}}}), ID)
    assert past is not None
    assert [file.filename for file in past.files] == ["a.png"]
    both = {"10": {"images": [saved]}, "3": {"images": [temp]}}
    past = told.past(json.encode({ID: {"outputs": both}}), ID)
    assert past is not None
    assert [file.filename for file in past.files] == ["b.png"]
