"""Names of files, and texts in PNGs."""

import resource
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from penstock.cli import _saving
from penstock.cli._conversation import Conversation
from penstock.core.errors import ConfigError, InvalidRequestError
from penstock.core.request import Sampling


def png(**texts: str) -> bytes:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    out = BytesIO()
    Image.new("RGB", (3, 2), "red").save(out, "PNG", pnginfo=info)
    return out.getvalue()


def read(data: bytes) -> dict[str, str]:
    with Image.open(BytesIO(data)) as image:
        image.load()
        assert image.getpixel((0, 0)) == (255, 0, 0)
        return {str(name): str(value) for name, value in image.info.items()}


def test_texts_are_added_and_what_the_engine_wrote_stays():
    data = _saving.with_texts(png(seed="7", parameters="a b"), {"seed": "8", "prompt": "é → 太阳"})
    assert read(data) == {"seed": "7", "parameters": "a b", "prompt": "é → 太阳"}


def test_latin_1_and_nul_in_texts():
    assert read(_saving.with_texts(png(), {"prompt": "d\0éjà"})) == {"prompt": "déjà"}


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff\xe0 a jpeg", png()[:20], b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_png_is_left_alone(data: bytes):
    assert _saving.with_texts(data, {"prompt": "a"}) == data


def test_a_cut_png_is_no_trouble():
    whole = png(seed="7")
    for cut in range(40, len(whole)):
        assert _saving.with_texts(whole[:cut], {"a": "b"}).startswith(whole[:33])


def test_no_file_is_overwritten(tmp_path: Path):
    wanted = tmp_path / "new" / "a.png"
    first = _saving.save(b"1", wanted, "image/png")
    second = _saving.save(b"2", wanted, "image/png")
    assert (first.name, second.name) == ("a.png", "a-2.png")
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")


@pytest.mark.parametrize(
    ("wanted", "media_type", "name"),
    [
        ("a.png", "image/jpeg", "a.jpg"),
        ("a.JPEG", "image/jpeg", "a.JPEG"),
        ("a.jpg", "image/webp", "a.webp"),
        ("a", "image/png", "a"),
        ("a.png", "application/octet-stream", "a.bin"),
    ],
)
def test_a_suffix_never_lies(tmp_path: Path, wanted: str, media_type: str, name: str):
    assert _saving.save(b"1", tmp_path / wanted, media_type).name == name


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="choose another place with -o FILE"):
        _saving.save(b"1", tmp_path / "file" / "a.png", "image/png")


@pytest.fixture
def little_room() -> Iterator[int]:
    """No file may become larger than this many bytes."""
    most = 4096
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    yield most
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("more", [1, 1 << 20])
def test_a_file_is_whole_or_not_there(tmp_path: Path, little_room: int, more: int):
    with pytest.raises(ConfigError, match="File too large"):
        _saving.save(bytes(little_room + more), tmp_path / "a.png", "image/png")
    talk = Conversation("m", "", Sampling())
    talk.keep("Hi", "x" * (little_room + more), stopped=False)
    with pytest.raises(InvalidRequestError, match="can't be written: File too large"):
        talk.save(str(tmp_path / "talk.md"))
    assert list(tmp_path.iterdir()) == []


def test_the_usual_name_has_the_time():
    name = _saving.usual_name(datetime(2026, 1, 2, 3, 4, 5).astimezone())
    assert str(name) == "generated_images/generated_image_20260102-030405"
