"""Bad requests for pictures: a clear 4xx that names the field, in each dialect's shape, before
anything is queued.
"""

import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Pillow
from tests.integration.http.painting import Painter, picture, with_pictures
from tests.integration.http.parts import Running, serving
from typing_extensions import override

from penstock.core.errors import ConfigError, InvalidRequestError, UnsupportedParameterError
from penstock.dialects import lollms, openai_images
from penstock.wire import json

GENERATE, EDIT, LOLLMS = "/v1/images/generations", "/v1/images/edits", "/api/v1/generate"
BOUNDARY = "a-boundary"
PNG, HOLE = picture("red", (8, 4)), picture("black", (8, 4), mode="RGBA")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    dialects = (openai_images.Dialect(), lollms.Dialect())
    async with serving(dialects, engine=Painter(), more=with_pictures(tmp_path)) as running:
        yield running


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def bomb() -> bytes:
    """A real picture of 64 million pixels in 62 kB."""
    head = (8000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    packed = zlib.compress(bytes(8001 * 8000), 9)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def animated() -> bytes:
    out = BytesIO()
    frames = [Pillow.new("RGB", (8, 4), colour) for colour in ("red", "blue")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


Part = tuple[str, bytes, str]


def form(*parts: Part, prompt: str = "x") -> bytes:
    """A form with a prompt and files."""
    lines = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n{prompt}'.encode()
    ]
    for name, data, kind in parts:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n'
        lines.append(f"{head}Content-Type: {kind}\r\n\r\n".encode() + data)
    return b"\r\n".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


@dataclass
class Case:
    """What is sent, and what comes back. `at`: the field, dotted as the body has it."""

    name: str
    path: str
    body: object
    status: int
    at: str
    says: str

    @override
    def __str__(self) -> str:
        return f"{self.path.rpartition('/')[2]}-{self.name}"


def asks(name: str, field: str, value: object, says: str, status: int = 400) -> Sequence[Case]:
    """A field of a request without pictures, in both dialects."""
    said = {"prompt": "x", field: value}
    freely = {
        "input_data": [{"type": "text", "role": "user_prompt", "data": "x"}],
        "generation_type": "tti",
        "parameters": {field: value},
    }
    code = status if status != 400 else 422
    return (
        Case(name, GENERATE, said, status, field, says),
        Case(name, LOLLMS, freely, code, f"parameters.{field}", says),
    )


def looks(
    name: str, data: bytes, says: str, kind: str = "image/png", status: int = 400
) -> Sequence[Case]:
    """A picture that is wrong, in each way to send one."""
    code = 422 if status == 400 else status
    item = {"type": "image", "role": "input_image", "data": b64encode(data).decode()}
    text = {"type": "text", "role": "user_prompt", "data": "x"}
    freely = {"generation_type": "i2i", "input_data": [text, {**item, "mime_type": kind}]}
    said = {"prompt": "x", "images": [{"image_url": url(PNG)}, {"image_url": url(data, kind)}]}
    two = form(("image[]", PNG, "image/png"), ("image[]", data, kind))
    return (
        Case(name, EDIT, form(("image", data, kind)), status, "image", says),
        Case(f"{name}-second", EDIT, two, status, "image[1]", says),
        Case(f"{name}-json", EDIT, said, status, "images[1].image_url", says),
        Case(name, LOLLMS, freely, code, "input_data[1].data", says),
    )


def masks(name: str, mask: bytes, says: str) -> Sequence[Case]:
    item = {"type": "image", "mime_type": "image/png"}
    text = {"type": "text", "role": "user_prompt", "data": "x"}
    freely = [
        text,
        {**item, "role": "mask_image", "data": b64encode(mask).decode()},
        {**item, "role": "input_image", "data": b64encode(PNG).decode()},
    ]
    files = form(("image", PNG, "image/png"), ("mask", mask, "image/png"))
    return (
        Case(name, EDIT, files, 400, "mask", says),
        Case(
            name,
            LOLLMS,
            {"generation_type": "i2i", "input_data": freely},
            422,
            "input_data[1].data",
            says,
        ),
    )


CUT = picture("red", (64, 64), "jpeg")[:300]
MANY = [("image[]", PNG, "image/png")] * 17
TEXT = {"type": "text", "role": "user_prompt", "data": "x"}
IMAGE = {"type": "image", "mime_type": "image/png", "data": b64encode(PNG).decode()}
CASES = [
    *asks("size-0", "size", "0x64", "from 1 to 4096"),
    *asks("size-side", "size", "5000x64", "from 1 to 4096"),
    *asks("size-area", "size", "4096x4096", "at most 4194304 pixels"),
    *asks("size-words", "size", "huge", "WIDTHxHEIGHT"),
    *asks("n-0", "n", 0, "from 1 to 10"),
    *asks("n-11", "n", 11, "from 1 to 10"),
    *asks("n-text", "n", "two", "Expected `int"),
    *asks("steps", "steps", 151, "from 1 to 150"),
    *asks("guidance", "guidance_scale", -1, "from 0 to 100"),
    *looks("bomb", bomb(), "more than 33554432 pixels", status=413),
    *looks("cut", CUT, "not a whole", "image/jpeg"),
    *looks("mislabelled", PNG, "declared as image/jpeg, but it is image/png", "image/jpeg"),
    *looks("animated", animated(), "animated", "image/webp"),
    *looks("text", b"hello, I am no picture, but long enough to be taken for one", "not a whole"),
    *masks("mask-size", picture("black", (4, 4), mode="RGBA"), "the mask is 4x4, the picture 8x4"),
    *masks("mask-cut", HOLE[:40], "not a whole"),
    Case(
        "no-alpha",
        EDIT,
        form(("image", PNG, "image/png"), ("mask", PNG, "image/png")),
        400,
        "mask",
        "no alpha",
    ),
    Case("no-prompt", GENERATE, {"prompt": " "}, 400, "prompt", "a text is needed"),
    Case(
        "no-prompt",
        LOLLMS,
        {"generation_type": "tti", "input_data": [{**TEXT, "data": ""}]},
        422,
        "input_data",
        "a text is needed",
    ),
    Case(
        "no-prompt-legacy",
        LOLLMS,
        {"generation_type": "tti", "prompt": ""},
        422,
        "prompt",
        "a text is needed",
    ),
    Case(
        "no-prompt-form",
        EDIT,
        form(("image", PNG, "image/png"), prompt=""),
        400,
        "prompt",
        "a text is needed",
    ),
    Case("no-image", EDIT, form(), 400, "image", "a picture to edit is needed"),
    Case("no-image-json", EDIT, {"prompt": "x"}, 400, "images", "a picture to edit is needed"),
    Case(
        "no-image",
        LOLLMS,
        {"generation_type": "i2i", "input_data": [TEXT]},
        422,
        "input_data",
        "input_image is needed",
    ),
    Case("too-many", EDIT, form(*MANY), 400, "image[16]", "at most 16 pictures"),
    Case(
        "too-many",
        LOLLMS,
        {"generation_type": "i2i", "input_data": [TEXT, *[{**IMAGE, "role": "input_image"}] * 17]},
        422,
        "input_data[17].data",
        "at most 16 pictures",
    ),
    Case(
        "mask-alone",
        LOLLMS,
        {"generation_type": "tti", "input_data": [TEXT, {**IMAGE, "role": "mask_image"}]},
        422,
        "input_data[1].data",
        "needs an input picture",
    ),
    Case(
        "two-masks",
        EDIT,
        form(("image", PNG, "image/png"), ("mask", HOLE, "image/png"), ("mask", HOLE, "image/png")),
        400,
        "mask",
        "there are two",
    ),
    Case(
        "controlnet",
        LOLLMS,
        {"generation_type": "tti", "input_data": [TEXT, {**IMAGE, "role": "controlnet_image"}]},
        400,
        "",
        "input_data[1].role: 'controlnet_image' is not supported",
    ),
    Case(
        "base64",
        EDIT,
        {"prompt": "x", "images": [{"image_url": "data:image/png;base64,@@"}]},
        400,
        "images[0].image_url",
        "not valid base64",
    ),
    Case(
        "base64",
        LOLLMS,
        {
            "generation_type": "i2i",
            "input_data": [TEXT, {**IMAGE, "role": "input_image", "data": "@@"}],
        },
        422,
        "input_data[1].data",
        "neither base64 nor an address",
    ),
    Case(
        "address",
        EDIT,
        {"prompt": "x", "images": [{"image_url": "https://example.com/a.png"}]},
        400,
        "images[0].image_url",
        "are not fetched here",
    ),
    Case(
        "address",
        LOLLMS,
        {
            "generation_type": "i2i",
            "input_data": [
                TEXT,
                {**IMAGE, "role": "input_image", "data": "https://example.com/a.png"},
            ],
        },
        422,
        "input_data[1].data",
        "are not fetched here",
    ),
    Case(
        "file-id",
        EDIT,
        {"prompt": "x", "images": [{"file_id": "file-1"}]},
        400,
        "images[0].file_id",
        "there are no files here",
    ),
    Case(
        "style",
        GENERATE,
        {"prompt": "x", "style": "vivid"},
        400,
        "style",
        "'scripted' does not support style",
    ),
    Case(
        "strength",
        EDIT,
        {"prompt": "x", "images": [{"image_url": url(PNG)}], "strength": 2},
        400,
        "strength",
        "from 0 to 1",
    ),
    Case(
        "strength",
        LOLLMS,
        {
            "generation_type": "i2i",
            "parameters": {"strength": 2},
            "input_data": [TEXT, {**IMAGE, "role": "input_image"}],
        },
        422,
        "parameters.strength",
        "from 0 to 1",
    ),
    Case("cut-form", EDIT, form(("image", PNG, "image/png"))[:-20], 400, "", "it is cut"),
    Case("no-form", EDIT, b"hello", 400, "", "not a valid form"),
]


def told(case: Case, data: bytes) -> tuple[str, str]:
    """The field that an error names, and its words, in the dialect's own shape."""
    found = json.decode(data, dict[str, object], ConfigError)
    if case.path != LOLLMS:
        error = found["error"]
        assert isinstance(error, dict)
        return error["param"] or "", error["message"]
    detail = found["detail"]
    if isinstance(detail, str):
        return case.at if detail.startswith(case.at) else "", detail
    assert isinstance(detail, list)
    first, *where = detail[0]["loc"]
    assert first == "body"
    return _dotted(where), detail[0]["msg"]


def _dotted(where: Sequence[object]) -> str:
    return "".join(f"[{n}]" if isinstance(n, int) else f".{n}" for n in where).lstrip(".")


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_it_is_refused_by_name_and_nothing_was_queued(server: Running, case: Case):
    body = case.body if isinstance(case.body, bytes) else json.encode(case.body)
    kind = "application/json"
    if isinstance(case.body, bytes):
        kind = f"multipart/form-data; boundary={BOUNDARY}"
    status, headers, data = await server.ask("POST", case.path, body, content_type=kind)
    assert (status, headers["content-type"]) == (case.status, "application/json"), data
    field, words = told(case, data)
    assert field == case.at, words
    assert case.says in words
    assert "penstock-stream" not in headers
    _, _, listed = await server.ask("GET", "/v1/streams")
    assert json.decode(listed, dict[str, object], ConfigError)["data"] == []
    assert isinstance(server.engine, Painter)
    assert server.engine.painted == []


async def test_a_form_without_a_boundary_is_refused(server: Running):
    for kind in ("multipart/form-data", "multipart/form-data; boundary="):
        status, _, data = await server.ask("POST", EDIT, b"", content_type=kind)
        assert status == 400
        assert b'"param":"Content-Type"' in data


async def test_a_large_body_is_refused(tmp_path: Path):
    dialects = (openai_images.Dialect(),)
    async with serving(dialects, engine=Painter(), more=with_pictures(tmp_path)) as running:
        body = form(("image", bytes(21 * 1024 * 1024), "image/png"))
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        status, _, data = await running.ask("POST", EDIT, body, content_type=kind)
        assert status == 413
        assert b'"code":"request_too_large"' in data


@pytest.mark.parametrize("stream", [True, False])
async def test_what_only_the_engine_knows_is_named_too(server: Running, stream: bool):
    """A sampler that it has not, a size that it can't make: known once it is asked, still a 4xx."""
    assert isinstance(server.engine, Painter)
    freely = {"generation_type": "tti", "prompt": "x", "stream": stream}
    cases = [
        (InvalidRequestError("size: only 64x64", param="size"), 422),
        (UnsupportedParameterError("sampler: no 'best' here", param="sampler"), 400),
    ]
    for error, code in cases:
        server.engine.refusal = error
        status, headers, data = await server.ask(
            "POST", GENERATE, json.encode({"prompt": "x", "stream": stream})
        )
        assert (status, headers["content-type"]) == (400, "application/json")
        case = Case("", GENERATE, None, 400, str(error.param), "")
        assert told(case, data) == (error.param, error.message)
        status, headers, data = await server.ask("POST", LOLLMS, json.encode(freely))
        assert (status, headers["content-type"]) == (code, "application/json")
        case = Case("", LOLLMS, None, code, str(error.param), "")
        field, _ = told(case, data)
        assert field == (f"parameters.{error.param}" if code == 422 else error.param)
