"""Says what is wrong with a picture of a meaning, by measuring it: no model, only geometry.

A thing is a connected region that differs from the plain background. Its colour is the nearest
name; its shape is the outline that, fitted to the region's box, covers it best (intersection over
union).
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from draw import outline
from meaning import (
    BACKGROUNDS,
    COLOURS,
    CROWN,
    GROUNDS,
    MOON,
    PLACES,
    ROOF,
    SHAPES,
    SKIES,
    SUNS,
    WALLS,
    Group,
    Meaning,
    Pair,
    Placed,
    Scene,
    Thing,
)
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
GRID = 32
SPECK = 12  # regions of fewer pixels are not things
LEAST_COVER = 0.72
FARTHEST = 80.0  # how far a colour may be from its name's, in RGB


class Region(NamedTuple):
    """A connected region: its middle, half the larger side of its box, colour and shape."""

    x: float
    y: float
    radius: float
    colour: str
    shape: str


def nearest(colour: Pixels, names: dict[str, tuple[int, int, int]]) -> str:
    """The name of the nearest colour, or "?"."""
    far = {name: float(np.linalg.norm(colour - np.array(value))) for name, value in names.items()}
    best = min(far, key=far.__getitem__)
    return best if far[best] < FARTHEST else "?"


def components(mask: Mask) -> list[Mask]:
    """The connected regions of a mask (corners connect), largest first, specks left out."""
    left, found = mask.copy(), []
    while left.any():
        one = np.zeros_like(left)
        one[np.unravel_index(left.argmax(), left.shape)] = True
        size = 0
        while size != (size := int(one.sum())):
            grown = np.pad(one, 1)
            grown = grown[:-2] | grown[1:-1] | grown[2:]
            one = (grown[:, :-2] | grown[:, 1:-1] | grown[:, 2:]) & left
        left &= ~one
        if size >= SPECK:
            found.append(one)
    return sorted(found, key=lambda one: -int(one.sum()))


@cache
def template(shape: str) -> Pixels:
    """The shape, filling its own box, as coverage from 0 to 1."""
    corners = np.array(outline(shape))
    low, high = corners.min(0), corners.max(0)
    scaled = (corners - low) / (high - low) * (GRID * 4)
    image = Image.new("L", (GRID * 4, GRID * 4))
    ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in scaled], fill=255)
    return np.asarray(image.reduce(4), np.float32) / 255


def cover(alpha: Pixels, shape: str) -> float:
    """How well the shape covers what is in the box: 1 is exactly."""
    box = Image.fromarray((alpha * 255).astype(np.uint8)).resize((GRID, GRID), Image.Resampling.BOX)
    seen, ideal = np.asarray(box, np.float32) / 255, template(shape)
    return float(np.minimum(seen, ideal).sum() / np.maximum(seen, ideal).sum())


def span(line: Pixels) -> tuple[float, float]:
    """Where a region begins and ends along a line, in fractions of a pixel."""
    inside = np.flatnonzero(line > 0.15)
    return (
        float(inside[0] + 1 - min(1.0, line[inside[0]])),
        float(inside[-1] + min(1.0, line[inside[-1]])),
    )


def region(pixels: Pixels, mask: Mask, background: Pixels) -> Region:
    """Measure a region that stands out from its background."""
    away = np.linalg.norm(pixels - background, axis=2) * mask
    colour = np.median(pixels[away > 0.75 * np.quantile(away[mask], 0.9)], axis=0)
    whole = float(np.linalg.norm(colour - background))
    alpha = np.clip((pixels - background) @ (colour - background) / whole**2, 0, 1)
    alpha = (alpha * mask).astype(np.float32)
    left, right = span(alpha.max(0))
    top, bottom = span(alpha.max(1))
    box = Image.fromarray(alpha).transform(
        (GRID, GRID),
        Image.Transform.EXTENT,
        (left, top, right, bottom),
        Image.Resampling.BILINEAR,
    )
    fits = {shape: cover(np.asarray(box), shape) for shape in SHAPES}
    best = max(fits, key=fits.__getitem__)
    ratio = (right - left) / (bottom - top)
    if fits[best] < LEAST_COVER or not 0.7 < ratio < 1.43:
        best = "?"
    return Region(
        (left + right) / 2,
        (top + bottom) / 2,
        max(right - left, bottom - top) / 2,
        nearest(colour, COLOURS),
        best,
    )


def regions(pixels: Pixels) -> tuple[str, list[Region]]:
    """The background's name and the things in front of it."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    background = np.median(border, axis=0)
    far = np.linalg.norm(pixels - background, axis=2) > 45
    found = [region(pixels, one, background) for one in components(far)]
    return nearest(background, BACKGROUNDS), found


def faults(meaning: Meaning, picture: Image.Image) -> list[str]:
    """What is wrong with the picture; nothing if it shows what the caption says."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    if isinstance(meaning, Scene):
        return _scene(meaning, pixels)
    background, found = regions(pixels)
    wrong = []
    if background != (meaning.background or "white"):
        wrong.append(f"background {background}")
    match meaning:
        case Pair():
            return wrong + _pair(meaning, found)
        case Group():
            things = [meaning.thing] * meaning.count
        case Placed():
            things = [meaning.thing]
            if found and (place := _place(found[0])) != meaning.place:
                wrong.append(f"stands {place}")
    if len(found) != len(things):
        return [*wrong, f"{len(found)} things"]
    return wrong + [w for one, thing in zip(found, things, strict=True) for w in _like(one, thing)]


def _like(one: Region, thing: Thing) -> list[str]:
    wrong = []
    if (one.colour, one.shape) != (thing.colour, thing.shape):
        wrong.append(f"{one.colour} {one.shape} for {thing.colour} {thing.shape}")
    if (thing.size == "big" and one.radius < 11.3) or (thing.size == "small" and one.radius > 8.4):
        wrong.append(f"radius {one.radius:.1f} is not {thing.size}")
    return wrong


def _place(one: Region) -> str:
    across, down = (int(at > 40) - int(at < 24) for at in (one.x, one.y))
    return next(name for name, place in PLACES.items() if place == (across, down))


def _pair(pair: Pair, found: list[Region]) -> list[str]:
    if len(found) != 2:
        return [f"{len(found)} things"]
    tries = [_in_order(pair, *found), _in_order(pair, *reversed(found))]
    return min(tries, key=len)


def _in_order(pair: Pair, first: Region, second: Region) -> list[str]:
    wrong = _like(first, pair.first) + _like(second, pair.second)
    across, down = first.x - second.x, first.y - second.y
    if max(abs(across), abs(down)) < 6:
        return [*wrong, "in one place"]
    if abs(down) > abs(across):
        relation = "above" if down < 0 else "below"
    else:
        relation = "left" if across < 0 else "right"
    said = {pair.relation} if pair.relation != "beside" else {"left", "right"}
    return wrong if relation in said else [*wrong, f"stands {relation}"]


def _scene(scene: Scene, pixels: Pixels) -> list[str]:
    sky = np.median(pixels[:3].reshape(-1, 3), axis=0)
    ground = np.median(pixels[59:].reshape(-1, 3), axis=0)
    seen = {
        "sky": (nearest(sky, SKIES), scene.sky),
        "ground": (nearest(ground, GROUNDS), scene.ground),
        "light": (_light(pixels, sky), (scene.light, scene.side if scene.light else "")),
        "things": (_things(pixels), scene.things),
    }
    if not scene.things:
        seen["land"] = (_land(pixels, sky, ground), "sea" if scene.land == "field" else scene.land)
    return [f"{part} {is_} for {said}" for part, (is_, said) in seen.items() if is_ != said]


def _light(pixels: Pixels, sky: Pixels) -> tuple[str, str]:
    """The sun's colour (or `moon`) and side; empty if there is none."""
    upper = pixels[:24]
    found = components(np.linalg.norm(upper - sky, axis=2) > 50)
    found = [one for one in found if one.sum() >= 60 and not one[-1].all()]
    if not found:
        return ("", "")
    if len(found) > 1:
        return (f"{len(found)} lights", "")
    columns = np.nonzero(found[0])[1]
    colour = np.median(upper[found[0]], axis=0)
    seen = region(upper, found[0], sky)
    x = float(columns.mean())
    side = "left" if x < 24 else "right" if x > 40 else "middle"
    return (nearest(colour, {**SUNS, "moon": MOON}) if seen.shape == "circle" else "?", side)


def _like_colour(pixels: Pixels, colour: tuple[int, int, int]) -> list[Mask]:
    return components(np.linalg.norm(pixels - np.array(colour), axis=2) < 48)


def _things(pixels: Pixels) -> tuple[str, ...]:
    """Trees and houses (by the colour of their walls) from left to right."""
    found: list[tuple[float, str]] = []
    for crown in _like_colour(pixels, CROWN):
        if crown.sum() >= 60:
            found.append((float(np.nonzero(crown)[1].mean()), "tree"))
    for roof in _like_colour(pixels, ROOF):
        columns = np.nonzero(roof)[1]
        if roof.sum() < 45:
            continue
        x, eaves = float(columns.mean()), int(np.flatnonzero(roof.sum(1) >= 8).max(initial=0))
        wall = pixels[eaves + 2 : eaves + 5, int(x) - 6 : int(x) + 7]
        found.append((x, nearest(np.median(wall.reshape(-1, 3), axis=0), WALLS)))
    return tuple(name for _, name in sorted(found))


def _land(pixels: Pixels, sky: Pixels, ground: Pixels) -> str:
    """`hill`, `hills` or `sea` (flat), by the ground's upper edge."""
    lower = pixels[24:]
    nearer = np.linalg.norm(lower - ground, axis=2) < np.linalg.norm(lower - sky, axis=2)
    thick = nearer[:-3] & nearer[1:-2] & nearer[2:-1] & nearer[3:]  # stars are thin
    tops = 24 + thick.argmax(0).astype(np.float32)
    if tops.max() - tops.min() < 6:
        return "sea"
    left, middle, right = (float(tops[a:b].min()) for a, b in ((4, 22), (27, 36), (42, 60)))
    if middle < min(tops[2], tops[61]) - 6 and middle <= min(left, right) + 1:
        return "hill"
    return "hills" if max(left, right) < middle - 3 else "?"
