"""The only JSON door. What leaves is ASCII: no client that splits lines at U+2028 can break it."""

import re
from collections.abc import Hashable, Sequence
from functools import cache
from typing import Final, NoReturn, TypeVar, cast

import msgspec

from penstock.core.errors import GatewayError

T = TypeVar("T")
Raw = msgspec.Raw

_encode: Final = msgspec.json.Encoder().encode
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")
_PATH: Final = re.compile(r" - at `(?:key in )?\$?\.?(.*)`$", re.DOTALL)


def encode(value: object) -> bytes:
    """One line of ASCII JSON. Keys keep their order."""
    data = _encode(value)
    return data if data.isascii() else _escaped(data)


def _escaped(data: bytes) -> bytes:
    # Outside ASCII, JSON text has characters only inside strings, where an escape is always legal.
    return _NOT_ASCII.sub(_escape, data.decode()).encode("ascii")


@cache
def _escape_character(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _escape(match: re.Match[str]) -> str:
    return _escape_character(match.group())


@cache
def _decoder(kind: Hashable, strict: bool) -> msgspec.json.Decoder[object]:
    return msgspec.json.Decoder(cast("type[object]", kind), strict=strict)


def decode(data: bytes | str, kind: type[T], blame: type[GatewayError], *, lax: bool = False) -> T:
    """A value of `kind`, or an error of the class `blame` whose `param` is the field's path.

    `lax`: a text is a number or a truth where one is wanted, as the fields of a form are.
    """
    try:
        # What is kept as it came, or skipped, msgspec does not look at: it may be no text at all.
        if isinstance(data, bytes) and not data.isascii():
            data.decode()
        return cast("T", _decoder(cast("Hashable", kind), not lax).decode(data))
    except msgspec.ValidationError as error:
        _fail(error, blame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise blame(f"not valid JSON: {error}") from error
    except RecursionError as error:
        raise blame("not valid JSON: nested too deeply") from error


def convert(value: object, kind: type[T], blame: type[GatewayError], at: str = "") -> T:
    """The same for a value that is already decoded; `at` is the path of `value` itself."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        _fail(error, blame, at)


def _fail(error: msgspec.ValidationError, blame: type[GatewayError], at: str = "") -> NoReturn:
    text = str(error)
    found = _PATH.search(text)
    where = found.group(1) if found else ""
    missing = re.match(r"Object (?:missing required|contains unknown) field `([^`]*)`", text)
    names = [name for name in (at, where, missing.group(1) if missing else "") if name]
    path = ".".join(names).replace(".[", "[").replace("[...]", "[]")
    message = _PATH.sub("", text)
    raise blame(f"{path}: {message}" if path else message, param=path or None) from error


def raw(text: str | bytes) -> msgspec.Raw:
    """JSON text that goes out as it is, but on one line. The caller knows that it is JSON.

    A line's end in JSON text only ever stands between tokens; on a wire it would cut a frame.
    """
    data = text.encode() if isinstance(text, str) else text
    return msgspec.Raw(data.translate(_ONE_LINE) if b"\n" in data or b"\r" in data else data)


def is_json(text: str | bytes) -> bool:
    """Whether `text` is one whole JSON value."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def schema(
    kinds: Sequence[object], ref_template: str
) -> tuple[tuple[object, ...], dict[str, object]]:
    """JSON schemas of types, and the components that they refer to."""
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template=ref_template, schema_hook=_anything
    )
    return schemas, dict(components)


def properties(kind: type[msgspec.Struct]) -> object:
    """The schemas of a struct's fields, for a map that is read more freely than the struct."""
    _, components = schema([kind], "{name}")
    return cast("dict[str, object]", components[kind.__name__])["properties"]


def _anything(kind: type) -> dict[str, object]:
    """`object` holds any JSON; msgspec knows it as `Any` only."""
    if kind is object:
        return {"description": "Any JSON."}
    raise NotImplementedError
