"""Which sizes a model makes, and the nearest of them to one that it doesn't. Pure."""

from math import sqrt
from typing import Final

import msgspec

_AREAS: Final = 4
"""A model draws up to this many times its own area, unless the configuration says otherwise."""


class Sizes(msgspec.Struct, frozen=True):
    """Sides are multiples of `multiple`, the area is at most `most` pixels."""

    multiple: int
    own: tuple[int, int]
    most: int

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether the model makes it."""
        width, height = size
        return not (width % self.multiple or height % self.multiple) and width * height <= self.most

    def nearest(self, size: tuple[int, int], area: int = 0) -> tuple[int, int]:
        """A size that fits, of this shape. What is too large becomes `area` pixels, or `most`."""
        width, height = size
        shrunk = 1.0
        if width * height > self.most:
            shrunk = sqrt((area or self.most) / (width * height))
        across, down = self._rounded(width * shrunk), self._rounded(height * shrunk)
        while across * down > self.most and max(across, down) > self.multiple:
            if across >= down:
                across -= self.multiple
            else:
                down -= self.multiple
        return across, down

    def _rounded(self, side: float) -> int:
        return max(1, int(side / self.multiple + 0.5)) * self.multiple

    def said(self) -> str:
        """For an error."""
        width, height = self.own
        return (
            f"its own size is {width}x{height}; sides are multiples of {self.multiple}, "
            f"and width times height is at most {self.most}"
        )


def sizes(own: tuple[int, int], multiple: int, most: int | None) -> Sizes:
    """Of a model. `most`: the configuration's."""
    return Sizes(multiple, own, most or own[0] * own[1] * _AREAS)
