"""What OpenAI's images API takes and gives, for `/openapi.json`."""

from typing import Final

from penstock.core.description import Described, Description
from penstock.dialects._openai_errors import ErrorBody
from penstock.dialects.openai_images import shapes

_PIXEL: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4"
    "z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
_STREAMED: Final = (shapes.ImageEvent, shapes.ImageErrorEvent)

DESCRIPTION: Final = Description(
    error=ErrorBody,
    routes={
        ("POST", "/v1/images/generations"): Described(
            asked=(shapes.GenerationBody,),
            told=(shapes.ImagesAnswer,),
            items=_STREAMED,
            example={"prompt": "a red circle above a blue square"},
        ),
        ("POST", "/v1/images/edits"): Described(
            asked=(shapes.EditBody,),
            form=(shapes.EditForm,),
            told=(shapes.ImagesAnswer,),
            items=_STREAMED,
            example={"prompt": "in blue", "images": [{"image_url": _PIXEL}]},
        ),
    },
)
