"""What latents look like, without decoding them: one matrix, fitted to the model's own encoder."""

from typing import Final, cast

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor
from torch.nn import functional

from penstock.engines import _diffusers_pictures

_PATCHES: Final = 8
"""Latent pixels along a side of each picture that is fitted to."""
_PICTURES: Final = 12
_SEED: Final = 1
_PACKED: Final = 3
"""Dimensions of latents that a transformer has packed into a sequence."""


class Previews:
    """Latents of one pipeline as small pictures."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix

    def jpeg(self, latents: Tensor, size: tuple[int, int]) -> bytes:
        """`latents`: channels x rows x columns; `size` of the picture that they become."""
        found = latents.detach().to("cpu", torch.float32)
        colours = torch.tensordot(found.movedim(0, -1), self._matrix[:-1], 1) + self._matrix[-1]
        pixels = ((colours.clamp(-1, 1) + 1) * 127.5).to(torch.uint8).contiguous()
        rows, columns = pixels.shape[:2]
        return _diffusers_pictures.preview(pixels.numpy().tobytes(), (columns, rows), size)


def fitted(vae: object, scale: int) -> Previews | None:
    """Least squares from the latents of made-up pictures to their colours.

    `None` for a kind of autoencoder whose latents are not understood here. `vae` is on the CPU, and
    is left as it was.
    """
    if not isinstance(vae, AutoencoderKL | AutoencoderTiny):
        return None
    with torch.no_grad():
        matrix = _least_squares(vae, scale)
    return Previews(matrix) if bool(torch.isfinite(matrix).all()) else None


def _least_squares(vae: AutoencoderKL | AutoencoderTiny, scale: int) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    coarse = torch.rand((_PICTURES, 3, 3, 3), generator=generator) * 2 - 1
    side = _PATCHES * scale
    pictures = functional.interpolate(coarse, (side, side), mode="bicubic").clamp(-1, 1)
    before = vae.dtype
    vae.to(torch.float32)
    said = vae.encode(pictures)
    latents = said.latents if isinstance(vae, AutoencoderTiny) else said.latent_dist.mean
    vae.to(before)
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    latents = (latents - shift) * vae.config.scaling_factor
    colours = functional.interpolate(pictures, latents.shape[-2:], mode="area")
    rows = latents.movedim(1, -1).flatten(0, 2)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    solved = torch.linalg.lstsq(rows, colours.movedim(1, -1).flatten(0, 2))
    return cast("Tensor", solved.solution)


def unpacked(latents: Tensor, pipe: object, size: tuple[int, int]) -> Tensor | None:
    """The latents of the first picture, as channels x rows x columns."""
    if latents.ndim == _PACKED:
        unpack = getattr(pipe, "_unpack_latents", None)
        if unpack is None:
            return None
        scale = getattr(pipe, "vae_scale_factor", 8)
        latents = unpack(latents, size[1], size[0], scale)
    return latents[0] if latents.ndim == 4 else None
