"""Pictures that are being drawn somewhere; the same from here, wherever that is."""

from collections.abc import AsyncIterator
from typing import Protocol

from penstock.core.events import Blob, Entry


class Gallery(Protocol):
    """Somebody who has the pictures of streams."""

    async def picture(self, stream: str, blob: Blob) -> bytes:
        """The bytes of one. Raises `GatewayError`."""


class Drawing:
    """A stream of pictures. `cancelled`: the run was told to stop, and did."""

    def __init__(self, stream: str, entries: AsyncIterator[Entry], gallery: Gallery) -> None:
        self.stream = stream
        self.entries = entries
        self.cancelled = False
        self._gallery = gallery

    async def picture(self, blob: Blob) -> bytes:
        """The bytes of one of its pictures. Raises `GatewayError`."""
        return await self._gallery.picture(self.stream, blob)
