"""Muon for the hidden weights, AdamW for the rest: about twice AdamW's progress per step.

Muon (Jordan et al., 2024) makes each weight's momentum nearly orthogonal before it is applied;
the scale that lets one learning rate serve both optimizers, 0.2 sqrt(larger side), is that of
Liu et al. (2025).
"""

from collections.abc import Iterable

import torch

MOMENTUM = 0.95
DECAY = 0.01


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Five Newton-Schulz steps on a stack of matrices (n, rows, columns)."""
    found = matrices.bfloat16()
    turned = found.shape[1] > found.shape[2]
    if turned:
        found = found.mT
    found = found / (found.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = found @ found.mT
        found = 3.4445 * found + (-4.7750 * square + 2.0315 * square @ square) @ found
    return (found.mT if turned else found).float()


class Muon:
    """Steps over named weights, whose gradients it reads and clears."""

    def __init__(self, named: Iterable[tuple[str, torch.nn.Parameter]]) -> None:
        rest: list[torch.nn.Parameter] = []
        self._groups: dict[tuple[int, int], list[torch.nn.Parameter]] = {}
        self._momentum: dict[tuple[int, int], torch.Tensor] = {}
        for name, weight in named:
            if weight.ndim < 2 or "embedding" in name or "conv_in" in name or "conv_out" in name:
                rest.append(weight)
            else:
                shape = (weight.shape[0], weight[0].numel())
                self._groups.setdefault(shape, []).append(weight)
        self._adam = torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=DECAY, fused=True)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the gradients and clear them."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self._adam.zero_grad()
        for shape, weights in self._groups.items():
            slope = torch.stack([_flat(weight.grad) for weight in weights])
            momentum = self._momentum.setdefault(shape, torch.zeros_like(slope))
            momentum.lerp_(slope, 1 - MOMENTUM)
            moves = orthogonal(slope.lerp(momentum, MOMENTUM))
            size = rate * 0.2 * max(shape) ** 0.5
            for weight, move in zip(weights, moves, strict=True):
                weight.mul_(1 - rate * DECAY).sub_(move.reshape(weight.shape), alpha=size)
                weight.grad = None

    def state_dict(self) -> dict[str, object]:
        """What `load_state_dict` takes up again."""
        return {"adam": self._adam.state_dict(), "momentum": self._momentum}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on where the other left off."""
        self._adam.load_state_dict(state["adam"])
        self._momentum = state["momentum"]


def _flat(slope: torch.Tensor | None) -> torch.Tensor:
    if slope is None:
        raise ValueError("a weight took no part in the loss")
    return slope.reshape(slope.shape[0], -1)
