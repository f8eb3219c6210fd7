"""Golden vectors of engines: what an upstream said, byte for byte, and what we make of it.

`tests/vectors/engines/ENGINE/CASE/` holds `upstream.body`, `events.jsonl` (one event a line),
`source.txt` (where the body was copied or captured from) and, where the default does not do,
`request.json`. `python -m penstock.testing.vectors [FOLDER]` rewrites every `events.jsonl`; the
difference is the review.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock import registry
from penstock.core.errors import ConfigError
from penstock.core.events import Event
from penstock.core.messages import say
from penstock.core.ports import Engine, Timeouts
from penstock.core.request import Request
from penstock.testing.upstreams import Connection, scripted
from penstock.wire import json

REQUEST: Final = Request(model="m", messages=(say("user", "Hello"),))
"""What is asked when a vector says nothing else."""

_GAP_SECONDS: Final = 0.002


class _Line(msgspec.Struct, frozen=True):
    event: Event


class EngineVector(msgspec.Struct, frozen=True):
    """One case of one engine."""

    engine: str
    name: str
    folder: Path
    body: bytes
    request: Request

    @property
    def content_type(self) -> str:
        """As the upstream would declare the body."""
        if self.engine == "ollama":
            return "application/x-ndjson"
        return "application/json" if self.body.startswith(b"{") else "text/event-stream"

    def events(self) -> list[Event]:
        """What is to come of it."""
        lines = (self.folder / "events.jsonl").read_bytes().splitlines()
        return [json.decode(b'{"event":' + x + b"}", _Line, ConfigError).event for x in lines]


def engine_vectors(root: Path) -> list[EngineVector]:
    """Every case below `root` (`tests/vectors`), in order of their names."""
    return [_load(body.parent) for body in sorted(root.glob("engines/*/*/upstream.body"))]


def _load(folder: Path) -> EngineVector:
    asked = folder / "request.json"
    request = json.decode(asked.read_bytes(), Request, ConfigError) if asked.exists() else REQUEST
    return EngineVector(
        engine=folder.parent.name,
        name=folder.name,
        folder=folder,
        body=(folder / "upstream.body").read_bytes(),
        request=request,
    )


async def heard(vector: EngineVector, pieces: Sequence[bytes]) -> list[Event]:
    """What the engine makes of the body, sent in these pieces over a real socket."""

    async def script(connection: Connection) -> None:
        await connection.answer(headers=[f"Content-Type: {vector.content_type}"])
        for piece in pieces:
            await connection.send(piece)
            await asyncio.sleep(_GAP_SECONDS)

    async with scripted(script) as upstream:
        module = registry.load("engines", vector.engine)
        engine: Engine = module.Engine(module.Config(url=upstream.url), Timeouts())
        try:
            return [event async for batch in engine.stream(vector.request) for event in batch]
        finally:
            await engine.aclose()


async def rewrite(root: Path) -> None:
    """Writes `events.jsonl` anew from every `upstream.body`."""
    for vector in engine_vectors(root):
        events = await heard(vector, [vector.body])
        lines = b"".join([json.encode(event) + b"\n" for event in events])
        (vector.folder / "events.jsonl").write_bytes(lines)


if __name__ == "__main__":
    asyncio.run(rewrite(Path(sys.argv[1] if len(sys.argv) > 1 else "tests/vectors")))
