"""What is sent to be drawn: the body of `POST /images/generations`.

Source of the shapes: OpenAI's API reference of the images API; `seed`, `steps`, `negative_prompt`,
`guidance_scale` and `sampler` are what Penstock and other compatible servers take beside it.
"""

from typing import Final

from penstock.core.request import ImageAsk, Request, prompt

_MOST_PREVIEWS: Final = 3
"""Of `partial_images`."""


def body(request: Request) -> dict[str, object]:
    """The body; what was not said is left out."""
    asked = request.image or ImageAsk()
    wanted = _MOST_PREVIEWS if asked.previews is None else asked.previews
    values: dict[str, object] = {
        "model": request.model or None,
        "prompt": prompt(request),
        "n": asked.count,
        "size": f"{asked.size[0]}x{asked.size[1]}" if asked.size else None,
        "output_format": asked.file_format,
        "seed": request.sampling.seed,
        "steps": asked.steps,
        "negative_prompt": asked.negative_prompt,
        "guidance_scale": asked.guidance_scale,
        "sampler": asked.sampler,
        "stream": True,
        "partial_images": min(wanted, _MOST_PREVIEWS),
    }
    return {name: value for name, value in values.items() if value is not None}
