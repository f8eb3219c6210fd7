"""Draws a meaning as a 64 x 64 picture: flat colours, smooth edges, the same for the same seed."""

import math
import random

from meaning import (
    BACKGROUNDS,
    COLOURS,
    CROWN,
    GROUNDS,
    MOON,
    PLACES,
    RADII,
    ROOF,
    SKIES,
    SUNS,
    TRUNK,
    WALLS,
    Group,
    Meaning,
    Pair,
    Placed,
    Scene,
    Thing,
)
from PIL import Image, ImageDraw

SIDE = 64
SCALE = 4  # drawn four times as large, then averaged: smooth edges
Colour = tuple[int, int, int]
Point = tuple[float, float]


def outline(shape: str) -> list[Point]:
    """The shape's corners in the box from -1 to 1, y downwards. Curves are fine polygons."""
    turns = [math.tau * step / 64 for step in range(64)]
    match shape:
        case "circle":
            return [(math.cos(t), math.sin(t)) for t in turns]
        case "square":
            return [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
        case "triangle":
            return [(0, -1), (1, 0.9), (-1, 0.9)]
        case "star":
            radii = [1.1 if step % 2 == 0 else 0.48 for step in range(10)]
            angles = [math.pi * step / 5 - math.pi / 2 for step in range(10)]
            return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
        case "heart":
            return [(math.sin(t) ** 3, -_heart(t) / 16) for t in turns]
        case _:  # cross
            a, b = 0.36, 1.0
            return [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a),
                    (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]  # fmt: skip


def _heart(t: float) -> float:
    return 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) + 2


class Canvas:
    """A picture in the making; coordinates are those of the finished 64 x 64."""

    def __init__(self, background: Colour) -> None:
        self._image = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), background)
        self._pen = ImageDraw.Draw(self._image)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self._pen.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def shape(self, shape: str, at: Point, radius: float, colour: Colour) -> None:
        """Fill a shape around a point."""
        corners = [(at[0] + radius * x, at[1] + radius * y) for x, y in outline(shape)]
        self.polygon(corners, colour)

    def done(self) -> Image.Image:
        """The finished picture."""
        return self._image.reduce(SCALE)


def draw(meaning: Meaning, rng: random.Random) -> Image.Image:
    """The picture of the meaning, with chance only in what the caption leaves open."""
    match meaning:
        case Pair():
            return _pair(meaning, rng)
        case Group():
            return _group(meaning, rng)
        case Placed():
            return _placed(meaning, rng)
        case Scene():
            return _scene(meaning, rng)


def _flat(background: str) -> Canvas:
    return Canvas(BACKGROUNDS[background or "white"])


def _radius(thing: Thing, rng: random.Random) -> float:
    return rng.uniform(*RADII[thing.size])


def _pair(pair: Pair, rng: random.Random) -> Image.Image:
    canvas = _flat(pair.background)
    relation = pair.order if pair.relation == "beside" else pair.relation
    things = [pair.first, pair.second]
    if relation in {"below", "right"}:  # from top to bottom, from left to right
        things.reverse()
    radii = [_radius(thing, rng) for thing in things]
    gap = rng.uniform(4, 7)
    start = 32 - (2 * sum(radii) + gap) / 2 + rng.uniform(-2, 2)
    ends = [start + radii[0], start + 2 * radii[0] + gap + radii[1]]
    across = 32 + rng.uniform(-4, 4)
    for thing, radius, along in zip(things, radii, ends, strict=True):
        beside = across + rng.uniform(-2, 2)
        at = (beside, along) if relation in {"above", "below"} else (along, beside)
        canvas.shape(thing.shape, at, radius, COLOURS[thing.colour])
    return canvas.done()


GROUPS: dict[int, list[list[Point]]] = {
    1: [[(32, 32)]],
    2: [[(18, 32), (46, 32)], [(18, 32), (46, 32)], [(32, 18), (32, 46)]],
    3: [[(18, 45), (32, 18), (46, 45)], [(11, 32), (32, 32), (53, 32)]],
    4: [[(18, 18), (46, 18), (18, 46), (46, 46)]],
}


def _group(group: Group, rng: random.Random) -> Image.Image:
    canvas = _flat(group.background)
    places = rng.choice(GROUPS[group.count])
    radius = _radius(group.thing, rng)
    if places[0] == (11, 32):
        radius = rng.uniform(7.6, 8.4)
    shift = (rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 1.5))
    for x, y in places:
        at = (x + shift[0] + rng.uniform(-0.5, 0.5), y + shift[1] + rng.uniform(-0.5, 0.5))
        canvas.shape(group.thing.shape, at, radius, COLOURS[group.thing.colour])
    return canvas.done()


def _placed(placed: Placed, rng: random.Random) -> Image.Image:
    canvas = _flat(placed.background)
    across, down = PLACES[placed.place]
    radius = _radius(placed.thing, rng)
    reach = 30 - radius - rng.uniform(0, 2)
    at = (32 + across * reach + rng.uniform(-1, 1), 32 + down * reach + rng.uniform(-1, 1))
    canvas.shape(placed.thing.shape, at, radius, COLOURS[placed.thing.colour])
    return canvas.done()


def _scene(scene: Scene, rng: random.Random) -> Image.Image:
    canvas = Canvas(SKIES[scene.sky])
    if scene.sky == "night":
        for _ in range(10):
            at = (rng.uniform(2, 62), rng.uniform(2, 30))
            canvas.shape("circle", at, rng.uniform(0.5, 0.8), (250, 250, 250))
    if scene.light:
        x = {"left": 14, "middle": 32, "right": 50}[scene.side] + rng.uniform(-2, 2)
        colour = MOON if scene.light == "moon" else SUNS[scene.light]
        canvas.shape("circle", (x, rng.uniform(10, 13)), rng.uniform(6.5, 8), colour)
    _land(canvas, scene, rng)
    places = {1: [32], 2: [18, 46], 3: [12, 32, 52]}.get(len(scene.things), [])
    for thing, place in zip(scene.things, places, strict=True):
        foot = rng.uniform(51, 55)
        x = place + rng.uniform(-2, 2)
        if thing == "tree":
            _tree(canvas, x, foot, 7 if len(scene.things) == 3 else rng.uniform(8, 9))
        else:
            _house(canvas, x, foot, WALLS[thing])
    return canvas.done()


def _land(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    colour = GROUNDS[scene.ground]
    level = rng.uniform(41, 44)
    tops = {"hill": [32 + rng.uniform(-3, 3)], "hills": [12 + rng.uniform(-2, 2), 50]}
    height = rng.uniform(12, 15)
    width = 26 if scene.land == "hill" else 17
    line: list[Point] = []
    for x in range(-1, 66):
        bumps = [max(0.0, 1 - ((x - top) / width) ** 2) for top in tops.get(scene.land, [])]
        floor = level + (8 if bumps else 0)
        line.append((x, floor - height * 1.3 * max(bumps, default=0)))
    canvas.polygon([*line, (66, 66), (-2, 66)], colour)
    if scene.land == "sea":
        for _ in range(5):
            x, y = rng.uniform(2, 52), rng.uniform(level + 4, 61)
            canvas.box(x, y, x + rng.uniform(5, 9), y + 0.9, (120, 175, 225))


def _tree(canvas: Canvas, x: float, foot: float, radius: float) -> None:
    canvas.box(x - 1.8, foot - 10, x + 1.8, foot, TRUNK)
    canvas.shape("circle", (x, foot - 9 - radius), radius, CROWN)


def _house(canvas: Canvas, x: float, foot: float, wall: Colour) -> None:
    canvas.box(x - 9, foot - 13, x + 9, foot, wall)
    canvas.polygon([(x - 11, foot - 13), (x + 11, foot - 13), (x, foot - 23)], ROOF)
    canvas.box(x - 2.5, foot - 8, x + 2.5, foot, TRUNK)
