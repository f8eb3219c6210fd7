"""Pictures as files and as what a pipeline takes: decoding, masks, encoding with what drew them."""

from collections.abc import Mapping
from io import BytesIO
from typing import Final

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

_PREVIEW_SIDE: Final = 256
_PREVIEW_QUALITY: Final = 70
_HALF: Final = 128
_LEVEL: Final = 4
"""Of zlib: half the time of the usual 6, and a few percent more bytes."""

Told = Mapping[str, str | int | float | bool]


def opened(data: bytes, size: tuple[int, int] | None = None) -> Image.Image:
    """A picture without transparency (on white), upright, of this size if one is given."""
    with Image.open(BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            ground = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(ground, upright)
        found = upright.convert("RGB")
    return found if size in (None, found.size) else found.resize(size, Image.Resampling.LANCZOS)


def masked(data: bytes, by: str, size: tuple[int, int]) -> Image.Image:
    """A mask that is white where the picture is to be drawn anew. `by`: see `ImageAsk`."""
    with Image.open(BytesIO(data)) as image:
        if by == "alpha":
            found = ImageOps.invert(image.convert("RGBA").getchannel("A"))
        else:
            found = image.convert("L")
    found = found.resize(size, Image.Resampling.BILINEAR) if found.size != size else found
    return found.point(lambda value: 255 if value >= _HALF else 0)


def encoded(image: Image.Image, file_format: str, quality: int, told: Told) -> bytes:
    """A file. A PNG says in its text chunks what drew it; `parameters` is in A1111's form."""
    out = BytesIO()
    if file_format == "png":
        image.save(out, "PNG", pnginfo=_told(told, image.size), compress_level=_LEVEL)
    else:
        image.save(out, file_format.upper(), quality=quality)
    return out.getvalue()


def _told(told: Told, size: tuple[int, int]) -> PngInfo:
    info = PngInfo()
    for name, value in told.items():
        info.add_text(name, str(value))
    info.add_text("parameters", _parameters(told, size))
    info.add_text("Software", "Penstock")
    return info


def _parameters(told: Told, size: tuple[int, int]) -> str:
    names = {
        "steps": "Steps",
        "sampler": "Sampler",
        "guidance_scale": "CFG scale",
        "seed": "Seed",
        "strength": "Denoising strength",
        "model": "Model",
    }
    lines = [str(told["prompt"])]
    if "negative_prompt" in told:
        lines.append(f"Negative prompt: {told['negative_prompt']}")
    said = [f"{names[name]}: {told[name]}" for name in names if name in told]
    lines.append(", ".join([*said, f"Size: {size[0]}x{size[1]}"]))
    return "\n".join(lines)


def preview(pixels: bytes, size: tuple[int, int], of: tuple[int, int]) -> bytes:
    """A small JPEG of RGB `pixels`, no larger than the picture `of` which it is a preview."""
    image = Image.frombytes("RGB", size, pixels)
    scale = min(_PREVIEW_SIDE / max(of), 1.0)
    wanted = max(1, round(of[0] * scale)), max(1, round(of[1] * scale))
    out = BytesIO()
    image.resize(wanted, Image.Resampling.BICUBIC).save(out, "JPEG", quality=_PREVIEW_QUALITY)
    return out.getvalue()
