"""Pictures as lollms' answers hold them: bare base64 beside what is known of each (1.5, 1.6)."""

from typing import Final

import msgspec
from msgspec import Raw

from penstock.core import events as ev
from penstock.core.folding import Reply
from penstock.core.ports import Shown
from penstock.core.request import Request, prompt
from penstock.wire.pictures import PLACE

_AS_THE_ORIGINAL_SAYS: Final = {"guidance_scale": "cfg_scale", "sampler": "scheduler"}
_NOTHING: Final = {
    "cancelled": "the run was cancelled before a picture was finished",
    "filtered": "the request was refused by the engine's safety system",
}


def images(request: Request, reply: Reply) -> tuple[ev.Image, ...]:
    """The pictures of a reply. An answer of text has no place for any."""
    return reply.first.images if request.modality == "image" else ()


class Picture(msgspec.Struct, frozen=True):
    """One picture: a place for its base64, its media type and what is known of it."""

    mime_type: str
    metadata: dict[str, object]
    data: Raw = PLACE


def picture(request: Request, reply: Reply, image: ev.Image) -> Picture:
    """In the original's words. `size` is the picture's own, whatever was asked for."""
    known: dict[str, object] = {"prompt_used": drawn(request, image), "model": _model(reply)}
    if image.width and image.height:
        known["size"] = f"{image.width}x{image.height}"
    if image.seed is not None:
        known["seed"] = image.seed
    known |= {
        _AS_THE_ORIGINAL_SAYS.get(name, name): value for name, value in image.made_with.items()
    }
    return Picture(image.blob.media_type, known)


def drawn(request: Request, image: ev.Image) -> str:
    """The prompt that was used: the engine's own version of it, where it made one."""
    return image.prompt or prompt(request)


def _model(reply: Reply) -> str:
    return reply.start.model if reply.start else ""


def shown(request: Request, reply: Reply) -> tuple[Shown, ...]:
    """What fills the places of all items, in order."""
    return tuple(Shown(image.blob) for image in images(request, reply))


def shown_whole(request: Request, reply: Reply) -> tuple[Shown, ...]:
    """The same for a whole answer. A legacy one holds its first picture once, after the others."""
    found = shown(request, reply)
    return (*found[1:], *found[:1]) if request.legacy else found


def nothing(reply: Reply) -> str:
    """Why there is no picture."""
    return _NOTHING.get(reply.first.reason or "", "no picture was made")


def begun(request: Request, start: ev.Start) -> dict[str, object]:
    """The content of a picture's first `info` frame: an object, as the original's bindings say."""
    return {"status": "started", "model": start.model, "prompt": prompt(request)}
