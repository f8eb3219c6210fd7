"""Every spelling of "think" and "don't", and which one wins."""

import pytest

from penstock.core.messages import ImagePart, Message, TextPart, say
from penstock.dialects._thinking import ExtraBody, Fields, TemplateArguments, wish

PLAIN = (say("system", "Be brief."), say("user", "Why is the sky blue?"))
NAMED = TemplateArguments(enable_thinking=False)


@pytest.mark.parametrize(
    ("fields", "spelled"),
    [
        (Fields(enable_thinking=False), "enable_thinking"),
        (Fields(chat_template_kwargs=NAMED), "chat_template_kwargs.enable_thinking"),
        (
            Fields(chat_template_kwargs=TemplateArguments(thinking=False)),
            "chat_template_kwargs.thinking",
        ),
        (Fields(extra_body=ExtraBody(enable_thinking=False)), "extra_body.enable_thinking"),
        (
            Fields(extra_body=ExtraBody(chat_template_kwargs=NAMED)),
            "extra_body.chat_template_kwargs.enable_thinking",
        ),
    ],
)
def test_each_field_says_no(fields: Fields, spelled: str):
    assert wish(fields, PLAIN) == ("none", spelled, PLAIN)


def test_a_field_says_yes():
    assert wish(Fields(enable_thinking=True), PLAIN) == ("medium", "enable_thinking", PLAIN)


def test_nothing_said_is_no_wish():
    empty = Fields(chat_template_kwargs=TemplateArguments(), extra_body=ExtraBody())
    assert wish(empty, PLAIN) == (None, "", PLAIN)


@pytest.mark.parametrize(("switch", "effort"), [("/no_think", "none"), ("/think", "medium")])
@pytest.mark.parametrize("around", [" {}", "\n{}", "  {} \n"])
def test_a_switch_at_the_end_is_taken_out(switch: str, effort: str, around: str):
    said = (say("system", "S"), say("user", "Why?" + around.format(switch)))
    assert wish(Fields(), said) == (effort, switch, (say("system", "S"), say("user", "Why?")))


@pytest.mark.parametrize(
    "text", ["cat /usr/think", "/think", "/no_think first", "/nothink?", "say a/no_think", "", "  "]
)
def test_what_is_no_switch_stays(text: str):
    said = (say("user", text),)
    assert wish(Fields(), said) == (None, "", said)


def test_the_switch_counts_in_the_last_user_message_only():
    said = (say("user", "A /no_think"), say("assistant", "B /no_think"), say("user", "C"))
    assert wish(Fields(), said) == (None, "", said)
    again = (say("user", "A /no_think"), say("assistant", "B"))
    assert wish(Fields(), again).messages == (say("user", "A"), say("assistant", "B"))


def test_the_switch_is_found_beside_a_picture():
    picture = ImagePart(url="data:image/png;base64,AAAA")
    said = (Message(role="user", parts=(TextPart("What is it? /no_think"), picture)),)
    kept = (Message(role="user", parts=(TextPart("What is it?"), picture)),)
    assert wish(Fields(), said) == ("none", "/no_think", kept)


def test_no_wins_and_the_switch_goes_all_the_same():
    said = (say("user", "Why? /think"),)
    asked = wish(Fields(enable_thinking=False), said)
    assert asked == ("none", "enable_thinking", (say("user", "Why?"),))
    said = (say("user", "Why? /no_think"),)
    assert wish(Fields(enable_thinking=True), said)[:2] == ("none", "/no_think")
