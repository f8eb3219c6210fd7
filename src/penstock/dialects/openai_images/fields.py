"""Every field that a published version of OpenAI's images API has, and what becomes of it here.

The documentation's tables are checked against these.
"""

from typing import Final

from penstock.dialects._openai_fields import Field, Table

_ASKED: Final = Table(
    Field("prompt", "honoured", "required"),
    Field("model", "honoured", "a name, an alias; absent, empty or `default`: the default model"),
    Field("n", "honoured", "1 or more, at most `[images] max_count`"),
    Field("size", "honoured", "`WIDTHxHEIGHT`, within `[images]`; `auto`: as the model likes"),
    Field("quality", "honoured", "`auto` and `standard` ask for nothing out of the ordinary"),
    Field("style", "honoured", "`vivid`, `natural`, or what the engine knows"),
    Field("background", "honoured", "`transparent`, `opaque`, `auto`"),
    Field("moderation", "honoured", "`low`, `auto`"),
    Field("output_format", "honoured", "`png`, `jpeg`, `webp`; `gif` and `svg` are refused"),
    Field("output_compression", "honoured", "0 to 100; 100 asks for nothing"),
    Field("partial_images", "honoured", "0 to 3 pictures of the work in progress, when streamed"),
    Field("response_format", "honoured", "`b64_json`, the default, or `url`"),
    Field("stream", "honoured", "server-sent events"),
    Field("seed", "honoured", "extension; a 64-bit integer, below 0: a random one"),
    Field("steps", "honoured", "extension; at most `[images] max_steps`"),
    Field("negative_prompt", "honoured", "extension; what is not to be seen"),
    Field("guidance_scale", "honoured", "extension; 0 to 100"),
    Field("sampler", "honoured", "extension; a name that the engine knows"),
    Field("user", "hint", ""),
    Field("safety_identifier", "hint", ""),
    Field("complexity", "refused", ""),
    Field("frame_count", "refused", "only of GIF"),
    Field("frame_duration_ms", "refused", "only of GIF"),
    Field("svg", "refused", ""),
)
GENERATIONS: Final = _ASKED
"""Of `POST /v1/images/generations`."""

EDITS: Final = Table(
    *_ASKED,
    Field("image", "honoured", "files of a form: `image`, or several `image[]`"),
    Field("images", "honoured", 'of a JSON body: `[{"image_url": …}]`; `file_id` is refused'),
    Field("mask", "honoured", 'a file, or `{"image_url": …}`: transparent where to draw'),
    Field("input_fidelity", "honoured", "`high`; `low` is the default and asks for nothing"),
    Field("strength", "honoured", "extension; 0 keeps the picture, 1 nothing of it"),
    Field("markup", "refused", ""),
)
"""Of `POST /v1/images/edits`."""
