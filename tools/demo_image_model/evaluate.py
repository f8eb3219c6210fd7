"""Makes a picture for each of the 200 held-out captions and has `check.py` judge it."""

import argparse
import sys
import time
from pathlib import Path

import torch
from check import faults
from diffusers import DiffusionPipeline
from held_out import HeldOut, read
from meaning import HELD_OUT
from PIL import Image

BATCH = 20


def pictures(
    pipeline: DiffusionPipeline, captions: list[HeldOut], steps: int, guidance: float
) -> list[Image.Image]:
    """One picture per caption, each from a noise of its own."""
    made: list[Image.Image] = []
    for at in range(0, len(captions), BATCH):
        some = captions[at : at + BATCH]
        made += pipeline(
            [one.caption for one in some],
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(one.seed) for one in some],
        ).images
    return made


def main() -> None:
    """Print what went wrong, the rates and the time one picture takes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--steps", type=int, default=25)
    options.add_argument("--guidance", type=float, default=3.0)
    options.add_argument("--failures", action="store_true")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--every", type=int, default=1, help="only each n-th caption")
    options.add_argument("--at-least", type=float, default=0.0, help="exit 1 below this rate")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    pipeline = DiffusionPipeline.from_pretrained(chosen.model)
    pipeline.set_progress_bar_config(disable=True)
    captions = read()[:: chosen.every]
    answers: dict[str, list[bool]] = {kind: [] for kind in HELD_OUT}
    made = pictures(pipeline, captions, chosen.steps, chosen.guidance)
    for one, picture in zip(captions, made, strict=True):
        wrong = faults(one.meaning, picture)
        answers[one.kind].append(not wrong)
        if wrong and chosen.failures:
            print(f"{one.caption}: {'; '.join(wrong)}")
    for kind, right in answers.items():
        print(f"{kind:6} {sum(right):3} of {len(right):3}  {sum(right) / len(right):6.1%}")
    right = [one for kind in answers.values() for one in kind]
    print(f"all    {sum(right):3} of {len(right):3}  {sum(right) / len(right):6.1%}")
    begun = time.monotonic()
    for one in captions[:5]:
        pipeline(one.caption, num_inference_steps=chosen.steps, guidance_scale=chosen.guidance)
    print(f"{(time.monotonic() - begun) / 5:.2f} s per picture, {chosen.steps} steps, "
          f"{chosen.threads} threads")  # fmt: skip
    sys.exit(0 if sum(right) / len(right) >= chosen.at_least else 1)


if __name__ == "__main__":
    main()
