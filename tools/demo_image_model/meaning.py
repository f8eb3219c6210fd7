"""What a picture shows, as data: things, pairs, counts, places and scenes, and which are held out.

A meaning is drawn by `draw.py` and put into words by `captions.py`. Training and held-out meanings
are told apart by a hash of what they combine: every `(colour, shape, relation)` triple of a
held-out caption is one that no training picture shows, whichever of the two things the caption
names first.
"""

import hashlib
import itertools
import random
from dataclasses import dataclass

COLOURS = {
    "red": (220, 40, 40),
    "orange": (250, 140, 20),
    "yellow": (250, 220, 40),
    "green": (40, 160, 70),
    "blue": (40, 80, 215),
    "purple": (135, 55, 180),
    "pink": (250, 140, 190),
    "black": (25, 25, 25),
}
BACKGROUNDS = {
    "white": (255, 255, 255),
    "grey": (160, 160, 160),
    "black": (25, 25, 25),
    "yellow": (250, 220, 40),
    "blue": (40, 80, 215),
    "green": (40, 160, 70),
    "pink": (250, 140, 190),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
RADII = {"small": (6.2, 7.2), "": (9.0, 10.5), "big": (13.0, 14.5)}
"""Half the side of a thing's box, in pixels of a 64 x 64 picture."""
PLACES = {
    "top left": (-1, -1), "top": (0, -1), "top right": (1, -1),
    "left": (-1, 0), "middle": (0, 0), "right": (1, 0),
    "bottom left": (-1, 1), "bottom": (0, 1), "bottom right": (1, 1),
}  # fmt: skip
INVERSE = {"above": "below", "below": "above", "left": "right", "right": "left", "beside": "beside"}
HELD_OUT_ONE_IN = 5

SKIES = {"day": (135, 206, 250), "night": (18, 22, 66), "sunset": (252, 170, 120)}
SUNS = {"yellow": (255, 225, 45), "orange": (245, 130, 20), "red": (220, 45, 40)}
MOON = (240, 240, 205)
GROUNDS = {
    "green": (110, 190, 80),
    "brown": (150, 100, 60),
    "white": (246, 246, 250),
    "sea": (25, 95, 175),
}
WALLS = {"red": (205, 55, 50), "yellow": (245, 205, 80), "blue": (60, 100, 205)}
ROOF = (75, 70, 80)
CROWN = (20, 105, 45)
TRUNK = (95, 60, 30)

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Thing:
    """One flat shape."""

    colour: str
    shape: str
    size: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two things; `first` stands `relation` to `second`. `order` is where a `beside` really is."""

    first: Thing
    relation: str
    second: Thing
    background: str = ""
    order: str = "left"


@dataclass(frozen=True, slots=True)
class Group:
    """`count` equal things: 1 (anywhere near the middle) to 4."""

    count: int
    thing: Thing
    background: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """One thing in a named place."""

    thing: Thing
    place: str
    background: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """Sky, ground, perhaps a sun or moon, perhaps a house and trees, listed from left to right.

    `land` is `hill`, `hills`, `sea` or `field`; only a field carries `things` (`tree`, or a house's
    wall colour). `light` is "" (none), `moon` or a colour of the sun; `side` its place.
    """

    sky: str
    land: str
    ground: str
    light: str = ""
    side: str = "middle"
    things: tuple[str, ...] = ()


Meaning = Pair | Group | Placed | Scene


def keys(meaning: Meaning) -> list[Key]:
    """What the meaning combines, as a caption tells it: the unit that is held out."""
    match meaning:
        case Pair(first, relation, second):
            return [
                (first.colour, first.shape, relation),
                (second.colour, second.shape, INVERSE[relation]),
            ]
        case Group(count, thing):
            return [(thing.colour, thing.shape, str(count))]
        case Placed(thing, place):
            return [(thing.colour, thing.shape, "at " + place)]
        case Scene():
            things = meaning.things or (meaning.light, meaning.side)
            return [("scene", meaning.sky, meaning.land, meaning.ground, *things)]


def is_held_out(key: Key) -> bool:
    """Whether no training picture may show this combination. The same on every machine."""
    digest = hashlib.blake2b(" ".join(key).encode(), digest_size=4).digest()
    return key[-1] != "1" and int.from_bytes(digest, "big") % HELD_OUT_ONE_IN == 0


def may_train(meaning: Meaning) -> bool:
    """Whether the meaning, and where its things really stand, is free of held-out combinations.

    Nor does training show the opposite of a held-out relation: of a red circle, held out above
    others, pictures that have it below would teach that red circles always stand there.
    """
    shown = keys(meaning)
    if isinstance(meaning, Pair):
        if meaning.relation == "beside":
            shown += keys(Pair(meaning.first, meaning.order, meaning.second))
        shown += [(colour, shape, INVERSE[relation]) for colour, shape, relation in shown]
    return not any(map(is_held_out, shown))


def _colours(rng: random.Random, count: int, background: str) -> list[str]:
    return rng.sample([name for name in COLOURS if name != background], count)


def _background(rng: random.Random) -> str:
    return rng.choice(list(BACKGROUNDS)) if rng.random() < 0.2 else ""


def _size(rng: random.Random) -> str:
    return rng.choice(["big", "small"]) if rng.random() < 0.25 else ""


def any_pair(rng: random.Random) -> Pair:
    """Two things of different colours."""
    background = _background(rng)
    one, two = _colours(rng, 2, background)
    sizes = rng.choice([("big", "small"), ("small", "big"), ("big", ""), ("", "small")])
    if rng.random() < 0.8:
        sizes = ("", "")
    return Pair(
        Thing(one, rng.choice(SHAPES), sizes[0]),
        rng.choice(list(INVERSE)),
        Thing(two, rng.choice(SHAPES), sizes[1]),
        background,
        rng.choice(["left", "right"]),
    )


def any_group(rng: random.Random) -> Group:
    """One to four equal things; a single one may be big or small."""
    background = _background(rng)
    count = rng.choice([1, 2, 3, 4, 2, 3, 4])
    size = _size(rng) if count == 1 else ""
    return Group(count, Thing(*_colours(rng, 1, background), rng.choice(SHAPES), size), background)


def any_placed(rng: random.Random) -> Placed:
    """One thing in one of nine places."""
    background = _background(rng)
    thing = Thing(*_colours(rng, 1, background), rng.choice(SHAPES), _size(rng))
    return Placed(thing, rng.choice(list(PLACES)), background)


def any_scene(rng: random.Random) -> Scene:
    """A field with things, or hills or the sea with a sun or moon."""
    sky = rng.choice(["day", "day", "night", "sunset"])
    light = ""
    if rng.random() < 0.7:
        light = "moon" if sky == "night" else rng.choice(["yellow", "orange", "red"])
        if sky == "sunset" and light == "orange":
            light = "red"
    side = rng.choice(["left", "middle", "right"])
    land = rng.choice(["hill", "hills", "sea", "field", "field", "field"])
    ground = "sea" if land == "sea" else rng.choice(["green", "green", "brown", "white"])
    things: tuple[str, ...] = ()
    if land == "field":
        ground = rng.choice(["green", "green", "white"])
        house = rng.choice(list(WALLS))
        things = rng.choice([(house,), ("tree",), ("tree", "tree"), ("tree",) * 3]
                            + [(house, "tree"), ("tree", house)] * 2)  # fmt: skip
    return Scene(sky, land, ground, light, side, things)


KINDS = {"pair": any_pair, "count": any_group, "place": any_placed, "scene": any_scene}
HELD_OUT = {"pair": 80, "count": 40, "place": 40, "scene": 40}
"""How many held-out captions there are of each kind."""


def training_meaning(rng: random.Random) -> Meaning:
    """One meaning to train on; pairs, the hardest, come most often."""
    kind = rng.choices(list(KINDS), (45, 18, 14, 23))[0]
    return next(filter(may_train, (KINDS[kind](rng) for _ in itertools.count())))


def held_out_meaning(kind: str, rng: random.Random) -> Meaning:
    """One meaning of the kind, all of whose combinations training never shows."""
    tries = (KINDS[kind](rng) for _ in itertools.count())
    return next(one for one in tries if all(map(is_held_out, keys(one))))
