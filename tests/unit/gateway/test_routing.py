"""Who answers: pure rules."""

import pytest

from penstock.config.schema import Defaults, Model
from penstock.core.errors import ModalityError, UnknownBindingError, UnknownModelError
from penstock.core.request import Request
from penstock.gateway.routing import Offer, Router, Target

OFFERS = [
    Offer("embedded", None, ("demo",), ("text",)),
    Offer("ollama", "llama3:latest", ("llama3:latest", "phi3:mini"), ("text",)),
    Offer("cloud", "gpt", ("gpt", "deepseek-ai/DeepSeek-OCR"), ("text",)),
    Offer("painter", "sd", ("sd",), ("image",)),
]
ALIASES = {
    "fast": Model(binding="cloud", name="gpt", fallback=("phi3:mini", "small")),
    "small": Model(binding="embedded"),
}

NO_DEFAULTS = Defaults()


def route(asked: dict[str, object], defaults: Defaults = NO_DEFAULTS) -> tuple[Target, ...]:
    return Router(OFFERS, ALIASES, defaults).route(Request(**asked))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ({}, ("embedded", "demo")),
        ({"model": "default"}, ("embedded", "demo")),
        ({"model": "phi3:mini"}, ("ollama", "phi3:mini")),
        ({"model": "llama3"}, ("ollama", "llama3:latest")),
        ({"model": "demo:latest"}, ("embedded", "demo")),
        ({"model": "deepseek-ai/DeepSeek-OCR"}, ("cloud", "deepseek-ai/DeepSeek-OCR")),
        ({"model": "cloud/anything-new"}, ("cloud", "anything-new")),
        ({"model": "cloud/"}, ("cloud", "gpt")),
        ({"binding": "ollama"}, ("ollama", "llama3:latest")),
        ({"binding": "ollama", "model": "default"}, ("ollama", "llama3:latest")),
        ({"binding": "cloud", "model": "unlisted"}, ("cloud", "unlisted")),
        ({"model": "small"}, ("embedded", "demo")),
        ({"modality": "image"}, ("painter", "sd")),
    ],
)
def test_who_answers(asked: dict[str, object], target: tuple[str, str]):
    assert route(asked) == (target,)


@pytest.mark.parametrize(
    ("asked", "called"),
    [
        ("small:latest", "small"),
        ("tagged", "tagged:latest"),
        ("small", "small"),
        ("llama3:latest", "llama3:latest"),  # a binding's very model, beside an alias `llama3`
        ("small:q4", "small:q4"),
        ("*:latest", "*:latest"),
        ("nobody:latest", "nobody:latest"),
        ("default", "default"),
        ("", ""),
    ],
)
def test_an_alias_with_latest_is_the_alias(asked: str, called: str):
    more = {"tagged:latest": Model(binding="cloud"), "llama3": Model(binding="cloud")}
    any_model = {"*": Model(binding="embedded")}
    router = Router(OFFERS, ALIASES | more | any_model, NO_DEFAULTS)
    assert router.called(asked) == called


def test_a_configured_default_wins():
    assert route({}, Defaults(ttt_binding="cloud")) == (("cloud", "gpt"),)


def test_an_alias_has_its_fallbacks_in_order():
    assert route({"model": "fast"}) == (
        ("cloud", "gpt"),
        ("ollama", "phi3:mini"),
        ("embedded", "demo"),
    )


def test_a_fallback_that_nobody_has_now_is_left_out():
    aliases = {"a": Model(binding="cloud", name="gpt", fallback=("gone", "nowhere/x", "demo"))}
    router = Router(OFFERS, aliases, NO_DEFAULTS)
    assert router.route(Request(model="a")) == (("cloud", "gpt"), ("embedded", "demo"))


def test_a_binding_without_a_model_leaves_it_to_the_fallback_once_it_had_its_time():
    offers = [*OFFERS, Offer("down", None, (), ("text",))]
    aliases = {
        "a": Model(binding="down", fallback=("gone", "demo")),
        "b": Model(binding="down", fallback=("gone",)),
    }
    router = Router(offers, aliases, NO_DEFAULTS)
    with pytest.raises(UnknownModelError):
        router.route(Request(model="a"))
    assert router.route(Request(model="a"), waited=True) == (("embedded", "demo"),)
    with pytest.raises(UnknownModelError, match="'down'"):
        router.route(Request(model="b"), waited=True)


@pytest.mark.parametrize(
    ("asked", "error", "param"),
    [
        ({"model": "nothing"}, UnknownModelError, "model"),
        ({"model": "nowhere/x"}, UnknownModelError, "model"),
        ({"model": "nowhere/"}, UnknownBindingError, "binding_name"),
        ({"binding": "nowhere"}, UnknownBindingError, "binding_name"),
        ({"modality": "video"}, ModalityError, None),
    ],
)
def test_unknown_names_are_named(
    asked: dict[str, object], error: type[Exception], param: str | None
):
    with pytest.raises(error) as caught:
        route(asked)
    assert caught.value.param == param  # type: ignore[attr-defined]
