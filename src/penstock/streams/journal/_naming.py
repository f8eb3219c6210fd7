"""Which blobs a head or a batch names. Only asked of streams for which blobs were kept."""

from collections.abc import Iterable

from penstock.core.events import Blob, Event, Image, Progress
from penstock.core.messages import ImagePart
from penstock.core.ports import Head
from penstock.streams.journal._records import BlobReference


def named_by_head(head: Head) -> list[BlobReference]:
    """Pictures in the request."""
    parts = [part for message in head.request.messages for part in message.parts]
    return _references([part.blob for part in parts if isinstance(part, ImagePart)])


def named_by(events: Iterable[Event]) -> list[BlobReference]:
    """Pictures and previews."""
    found: list[Blob | None] = []
    for event in events:
        if isinstance(event, Image):
            found.append(event.blob)
        elif isinstance(event, Progress):
            found.append(event.preview)
    return _references(found)


def _references(blobs: Iterable[Blob | None]) -> list[BlobReference]:
    return [BlobReference(blob.sha256, blob.size) for blob in blobs if blob is not None]
