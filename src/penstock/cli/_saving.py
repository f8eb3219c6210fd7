"""Pictures as files: under names that nothing has yet, and a PNG with what it was made of.

The texts of a PNG: PNG Specification, Third Edition (W3C, 2025), 11.3.3 (`tEXt`, `iTXt`).
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from penstock.core.errors import ConfigError

FOLDER: Final = "generated_images"

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEAD: Final = 33
"""Signature and `IHDR`, which is always first."""
_ENDINGS: Final = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_MOST_NAMES: Final = 10_000


def ending(media_type: str) -> str:
    """The usual suffix of a file of this kind."""
    return _ENDINGS.get(media_type, ".bin")


def save(data: bytes, wanted: Path, media_type: str) -> Path:
    """Writes a picture to `wanted`, or beside it where that is taken: never over another file.

    A suffix that says something else than the picture is replaced. Raises `ConfigError`.
    """
    kind = ending(media_type)
    same = wanted.suffix.lower() in (kind, ".jpeg" if kind == ".jpg" else kind, "")
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        for path in _names(wanted if same else wanted.with_suffix(kind)):
            try:
                make(path, data)
            except FileExistsError:
                continue
            return path
    except OSError as error:
        raise ConfigError(
            f"{wanted} can't be written ({error.strerror}); choose another place with -o FILE"
        ) from error
    raise ConfigError(f"{wanted} and {_MOST_NAMES} names like it are taken")


def make(path: Path, data: bytes) -> None:
    """A new file, whole or not at all. Raises `OSError`; `FileExistsError` where one is."""
    with path.open("xb") as file:
        try:
            file.write(data)
            file.flush()
        except OSError:
            path.unlink()
            raise


def usual_name(now: datetime) -> Path:
    """`generated_images/generated_image_20260102-030405`, without a suffix."""
    return Path(FOLDER) / f"generated_image_{now:%Y%m%d-%H%M%S}"


def numbered(path: Path, number: int) -> Path:
    """The name of the `number`-th of several."""
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _names(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, _MOST_NAMES):
        yield numbered(path, number)


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG with these texts too. What it says already stays; what is no PNG is left alone."""
    said = _keywords(data)
    if said is None:
        return data
    new = [_text(name, text) for name, text in texts.items() if name not in said]
    return data[:_HEAD] + b"".join(new) + data[_HEAD:]


def _text(name: str, text: str) -> bytes:
    """`tEXt` where Latin-1 is enough, else `iTXt`, not compressed."""
    text = text.replace("\0", "")
    try:
        return _chunk(b"tEXt", name.encode("latin-1") + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return _chunk(b"iTXt", name.encode() + b"\0\0\0\0\0" + text.encode("utf-8", "replace"))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _keywords(data: bytes) -> set[str] | None:
    """The keywords of all texts in a PNG; `None` when it isn't one."""
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR" or len(data) < _HEAD:
        return None
    found: set[str] = set()
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] in (b"tEXt", b"iTXt", b"zTXt"):
            found.add(data[at + 8 : at + 8 + length].partition(b"\0")[0].decode("latin-1"))
        at += length + 12
    return found
