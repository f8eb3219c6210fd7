"""Our own protocol's shapes. Readers ignore event types that they do not know."""

from collections.abc import Iterable
from typing import Final

import msgspec

from penstock.core.errors import EngineProtocolError
from penstock.core.events import Entry, Seq
from penstock.core.ports import Frame, StreamInfo
from penstock.wire import json

VERSION: Final = 1

_SKIPPED: Final = "Invalid value"


class StreamList(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `GET /v1/streams`, newest first."""

    object: str = "list"
    data: tuple[StreamInfo, ...] = ()


class StreamDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `DELETE /v1/streams/{id}`."""

    id: str
    object: str = "stream.deleted"
    deleted: bool = True


class StreamCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `POST /v1/streams/{id}/cancel`; `cancelled` is false when it had ended."""

    id: str
    object: str = "stream"
    cancelled: bool = True


class _Place(msgspec.Struct, frozen=True):
    seq: Seq


def frames(entries: Iterable[Entry]) -> list[Frame]:
    """Entries as frames: the JSON of the entry is the wire form."""
    return [Frame(json.encode(entry)) for entry in entries]


def entry(data: bytes) -> Entry | Seq:
    """One received entry; only its seq when its event is of a type unknown to this version."""
    try:
        return json.decode(data, Entry, EngineProtocolError)
    except EngineProtocolError as error:
        if _SKIPPED not in error.message:
            raise
        return json.decode(data, _Place, EngineProtocolError).seq
