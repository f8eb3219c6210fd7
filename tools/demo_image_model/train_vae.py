"""Trains the autoencoder (first stage). Resumes from its checkpoint; ends after `--minutes`."""

import argparse
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from draw import draw
from meaning import COLOURS, training_meaning
from parts import make_vae
from PIL import Image
from torch.nn import functional

BATCH = 32
RATE = 2e-3


def picture(rng: random.Random) -> Image.Image:
    """A picture to learn from: as drawn, or with its colours mixed and turned, for other inputs."""
    image = draw(training_meaning(rng), rng)
    if rng.random() < 0.25:
        bands = list(image.split())
        rng.shuffle(bands)
        image = Image.merge("RGB", bands)
        tint = rng.choice(list(COLOURS.values()))
        image = Image.blend(image, Image.new("RGB", image.size, tint), rng.uniform(0, 0.5))
    return image


def to_tensor(images: list[Image.Image]) -> torch.Tensor:
    """Pictures as (n, 3, 64, 64) from -1 to 1."""
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def loss_of(vae: AutoencoderKL, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What is minimised, and the mean squared error alone."""
    with torch.autocast(pixels.device.type, torch.bfloat16):
        found = vae.encode(pixels).latent_dist
        latents = found.sample()
        latents = latents + 0.05 * torch.randn_like(latents)  # to be forgiving with the U-Net
        again = vae.decode(latents).sample.float()
    square = functional.mse_loss(again, pixels)
    spread = found.mean.float() ** 2 + found.var.float() - 1 - found.logvar.float()
    return functional.l1_loss(again, pixels) + 2 * square + 2e-3 * spread.mean(), square


def main() -> None:
    """Train, say how it goes, write `vae.pt`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--build", type=Path, default=Path("build"))
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--threads", type=int, default=2)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vae = make_vae().to(device, memory_format=torch.channels_last)
    chosen.build.mkdir(parents=True, exist_ok=True)
    path, step, spent = chosen.build / "vae.pt", 0, 0.0
    optimizer = torch.optim.AdamW(vae.parameters(), RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    if path.exists():
        kept = torch.load(path, weights_only=True)
        vae.load_state_dict(kept["vae"])
        optimizer.load_state_dict(kept["optimizer"])
        step, spent = kept["step"], kept["seconds"]
    rng, begun, saved = random.Random(1000 + step), time.monotonic() - spent, time.monotonic()
    while (done := (time.monotonic() - begun) / 60 / chosen.minutes) < 1:
        rate = RATE * min(1, (step + 1) / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pixels = to_tensor([picture(rng) for _ in range(BATCH)]).to(device)
        loss, square = loss_of(vae, pixels.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(f"{step} {done:.2f} loss {loss:.4f} mse {square:.5f}", flush=True)
        if time.monotonic() - saved > 120:
            saved = time.monotonic()
            keep(path, vae, optimizer, step, saved - begun)
    keep(path, vae, optimizer, step, time.monotonic() - begun)


def keep(
    path: Path, vae: AutoencoderKL, optimizer: torch.optim.AdamW, step: int, seconds: float
) -> None:
    """Write the checkpoint whole, so that an interruption leaves the one before."""
    state = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**state, "step": step, "seconds": seconds}, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    main()
