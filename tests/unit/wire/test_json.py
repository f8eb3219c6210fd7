"""The JSON door: ASCII out, named fields in."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import EngineProtocolError, InvalidRequestError
from penstock.core.messages import Message
from penstock.wire import json as door


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_leaves_is_ascii_and_means_the_same(text: str):
    data = door.encode({"text": text, text: 1})
    assert data.isascii()
    assert b"\n" not in data
    assert json.loads(data) == {"text": text, text: 1}


@pytest.mark.parametrize("character", ["\u0085", "\u2028", "\u2029", "é", "😀"])
def test_what_splits_lines_is_escaped(character: str):
    assert len(door.encode(character).decode().splitlines()) == 1


@pytest.mark.parametrize("body", [b'{"a": {"b": "\xff"}}', b'{"a": {"b": "\xed\xa0\x80"}}'])
def test_what_is_kept_as_it_is_must_be_text_too(body: bytes):
    with pytest.raises(InvalidRequestError, match="not valid JSON"):
        door.decode(body, dict[str, door.Raw], InvalidRequestError)
    assert not door.is_json(body)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"role": 1}', "role"),
        (b'{"role": "user", "parts": [{"type": "text", "text": 3}]}', "parts[0].text"),
        (b"{}", "role"),
        (b'{"role": "sage"}', "role"),
    ],
)
def test_a_wrong_field_is_named(body: bytes, path: str):
    with pytest.raises(InvalidRequestError) as caught:
        door.decode(body, Message, InvalidRequestError)
    assert caught.value.param == path
    assert caught.value.message.startswith(path)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'"\\ud800"'])
def test_what_is_no_json_is_blamed_on_who_sent_it(body: bytes):
    with pytest.raises(EngineProtocolError):
        door.decode(body, Message, EngineProtocolError)


class Skipping(msgspec.Struct):
    pass


@pytest.mark.parametrize("kind", [msgspec.Raw, dict[str, msgspec.Raw], Skipping])
@pytest.mark.parametrize("body", [b'{"kept": "\xff"}', b'{"kept": ["caf\xe9"]}', b'{"\xff": 1}'])
def test_what_is_kept_or_skipped_must_be_text_too(kind: type[object], body: bytes):
    with pytest.raises(EngineProtocolError, match="not valid JSON"):
        door.decode(body, kind, EngineProtocolError)


def test_json_of_others_goes_out_on_one_line():
    text = '{"a":\r\n [1,\n 2],\n "b": "\\n"}'
    for given_ in (text, text.encode()):
        data = door.encode({"raw": door.raw(given_)})
        assert len(data.splitlines()) == 1
        assert json.loads(data)["raw"] == json.loads(text)
