"""The parts of a form (RFC 7578)."""

from typing import TYPE_CHECKING, Final

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from penstock.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MEDIA_TYPE: Final = "multipart/form-data"
_MOST_PARTS: Final = 256


class Part(msgspec.Struct, frozen=True):
    """One part. `file`: it has a file's name; `media_type` is lower case, empty when not said."""

    name: str
    data: bytes
    media_type: str = ""
    file: bool = False


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form."""
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


def parts(content_type: str, body: bytes) -> list[Part]:
    """All parts, in order. Raises `InvalidRequestError`, also for a form that is cut."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidRequestError("Content-Type has no boundary", param="Content-Type")
    reading = _Reading()
    try:
        parser = MultipartParser(boundary, reading.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequestError(f"not a valid form: {error}") from error
    if not reading.whole:
        raise InvalidRequestError("not a valid form: it is cut")
    return reading.found


class _Reading:
    """Takes the parser's calls. A part's bytes are copied once."""

    def __init__(self) -> None:
        self.found: list[Part] = []
        self.whole = False
        self._headers: dict[bytes, bytes] = {}
        self._name: list[bytes] = []
        self._value: list[bytes] = []
        self._data: list[bytes] = []

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.append(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.append(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.found) == _MOST_PARTS:
            raise InvalidRequestError(f"a form of more than {_MOST_PARTS} parts")
        self._headers, self._data = {}, []

    def _header(self) -> None:
        self._headers[b"".join(self._name).lower()] = b"".join(self._value)
        self._name, self._value = [], []

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        kind, _ = parse_options_header(self._headers.get(b"content-type", b""))
        data = self._data[0] if len(self._data) == 1 else b"".join(self._data)
        media_type = kind.decode("latin-1").strip().lower()
        self.found.append(Part(name, data, media_type, b"filename" in options))

    def _finish(self) -> None:
        self.whole = True
