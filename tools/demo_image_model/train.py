"""Trains the text encoder and the U-Net together (second stage), on the autoencoder's latents.

Resumes from its checkpoint, written every three minutes; ends after `--minutes` of training in all,
and lets the learning rate fall by then. On the CPU or with CUDA, whichever there is.
"""

import argparse
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from captions import caption
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from draw import draw
from meaning import Group, Meaning, Pair, Placed, Scene, may_train, training_meaning
from muon import Muon
from parts import TOKENS, make_scheduler, make_text_encoder, make_unet, make_vae
from torch.nn import functional
from train_vae import to_tensor
from transformers import CLIPTokenizer
from words import END, START, make_tokenizer

WARM_STEPS = 100
NO_CAPTION = 0.1
SHARES = {Pair: 50, Group: 17, Placed: 13, Scene: 20}
"""How often each kind is trained on: pairs, the hardest, most."""
Models = torch.nn.ModuleDict


def encode(vae: AutoencoderKL, count: int, device: str) -> tuple[list[Meaning], torch.Tensor]:
    """`count` training pictures: what they mean, and their latents in half precision."""
    rng, meanings, latents = random.Random(5), [], []
    for _ in range(count // 256):
        some = [training_meaning(rng) for _ in range(256)]
        pixels = to_tensor([draw(one, rng) for one in some]).to(device)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            found = vae.encode(pixels.contiguous(memory_format=torch.channels_last))
        meanings += some
        latents.append(found.latent_dist.mean.half().cpu())
    return meanings, torch.cat(latents)


def latents_of(build: Path, count: int, device: str) -> tuple[list[Meaning], torch.Tensor, float]:
    """The pool of latents, scaled to unit variance, and that scale. Made once, then kept."""
    path = build / "latents.pt"
    if not path.exists():
        vae = make_vae()
        vae.load_state_dict(torch.load(build / "vae.pt", weights_only=True)["vae"])
        vae.eval().to(device, memory_format=torch.channels_last)
        torch.save(encode(vae, count, device), path)
    meanings, latents = torch.load(path, weights_only=False)  # our own file, just written
    scale = 1 / latents[:4096].float().std().item()
    print(f"{len(latents)} pictures, scale {scale:.4f}, "
          f"largest {latents.abs().max().item() * scale:.2f}")  # fmt: skip
    return meanings, latents * scale, scale


class Batches:
    """Draws batches from the pool: latents, and the tokens of a fresh caption of each."""

    def __init__(
        self, pool: tuple[list[Meaning], torch.Tensor], tokenizer: CLIPTokenizer, seed: int
    ) -> None:
        self._meanings, self._latents = pool
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        kinds: dict[type[Meaning], list[int]] = {kind: [] for kind in SHARES}
        for at, meaning in enumerate(self._meanings):
            if may_train(meaning):
                kinds[type(meaning)].append(at)
        self._kinds = list(kinds.values())

    def next(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`size` latents and their tokens; some captions are empty, for guidance."""
        rng = self._rng
        kinds = rng.choices(self._kinds, list(SHARES.values()), k=size)
        chosen = [rng.choice(kind) for kind in kinds]
        texts = [
            "" if rng.random() < NO_CAPTION else caption(self._meanings[at], rng) for at in chosen
        ]
        tokens = self._tokenizer(
            texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        )
        return self._latents[chosen].float(), tokens.input_ids


def loss_of(models: Models, latents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The mean squared error of v over random noise levels (stratified over the batch)."""
    size = len(latents)
    spread = (torch.rand(size) + torch.arange(size)) / size
    times = (spread * 1000).long().clamp(0, 999).to(latents.device)
    noise = torch.randn_like(latents)
    noisy = SCHEDULER.add_noise(latents, noise, times)
    target = SCHEDULER.get_velocity(latents, noise, times)
    with torch.autocast(latents.device.type, torch.bfloat16):
        states = models["text"](tokens)[0]
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        found = models["unet"](noisy, times, states).sample
    return functional.mse_loss(found.float(), target)


SCHEDULER = make_scheduler()


def main() -> None:
    """Train, say how it goes, write `model.pt`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--build", type=Path, default=Path("build"))
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--pictures", type=int, default=65536)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--rate", type=float, default=2e-3)
    options.add_argument("--threads", type=int, default=2)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = make_tokenizer(chosen.build / "tokenizer", TOKENS)
    *pool, scale = latents_of(chosen.build, chosen.pictures, device)
    run = Run(chosen, device, tokenizer, scale)
    run.train(Batches((pool[0], pool[1]), tokenizer, run.step))


class Run:
    """The models, their averages and what training has come to."""

    def __init__(
        self, chosen: argparse.Namespace, device: str, tokenizer: CLIPTokenizer, scale: float
    ) -> None:
        self._chosen, self._device, self._scale = chosen, device, scale
        self._path = chosen.build / "model.pt"
        self._pool = ThreadPoolExecutor(chosen.threads, initializer=torch.set_num_threads,
                                        initargs=(1,))  # fmt: skip
        self.step, self._seconds = 0, 0.0
        torch.manual_seed(2)
        start, end = (tokenizer.convert_tokens_to_ids(token) for token in (START, END))
        text = make_text_encoder(len(tokenizer), start, end)
        text.set_attn_implementation("eager")  # on the CPU, the fused attention's backward is slow
        unet = make_unet().to(memory_format=torch.channels_last)
        unet.set_attn_processor(AttnProcessor())
        self._models = Models({"text": text, "unet": unet}).to(device)
        self._weights = list(self._models.parameters())
        self._average = [weight.detach().clone() for weight in self._weights]
        self._optimizer = Muon(self._models.named_parameters())
        if self._path.exists():
            self._resume()

    def _resume(self) -> None:
        kept = torch.load(self._path, weights_only=True)
        self._models.load_state_dict(kept["models"])
        self._optimizer.load_state_dict(kept["optimizer"])
        self._average = [weight.to(self._device) for weight in kept["average"]]
        self.step, self._seconds = kept["step"], kept["seconds"]
        torch.manual_seed(self.step)

    def train(self, batches: Batches) -> None:
        """Train until the minutes are over."""
        begun, saved, total = time.monotonic() - self._seconds, time.monotonic(), 0.0
        while (done := (time.monotonic() - begun) / 60 / self._chosen.minutes) < 1:
            total += self._one(batches, done)
            if self.step % 50 == 0:
                print(f"{self.step} {done:.3f} loss {total / 50:.4f}", flush=True)
                total = 0.0
            if time.monotonic() - saved > 180:
                saved = time.monotonic()
                self._keep(saved - begun)
        self._keep(time.monotonic() - begun)

    def _one(self, batches: Batches, done: float) -> float:
        rate = 0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2
        rate *= self._chosen.rate * min(1, (self.step + 1) / WARM_STEPS)
        latents, tokens = batches.next(self._chosen.batch)
        latents, tokens = latents.to(self._device), tokens.to(self._device)
        shares = self._chosen.threads
        parts = self._pool.map(self._slopes, latents.chunk(shares), tokens.chunk(shares))
        losses, slopes = zip(*parts, strict=True)
        for weight, *found in zip(self._weights, *slopes, strict=True):
            weight.grad = sum(found[1:], start=found[0]).div_(shares)
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimizer.step(rate)
        self.step += 1
        decay = min(0.998, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, self._weights, 1 - decay)
        return sum(losses) / shares

    def _slopes(
        self, latents: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[float, tuple[torch.Tensor, ...]]:
        """One thread's share of a batch. Meeting once a step, threads lose little to a busy CPU."""
        loss = loss_of(self._models, latents, tokens)
        return loss.item(), torch.autograd.grad(loss, self._weights)

    def _keep(self, seconds: float) -> None:
        """Write the checkpoint whole, so that an interruption leaves the one before."""
        state = {
            "models": self._models.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average,
            "names": [name for name, _ in self._models.named_parameters()],
            "step": self.step,
            "seconds": seconds,
            "scale": self._scale,
        }
        torch.save(state, self._path.with_suffix(".new"))
        self._path.with_suffix(".new").replace(self._path)


if __name__ == "__main__":
    main()
