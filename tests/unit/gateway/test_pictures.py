"""Runs that make pictures: bounds, what is kept, what is refused."""

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from tests.unit.gateway.gateways import Scripted, ask, events, gateway, read, submit

from penstock.config.schema import Config, Images, Streams
from penstock.core.errors import (
    GatewayError,
    InvalidRequestError,
    ModalityError,
    UnsupportedParameterError,
)
from penstock.core.events import Done, Event, Failed, Image, Progress, StreamId, TextDelta, Usage
from penstock.core.messages import say
from penstock.core.ports import Album
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.gateway import pictures
from penstock.gateway.gateway import now_ms
from penstock.streams.journal import open_log

PNG = b"\x89PNG\r\n\x1a\n"


class Painting(Scripted):
    """Paints `made` pictures, each after two steps."""

    outputs = ("image",)
    supports = frozenset({"size", "steps", "seed"})

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__(self._nothing)
        self._fails = fails

    async def _nothing(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        yield []

    async def paint(self, request: Request, album: Album) -> AsyncIterator[Sequence[Event]]:
        self.asked.append(request)
        asked = request.image or ImageAsk()
        yield []
        for n in range(asked.count):
            preview = await album.keep(PNG + b"preview %d" % n, "image/png")
            yield [Progress(what="step", at=1, of=2, preview=preview)]
            if self._fails is not None:
                raise self._fails
            blob = await album.keep(PNG + b"picture %d" % n, "image/png")
            yield [Image(part=n, blob=blob, seed=n)]
        yield [Usage(input_tokens=0, output_tokens=0, images=asked.count), Done(reason="stop")]


def picture(**asked: object) -> Request:
    image = msgspec.convert(asked, ImageAsk)
    return ask(modality="image", image=image)


async def test_pictures_are_kept_beside_the_log_and_only_named_in_it():
    async with gateway(Painting()) as made:
        head = await submit(made, picture(count=2))
        found = events(await read(made, head))
        images = [event for event in found if isinstance(event, Image)]
        assert [image.blob.sha256 for image in images] == [
            sha256(PNG + b"picture %d" % n).hexdigest() for n in range(2)
        ]
        stream = StreamId(head.stream)
        assert await made.picture(stream, images[1].blob.sha256) == PNG + b"picture 1"
        previews = [event.preview for event in found if isinstance(event, Progress)]
        for preview in previews:
            assert preview is not None
            assert (await made.picture(stream, preview.sha256)).startswith(PNG + b"preview")
        assert found[-1] == Done(reason="stop")


async def test_what_a_painter_raises_ends_the_stream():
    async with gateway(Painting(InvalidRequestError("out of memory"))) as made:
        found = events(await read(made, await submit(made, picture())))
        assert isinstance(found[-1], Failed)
        assert found[-1].code == "invalid_request"


async def test_a_binding_that_talks_makes_no_pictures():
    async def talk(request: Request) -> AsyncIterator[Sequence[Event]]:
        yield [TextDelta(part=0, text="a"), Done(reason="stop")]

    async with gateway(Scripted(talk)) as made:
        with pytest.raises(ModalityError):
            await submit(made, picture())
        with pytest.raises(ModalityError):
            await submit(made, ask(modality="image", binding="b0"))


async def test_what_a_binding_lacks_is_refused_by_name_or_left_out_by_name():
    async with gateway(Painting()) as made:
        with pytest.raises(UnsupportedParameterError, match="'b0' does not support quality"):
            await submit(made, picture(quality="hd"))
        free = msgspec.structs.replace(picture(quality="hd", style="vivid", steps=3), freeform=True)
        head = await submit(made, free)
        assert head.request.ignored == ("parameters.quality", "parameters.style")
        assert head.request.image == ImageAsk(steps=3)
        with pytest.raises(UnsupportedParameterError):
            await submit(
                made, msgspec.structs.replace(picture(mask={"url": "data:"}), freeform=True)
            )


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"size": (0, 64)}, "size"),
        ({"size": (5000, 64)}, "size"),
        ({"size": (4096, 4096)}, "size"),
        ({"count": 11}, "n"),
        ({"count": 0}, "n"),
        ({"steps": 151}, "steps"),
        ({"strength": 1.5, "inputs": [{"type": "image"}]}, "strength"),
        ({"strength": 0.5}, "strength"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"compression": 101}, "output_compression"),
        ({"inputs": [{"type": "image"}] * 17}, "image"),
        ({"mask": {"type": "image"}}, "mask"),
    ],
)
def test_bounds_are_checked_before_anything_is_queued(asked: dict[str, object], param: str):
    with pytest.raises(GatewayError) as caught:
        pictures.check(picture(**asked), Images())
    assert caught.value.param == param
    assert 400 <= caught.value.status < 500


def test_a_prompt_is_needed():
    with pytest.raises(InvalidRequestError, match="prompt"):
        pictures.check(ask(modality="image", messages=(say("user", " "),)), Images())


async def test_pictures_outlive_the_gateway(tmp_path: Path):
    """The blob is on the disk before the event that names it."""
    from_log = Config(streams=Streams(folder=str(tmp_path)))
    sampling = Sampling(seed=7)
    first = await open_log(from_log.streams, tmp_path, now_ms)
    async with gateway(Painting(), config=from_log, log=first) as made:
        head = await submit(made, msgspec.structs.replace(picture(), sampling=sampling))
        await read(made, head)
    again = await open_log(from_log.streams, tmp_path, now_ms)
    async with gateway(Painting(), config=from_log, log=again) as made:
        found = events(await read(made, head))
        image = next(event for event in found if isinstance(event, Image))
        assert await made.picture(StreamId(head.stream), image.blob.sha256) == PNG + b"picture 0"
