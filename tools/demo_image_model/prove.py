"""Proves the checker on the drawer's own pictures of the held-out captions.

It must find nothing wrong with at least 99 % of them, and must pass at most 5 % of them under a
caption that differs in one word.
"""

import random
import sys
from dataclasses import replace
from typing import TypeVar

from check import faults
from draw import draw
from held_out import HeldOut, read
from meaning import (
    BACKGROUNDS,
    COLOURS,
    INVERSE,
    PLACES,
    SHAPES,
    SUNS,
    WALLS,
    Group,
    Meaning,
    Pair,
    Placed,
    Scene,
    Thing,
)

ROUNDS = 5
T = TypeVar("T")


def other(rng: random.Random, names: list[T], *but: T) -> T:
    """Another of the names."""
    return rng.choice([name for name in names if name not in but])


def _thing(rng: random.Random, thing: Thing, *taken: str) -> Thing:
    match rng.choice(["colour", "shape", "size"] if thing.size else ["colour", "shape"]):
        case "colour":
            return replace(thing, colour=other(rng, list(COLOURS), thing.colour, *taken))
        case "shape":
            return replace(thing, shape=other(rng, list(SHAPES), thing.shape))
        case _:
            return replace(thing, size="big" if thing.size == "small" else "small")


def changed(meaning: Meaning, rng: random.Random) -> Meaning:
    """What a caption with one word changed means: no longer the same picture."""
    match meaning:
        case Scene():
            return _scene(meaning, rng)
        case _ if meaning.background and rng.random() < 0.2:
            return replace(meaning, background=other(rng, list(BACKGROUNDS), meaning.background))
        case Pair():
            return _pair(meaning, rng)
        case Group() if rng.random() < 0.5:
            return replace(meaning, count=other(rng, [2, 3, 4], meaning.count))
        case Placed() if rng.random() < 0.5:
            return replace(meaning, place=other(rng, list(PLACES), meaning.place))
        case Group() | Placed():
            return replace(meaning, thing=_thing(rng, meaning.thing, meaning.background))


def _pair(pair: Pair, rng: random.Random) -> Pair:
    part = rng.choice(["first", "relation", "second"])
    if part == "first":
        return replace(pair, first=_thing(rng, pair.first))
    if part == "second":
        return replace(pair, second=_thing(rng, pair.second))
    still_true = {pair.relation}
    if pair.relation in {"left", "right"}:
        still_true.add("beside")
    if pair.relation == "beside":
        still_true |= {"left", "right"}
    return replace(pair, relation=other(rng, list(INVERSE), *still_true))


def _scene(scene: Scene, rng: random.Random) -> Scene:
    ways = ["sky"]
    if scene.land in {"hill", "hills"}:
        ways += ["land", "ground"]
    if scene.light:
        ways.append("side")
    if scene.light in SUNS:
        ways.append("light")
    if scene.things:
        ways.append("things")
    match rng.choice(ways):
        case "sky":
            return replace(scene, sky=other(rng, ["day", "night", "sunset"], scene.sky))
        case "land":
            return replace(scene, land="hill" if scene.land == "hills" else "hills")
        case "ground":
            return replace(scene, ground=other(rng, ["green", "brown", "white"], scene.ground))
        case "side":
            return replace(scene, side=other(rng, ["left", "middle", "right"], scene.side))
        case "light":
            return replace(scene, light=other(rng, list(SUNS), scene.light))
        case _:
            return replace(scene, things=_other_things(scene.things, rng))


def _other_things(things: tuple[str, ...], rng: random.Random) -> tuple[str, ...]:
    houses = [at for at, thing in enumerate(things) if thing != "tree"]
    if not houses:
        return ("tree",) * other(rng, [1, 2, 3], len(things))
    if len(things) == 2 and rng.random() < 0.5:
        return (things[1], things[0])
    wall = other(rng, list(WALLS), things[houses[0]])
    return tuple(wall if at in houses else thing for at, thing in enumerate(things))


def main() -> None:
    """Print both rates per kind; exit 1 if the checker is not good enough."""
    captions = read()
    right: dict[str, list[bool]] = {}
    fooled: dict[str, list[bool]] = {}
    for turn in range(ROUNDS):
        for one in captions:
            rng = random.Random(one.seed * ROUNDS + turn)
            picture = draw(one.meaning, rng)
            wrong = faults(one.meaning, picture)
            right.setdefault(one.kind, []).append(not wrong)
            if wrong:
                print(f"wrongly refused: {one.caption}: {'; '.join(wrong)}")
            lie = changed(one.meaning, rng)
            fooled.setdefault(one.kind, []).append(not faults(lie, picture))
            if fooled[one.kind][-1]:
                print(f"wrongly passed: {one.caption} as {lie}")
    sys.exit(0 if _report(captions, right, fooled) else 1)


def _report(
    captions: list[HeldOut], right: dict[str, list[bool]], fooled: dict[str, list[bool]]
) -> bool:
    for kind in right:
        print(
            f"{kind:6} right {_rate(right[kind]):6.1%}  one word changed {_rate(fooled[kind]):6.1%}"
        )
    good = _rate([one for kind in right.values() for one in kind])
    bad = _rate([one for kind in fooled.values() for one in kind])
    print(f"all    right {good:6.1%}  one word changed {bad:6.1%}  "
          f"({len(captions)} captions, {ROUNDS} pictures each)")  # fmt: skip
    return good >= 0.99 and bad <= 0.05


def _rate(answers: list[bool]) -> float:
    return sum(answers) / len(answers)


if __name__ == "__main__":
    main()
