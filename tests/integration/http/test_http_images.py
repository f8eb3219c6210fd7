"""Pictures over HTTP: the released client, addresses, watchers, resuming, other dialects."""

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from http.client import IncompleteRead
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from tests.integration.http.painting import (
    SIZE,
    STEPS,
    Painter,
    at_once,
    opened,
    picture,
    with_pictures,
)
from tests.integration.http.parts import Running, serving
from tests.unit.pictures.https import loopback, nameless, page
from tests.unit.pictures.https import serving as https

from penstock.config.schema import Images, Server, Stores, Streams
from penstock.core.errors import ConfigError, EngineError
from penstock.core.events import Entry, Image, Progress
from penstock.core.principals import Principal
from penstock.dialects import (
    lollms,
    ollama,
    openai_chat,
    openai_completions,
    openai_images,
    portal_chat,
)
from penstock.gateway import keys as gateway_keys
from penstock.gateway.addresses import Addresses
from penstock.gateway.gateway import now_ms
from penstock.pictures.fetching import Fetcher
from penstock.pictures.keys import signing_key
from penstock.pictures.reading import Reader
from penstock.stores.keys import Store
from penstock.streams.journal import open_log
from penstock.wire import json

DIALECTS = (
    openai_images.Dialect(),
    lollms.Dialect(),
    openai_chat.Dialect(),
    openai_completions.Dialect(),
    ollama.Dialect(),
    portal_chat.Dialect(),
)
GENERATE = "/v1/images/generations"
KEY = "sk-one"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    painter = Painter()
    async with serving(
        DIALECTS,
        engine=painter,
        keys=(KEY, "sk-two"),
        more=with_pictures(tmp_path),
        settings=Server(heartbeat_seconds=0.2),
    ) as running:
        yield running


def client(server: Running, key: str = KEY) -> openai.AsyncOpenAI:
    url = f"http://127.0.0.1:{server.port}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0)


def painter(server: Running) -> Painter:
    assert isinstance(server.engine, Painter)
    return server.engine


def body(**fields: object) -> bytes:
    return json.encode({"prompt": "a red disc", **fields})


def auth(key: str = KEY) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def decoded(text: str | None) -> bytes:
    assert text is not None
    return base64.b64decode(text, validate=True)


def value(data: bytes) -> dict[str, object]:
    return json.decode(data, dict[str, object], ConfigError)


async def native(server: Running, stream: str, key: str = KEY) -> list[Entry]:
    """A stream's typed events."""
    _, _, data = await server.ask("GET", f"/v1/streams/{stream}", None, **auth(key))
    lines = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
    return [json.decode(line, Entry, ConfigError) for line in lines]


# ── the released client ──────────────────────────────────────────────────────────────────────────


async def test_the_client_gets_pictures_of_the_size_it_asked_for(server: Running):
    async with client(server) as api:
        found = await api.images.generate(
            model="discs", prompt="two discs", n=2, size="32x20", extra_body={"seed": 3, "steps": 2}
        )
    assert found.data is not None
    pictures = [opened(decoded(one.b64_json)) for one in found.data]
    assert [(p.format, p.size) for p in pictures] == [(None, (32, 20))] * 2
    assert [p.getpixel((16, 10)) for p in pictures] == [(120, 252, 128), (160, 251, 128)]
    assert (found.size, found.output_format, found.usage) == ("32x20", "png", None)
    assert [(one.model_extra or {})["seed"] for one in found.data] == [3, 4]
    asked = painter(server).painted[0]
    assert asked.image is not None
    assert (asked.image.steps, asked.image.previews) == (2, 0)


async def test_the_client_gets_previews_and_the_same_picture_streamed(server: Running):
    async with client(server) as api:
        whole = await api.images.generate(model="discs", prompt="a disc", extra_body={"seed": 5})
        stream = await api.images.generate(
            model="discs",
            prompt="a disc",
            stream=True,
            partial_images=2,
            output_format="webp",
            extra_body={"seed": 5},
        )
        events = [event async for event in stream]
    kinds = [event.type for event in events]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    partial = events[0]
    assert partial.type == "image_generation.partial_image"
    assert (partial.partial_image_index, partial.output_format) == (0, "jpeg")
    assert opened(decoded(partial.b64_json)).size == (6, 4)
    assert (events[-1].output_format, events[-1].size) == ("webp", f"{SIZE[0]}x{SIZE[1]}")
    final = opened(decoded(events[-1].b64_json)).convert("RGB")
    assert whole.data is not None
    same = opened(decoded(whole.data[0].b64_json))
    assert final.size == same.size == SIZE


async def test_the_client_edits_what_the_mask_leaves_open(server: Running):
    first, mask = picture("red", (8, 4)), picture("black", (8, 4), mode="RGBA")
    hole = opened(mask)
    hole.putalpha(0)
    async with client(server) as api:
        kept = await api.images.edit(
            prompt="x", image=("a.png", first), mask=("m.png", mask), extra_body={"steps": 1}
        )
        changed = await api.images.edit(prompt="x", image=[first, first], output_format="png")
        stream = await api.images.edit(prompt="x", image=first, stream=True, partial_images=1)
        events = [event async for event in stream]
    assert kept.data is not None
    assert changed.data is not None
    assert opened(decoded(kept.data[0].b64_json)).getpixel((0, 0)) == (255, 0, 0)
    assert opened(decoded(changed.data[0].b64_json)).getpixel((0, 0)) == (0, 255, 255)
    assert [e.type for e in events] == ["image_edit.partial_image", "image_edit.completed"]
    asked = painter(server).painted[1].image
    assert asked is not None
    assert len(asked.inputs) == 2
    assert all(part.url is None and part.blob is not None for part in asked.inputs)


async def test_the_client_hears_of_a_failure(server: Running):
    async def breaks(step: int) -> None:
        if step == 3:
            raise EngineError("out of memory")

    painter(server).step = breaks
    async with client(server) as api:
        with pytest.raises(openai.APIStatusError) as whole:
            await api.images.generate(model="discs", prompt="x")
        assert (whole.value.status_code, whole.value.code) == (502, "engine_failed")
        stream = await api.images.generate(model="discs", prompt="x", stream=True, partial_images=3)
        seen = []
        with pytest.raises(openai.APIError, match="out of memory"):
            async for event in stream:
                seen.append(event.type)
        assert seen == ["image_generation.partial_image"] * 2
        painter(server).step = at_once
        again = await api.images.generate(model="discs", prompt="x")
    assert again.data


async def test_a_long_wait_for_a_whole_answer_is_bridged(server: Running):
    async def slow(_step: int) -> None:
        await asyncio.sleep(0.15)

    painter(server).step = slow
    status, _, data = await server.ask("POST", GENERATE, body(), **auth())
    assert status == 200
    assert data.startswith(b" ")
    found = value(data)
    assert isinstance(found["data"], list)
    assert opened(decoded(found["data"][0]["b64_json"])).size == SIZE
    legacy = json.encode({"prompt": "x", "generation_type": "tti"})
    _, _, data = await server.ask("POST", "/generate", legacy, x_api_key=KEY)
    assert data.startswith(b" ")
    assert opened(decoded(str(value(data)["image_base64"]))).size == SIZE


# ── addresses ────────────────────────────────────────────────────────────────────────────────────


async def test_an_address_is_good_without_a_key_until_it_expires(server: Running, tmp_path: Path):
    async with client(server) as api:
        found = await api.images.generate(
            model="discs", prompt="x", response_format="url", output_format="jpeg"
        )
    assert found.data is not None
    url = found.data[0].url or ""
    assert found.data[0].b64_json is None
    assert url.startswith(f"http://127.0.0.1:{server.port}/v1/images/")
    async with httpx.AsyncClient() as http:
        got = await http.get(url)
        assert (got.status_code, got.headers["content-type"]) == (200, "image/jpeg")
        assert opened(got.content).size == SIZE
        for forged in (
            url[:-1] + ("0" if url[-1] != "0" else "1"),
            re.sub(r"until=\d+", "until=99999999999", url),
            url.replace("/v1/images/", "/v1/images/0"),
        ):
            answer = await http.get(forged)
            assert (answer.status_code, answer.json()["error"]["param"]) == (403, "signature")
        path = url.partition("/v1/images/")[2].partition("?")[0]
        stream, sha = path.split("/")
        old = Addresses(signing_key(tmp_path / "key"), 60).address(
            stream, sha, now_ms() // 1000 - 999
        )
        answer = await http.get(f"http://127.0.0.1:{server.port}{old}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (403, "until")


async def test_a_streamed_answer_may_hold_addresses(server: Running):
    asked = body(stream=True, partial_images=1, response_format="url")
    _, _, data = await server.ask("POST", GENERATE, asked, **auth())
    urls = re.findall(rb'"url":"([^"]+)"', data)
    assert len(urls) == 2
    assert b"b64_json" not in data
    async with httpx.AsyncClient() as http:
        sizes = [opened((await http.get(url.decode())).content).size for url in urls]
    assert sizes == [(6, 4), SIZE]


# ── the same run for others ──────────────────────────────────────────────────────────────────────


async def test_the_stream_shows_previews_as_blobs(server: Running):
    _, headers, _ = await server.ask("POST", GENERATE, body(n=2), **auth())
    stream = headers["penstock-stream"]
    entries = await native(server, stream)
    previews = [e.event.preview for e in entries if isinstance(e.event, Progress)]
    images = [e.event for e in entries if isinstance(e.event, Image)]
    assert (len(previews), len(images)) == (2 * STEPS, 2)
    assert [image.seed for image in images] == [1, 2]
    for blob in [*previews, *(image.blob for image in images)]:
        assert blob is not None
        path = f"/v1/streams/{stream}/blobs/{blob.sha256}"
        status, got, data = await server.ask("GET", path, None, **auth())
        assert (status, got["content-type"], len(data)) == (200, blob.media_type, blob.size)
        assert sha256(data).hexdigest() == blob.sha256
    first = f"/v1/streams/{stream}/blobs/{images[0].blob.sha256}"
    assert (await server.ask("GET", first))[0] == 401
    assert (await server.ask("GET", first, None, **auth("sk-two")))[0] == 404
    assert (await server.ask("GET", f"/v1/streams/{stream}", None, **auth("sk-two")))[0] == 404
    other = f"/v1/streams/{stream}/blobs/{'0' * 64}"
    assert (await server.ask("GET", other, None, **auth()))[0] == 404


async def test_two_watchers_see_the_same_previews(server: Running):
    going = asyncio.Semaphore(0)

    async def waits(_step: int) -> None:
        await going.acquire()

    painter(server).step = waits
    asked = body(stream=True, partial_images=3, seed=9)
    async with httpx.AsyncClient(timeout=20) as http, asyncio.TaskGroup() as group:
        url = f"http://127.0.0.1:{server.port}"
        async with http.stream("POST", url + GENERATE, content=asked, headers=auth()) as answer:
            stream = answer.headers["penstock-stream"]
            lines = answer.aiter_lines()
            going.release()
            first = [await anext(lines) for _ in range(2)]
            watching = group.create_task(
                server.ask("GET", f"/v1/streams/{stream}/as/openai_images", None, **auth())
            )
            telling = group.create_task(native(server, stream))
            for _ in range(STEPS):
                going.release()
            rest = [line async for line in lines]
    mine = "\n".join([*first, *rest])
    assert mine.count("event: image_generation.partial_image") == 3
    _, _, seen = watching.result()
    assert seen.decode().strip() == mine.strip()
    assert sum(isinstance(e.event, Progress) for e in telling.result()) == STEPS


async def test_a_reader_goes_on_after_any_picture(server: Running):
    asked = body(stream=True, partial_images=3, n=2)
    numbered = {**auth(), "last_event_id": ""}
    _, headers, whole = await server.ask("POST", GENERATE, asked, **numbered)
    blocks = whole.split(b"\n\n")[:-1]
    assert len(blocks) == 8
    ids = [re.match(rb"id: (\S+)\n", block) for block in blocks]
    for n, found in enumerate(ids):
        assert found is not None
        again = {**auth(), "last_event_id": found[1].decode()}
        _, _, rest = await server.ask("POST", GENERATE, asked, **again)
        assert rest.split(b"\n\n")[:-1] == blocks[n + 1 :]
    assert len(painter(server).painted) == 1
    again = {**auth("sk-two"), "last_event_id": f"{headers['penstock-stream']}@1.0"}
    assert (await server.ask("POST", GENERATE, asked, **again))[0] == 404


async def test_a_lost_client_comes_back_for_the_picture(server: Running):
    going = asyncio.Event()

    async def waits(step: int) -> None:
        if step > 1:
            await going.wait()

    painter(server).step = waits
    asked = body(stream=True, partial_images=3)
    reader, writer = await server.connect()
    head = f"POST {GENERATE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Last-Event-ID:\r\nContent-Length: {len(asked)}\r\n\r\n"
    writer.write(head.encode() + asked)
    got = await reader.readuntil(b"\n\n")
    writer.transport.abort()
    going.set()
    found = re.search(rb"id: (\S+)\n", got)
    assert found is not None
    again = {**auth(), "last_event_id": found[1].decode()}
    _, _, rest = await server.ask("POST", GENERATE, asked, **again)
    assert rest.count(b"event: image_generation.completed") == 1
    assert painter(server).stopped == []


async def test_pictures_and_their_addresses_outlive_the_server(tmp_path: Path):
    """From the journal: finished pictures as they were, and an honest end of one that was not."""
    streams, stuck = Streams(folder=str(tmp_path / "streams")), asyncio.Event()
    asked = body(stream=True, partial_images=2, response_format="url", n=2)

    @asynccontextmanager
    async def server(engine: Painter) -> AsyncIterator[Running]:
        log = await open_log(streams, tmp_path / "streams", now_ms)
        pictured = with_pictures(tmp_path)
        async with serving(
            DIALECTS, engine=engine, more=lambda config: {**pictured(config), "log": log}
        ) as running:
            yield running

    async def waits(step: int) -> None:
        if step == 3:
            stuck.set()
            await asyncio.sleep(60)

    async with server(Painter()) as first:
        _, headers, before = await first.ask("POST", GENERATE, asked)
        done = headers["penstock-stream"]
        painter(first).step = waits
        async with httpx.AsyncClient(timeout=20) as http:
            url = f"http://127.0.0.1:{first.port}{GENERATE}"
            async with http.stream("POST", url, content=asked) as answer:
                cut = answer.headers["penstock-stream"]
                await stuck.wait()
    async with server(Painter()) as second:
        _, _, after = await second.ask("GET", f"/v1/streams/{done}/as/openai_images")
        port = re.compile(rb"127.0.0.1:\d+")
        assert port.sub(b"", after) == port.sub(b"", before)
        for url in re.findall(r'"url":"http://[^/]+([^"]+)"', before.decode()):
            status, _, data = await second.ask("GET", url)
            assert (status, opened(data).size in (SIZE, (6, 4))) == (200, True)
        with pytest.raises(IncompleteRead) as broken:
            await second.ask("GET", f"/v1/streams/{cut}/as/openai_images")
    told = broken.value.partial
    assert told.count(b"event: image_generation.partial_image") == 2
    assert b'"code":"interrupted"' in told


async def test_a_run_is_stopped_before_its_next_step(server: Running):
    started, steps = asyncio.Event(), []

    async def waits(step: int) -> None:
        steps.append(step)
        started.set()
        await asyncio.sleep(30)

    painter(server).step = waits
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(
            server.ask("POST", GENERATE, body(stream=True, partial_images=1), **auth())
        )
        await started.wait()
        _, _, listed = await server.ask("GET", "/v1/streams", None, **auth())
        rows = value(listed)["data"]
        assert isinstance(rows, list)
        path = f"/v1/streams/{rows[0]['stream']}/cancel"
        status, _, _ = await server.ask("POST", path, None, **auth())
    assert (status, steps) == (200, [1])
    _, _, told = asking.result()
    assert told.startswith(b"event: error\n")
    assert b'"code":"cancelled"' in told
    assert painter(server).stopped == ["discs"]


@pytest.mark.parametrize("dialect", [d.name for d in DIALECTS])
@pytest.mark.parametrize("source", ["openai_images", "lollms"])
async def test_every_dialect_tells_a_picture_as_it_can(server: Running, dialect: str, source: str):
    asked = {
        "openai_images": (GENERATE, body(stream=True, response_format="url")),
        "lollms": ("/generate", json.encode({"prompt": "x", "generation_type": "tti"})),
    }
    path, data = asked[source]
    _, headers, _ = await server.ask("POST", path, data, **auth())
    stream = headers["penstock-stream"]
    images = [e.event for e in await native(server, stream) if isinstance(e.event, Image)]
    kept = f"/v1/streams/{stream}/blobs/{images[0].blob.sha256}"
    _, _, png = await server.ask("GET", kept, None, **auth())
    shown = base64.b64encode(png)
    at = f"/v1/streams/{stream}/as/{dialect}"
    status, _, streamed = await server.ask("GET", at, None, **auth())
    assert status == 200
    status, _, whole = await server.ask("GET", at + "?stream=false", None, **auth())
    assert status == 200
    said = dialect in ("lollms", "openai_chat", "openai_images")
    if dialect == source == "openai_images":
        shown = images[0].blob.sha256.encode()
    assert (shown in streamed, shown in whole) == (said, said)
    assert b"\0" not in streamed + whole


# ── lollms ───────────────────────────────────────────────────────────────────────────────────────


async def test_lollms_gets_its_picture_in_every_shape(server: Running):
    modern = {
        "input_data": [{"type": "text", "role": "user_prompt", "data": "a disc"}],
        "generation_type": "tti",
        "binding_name": "scripted",
        "parameters": {"size": "20x10", "steps": 2, "seed": 6, "style": "vivid"},
    }
    path = "/api/v1/generate"
    _, headers, data = await server.ask("POST", path, json.encode(modern), x_api_key=KEY)
    assert headers["penstock-ignored"] == "parameters.style"
    output = value(data)["output"]
    assert isinstance(output, list)
    item = output[0]
    assert (item["type"], item["mime_type"]) == ("image", "image/png")
    assert opened(decoded(item["data"])).size == (20, 10)
    told = {name: item["metadata"][name] for name in ("prompt_used", "size", "seed", "steps")}
    assert told == {"prompt_used": "a disc", "size": "20x10", "seed": 6, "steps": 2}
    assert item["metadata"]["ignored"] == ["parameters.style"]
    legacy = {"prompt": "a disc", "generation_type": "tti", "parameters": {"seed": 6}}
    _, _, data = await server.ask("POST", path, json.encode(legacy), x_api_key=KEY)
    found = value(data)
    assert isinstance(found["image_base64"], str)
    assert opened(decoded(found["image_base64"])).size == SIZE
    assert data.count(b"iVBORw0KGgo") == 1
    _, _, data = await server.ask(
        "POST", path, json.encode({**modern, "stream": True}), x_api_key=KEY
    )
    frames = [value(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: ")]
    assert [frame["type"] for frame in frames] == ["info"] * 3 + ["final"]
    metadata = frames[1]["metadata"]
    assert isinstance(metadata, dict)
    assert opened(decoded(metadata["preview"])).size == (6, 4)
    assert (metadata["at"], metadata["of"], metadata["mime_type"]) == (1, 2, "image/jpeg")
    content = frames[-1]["content"]
    assert isinstance(content, list)
    assert content[0]["data"] == item["data"]


async def test_lollms_starts_from_a_picture(server: Running):
    start = base64.b64encode(picture("red", (8, 4), "jpeg")).decode()
    image = {"type": "image", "role": "input_image", "data": start, "mime_type": ""}
    asked = {
        "input_data": [{"type": "text", "role": "user_prompt", "data": "x"}, image],
        "generation_type": "i2i",
    }
    _, _, data = await server.ask("POST", "/generate", json.encode(asked), x_api_key=KEY)
    output = value(data)["output"]
    assert isinstance(output, list)
    red, green, _ = opened(decoded(output[0]["data"])).getpixel((0, 0))  # type: ignore[misc]
    assert red < 20
    assert green > 235


async def test_lollms_lists_what_makes_pictures(server: Running):
    _, _, data = await server.ask("GET", "/api/v1/list_bindings", x_api_key=KEY)
    kind = value(data)["binding_types"]["scripted"]  # type: ignore[index]
    assert kind["supported_output_modalities"] == ["image"]
    assert kind["supported_input_modalities"] == ["text", "image"]
    _, _, data = await server.ask("GET", "/api/v1/list_models", x_api_key=KEY)
    kinds = value(data)["models"]
    assert isinstance(kinds, dict)
    assert {name for name, models in kinds.items() if models} == {"tti", "i2i"}
    _, _, data = await server.ask("GET", "/api/v1/list_available_models/scripted", x_api_key=KEY)
    assert [one["name"] for one in value(data)["models"]] == ["discs"]  # type: ignore[attr-defined]


async def test_lollms_image_client_is_answered(server: Running):
    """The body of image_client.py; only its binding has another name here."""
    asked = {
        "personality": "my_coolbot",
        "prompt": "Impressionist painting of a cat programmer working late at night",
        "binding_name": "scripted",
        "generation_type": "tti",
        "parameters": {
            "model": "dall-e-3",
            "size": "1024x1024",
            "quality": "standard",
            "style": "vivid",
        },
        "stream": False,
    }
    status, _, data = await server.ask(
        "POST", "/api/v1/generate", json.encode(asked), x_api_key=KEY, accept="*/*"
    )
    assert status == 200
    found = value(data)
    assert opened(decoded(str(found["image_base64"]))).size == (1024, 1024)
    assert (found["prompt_used"], found["model"]) == (asked["prompt"], "discs")
    output = found["output"]
    assert isinstance(output, list)
    ignored = output[0]["metadata"]["ignored"]
    assert sorted(ignored) == ["parameters.model", "parameters.style", "personality"]
    unknown = json.encode({**asked, "binding_name": "my_dalle_binding"})
    assert (await server.ask("POST", "/api/v1/generate", unknown, x_api_key=KEY))[0] == 404


# ── input pictures by their address ──────────────────────────────────────────────────────────────


async def test_a_picture_is_fetched_where_that_is_allowed(tmp_path: Path):
    bounds = Images(allow_urls=True)
    fetch = Fetcher(
        bounds.max_input_bytes, allowed=loopback, ssl=nameless(ssl.PROTOCOL_TLS_CLIENT)
    ).fetch
    async with (
        https({"/a.png": page(picture("red", (8, 4))), "/b.png": page(b"<html>")}) as files,
        serving(
            DIALECTS,
            engine=Painter(),
            more=with_pictures(tmp_path, Reader(bounds, fetch)),
        ) as server,
    ):

        async def edit(path: str) -> tuple[int, bytes]:
            asked = body(images=[{"image_url": files.url(path)}])
            status, _, data = await server.ask("POST", "/v1/images/edits", asked)
            return status, data

        status, data = await edit("/a.png")
        assert status == 200
        found = value(data)["data"]
        assert isinstance(found, list)
        assert opened(decoded(found[0]["b64_json"])).getpixel((0, 0)) == (0, 255, 255)
        status, data = await edit("/b.png")
        assert status == 400
        assert b'"param":"images[0].image_url"' in data
        image = {"type": "image", "role": "input_image", "data": files.url("/a.png")}
        text = {"type": "text", "role": "user_prompt", "data": "x"}
        asked = {"input_data": [text, image], "generation_type": "i2i"}
        status, _, data = await server.ask("POST", "/generate", json.encode(asked))
        assert status == 200
    assert len(files.asked) == 3


async def test_a_private_address_is_not_fetched_even_then(tmp_path: Path):
    reader = Reader(Images(allow_urls=True))
    async with (
        https({"/": page(picture())}) as files,
        serving(DIALECTS, engine=Painter(), more=with_pictures(tmp_path, reader)) as server,
    ):
        for url in (files.url(), "https://127.0.0.1/", "https://no-such-host.invalid/"):
            asked = body(images=[{"image_url": url}])
            status, _, data = await server.ask("POST", "/v1/images/edits", asked)
            assert status == 400
            assert b'"param":"images[0].image_url"' in data
        assert files.connections == 0
        assert painter(server).painted == []


# ── who may ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_makes_pictures_only_where_it_may(tmp_path: Path):
    store = Store(Stores(), tmp_path / "keys.db")
    issued: dict[str, str] = {}
    scopes = {
        "all": Principal(id=""),
        "images": Principal(id="", dialects=("openai_images",)),
        "chat": Principal(id="", dialects=("openai_chat", "lollms")),
        "other": Principal(id="", models=("llama*",)),
    }
    for name, scope in scopes.items():
        key, record = gateway_keys.issue(name, now_ms(), scope, None)
        await store.add(record)
        issued[name] = key.reveal()
    pictured = with_pictures(tmp_path)
    async with serving(
        DIALECTS, engine=Painter(), more=lambda config: {**pictured(config), "keys": store}
    ) as server:
        statuses = {
            name: (await server.ask("POST", GENERATE, body(model="discs"), **auth(key)))[0]
            for name, key in issued.items()
        }
        assert statuses == {"all": 200, "images": 200, "chat": 403, "other": 403}
        legacy = json.encode({"prompt": "x", "generation_type": "tti"})
        statuses = {
            name: (await server.ask("POST", "/generate", legacy, x_api_key=key))[0]
            for name, key in issued.items()
        }
        assert statuses == {"all": 200, "images": 403, "chat": 200, "other": 403}
        assert (await server.ask("POST", GENERATE, body()))[0] == 401
