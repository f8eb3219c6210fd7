"""Entries to `image_generation.*` and `image_edit.*` events."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from penstock.core import events as ev
from penstock.core.errors import from_code
from penstock.core.ports import Frame, Shown
from penstock.core.request import ImageAsk, Request
from penstock.dialects._openai_errors import error_object
from penstock.dialects.openai_images import shapes
from penstock.dialects.openai_images.parse import EDIT, URL
from penstock.dialects.openai_images.previews import Previews
from penstock.wire import json
from penstock.wire.pictures import PLACE

MOST_PREVIEWS: Final = 3
_FILTERED: Final = shapes.ImageErrorObject(
    "image_generation_user_error",
    "moderation_blocked",
    "the request was refused by the engine's safety system",
    None,
)
_CANCELLED: Final = shapes.ImageErrorObject(
    "invalid_request_error", "cancelled", "the run was cancelled", None
)
_NOTHING: Final = shapes.ImageErrorObject(
    "image_generation_server_error", "image_generation_failed", "no picture was made", None
)


def shortfall(
    reason: ev.FinishReason | None, made: int, asked: int
) -> shapes.ImageErrorObject | None:
    """Why there are fewer pictures than were asked for; `None` where all is well."""
    if reason == "filtered" and made < asked:
        return _FILTERED
    if reason == "cancelled" and made < asked:
        return _CANCELLED
    return None if made else _NOTHING


class Looks(msgspec.Struct, frozen=True):
    """How pictures of a request are shown and described."""

    asked: ImageAsk
    edit: bool
    address: bool

    def show(self, blob: ev.Blob) -> Shown:
        """What fills the place."""
        return Shown(blob, "address" if self.address else "base64")

    @property
    def base64_place(self) -> Raw | UnsetType:
        """A place for bytes."""
        return UNSET if self.address else PLACE

    @property
    def address_place(self) -> Raw | UnsetType:
        """A place for an address."""
        return PLACE if self.address else UNSET

    def size(self, image: ev.Image | None) -> str:
        """Of a picture, else of what was asked for; empty when unknown."""
        if image is not None and image.width and image.height:
            return f"{image.width}x{image.height}"
        return "" if self.asked.size is None else "{}x{}".format(*self.asked.size)

    def setting(self, name: str, image: ev.Image | None) -> str:
        """`quality` or `background`: as the engine says, else as asked for; empty when unknown."""
        told = image.made_with.get(name) if image is not None else None
        asked = getattr(self.asked, name)
        return told if isinstance(told, str) else asked or ""


def looks(request: Request) -> Looks:
    """Of one request."""
    words = request.form.split()
    return Looks(request.image or ImageAsk(), EDIT in words, URL in words)


def file_format(blob: ev.Blob) -> str:
    """`png`, `jpeg`, `webp`."""
    return blob.media_type.removeprefix("image/")


class Encoder:
    """Renders one stream.

    The last picture waits for the counts, which come after it, as published. Of the pictures of
    the work in progress as many are shown as were asked for, evenly over the work of each picture.
    """

    def __init__(self, request: Request) -> None:
        self._looks = looks(request)
        self._asked = self._looks.asked
        wanted = self._asked.previews
        most = MOST_PREVIEWS if wanted is None else min(wanted, MOST_PREVIEWS)
        self._previews = Previews(most, self._asked.count)
        self._has_inputs = bool(self._asked.inputs)
        self._start = ev.Start(stream="", asked="", binding="", model="", created=0)
        self._usage: ev.Usage | None = None
        self._held: ev.Image | None = None
        self._made = 0

    def feed(self, entry: ev.Entry) -> Iterable[Frame]:
        """The frames of one entry."""
        frames: list[Frame] = []
        match entry.event:
            case ev.Start():
                self._start = entry.event
            case ev.Progress(what="step", preview=blob):
                if self._previews.is_due(entry.event) and blob is not None:
                    frames = [self._partial(entry.ms, blob)]
            case ev.Image():
                frames = self._image(entry.ms, entry.event)
            case ev.Usage():
                self._usage = entry.event
            case ev.Done(reason=reason):
                frames = self._release(entry.ms)
                missing = shortfall(reason, self._made, self._asked.count)
                frames += [] if missing is None else [_error(missing)]
            case ev.Failed(code=code, message=message, param=param):
                told = error_object(from_code(code, message, param))
                error = shapes.ImageErrorObject(told.type, told.code, told.message, told.param)
                frames = [*self._release(entry.ms), _error(error)]
            case _:
                pass  # the API has no words for anything else
        return frames

    def _image(self, ms: int, image: ev.Image) -> list[Frame]:
        self._made += 1
        self._previews.finished()
        if self._made == self._asked.count and self._usage is None:
            self._held = image
            return []
        return [self._completed(ms, image)]

    def _release(self, ms: int) -> list[Frame]:
        held, self._held = self._held, None
        return [] if held is None else [self._completed(ms, held)]

    def _partial(self, ms: int, blob: ev.Blob) -> Frame:
        index = self._previews.shown
        self._previews.shown += 1
        event = self._event("partial_image", ms, blob, None)
        return self._frame(msgspec.structs.replace(event, partial_image_index=index), blob)

    def _completed(self, ms: int, image: ev.Image) -> Frame:
        last = self._made == self._asked.count
        event = msgspec.structs.replace(
            self._event("completed", ms, image.blob, image),
            revised_prompt=image.prompt or UNSET,
            seed=UNSET if image.seed is None else image.seed,
            usage=usage_of(self._usage, self._has_inputs) if last else UNSET,
        )
        return self._frame(event, image.blob)

    def _event(
        self, kind: str, ms: int, blob: ev.Blob, image: ev.Image | None
    ) -> shapes.ImageEvent:
        look = self._looks
        return shapes.ImageEvent(
            type=f"image_edit.{kind}" if look.edit else f"image_generation.{kind}",
            b64_json=look.base64_place,
            url=look.address_place,
            created_at=(self._start.created + ms) // 1000,
            size=look.size(image) or "auto",
            quality=look.setting("quality", image) or "auto",
            background=look.setting("background", image) or "auto",
            output_format=file_format(blob),
        )

    def _frame(self, event: shapes.ImageEvent, blob: ev.Blob) -> Frame:
        return Frame(json.encode(event), event.type, (self._looks.show(blob),))


def _error(error: shapes.ImageErrorObject) -> Frame:
    return Frame(json.encode(shapes.ImageErrorEvent("error", error)), "error")


def usage_of(usage: ev.Usage | None, has_inputs: bool) -> shapes.ImageUsage | UnsetType:
    """Counts in the API's words; none of an engine that counts no tokens.

    What pictures took of them is said where it is known: by the engine, or there were none.
    """
    if usage is None or not (usage.input_tokens or usage.output_tokens):
        return UNSET
    pictures = 0 if usage.image_tokens is None and not has_inputs else usage.image_tokens
    return shapes.ImageUsage(
        total_tokens=usage.input_tokens + usage.output_tokens,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        input_tokens_details=UNSET
        if pictures is None
        else shapes.ImageInputDetails(usage.input_tokens - pictures, pictures),
    )
