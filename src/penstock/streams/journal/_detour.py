"""Records whose payload goes to a file first, and those of the same stream that wait for them."""

from asyncio import Future
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from penstock.streams.journal._blobs import INLINE, Blobs
from penstock.streams.journal._live import Live
from penstock.streams.journal._records import IN_BLOB, BlobReference, pack
from penstock.streams.journal._segment import Handed
from penstock.streams.journal.index import Index
from penstock.streams.journal.segments import Appender
from penstock.wire import json


class Payload(msgspec.Struct, gc=False):
    """What a record is to hold. `count` events from `handed.first` on, of the time `when`."""

    what: int
    count: int
    when: int
    data: bytes
    handed: Handed

    def packed(self) -> Handed:
        """As the appender takes it."""
        handed = self.handed
        handed.record = pack(
            self.what, handed.live.raw, handed.first, self.count, self.when, self.data
        )
        return handed


class _Parked(msgspec.Struct):
    payload: Payload
    blob: Future[BlobReference] | None


class Detour:
    """Hands records over in the order of their stream, big ones by way of a file."""

    def __init__(self, folder: Path, blobs: Blobs, appender: Appender) -> None:
        self._folder = folder
        self._blobs = blobs
        self._appender = appender
        self._pool = ThreadPoolExecutor(1, "penstock-blob")
        self._index: Index | None = None
        self.parked: dict[Live, deque[_Parked]] = {}

    def hand_over(self, payload: Payload) -> None:
        """Takes the next record of a stream, and counts it into the backlog."""
        appender = self._appender
        parked = self.parked.get(payload.handed.live) if self.parked else None
        if parked is None and len(payload.data) <= INLINE:
            handed = payload.packed()
            appender.backlog += len(handed.record)
            appender.hand_over(handed)
            return
        appender.backlog += len(payload.data)
        live = payload.handed.live
        if parked is None:
            parked = self.parked[live] = deque()
        parked.append(_Parked(payload, None))
        if len(payload.data) > INLINE:
            loop = appender.loop
            blob = loop.run_in_executor(self._pool, self._put, live.info.stream, payload)
            parked[-1].blob = blob
            blob.add_done_callback(partial(self._unpark, live, parked))

    async def keep(self, stream: str, data: bytes, now: int) -> BlobReference:
        """Keeps bytes for a stream beside its records. Raises `OSError`."""
        return await self._appender.loop.run_in_executor(self._pool, self._keep, stream, data, now)

    def _put(self, stream: str, payload: Payload) -> BlobReference:
        return self._keep(stream, payload.data, payload.when)

    def _keep(self, stream: str, data: bytes, now: int) -> BlobReference:
        if self._index is None:
            self._index = Index(self._folder)
        return self._blobs.put(self._index, stream, data, now)

    def _unpark(self, live: Live, parked: deque[_Parked], done: Future[BlobReference]) -> None:
        error = done.exception()
        if self.parked.get(live) is not parked:
            return
        if error is not None or live.broken is not None:
            self._lose(live, error)
            return
        while parked and (parked[0].blob is None or parked[0].blob.done()):
            item = parked[0]
            if item.blob is not None and item.blob.exception() is not None:
                return  # its own callback comes next
            parked.popleft()
            self._forward(item)
        if not parked:
            del self.parked[live]

    def _forward(self, item: _Parked) -> None:
        payload = item.payload
        self._appender.backlog -= len(payload.data)
        if item.blob is not None:
            blob = item.blob.result()
            payload.handed.live.blobs.append(blob)
            payload.what |= IN_BLOB
            payload.data = json.encode(blob)
        handed = payload.packed()
        self._appender.backlog += len(handed.record)
        self._appender.hand_over(handed)

    def _lose(self, live: Live, error: BaseException | None) -> None:
        if isinstance(error, OSError):
            self._appender.fail(error)
        elif error is not None:
            self._appender.fail(OSError(0, str(error)))
        self.forget(live)
        if live.broken is None:
            live.lose(self._appender.refusal())

    def forget(self, live: Live) -> None:
        """Drops what waits here of a stream that lost something."""
        parked = self.parked.pop(live, None)
        for item in parked or ():
            self._appender.backlog -= len(item.payload.data)

    async def aclose(self) -> None:
        """Waits for all files that are being written."""
        loop = self._appender.loop
        while self.parked:
            await loop.run_in_executor(self._pool, _nothing)
        if self._index is not None:
            await loop.run_in_executor(self._pool, self._index.close)
        self._pool.shutdown()


def _nothing() -> None:
    pass
