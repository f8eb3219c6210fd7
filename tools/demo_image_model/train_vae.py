"""Trains the autoencoder (first stage), or only its decoder once more (third stage).

Resumes from its checkpoint; ends after `--minutes` of training in all.
"""

import argparse
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from draw import draw
from meaning import COLOURS, training_meaning
from muon import Muon
from parts import make_vae
from PIL import Image
from torch.nn import functional

BATCH = 32
NOISE = 0.05


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


def loss_of(
    vae: AutoencoderKL, pixels: torch.Tensor, decoder_only: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is minimised, and the mean squared error alone."""
    with torch.autocast(pixels.device.type, torch.bfloat16):
        with torch.set_grad_enabled(not decoder_only):
            found = vae.encode(pixels).latent_dist
            latents = found.mean if decoder_only else found.sample()
        latents = latents + NOISE * torch.randn_like(latents)  # to be forgiving with the U-Net
        again = vae.decode(latents).sample.float()
    square = functional.mse_loss(again, pixels)
    loss = functional.l1_loss(again, pixels) + 2 * square
    if not decoder_only:
        spread = found.mean.float() ** 2 + found.var.float() - 1 - found.logvar.float()
        loss = loss + 2e-3 * spread.mean()
    return loss, square


def main() -> None:
    """Train, say how it goes, write `vae.pt`, or with `--decoder-only` `decoder.pt`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--build", type=Path, default=Path("build"))
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--rate", type=float, default=2e-3)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument(
        "--decoder-only", action="store_true", help="leave the latents as they are"
    )
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(1)
    chosen.build.mkdir(parents=True, exist_ok=True)
    run = Run(chosen, "cuda" if torch.cuda.is_available() else "cpu")
    run.train()


class Run:
    """The autoencoder and what training has come to."""

    def __init__(self, chosen: argparse.Namespace, device: str) -> None:
        self._chosen, self._device = chosen, device
        self._path = chosen.build / ("decoder.pt" if chosen.decoder_only else "vae.pt")
        self._step, self._seconds = 0, 0.0
        self._pool = ThreadPoolExecutor(
            chosen.threads, initializer=torch.set_num_threads, initargs=(1,)
        )
        self._vae = make_vae().to(device, memory_format=torch.channels_last)
        if chosen.decoder_only:
            first = torch.load(chosen.build / "vae.pt", weights_only=True)
            self._vae.load_state_dict(first["vae"])
            self._vae.encoder.requires_grad_(False)
        named = [pair for pair in self._vae.named_parameters() if pair[1].requires_grad]
        self._weights = [weight for _, weight in named]
        self._optimizer = Muon(named)
        if self._path.exists():
            kept = torch.load(self._path, weights_only=True)
            self._vae.load_state_dict(kept["vae"])
            self._optimizer.load_state_dict(kept["optimizer"])
            self._step, self._seconds = kept["step"], kept["seconds"]

    def train(self) -> None:
        """Train until the minutes are over; keep a checkpoint every two."""
        rng = random.Random(1000 + self._step)
        begun, saved = time.monotonic() - self._seconds, time.monotonic()
        while (done := (time.monotonic() - begun) / 60 / self._chosen.minutes) < 1:
            loss, square = self._one(rng, done)
            if self._step % 50 == 0:
                print(f"{self._step} {done:.2f} loss {loss:.4f} mse {square:.5f}", flush=True)
            if time.monotonic() - saved > 120:
                saved = time.monotonic()
                self._keep(saved - begun)
        self._keep(time.monotonic() - begun)

    def _one(self, rng: random.Random, done: float) -> tuple[float, float]:
        fall = 0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2
        pixels = to_tensor([picture(rng) for _ in range(BATCH)]).to(self._device)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        shares = self._chosen.threads
        losses, squares, slopes = zip(
            *self._pool.map(self._slopes, pixels.chunk(shares)), strict=True
        )
        for weight, *found in zip(self._weights, *slopes, strict=True):
            weight.grad = sum(found[1:], start=found[0]).div_(shares)
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimizer.step(self._chosen.rate * fall * min(1, (self._step + 1) / 50))
        self._step += 1
        return sum(losses) / shares, sum(squares) / shares

    def _slopes(self, pixels: torch.Tensor) -> tuple[float, float, tuple[torch.Tensor, ...]]:
        """One thread's share of a batch."""
        loss, square = loss_of(self._vae, pixels, self._chosen.decoder_only)
        return loss.item(), square.item(), torch.autograd.grad(loss, self._weights)

    def _keep(self, seconds: float) -> None:
        """Write the checkpoint whole, so that an interruption leaves the one before."""
        state = {"vae": self._vae.state_dict(), "optimizer": self._optimizer.state_dict()}
        torch.save(
            {**state, "step": self._step, "seconds": seconds}, self._path.with_suffix(".new")
        )
        self._path.with_suffix(".new").replace(self._path)


if __name__ == "__main__":
    main()
