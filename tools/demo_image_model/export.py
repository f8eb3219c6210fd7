"""Writes the trained parts as a folder for `DiffusionPipeline.from_pretrained`, as float16."""

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from parts import make_scheduler, make_text_encoder, make_unet, make_vae
from transformers import CLIPTokenizer
from words import END, START


def load(build: Path) -> StableDiffusionPipeline:
    """The pipeline of the checkpoint's averaged weights, in single precision."""
    kept = torch.load(build / "model.pt", weights_only=True, map_location="cpu")
    tokenizer = CLIPTokenizer.from_pretrained(build / "tokenizer")
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in (START, END))
    models = torch.nn.ModuleDict(
        {"text": make_text_encoder(len(tokenizer), start, end), "unet": make_unet()}
    )
    averages = dict(zip(kept["names"], kept["average"], strict=True))
    models.load_state_dict({**kept["models"], **averages})
    vae = make_vae()
    better = build / "decoder.pt"
    path = better if better.exists() else build / "vae.pt"
    vae.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["vae"])
    vae.register_to_config(scaling_factor=round(kept["scale"], 5))
    print(f"{kept['step']} steps in {kept['seconds'] / 60:.1f} minutes")
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=models["text"].eval(),
        tokenizer=tokenizer,
        unet=models["unet"].eval(),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _load_as_float32(config: Path) -> None:
    """Asked for no dtype, transformers takes the file's, diffusers float32: they must agree."""
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))


def main() -> None:
    """Write the folder and say how large it is."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--build", type=Path, default=Path("build"))
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    load(chosen.build).to(dtype=torch.float16).save_pretrained(chosen.out)
    _load_as_float32(chosen.out / "text_encoder" / "config.json")
    size = sum(path.stat().st_size for path in chosen.out.rglob("*") if path.is_file())
    print(f"{chosen.out}: {size:,} bytes")


if __name__ == "__main__":
    main()
