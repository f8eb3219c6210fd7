from penstock.config.schema import Model
from penstock.core.messages import say
from penstock.core.request import Request, Sampling
from penstock.gateway.aliases import ANY, with_alias

PIRATE = Model(binding="b", name="m", temperature=0.5, max_tokens=7, system="You are a pirate.")
ALIASES = {"pirate": PIRATE}
HELLO = (say("user", "Hello!"),)


def test_an_alias_says_what_a_request_does_not():
    found = with_alias(Request(model="pirate", messages=HELLO), ALIASES)
    assert found.sampling == Sampling(temperature=0.5, max_tokens=7)
    assert found.messages == (say("system", "You are a pirate."), *HELLO)


def test_a_request_s_own_word_wins():
    said = (say("system", "Be brief."), *HELLO)
    asked = Request(model="pirate", messages=said, sampling=Sampling(temperature=0, max_tokens=3))
    assert with_alias(asked, ALIASES) == asked


def test_a_raw_text_gets_no_system_prompt():
    found = with_alias(Request(model="pirate", messages=HELLO, raw=True), ALIASES)
    assert found.messages == HELLO
    assert found.sampling.temperature == 0.5


def test_another_name_is_left_alone_and_the_alias_for_any_answers_for_the_unknown():
    assert with_alias(Request(model="m", messages=HELLO), ALIASES).messages == HELLO
    unknown = Request(model="gpt-9", messages=HELLO, ignored=("model",))
    assert len(with_alias(unknown, {ANY: PIRATE}).messages) == 2
