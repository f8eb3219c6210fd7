"""Golden vectors of engines that make pictures, and an album to keep them in.

`tests/vectors/engines/ENGINE/CASE/` holds `answer.json` or `answer.sse`, what an upstream answers;
`source.txt`, where that was published; `request.json` and `asked.json`, what we are asked and what
we ask then; `events.jsonl`, what comes of it; `refused.json`, the status of an answer that refuses,
and what is made of it.

The published examples have no pictures: where they write `...` or `ImageBlobString`, `PICTURE` is
put. In `events.jsonl` its blob is called `PICTURE`.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import msgspec
from PIL import Image as Pillow

from penstock.core.errors import ConfigError, UnknownStreamError
from penstock.core.events import Blob, Event
from penstock.core.request import Request
from penstock.wire import json

ROOT = Path(__file__).parent.parent / "vectors" / "engines"


def png(colour: str, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    """A picture of one colour."""
    out = BytesIO()
    Pillow.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


PICTURE = png("red")
INPUT = png("blue")
_PLACES = (b'"..."', b'"ImageBlobString"', b"base64,ImageBlobString")


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def named(data: bytes) -> Blob:
    return Blob(sha256=sha256(data).hexdigest(), media_type="image/png", size=len(data))


class MemoryAlbum:
    """The pictures of one stream."""

    def __init__(self, *given: bytes) -> None:
        self.kept: dict[str, bytes] = {}
        for data in given:
            self.kept[named(data).sha256] = data

    async def keep(self, data: bytes, media_type: str) -> Blob:
        blob = Blob(sha256=sha256(data).hexdigest(), media_type=media_type, size=len(data))
        self.kept[blob.sha256] = data
        return blob

    async def get(self, blob: Blob) -> bytes:
        if blob.sha256 not in self.kept:
            raise UnknownStreamError("no such picture")
        return self.kept[blob.sha256]


class Refused(msgspec.Struct, frozen=True):
    status: int
    code: str
    param: str | None = None
    says: str = ""


class Case(msgspec.Struct, frozen=True):
    """One vector."""

    engine: str
    name: str

    @property
    def folder(self) -> Path:
        return ROOT / self.engine / self.name

    @property
    def streamed(self) -> bool:
        return (self.folder / "answer.sse").exists()

    def answer(self, picture: bytes = PICTURE) -> bytes:
        """What the upstream answers, with pictures."""
        data = (self.folder / ("answer.sse" if self.streamed else "answer.json")).read_bytes()
        said = base64(picture).encode()
        for place in _PLACES:
            quote = b'"' if place.startswith(b'"') else b""
            head = b"base64," if not quote else b""
            data = data.replace(place, quote + head + said + quote)
        return data

    def request(self, mask: bytes = b"") -> Request:
        text = (self.folder / "request.json").read_bytes()
        text = text.replace(b"INPUT", named(INPUT).sha256.encode())
        text = text.replace(b"MASK", named(mask).sha256.encode())
        return json.decode(text, Request, ConfigError)

    def asked(self) -> dict[str, object]:
        return json.decode((self.folder / "asked.json").read_bytes(), dict, ConfigError)

    def refused(self) -> Refused:
        return json.decode((self.folder / "refused.json").read_bytes(), Refused, ConfigError)

    def events(self) -> list[bytes]:
        """What comes of it, each event as JSON."""
        blob = json.encode(named(PICTURE))
        text = (self.folder / "events.jsonl").read_bytes().replace(b'"PICTURE"', blob)
        return text.splitlines()


def cases(engine: str, file: str) -> list[Case]:
    """The vectors of an engine that have a file of this name."""
    return [Case(engine, path.parent.name) for path in sorted((ROOT / engine).glob(f"*/{file}"))]


def told(events: Sequence[Event]) -> list[bytes]:
    """Comparable with `Case.events`."""
    return [json.encode(event) for event in events]
