"""Makes the sheet of samples for the documentation: pictures of the model, their captions below."""

import argparse
import textwrap
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from held_out import read
from meaning import HELD_OUT
from PIL import Image, ImageDraw, ImageFont

ASKED = [
    "a yellow sun over a green hill",
    "a red circle above a blue square",
    "three green triangles",
    "a house beside a tree at night",
    "the sea under a blue sky with a sun",
    "a big yellow star on a black background",
]
COLUMNS, ROWS = 6, 5
CELL, TEXT, EDGE = 128, 40, 8


def captions() -> list[str]:
    """Six that the documentation names, then the first held-out ones, unchosen, of each kind."""
    wanted = {"pair": 10, "count": 5, "place": 4, "scene": 5}
    first: list[str] = []
    for kind in HELD_OUT:
        first += [one.caption for one in read() if one.kind == kind][: wanted[kind]]
    return ASKED + first


def sheet(pictures: list[Image.Image], texts: list[str]) -> Image.Image:
    """Pictures twice as large as made, in rows, each with its caption."""
    size = (COLUMNS * (CELL + EDGE) + EDGE, ROWS * (CELL + TEXT + EDGE) + EDGE)
    page = Image.new("RGB", size, (236, 238, 241))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for at, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        x = EDGE + at % COLUMNS * (CELL + EDGE)
        y = EDGE + at // COLUMNS * (CELL + TEXT + EDGE)
        page.paste(picture.resize((CELL, CELL), Image.Resampling.BICUBIC), (x, y))
        words = "\n".join(textwrap.wrap(text, 24)[:3])
        pen.multiline_text((x, y + CELL + 2), words, fill=(40, 40, 48), font=font, spacing=1)
    return page


def main() -> None:
    """Write the sheet."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--steps", type=int, default=25)
    options.add_argument("--guidance", type=float, default=3.0)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    pipeline = DiffusionPipeline.from_pretrained(chosen.model)
    pipeline.set_progress_bar_config(disable=True)
    texts = captions()
    made = pipeline(
        texts,
        num_inference_steps=chosen.steps,
        guidance_scale=chosen.guidance,
        generator=[torch.Generator().manual_seed(chosen.seed + at) for at in range(len(texts))],
    ).images
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    sheet(made, texts).save(chosen.out, optimize=True)
    print(f"{chosen.out}: {chosen.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
