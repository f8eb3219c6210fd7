"""Input pictures are looked at before anything is done with them."""

import zlib
from base64 import b64encode
from io import BytesIO

import pytest
from PIL import Image as Pillow

from penstock.config.schema import Images
from penstock.core.errors import InvalidRequestError, RequestTooLargeError
from penstock.core.messages import ImagePart
from penstock.core.pictures import Picture
from penstock.pictures.reading import Reader

KINDS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
BOUNDS = Images()


def drawn(kind: str = "png", size: tuple[int, int] = (9, 7), mode: str = "RGB") -> bytes:
    out = BytesIO()
    # Noise, so that a cut file lacks pixels.
    image = Pillow.effect_noise(size, 80).convert(mode)
    image.save(out, KINDS.get(kind, kind.upper()))
    return out.getvalue()


def animated(kind: str) -> bytes:
    out = BytesIO()
    frames = [Pillow.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=40)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + name + data + check


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of grey pixels, whatever its size."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    body = b"".join(chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def bomb(side: int) -> bytes:
    """All its pixels are there: it decodes to `side` times `side` bytes."""
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, chunk(b"IDAT", data))


def address(data: bytes, declared: str = "") -> str:
    return f"data:{declared};base64,{b64encode(data).decode()}"


async def read(url: str, bounds: Images = BOUNDS) -> Picture:
    return await Reader(bounds).read(ImagePart(url=url), "image[0]")


@pytest.mark.parametrize("kind", KINDS)
async def test_pictures_are_what_their_content_is(kind: str):
    data = drawn(kind)
    for declared in ("", "image/*", "application/octet-stream", f"image/{kind}"):
        found = await read(address(data, declared))
        assert found == Picture(data, f"image/{kind}", 9, 7)


@pytest.mark.parametrize("declared", ["image/jpg", "image/pjpeg", "IMAGE/JPEG", "image/jpeg;x=1"])
async def test_other_words_for_jpeg_are_known(declared: str):
    assert (await read(address(drawn("jpeg"), declared))).media_type == "image/jpeg"


@pytest.mark.parametrize(
    ("mode", "alpha"), [("RGBA", True), ("LA", True), ("RGB", False), ("L", False)]
)
async def test_transparency_is_seen(mode: str, alpha: bool):
    assert (await read(address(drawn(mode=mode)))).alpha is alpha


@pytest.mark.parametrize("side", [6000, 20_000, 70_000])
async def test_a_small_file_that_is_a_huge_picture_is_refused(side: int):
    data = bomb(6000) if side == 6000 else png(side, side, chunk(b"IDAT", zlib.compress(b"\0")))
    assert len(data) < 100_000
    with pytest.raises(RequestTooLargeError, match=r"^image\[0\]: .*33554432 pixels") as caught:
        await read(address(data))
    assert caught.value.param == "image[0]"


async def test_the_same_bomb_is_a_picture_where_it_may_be():
    found = await read(address(bomb(6000)), Images(max_input_pixels=36_000_000))
    assert (found.width, found.height) == (6000, 6000)


async def test_a_text_that_unpacks_without_end_is_refused():
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8 * 1024 * 1024)))
    with pytest.raises(InvalidRequestError, match="not a whole"):
        await read(address(png(2, 2, text, chunk(b"IDAT", zlib.compress(bytes(6))))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
async def test_a_cut_picture_is_refused(kind: str, share: float):
    data = drawn(kind, (64, 64))
    with pytest.raises(InvalidRequestError, match=r"^image\[0\]: not a whole") as caught:
        await read(address(data[: int(len(data) * share)]))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("kind", "declared"),
    [("png", "image/jpeg"), ("jpeg", "image/png"), ("webp", "image/png"), ("png", "text/plain")],
)
async def test_a_mislabelled_picture_is_refused(kind: str, declared: str):
    with pytest.raises(
        InvalidRequestError, match=f"declared as {declared}, but it is image/{kind}"
    ):
        await read(address(drawn(kind), declared))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
async def test_an_animated_picture_is_refused(kind: str):
    with pytest.raises(InvalidRequestError, match=r"^image\[0\]: an animated picture"):
        await read(address(animated(kind)))


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", drawn("gif"), drawn("bmp"), drawn("tiff"), b"<svg xmlns='x'/>", b"\x89PNG\r\n"],
)
async def test_what_is_no_picture_of_ours_is_refused(data: bytes):
    with pytest.raises(InvalidRequestError, match=r"^image\[0\]: not a whole PNG, JPEG or WebP"):
        await read(address(data))


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,!!!!",
        "data:image/png;base64,iVBORw0KGg",
        "data:image/png;base64,é",
        "data:image/png,abc",
        "data:image/png;base64",
        "data:",
    ],
)
async def test_what_is_no_base64_is_refused(url: str):
    with pytest.raises(
        InvalidRequestError, match=r"^image\[0\]: (not valid base64|expected data:)"
    ):
        await read(url)


async def test_a_large_file_is_refused_before_it_is_decoded():
    bounds = Images(max_input_bytes=100)
    with pytest.raises(RequestTooLargeError, match="larger than 100 bytes"):
        await read(address(bytes(200)), bounds)


@pytest.mark.parametrize(
    "url", ["", "https://example.com/a.png", "http://example.com/", "file:///a"]
)
async def test_addresses_are_not_fetched_unless_allowed(url: str):
    with pytest.raises(InvalidRequestError, match="are not fetched here"):
        await read(url)


async def test_what_is_fetched_is_looked_at_too():
    asked: list[tuple[str, str]] = []

    async def fetch(url: str, param: str) -> bytes:
        asked.append((url, param))
        return drawn("jpeg") if url.endswith("jpg") else b"<html>"

    reader = Reader(Images(allow_urls=True), fetch)
    found = await reader.read(ImagePart(url="https://example.com/a.jpg"), "image")
    assert found.media_type == "image/jpeg"
    assert asked == [("https://example.com/a.jpg", "image")]
    with pytest.raises(InvalidRequestError, match=r"^image: not a whole"):
        await reader.read(ImagePart(url="https://example.com/"), "image")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a/b", "http://a/b", "", "a.png"])
async def test_only_https_is_fetched(url: str):
    with pytest.raises(InvalidRequestError, match="only https"):
        await read(url, Images(allow_urls=True))
