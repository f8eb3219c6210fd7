"""Samplers by the names that people know them by, and by the classes that diffusers has for them.

The names are A1111's; which class and options each is, is the table of diffusers' documentation
(api/schedulers/overview, "A1111/k-diffusion <-> Diffusers").
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

_MULTISTEP: Final = "DPMSolverMultistepScheduler"
_KARRAS: Final = {"use_karras_sigmas": True}
_SDE: Final = {"algorithm_type": "sde-dpmsolver++"}

Options = dict[str, str | int | float | bool]


class Sampler(msgspec.Struct, frozen=True):
    """A scheduler of diffusers: its class, and what its configuration is changed by."""

    name: str
    kind: str
    options: Options = {}


_NAMED: Final = (
    Sampler("DDIM", "DDIMScheduler"),
    Sampler("DDPM", "DDPMScheduler"),
    Sampler("DEIS", "DEISMultistepScheduler"),
    Sampler("DPM++ 2M", _MULTISTEP),
    Sampler("DPM++ 2M Karras", _MULTISTEP, {**_KARRAS}),
    Sampler("DPM++ 2M SDE", _MULTISTEP, {**_SDE}),
    Sampler("DPM++ 2M SDE Karras", _MULTISTEP, {**_SDE, **_KARRAS}),
    Sampler("DPM++ SDE", "DPMSolverSinglestepScheduler"),
    Sampler("DPM++ SDE Karras", "DPMSolverSinglestepScheduler", {**_KARRAS}),
    Sampler("DPM2", "KDPM2DiscreteScheduler"),
    Sampler("DPM2 Karras", "KDPM2DiscreteScheduler", {**_KARRAS}),
    Sampler("DPM2 a", "KDPM2AncestralDiscreteScheduler"),
    Sampler("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", {**_KARRAS}),
    Sampler("Euler", "EulerDiscreteScheduler"),
    Sampler("Euler Karras", "EulerDiscreteScheduler", {**_KARRAS}),
    Sampler("Euler a", "EulerAncestralDiscreteScheduler"),
    Sampler("Heun", "HeunDiscreteScheduler"),
    Sampler("Heun Karras", "HeunDiscreteScheduler", {**_KARRAS}),
    Sampler("LCM", "LCMScheduler"),
    Sampler("LMS", "LMSDiscreteScheduler"),
    Sampler("LMS Karras", "LMSDiscreteScheduler", {**_KARRAS}),
    Sampler("PLMS", "PNDMScheduler", {"skip_prk_steps": True}),
    Sampler("UniPC", "UniPCMultistepScheduler"),
)


def fitting(kinds: Iterable[str]) -> tuple[str, ...]:
    """The names of the samplers whose class is one of `kinds`, and `kinds` themselves."""
    known = frozenset(kinds)
    return tuple(s.name for s in _NAMED if s.kind in known) + tuple(sorted(known))


def find(asked: str, known: Sequence[str]) -> Sampler | None:
    """The sampler of a name, in any case; `None` when it is not one of `known`."""
    folded = asked.casefold().strip()
    name = next((name for name in known if name.casefold() == folded), None)
    if name is None:
        return None
    return next((s for s in _NAMED if s.name == name), Sampler(name, name))
