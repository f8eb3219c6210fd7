"""One workflow on its way through a ComfyUI: queued, running, drawn; or stopped."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing, suppress
from typing import Final
from uuid import uuid4

import aiohttp

from penstock.core.errors import (
    BindingDownError,
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    GatewayError,
)
from penstock.core.events import Event, Progress
from penstock.core.ports import Album
from penstock.engines import _comfy_messages as told
from penstock.engines._comfy_server import Server
from penstock.engines._comfy_workflow import Graph, Workflow
from penstock.engines._upstream_errors import our_errors

_CANCEL_SECONDS: Final = 5.0
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 2.0
_PATIENCE: Final = 30.0
"""How long a server that is gone is looked for."""
_TEXTS: Final = aiohttp.WSMsgType.TEXT
_LOADS: Final = "Loader"


class Run:
    """One run. `past` holds what it made, once `events` has come to its end.

    Every run has a client id of its own, so that previews of older servers, which name no run, are
    this run's. What the connection missed is asked for by the history.
    """

    def __init__(self, server: Server, workflow: Workflow, album: Album) -> None:
        self.past: told.Past | None = None
        self._server = server
        self._workflow = workflow
        self._album = album
        self._client = uuid4().hex
        self._id = str(uuid4())
        self._begun = False
        self._place: tuple[int, int] = (0, 0)
        self._steps: dict[str, tuple[int, int]] = {}
        self._node = ""
        self._told: tuple[str, int, int] = ("", 0, 0)
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def events(
        self, graph: Graph, previews: int | None
    ) -> AsyncGenerator[Sequence[Event], None]:
        """`Progress` to the end of the run; an empty batch once it is queued.

        `previews`: how many are wanted, `None` all. Closing it takes the run out of the queue, or
        stops it. Raises `GatewayError`.
        """
        self._socket = await self._server.listen(self._client)
        queued = False
        try:
            queued = True  # from here on the server may have it, whatever becomes of the answer
            self._id = await self._server.queue_up(graph, self._client, self._id, self._workflow)
            yield ()
            async with aclosing(self._followed(previews)) as batches:
                async for batch in batches:
                    yield batch
        except BaseException:
            if queued and self.past is None:
                await self._cancel()
            raise
        finally:
            await self._socket.close()

    async def picture(self, file: told.File) -> tuple[bytes, str]:
        """The bytes of a picture of `past` and their media type, asked for again where the
        connection is lost.
        """
        loop = asyncio.get_running_loop()
        end, wait = loop.time() + _PATIENCE, _FIRST_WAIT
        while True:
            try:
                return await self._server.picture(file)
            except GatewayError as error:
                if not _is_lost(error) or loop.time() + wait > end:
                    raise
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _cancel(self) -> None:
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._server.cancel(self._id)

    async def _followed(self, previews: int | None) -> AsyncGenerator[Sequence[Event], None]:
        if waiting := await self._through(self._waiting()):
            yield waiting
        while self.past is None:
            message = await self._received()
            if message is None:
                await self._found_again()
            elif isinstance(message, told.Preview):
                if shown := await self._shown(message, previews):
                    yield shown
            elif found := await self._heard(message):
                yield found
        self.past.check(self._server.masked)

    async def _received(self) -> told.Message | told.Preview | None:
        """The next message of use; `None` when the connection is lost."""
        socket = self._socket
        while socket is not None:
            message = await socket.receive()
            found: told.Message | told.Preview | None = None
            if message.type is _TEXTS:
                found = told.text(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                found = told.binary(message.data)
            else:
                return None
            if found is not None:
                return found
        return None

    async def _heard(self, message: told.Message) -> Sequence[Event]:
        said = message.said
        if message.type == "status":
            return () if self._begun else await self._through(self._waiting())
        if said.prompt_id != self._id:
            return ()
        self._begun = True
        match message.type:
            case "execution_error" | "execution_interrupted":
                self.past = told.Past()  # it has ended: nothing is left to be cancelled
                raise told.failure(message.type, said, self._server.masked)
            case "execution_success" | "executing" if said.node is None:
                # Older servers' last word is `executing` of no node.
                return await self._through(self._ended())
            case "executing":
                kind = self._workflow.kind_of(said.node or "")
                return [Progress(what="loading", text=kind)] if _LOADS in kind else ()
            case "progress_state" if isinstance(said.nodes, dict):
                self._steps |= {n: (int(s.value), int(s.max)) for n, s in said.nodes.items()}
            case "progress":
                return self._stepped(said.node or "", int(said.value), int(said.max))
            case _:
                pass
        return ()

    def _stepped(self, node: str, at: int, of: int) -> Sequence[Event]:
        self._steps[node] = (at, of)
        self._node = node
        if self._told == (node, at, of):
            return ()  # its preview came first, as newer servers have it
        self._told = (node, at, of)
        return [Progress(what="step", at=at, of=of)]

    async def _shown(self, preview: told.Preview, wanted: int | None) -> Sequence[Event]:
        node = preview.node_id or self._node
        at, of = self._steps.get(node, (0, 0))
        if preview.prompt_id not in (None, self._id) or wanted == 0:
            return ()
        if wanted is not None and of and at * wanted // of == (at - 1) * wanted // of:
            return ()
        blob = await self._album.keep(preview.data, preview.media_type)
        self._told = (node, at, of)
        return [Progress(what="step", at=at, of=of, preview=blob)]

    async def _waiting(self) -> Sequence[Event]:
        """The place in the server's queue, when it is another one than before."""
        queue = await self._server.queue()
        if self._id not in queue.waiting:
            return ()
        place = (queue.waiting.index(self._id) + 1, len(queue.waiting))
        if place == self._place:
            return ()
        self._place = place
        return [Progress(what="queued", at=place[0], of=place[1])]

    async def _ended(self) -> Sequence[Event]:
        """Takes the outcome from the history, where it is a moment after the last message."""
        wait = 0.01
        with our_errors(self._server.address):
            async with asyncio.timeout(_PATIENCE):
                while (past := await self._server.past(self._id)) is None:
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, _LONGEST_WAIT)
        self.past = past
        return ()

    async def _through(self, asking: Awaitable[Sequence[Event]]) -> Sequence[Event]:
        """What is asked; where the server can't be reached, it is looked for instead."""
        try:
            return await asking
        except GatewayError as error:
            if not _is_lost(error):
                raise
            await self._found_again()
            return ()

    async def _found_again(self) -> None:
        """Connects anew, and asks what has happened meanwhile. Raises `EngineError` when the server
        does not come back, or no longer knows the run.
        """
        loop = asyncio.get_running_loop()
        end, wait = loop.time() + _PATIENCE, _FIRST_WAIT
        while True:
            try:
                await self._connected()
                known = await self._known()
            except GatewayError as error:
                if not _is_lost(error):
                    raise
                if loop.time() + wait > end:
                    raise EngineError(
                        f"the connection to ComfyUI was lost: {error.message}"
                    ) from error
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            if not known:
                raise EngineError("ComfyUI no longer knows the run; was it started anew?")
            return

    async def _connected(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        self._socket = await self._server.listen(self._client)

    async def _known(self) -> bool:
        """Whether the server has the run: ended, running or waiting. It may end between the
        questions, so the first is asked again.
        """
        self.past = await self._server.past(self._id)
        if self.past is not None:
            return True
        queue = await self._server.queue()
        if self._id in (*queue.running, *queue.waiting):
            return True
        self.past = await self._server.past(self._id)
        return self.past is not None


def _is_lost(error: GatewayError) -> bool:
    """Whether it is the connection, or a proxy that finds no server behind it."""
    final = (EngineProtocolError, EngineRefusedError)
    return isinstance(error, EngineError | BindingDownError) and not isinstance(error, final)
