"""The two faces are one: the same names, parameters and words; only `async` and `await` differ."""

import inspect
import re
from collections.abc import Iterator

import pytest

from penstock.client import aio, sync

PAIRS = [(getattr(sync, n), getattr(aio, f"Async{n}")) for n in
         ("Client", "Stream", "Session", "Drawing")]  # fmt: skip
BLOCKING = {"enter": "aenter", "exit": "aexit", "iter": "aiter"}


def members(kind: type) -> dict[str, object]:
    """What a class itself or what it is made of defines, by its blocking name."""
    found = {}
    for one in reversed(kind.__mro__[:-1]):
        for name, value in vars(one).items():
            plain = name
            for blocking, waiting in BLOCKING.items():
                plain = plain.replace(f"__{waiting}__", f"__{blocking}__")
            if not plain.startswith("_") or plain in {"__init__", "__enter__", "__iter__"}:
                found[plain] = value
    return found


def shape(function: object) -> str:
    """The signature, without the words that differ."""
    if isinstance(function, property):
        return "property"
    assert callable(function)
    text = str(inspect.signature(function))
    text = re.sub(r"AsyncIterator|AsyncGenerator", "Iterator", text)
    return re.sub(r"Async(?=Client|Stream|Session|Drawing)", "", text).replace(".aio", ".sync")


def differences(blocking: type, waiting: type) -> Iterator[str]:
    ours, theirs = members(blocking), members(waiting)
    yield from sorted(set(ours) ^ set(theirs))
    for name in sorted(set(ours) & set(theirs)):
        if name != "__init__" and not callable(ours[name]):
            continue
        if shape(ours[name]) != shape(theirs[name]):
            yield f"{name}{shape(ours[name])} is {shape(theirs[name])}"
        if inspect.getdoc(ours[name]) != inspect.getdoc(theirs[name]):
            yield f"the words of {name}"
    if inspect.getdoc(blocking) != inspect.getdoc(waiting):
        yield "the words of the class"


@pytest.mark.parametrize(("blocking", "waiting"), PAIRS, ids=lambda kind: kind.__name__)
def test_both_faces_are_alike(blocking: type, waiting: type):
    assert len(members(blocking)) > 3
    assert list(differences(blocking, waiting)) == []


def test_a_difference_is_seen():
    class One:
        def both(self, a: int) -> None:
            """Says."""

        def only(self) -> None:
            """Here."""

    class Other:
        async def both(self, b: int) -> None:
            """Says it."""

    found = list(differences(One, Other))
    assert found[0] == "only"
    assert found[1].startswith("both(self, a: int)")
    assert found[2] == "the words of both"


def test_what_is_public_is_the_same():
    assert sorted(sync.__all__) == sorted(n.removeprefix("Async") for n in aio.__all__)
