"""What a ComfyUI says: its WebSocket's messages, its history, its queue. No I/O.

Sources: ComfyUI's `server.py` (`send_json`, `send_image`, `send_image_with_metadata`),
`execution.py` (`add_message`, `handle_execution_error`, `PromptQueue`) and `protocol.py`.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.errors import EngineError, EngineProtocolError, GatewayError
from penstock.engines._said import Mask
from penstock.wire import json

_PREVIEW: Final = 1
_PREVIEW_WITH_METADATA: Final = 4
_FORMATS: Final = {1: "image/jpeg", 2: "image/png"}


class _State(msgspec.Struct, frozen=True):
    value: float = 0
    max: float = 0
    state: str = ""


class Said(msgspec.Struct, frozen=True):
    """What the messages of one run hold; each has a part of it. `timestamp`: milliseconds;
    `nodes`: how far each node is, told before the preview that belongs to it (in
    `progress_state`; in `execution_cached` it is something else).
    """

    prompt_id: str | None = None
    node: str | None = None
    nodes: dict[str, _State] | list[str] = {}
    value: float = 0
    max: float = 0
    node_id: str | None = None
    node_type: str | None = None
    exception_type: str | None = None
    exception_message: str | None = None
    timestamp: int | None = None


class Message(msgspec.Struct, frozen=True):
    """One text message."""

    type: str
    said: Said


class Preview(msgspec.Struct, frozen=True):
    """A picture of the work in progress. `prompt_id`, `node_id`: where the server says so."""

    data: bytes
    media_type: str
    prompt_id: str | None = None
    node_id: str | None = None


class _Envelope(msgspec.Struct):
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Metadata(msgspec.Struct):
    image_type: str = "image/jpeg"
    prompt_id: str | None = None
    node_id: str | None = None


_READ: Final = frozenset(
    {
        "execution_start",
        "executing",
        "progress",
        "progress_state",
        "execution_error",
        "execution_interrupted",
        "execution_success",
    }
)


def text(data: str) -> Message | None:
    """A text message; `None` for those of no use. Raises `EngineProtocolError`."""
    envelope = json.decode(data, _Envelope, EngineProtocolError)
    if envelope.type == "status":
        return Message("status", Said())
    if envelope.type not in _READ:
        return None
    return Message(envelope.type, json.decode(bytes(envelope.data), Said, EngineProtocolError))


def binary(data: bytes) -> Preview | None:
    """A preview; `None` for binary messages of other kinds. Raises `EngineProtocolError`."""
    kind, number = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    if kind == _PREVIEW and number in _FORMATS and len(data) > 8:
        return Preview(data[8:], _FORMATS[number])
    if kind == _PREVIEW_WITH_METADATA and len(data) > 8 + number:
        about = json.decode(data[8 : 8 + number], _Metadata, EngineProtocolError)
        return Preview(data[8 + number :], about.image_type, about.prompt_id, about.node_id)
    return None


class File(msgspec.Struct, frozen=True):
    """A picture that the server keeps."""

    filename: str
    subfolder: str = ""
    type: str = "output"


class _Output(msgspec.Struct):
    images: list[File] = []


class _Status(msgspec.Struct):
    status_str: str = ""
    completed: bool = True
    messages: list[tuple[str, Said]] = []


class Past(msgspec.Struct):
    """A run that has ended, as the history tells it."""

    outputs: dict[str, _Output] = {}
    status: _Status | None = None

    @property
    def files(self) -> list[File]:
        """What was saved; where nothing was, what was only shown. In the order of the nodes."""
        nodes = sorted(self.outputs, key=lambda node: (len(node), node))
        found = [file for node in nodes for file in self.outputs[node].images]
        return [file for file in found if file.type == "output"] or found

    @property
    def nanoseconds(self) -> int:
        """From its start to its end; 0 when unknown."""
        said = self.status.messages if self.status is not None else []
        times = [one.timestamp for _, one in said if one.timestamp is not None]
        return (max(times) - min(times)) * 1_000_000 if times else 0

    def check(self, mask: Mask) -> None:
        """Raises why it failed, if it did."""
        if self.status is None or self.status.status_str != "error":
            return
        for kind, said in self.status.messages:
            if kind in ("execution_error", "execution_interrupted"):
                raise failure(kind, said, mask)
        raise EngineError("the workflow failed, and ComfyUI does not say why")


def past(data: bytes, prompt_id: str) -> Past | None:
    """A run out of `GET /history/{prompt_id}`; `None` while it has not ended."""
    return json.decode(data, dict[str, Past], EngineProtocolError).get(prompt_id)


def failure(kind: str, said: Said, mask: Mask) -> GatewayError:
    """The error of `execution_error` and `execution_interrupted`. No traceback, no inputs."""
    if kind == "execution_interrupted":
        return EngineError("the run was interrupted at the ComfyUI server by somebody else")
    where = f"{said.node_type or 'a node'} ({said.node_id})" if said.node_id else "a node"
    lines = (said.exception_message or "").strip().splitlines()
    why = mask(lines[0])[:300] if lines else said.exception_type or "no reason given"
    if "OutOfMemory" in (said.exception_type or "") or "out of memory" in why.lower():
        return EngineError(f"the GPU of the ComfyUI server ran out of memory in {where}")
    return EngineError(f"the workflow failed in {where}: {why}")


class _Queue(msgspec.Struct):
    queue_running: list[list[msgspec.Raw]] = []
    queue_pending: list[list[msgspec.Raw]] = []


class Queue(msgspec.Struct, frozen=True):
    """Ids of the runs: those that run, and those that wait, the next one first."""

    running: Sequence[str]
    waiting: Sequence[str]


def queue(data: bytes) -> Queue:
    """Out of `GET /queue`. The waiting ones lie in a heap there, so they are put in order."""
    found = json.decode(data, _Queue, EngineProtocolError)
    try:
        waiting = sorted((_number(item[0]), _id(item[1])) for item in found.queue_pending)
        return Queue([_id(item[1]) for item in found.queue_running], [name for _, name in waiting])
    except IndexError as error:
        raise EngineProtocolError("a queue of items without ids") from error


def _number(raw: msgspec.Raw) -> float:
    return json.decode(bytes(raw), float, EngineProtocolError)


def _id(raw: msgspec.Raw) -> str:
    return json.decode(bytes(raw), str, EngineProtocolError)


class _Inputs(msgspec.Struct):
    required: dict[str, list[msgspec.Raw]] = {}
    optional: dict[str, list[msgspec.Raw]] = {}


class _About(msgspec.Struct):
    input: _Inputs = msgspec.field(default_factory=_Inputs)


class _Options(msgspec.Struct):
    options: list[str] = []


def choices(data: bytes, kind: str, field: str) -> list[str] | None:
    """What an input of a class of nodes may be, out of `GET /object_info/{class}`; `None` when it
    is no choice, or there is no such class.

    Both forms are read: `[["euler", …], {}]` and `["COMBO", {"options": ["euler", …]}]`.
    """
    about = json.decode(data, dict[str, _About], EngineProtocolError).get(kind)
    if about is None:
        return None
    said = about.input.required.get(field) or about.input.optional.get(field) or []
    try:
        if said and bytes(said[0]).lstrip()[:1] == b"[":
            return json.decode(bytes(said[0]), list[str], EngineProtocolError)
        if len(said) > 1 and bytes(said[0]) == b'"COMBO"':
            return json.decode(bytes(said[1]), _Options, EngineProtocolError).options
    except EngineProtocolError:
        return None  # a list of something else than names
    return None
