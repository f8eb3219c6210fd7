"""Where a picture goes in JSON: a place that no text can imitate, filled when it is sent."""

import binascii
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.errors import InternalError

_MARK: Final = b"\0"
PLACE: Final = msgspec.Raw(b'"\0"')
"""A JSON string to be filled. JSON escapes control characters, so no other text holds this byte."""

_KINDS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_OTHER: Final = "application/octet-stream"


def filled(data: bytes, texts: Sequence[bytes]) -> bytes:
    """`data` with its places filled by ASCII texts, in order."""
    pieces = data.split(_MARK)
    if len(pieces) != len(texts) + 1:
        raise InternalError(f"{len(pieces) - 1} places for {len(texts)} pictures")
    found = [pieces[0]]
    for text, piece in zip(texts, pieces[1:], strict=True):
        found += (text, piece)
    return b"".join(found)


def base64(data: bytes) -> bytes:
    """Bare base64, without line ends."""
    return binascii.b2a_base64(data, newline=False)


def media_type(data: bytes) -> str:
    """What a file is by its first bytes: PNG, JPEG, GIF, WebP, or `application/octet-stream`."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for mark, kind in _KINDS if data.startswith(mark)), _OTHER)
