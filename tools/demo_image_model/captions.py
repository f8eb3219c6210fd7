"""Puts a meaning into words, in many phrasings. Every word the demo image model knows is here."""

import random

from meaning import WALLS, Group, Meaning, Pair, Placed, Scene, Thing

RELATIONS = {
    "above": ("above", "above", "over", "on top of"),
    "below": ("below", "below", "under", "beneath", "underneath"),
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "beside": ("beside", "next to", "by"),
}
NUMBERS = {2: ("two", "two", "2"), 3: ("three", "three", "3"), 4: ("four", "four", "4")}
PLACES = {
    "top left": ("in the top left corner", "in the top left", "at the top left"),
    "top right": ("in the top right corner", "in the top right", "at the top right"),
    "bottom left": ("in the bottom left corner", "in the bottom left", "at the bottom left"),
    "bottom right": ("in the bottom right corner", "in the bottom right", "at the bottom right"),
    "top": ("at the top", "at the top", "at the top in the middle"),
    "bottom": ("at the bottom", "at the bottom", "at the bottom in the middle"),
    "left": ("on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right side", "at the right"),
    "middle": ("in the middle", "in the center", "in the centre"),
}
SIZES = {"big": ("big", "large", "huge"), "small": ("small", "little", "tiny"), "": ("",)}
OPENINGS = ("a picture of", "a drawing of", "an image of", "draw", "paint", "show me")
PLURALS = {"cross": "crosses"}
SKIES = {
    "day": ("under a blue sky", "by day", "on a sunny day"),
    "night": ("at night", "at night", "by night", "under a dark sky", "under the stars"),
    "sunset": ("at sunset", "at sunset", "in the evening", "under an orange sky"),
}
FILLERS = (
    "please",
    "very",
    "nice",
    "pretty",
    "beautiful",
    "simple",
    "cartoon",
    "style",
    "photo",
    "with",
    "some",
    "good",
    "bright",
)


def caption(meaning: Meaning, rng: random.Random, plain: bool = False) -> str:
    """One of the meaning's captions. A `plain` one leaves nothing out and has no fillers."""
    match meaning:
        case Pair():
            words = _pair(meaning, rng)
        case Group():
            words = _group(meaning, rng)
        case Placed():
            words = _placed(meaning, rng)
        case Scene():
            words = _scene(meaning, rng, vague=not plain and rng.random() < 0.35)
    words = " ".join(words.split())
    return words if plain else _dress(words, rng)


def _dress(words: str, rng: random.Random) -> str:
    """As people type: with an opening, words that mean nothing here, no article, an end mark."""
    if rng.random() < 0.15:
        words = f"{rng.choice(OPENINGS)} {words}"
    elif rng.random() < 0.15:
        words = words.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    if rng.random() < 0.08:
        extra = [_nonsense(rng) if rng.random() < 0.4 else rng.choice(FILLERS) for _ in range(2)]
        words = rng.choice([f"{words}, {extra[0]}", f"{words} {' '.join(extra)}",
                            f"{extra[0]} {words}"])  # fmt: skip
    if rng.random() < 0.1:
        words += rng.choice([".", "!"])
    return words


def _nonsense(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 8)))


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _thing(thing: Thing, rng: random.Random) -> str:
    return f"{rng.choice(SIZES[thing.size])} {thing.colour} {thing.shape}".strip()


def _ground(background: str, rng: random.Random) -> str:
    if not background:
        return "on a white background" if rng.random() < 0.08 else ""
    return rng.choice([f"on a {background} background", f"on {background}"])


def _pair(pair: Pair, rng: random.Random) -> str:
    first, second = _article(_thing(pair.first, rng)), _article(_thing(pair.second, rng))
    relation = rng.choice(RELATIONS[pair.relation])
    link = rng.choice(["", "", "", "is", "standing"]) if pair.relation != "beside" else ""
    return f"{first} {link} {relation} {second} {_ground(pair.background, rng)}"


def _group(group: Group, rng: random.Random) -> str:
    ground = _ground(group.background, rng)
    if group.count == 1:
        return f"{_article(_thing(group.thing, rng))} {ground}"
    number = rng.choice(NUMBERS[group.count])
    shape = group.thing.shape
    return f"{number} {group.thing.colour} {PLURALS.get(shape, shape + 's')} {ground}"


def _placed(placed: Placed, rng: random.Random) -> str:
    thing, where = _thing(placed.thing, rng), rng.choice(PLACES[placed.place])
    return f"{_article(thing)} {where} {_ground(placed.background, rng)}"


def _scene(scene: Scene, rng: random.Random, vague: bool) -> str:
    """`vague`: a sun, a house or a hill whose colour is not told, a house beside a tree."""
    land, light = _land(scene, rng), _light(scene)
    if vague:
        land, light = _vague(scene, land, rng), light.replace("yellow ", "")
    sky = rng.choice(SKIES[scene.sky])
    if scene.sky == "day" and rng.random() < 0.6:
        sky = ""
    side = _side(scene, rng)
    if not light:
        return rng.choice([f"{land} {sky}", f"{sky or 'by day'} {land}"])
    forms = [f"{land} {sky} with {light} {side}", f"{land} with {light} {side} {sky}"]
    if scene.land != "field":
        forms += [f"{light} {rng.choice(['over', 'above', 'over'])} {land} {side} {sky}"] * 2
    return rng.choice(forms)


def _vague(scene: Scene, land: str, rng: random.Random) -> str:
    for word in (*WALLS, "green"):
        land = land.replace(f"a {word} h", "a h")
    if len(scene.things) == 2 and scene.things != ("tree", "tree"):
        pair = rng.choice([("a house", "a tree"), ("a tree", "a house")])
        link = rng.choice([*RELATIONS["beside"], "and", "with"])
        land = f"{pair[0]} {link} {pair[1]}{' in the snow' if scene.ground == 'white' else ''}"
    return land


def _side(scene: Scene, rng: random.Random) -> str:
    """Where the sun is; a sun in the middle is most often not told."""
    if scene.side == "middle":
        return "in the middle" if rng.random() < 0.3 else ""
    return f"on the {scene.side}"


def _light(scene: Scene) -> str:
    if scene.light == "moon":
        return "the moon"
    return _article(f"{scene.light} sun") if scene.light else ""


def _land(scene: Scene, rng: random.Random) -> str:
    match scene.land:
        case "sea":
            return rng.choice(["the sea", "the sea", "the ocean", "the blue sea"])
        case "hill" | "hills":
            colour = rng.choice(["white", "snowy"]) if scene.ground == "white" else scene.ground
            many = scene.land == "hills"
            return f"{rng.choice(['two', '']) if many else 'a'} {colour} {scene.land}"
        case _:
            meadow = ("in a green field", "on the grass", "in a field", "")
            snow = ("in the snow", "in a snowy field")
            return (
                f"{_things(scene, rng)} {rng.choice(snow if scene.ground == 'white' else meadow)}"
            )


def _things(scene: Scene, rng: random.Random) -> str:
    match scene.things:
        case ("tree",):
            return rng.choice(["a tree", "a green tree", "one tree"])
        case ("tree", "tree"):
            return f"{rng.choice(NUMBERS[2])} trees"
        case ("tree", "tree", "tree"):
            return f"{rng.choice(NUMBERS[3])} trees"
        case (wall,):
            return f"a {wall} house"
        case ("tree", wall):
            right, left = rng.choice(RELATIONS["right"]), rng.choice(RELATIONS["left"])
            return rng.choice([f"a {wall} house {right} a tree", f"a tree {left} a {wall} house"])
        case (wall, _):
            left, right = rng.choice(RELATIONS["left"]), rng.choice(RELATIONS["right"])
            return rng.choice([f"a {wall} house {left} a tree", f"a tree {right} a {wall} house"])
    raise ValueError(f"no words for {scene.things}")
