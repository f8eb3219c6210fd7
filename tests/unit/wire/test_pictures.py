"""Places in JSON, and what fills them."""

import base64 as reference

import pytest

from penstock.core.errors import InternalError
from penstock.wire import json, pictures


def test_places_are_filled_in_order_and_nothing_else_is():
    """A text may hold everything that JSON can say, a NUL too: it is escaped."""
    said = {"text": 'a "b" \0 \\u0000', "one": pictures.PLACE, "two": [pictures.PLACE]}
    found = pictures.filled(json.encode(said), [b"AAAA", pictures.base64(b"\xff\x00")])
    assert json.decode(found, object, InternalError) == {
        "text": 'a "b" \0 \\u0000',
        "one": "AAAA",
        "two": [reference.b64encode(b"\xff\x00").decode()],
    }


@pytest.mark.parametrize("texts", [[], [b"a", b"b"]])
def test_a_place_too_many_or_too_few_is_no_answer(texts: list[bytes]):
    with pytest.raises(InternalError, match="1 places"):
        pictures.filled(json.encode([pictures.PLACE]), texts)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "application/octet-stream"),
        (b"GIF89a", "image/gif"),
        (b"<html>", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_kinds_are_told_by_the_first_bytes(data: bytes, kind: str):
    assert pictures.media_type(data) == kind
