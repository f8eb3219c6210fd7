"""lollms' rules of merging: defaults, personality, request."""

import pytest

from penstock.config.schema import Defaults
from penstock.core.cards import Personality
from penstock.core.errors import UnknownPersonalityError
from penstock.core.messages import say
from penstock.core.request import Request, Sampling
from penstock.gateway.personalities import apply

PIRATE = Personality(
    name="pirate",
    conditioning="Talk like a pirate.",
    parameters={"temperature": 0.9, "top_k": 40.0},
)
KNOWN = {"pirate": PIRATE}
USER = say("user", "Hi")


def test_conditioning_comes_after_the_requests_own_context():
    request = Request(messages=(say("system", "Context."), USER), personality="pirate")
    assert apply(request, KNOWN, Defaults()).messages == (
        say("system", "Context.\n\nTalk like a pirate."),
        USER,
    )
    alone = apply(Request(messages=(USER,), personality="pirate"), KNOWN, Defaults())
    assert alone.messages == (say("system", "Talk like a pirate."), USER)


def test_the_requests_own_system_prompt_replaces_it():
    request = Request(
        messages=(say("system", "Be brief."), USER), personality="pirate", own_system=True
    )
    assert apply(request, KNOWN, Defaults()).messages == request.messages


def test_parameters_fill_what_is_not_said():
    request = Request(
        messages=(USER,), personality="pirate", sampling=Sampling(temperature=0.1), freeform=True
    )
    applied = apply(request, KNOWN, Defaults(default_max_output_tokens=77))
    assert applied.sampling == Sampling(temperature=0.1, top_k=40, max_tokens=77)


def test_only_free_form_requests_take_the_default_limit():
    assert apply(Request(messages=(USER,)), KNOWN, Defaults()).sampling == Sampling()


def test_an_unknown_personality_is_an_error_but_in_a_legacy_request_a_note():
    with pytest.raises(UnknownPersonalityError) as caught:
        apply(Request(messages=(USER,), personality="x"), KNOWN, Defaults())
    assert caught.value.param == "personality"
    legacy = apply(Request(messages=(USER,), personality="x", legacy=True), KNOWN, Defaults())
    assert legacy.personality is None
    assert legacy.ignored == ("personality",)
