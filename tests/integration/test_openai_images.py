"""The `openai_images` engine against a server with the published API."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from io import BytesIO

import pytest
from PIL import Image as Pillow
from tests.contract.image_vectors import INPUT, PICTURE, Case, MemoryAlbum, cases, named, png, told
from tests.integration.images_server import KEY, Fault, ImagesServer, images_server

from penstock.core.errors import (
    BindingDownError,
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    ModalityError,
    UnsupportedParameterError,
)
from penstock.core.events import Done, Event, Failed, Image, Progress
from penstock.core.messages import ImagePart, say
from penstock.core.ports import Timeouts
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.core.secrets import Secret
from penstock.engines.openai_images import Config, Engine

MASK = png("white")
STREAM = Case("openai_images", "generation_settings")


@pytest.fixture
async def server() -> AsyncIterator[ImagesServer]:
    async with images_server() as made:
        yield made


@pytest.fixture
async def engine(server: ImagesServer) -> AsyncIterator[Engine]:
    made = engine_at(server)
    yield made
    await made.aclose()


def engine_at(server: ImagesServer, **more: object) -> Engine:
    timeouts = more.pop("timeouts", Timeouts())
    assert isinstance(timeouts, Timeouts)
    config = Config(url=server.url, key=Secret(KEY), **more)  # type: ignore[arg-type]
    return Engine(config, timeouts)


def ask(model: str = "gpt-image-1.5", *, freeform: bool = False, **image: object) -> Request:
    return Request(
        model=model,
        messages=(say("user", "a hill"),),
        modality="image",
        freeform=freeform,
        stream=True,
        image=ImageAsk(**image),  # type: ignore[arg-type]
    )


async def painted(
    engine: Engine, request: Request, album: MemoryAlbum | None = None
) -> list[Event]:
    return [e async for batch in engine.paint(request, album or MemoryAlbum()) for e in batch]


@pytest.mark.parametrize("pieces", [1, 2, 50])
@pytest.mark.parametrize("case", cases("openai_images", "events.jsonl"), ids=lambda c: c.name)
async def test_asks_and_reads_as_published(
    server: ImagesServer, engine: Engine, case: Case, pieces: int
) -> None:
    server.case, server.pieces = case, pieces
    events = await painted(engine, case.request(MASK), MemoryAlbum(INPUT, MASK))
    assert told(events) == case.events()
    asked = server.asked[0]
    assert asked.fields == case.asked()
    edits = bool(asked.files)
    assert asked.path == ("/v1/images/edits" if edits else "/v1/images/generations")
    assert edits == ("INPUT" in (case.folder / "request.json").read_text())


@pytest.mark.parametrize("case", cases("openai_images", "refused.json"), ids=lambda c: c.name)
async def test_a_refusal_keeps_its_words_and_its_field(
    server: ImagesServer, engine: Engine, case: Case
) -> None:
    server.case = case
    with pytest.raises(GatewayError) as caught:
        await painted(engine, ask())
    assert (caught.value.code, caught.value.param) == (case.refused().code, case.refused().param)
    assert "request" in caught.value.message


async def test_pictures_and_a_mask_go_as_files(server: ImagesServer, engine: Engine) -> None:
    server.case = Case("openai_images", "dalle2_edit")
    await painted(engine, server.case.request(MASK), MemoryAlbum(INPUT, MASK))
    (image, mask) = server.asked[0].files
    assert image == ("image", "image0.png", "image/png", INPUT)
    assert mask[:3] == ("mask", "mask.png", "image/png")
    with Pillow.open(BytesIO(mask[3])) as sent:
        assert sent.mode == "RGBA"
        assert sent.getpixel((0, 0)) == (255, 255, 255, 0)  # white said: draw anew


@pytest.mark.parametrize(
    ("by", "mask", "alpha"),
    [
        ("luma", png("white"), 0),
        ("luma", png("black"), 255),
        ("alpha", png("#00000000", mode="RGBA"), 0),
        ("alpha", png("#ffffffff", mode="RGBA"), 255),
    ],
)
async def test_a_mask_is_transparent_where_to_draw_anew(
    server: ImagesServer, engine: Engine, by: str, mask: bytes, alpha: int
) -> None:
    request = ask(inputs=(part(INPUT),), mask=part(mask), mask_by=by)
    await painted(engine, request, MemoryAlbum(INPUT, mask))
    with Pillow.open(BytesIO(server.asked[0].files[1][3])) as sent:
        assert sent.getchannel("A").getpixel((3, 3)) == alpha


def part(data: bytes) -> ImagePart:
    return ImagePart(blob=named(data))


async def test_several_pictures_are_an_array(server: ImagesServer, engine: Engine) -> None:
    other = png("green")
    request = ask(inputs=(part(INPUT), part(other)))
    await painted(engine, request, MemoryAlbum(INPUT, other))
    assert [(file[0], file[3]) for file in server.asked[0].files] == [
        ("image[]", INPUT),
        ("image[]", other),
    ]


async def test_an_address_is_fetched_without_our_key(server: ImagesServer, engine: Engine) -> None:
    server.case = Case("openai_images", "dalle3_address")
    album = MemoryAlbum()
    events = await painted(engine, server.case.request(), album)
    assert isinstance(events[0], Image)
    assert album.kept[events[0].blob.sha256] == PICTURE
    (headers,) = server.fetched
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://example.invalid/a.png", "not https"),
        ("https://127.0.0.1:9/a.png", "private"),
        ("https://[::ffff:127.0.0.1]:9/a.png", "private"),
        ("https://169.254.169.254/latest", "private"),
    ],
)
async def test_no_private_address_is_fetched(
    server: ImagesServer, engine: Engine, address: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = b'{"data":[{"url":"%s"}]}' % address.encode()
    monkeypatch.setattr(Case, "answer", lambda _: answer)
    with pytest.raises(EngineProtocolError, match=why):
        await painted(engine, ask())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("cut", EngineError),
        ("lost", EngineError),
        ("html", EngineProtocolError),
        ("500", EngineError),
        ("bad_base64", EngineProtocolError),
        ("no_picture", EngineProtocolError),
    ],
)
@pytest.mark.parametrize("name", ["generation_settings", "dalle3_address"])
async def test_faults(
    server: ImagesServer, engine: Engine, fault: Fault, kind: type[GatewayError], name: str
) -> None:
    if (fault, name) == ("bad_base64", "dalle3_address"):
        name = "dalle2_edit"
    server.case, server.fault = Case("openai_images", name), fault
    await engine.models()
    with pytest.raises(kind) as caught:
        await painted(engine, ask())
    assert KEY not in caught.value.message
    assert len(server.asked) == 1  # never sent again: it may have been drawn, and paid for
    server.fault = ""
    assert isinstance((await painted(engine, ask(size=(1024, 1024))))[-1], Done)


async def test_an_error_in_the_stream_is_its_end(server: ImagesServer, engine: Engine) -> None:
    server.case, server.fault = STREAM, "error_event"
    events = await painted(engine, ask())
    assert isinstance(events[0], Progress)
    assert events[-1] == Failed(
        code="engine_failed", message="the upstream failed: it broke", retryable=True
    )


async def test_a_stream_that_stops_early_is_an_error(server: ImagesServer, engine: Engine) -> None:
    server.case = STREAM
    with pytest.raises(EngineProtocolError, match="1 of 2 pictures"):
        await painted(engine, ask(count=2))


async def test_silence_ends_in_a_timeout(server: ImagesServer) -> None:
    server.fault = "silent"
    engine = engine_at(server, timeouts=Timeouts(connect=0.1, first_token=0.1))
    with pytest.raises(EngineTimeoutError):
        await painted(engine, ask())
    await engine.aclose()


async def test_closing_closes_the_connection(server: ImagesServer, engine: Engine) -> None:
    server.fault = "silent"
    async with asyncio.timeout(5):
        task = asyncio.ensure_future(painted(engine, ask()))
        while not server.asked:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        await server.lost.wait()


async def test_a_wrong_key_and_no_server(server: ImagesServer) -> None:
    engine = Engine(Config(url=server.url, key=Secret("wrong")), Timeouts())
    with pytest.raises(EngineRefusedError, match="Incorrect API key"):
        await painted(engine, ask())
    await engine.aclose()
    engine = Engine(Config(url="http://127.0.0.1:1"), Timeouts())
    for attempt in (painted(engine, ask()), engine.models()):
        with pytest.raises(BindingDownError):
            await attempt
    await engine.aclose()


async def test_models_are_cards_of_pictures(server: ImagesServer, engine: Engine) -> None:
    await engine.start()
    cards = await engine.models()
    assert [(card.name, card.outputs) for card in cards] == [
        ("gpt-image-1.5", ("image",)),
        ("gpt-5", ("image",)),
    ]
    with pytest.raises(ModalityError):
        await anext(aiter(engine.stream(ask())))


_REFUSED: Sequence[tuple[Request, str]] = [
    (ask("dall-e-3", background="opaque"), "background"),
    (ask("dall-e-3", count=2), "n"),
    (ask("dall-e-3", size=(512, 512)), "size"),
    (ask("dall-e-3", style="loud"), "style"),
    (ask("dall-e-3", inputs=(part(INPUT),)), "image"),
    (ask("dall-e-2", quality="hd"), "quality"),
    (ask("dall-e-2", inputs=(part(INPUT), part(INPUT))), "image"),
    (ask("gpt-image-1.5", size=(512, 512)), "size"),
    (ask("gpt-image-1.5", quality="max"), "quality"),
    (ask("gpt-image-1.5", style="vivid"), "style"),
    (ask("gpt-image-1.5", input_fidelity="high"), "input_fidelity"),
    (ask("gpt-image-1.5", moderation="low", inputs=(part(INPUT),)), "moderation"),
    (ask("gpt-image-1-mini", input_fidelity="high", inputs=(part(INPUT),)), "input_fidelity"),
    (ask("gpt-image-2", input_fidelity="low", inputs=(part(INPUT),)), "input_fidelity"),
    (ask("gpt-image-2", size=(1000, 1000)), "size"),
    (ask("gpt-image-2", size=(3840, 640)), "size"),
    (ask("any-model", steps=3), "steps"),
]


@pytest.mark.parametrize(("request_", "param"), _REFUSED, ids=lambda x: str(getattr(x, "model", x)))
async def test_what_a_model_lacks_is_refused_before_anything_is_sent(
    server: ImagesServer, engine: Engine, request_: Request, param: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await painted(engine, request_)
    assert caught.value.param == param
    assert isinstance(caught.value, UnsupportedParameterError) or request_.model in str(
        caught.value
    )
    assert server.asked == []


@pytest.mark.parametrize(
    ("model", "asked", "made"),
    [
        ("dall-e-3", (600, 500), "1024x1024"),
        ("dall-e-3", (1920, 1080), "1792x1024"),
        ("dall-e-2", (300, 200), "256x256"),
        ("gpt-image-1.5", (768, 1024), "1024x1536"),
        ("gpt-image-2", (1000, 1000), "992x992"),
        ("gpt-image-2", (4096, 256), "768x256"),
        ("some-other", (333, 77), "333x77"),
    ],
)
async def test_a_free_form_request_gets_the_nearest_size(
    server: ImagesServer, engine: Engine, model: str, asked: tuple[int, int], made: str
) -> None:
    await painted(engine, ask(model, freeform=True, size=asked))
    assert server.asked[0].fields["size"] == made


async def test_a_free_form_request_leaves_a_quality_to_a_model_without_that_word(
    server: ImagesServer, engine: Engine
) -> None:
    await painted(engine, ask("gpt-image-1.5", freeform=True, quality="standard"))
    await painted(engine, ask("gpt-image-1.5", freeform=True, quality="low"))
    assert [asked.fields.get("quality") for asked in server.asked] == [None, "low"]


async def test_what_can_be_honoured_is_that_of_the_configured_model(server: ImagesServer) -> None:
    of = {name: engine_at(server, model=name).supports for name in ("dall-e-3", "gpt-image-2")}
    assert of["dall-e-3"] == {"size", "quality", "style"}
    assert {"background", "inputs", "mask"} < of["gpt-image-2"]
    assert not of["gpt-image-2"] & {"style", "seed", "steps", "negative_prompt"}
    assert engine_at(server).supports == of["gpt-image-2"] | {"style", "input_fidelity"}


async def test_previews_are_asked_for_when_somebody_looks(server: ImagesServer) -> None:
    engine = engine_at(server, previews=1)
    whole = Request(modality="image", model="gpt-image-2", messages=(say("user", "a"),))
    await painted(engine, whole)
    await painted(engine, ask("gpt-image-2"))
    await painted(engine, ask("gpt-image-2", previews=9))
    await painted(engine, ask("other"))
    await engine.aclose()
    wished = [asked.fields.get("partial_images") for asked in server.asked]
    assert wished == [None, 1, 3, None]
    assert [asked.fields.get("stream") for asked in server.asked] == [None, True, True, None]


async def test_the_seed_is_not_ours_to_drop(engine: Engine) -> None:
    request = Request(
        modality="image",
        model="gpt-image-2",
        messages=(say("user", "a"),),
        sampling=Sampling(seed=1),
    )
    with pytest.raises(UnsupportedParameterError, match="seed"):
        await painted(engine, request)
