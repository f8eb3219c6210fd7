"""Which topic means what, and where an answer may go."""

import pytest

from penstock.transports.mqtt.topics import Address, address, filters, is_level, reply

BASE = "p/assistant_response"


@pytest.mark.parametrize(
    ("asked", "own", "expected"),
    [
        ("", True, f"{BASE}/s"),
        (f"{BASE}/s", True, f"{BASE}/s"),
        (f"{BASE}/s/client/req/", True, f"{BASE}/s/client/req"),
        (f"{BASE}/other/client", True, f"{BASE}/s"),
        (f"{BASE}/session", True, f"{BASE}/s"),  # It only begins like one's own.
        (f"{BASE}/anything/req", False, f"{BASE}/anything/req"),
        (BASE, False, f"{BASE}/s"),
        (f"{BASE}//", False, f"{BASE}/s"),
        (f"{BASE}/s/#", True, f"{BASE}/s"),
        (f"{BASE}/+/req", False, f"{BASE}/s"),
        (f"{BASE}/s/a\0b", True, f"{BASE}/s"),
        (f"{BASE}/s/" + "x" * 2000, True, f"{BASE}/s"),
        ("p/user_input", False, f"{BASE}/s"),
        ("$SYS/broker", False, f"{BASE}/s"),
        ("  ", True, f"{BASE}/s"),
    ],
)
def test_an_answer_goes_below_its_own_topic(asked: str, own: bool, expected: str) -> None:
    assert reply(BASE, "s", asked, own=own) == expected


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("p/user_input", Address("user_input", "p")),
        ("p/user_input/more", None),
        ("p/state", Address("state", "p")),
        ("p/template", Address("template", "p")),
        ("p/template/s", Address("template", "p", "s")),
        ("p/clear_history/s", Address("clear_history", "p", "s")),
        ("p/resume/r", Address("resume", "p", "r")),
        ("p/status", None),
        ("q/user_input", None),
        ("llama/session", Address("old_session", "llama")),
        ("llama/user_input", Address("old_input", "llama")),
        ("llama/user_input/s", Address("old_input", "llama", "s")),
        ("llama/driving/user_input/s", Address("old_input", "llama/driving", "s")),
    ],
)
def test_what_a_topic_means(topic: str, expected: Address | None) -> None:
    assert address(topic, ["p"], ["llama", "llama/driving"]) == expected


def test_everything_that_has_a_meaning_is_subscribed_to() -> None:
    found = filters(["p"], ["llama"])
    assert {"p/user_input", "p/state", "p/resume/+", "p/cancel/+"} <= set(found)
    assert {"p/template", "p/template/+", "llama/session", "llama/user_input/+"} <= set(found)
    assert "llama/user_input" in found
    assert filters(["llama"], ["llama"]).count("llama/user_input") == 1


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a\nb", "\x7f"])
def test_what_can_stand_in_no_topic(name: str) -> None:
    assert not is_level(name)


def test_what_can() -> None:
    assert is_level("Ä b-1")
