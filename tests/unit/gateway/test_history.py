"""Turns to prompts, and streams to turns."""

import pytest

from penstock.core import events as ev
from penstock.core.errors import InvalidRequestError
from penstock.core.folding import ChoiceReply, Reply
from penstock.core.messages import Message, TextPart, ToolCall, say
from penstock.core.sessions import Turn
from penstock.gateway import history

CALL = ToolCall(id="c1", name="now", arguments="{}")
CALLED = Message(role="assistant", tool_calls=(CALL,))
RESULT = Message(role="tool", parts=(TextPart("noon"),), tool_call_id="c1")


def turn(n: int, said: Message, reply: Message | None, state: str = "done") -> Turn:
    return Turn(n=n, stream=f"s{n}", state=state, said=(said,), reply=reply)


def test_a_prompt_is_what_was_said_in_order():
    turns = [turn(1, say("user", "A"), say("assistant", "B"))]
    said = (say("user", "C"),)
    assert history.prompt(turns, said) == (say("user", "A"), say("assistant", "B"), *said)


def test_what_was_thought_is_for_its_turn_only():
    thought = Message(role="assistant", parts=(TextPart("B"),), reasoning="hm")
    found = history.prompt([turn(1, say("user", "A"), thought)], ())
    assert found[1] == say("assistant", "B")


def test_an_unanswered_message_and_the_next_are_one():
    turns = [turn(1, say("user", "A"), None, "failed"), turn(2, say("user", "B"), None, "failed")]
    (found,) = history.prompt(turns, (say("user", "C"),))
    assert (found.role, found.text) == ("user", "A\n\nB\n\nC")


def test_a_call_without_its_result_is_left_out():
    turns = [turn(1, say("user", "A"), CALLED)]
    assert history.prompt(turns, (RESULT,)) == (say("user", "A"), CALLED, RESULT)
    (joined,) = history.prompt(turns, (say("user", "B"),))
    assert joined.text == "A\n\nB"
    stray = [turn(1, say("user", "A"), say("assistant", "B"))]
    assert RESULT not in history.prompt(stray, (RESULT,))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('{"city": "Paris"}', '{"city": "Paris"}'),
        ('{"city": "Pa', '{"raw":"{\\"city\\": \\"Pa"}'),
        ("[1]", '{"raw":"[1]"}'),
        (" ", "{}"),
    ],
)
def test_arguments_that_no_template_could_read_are_told_in_an_object(said: str, told: str):
    reply = Message(role="assistant", tool_calls=(ToolCall(id="c1", name="now", arguments=said),))
    called = history.prompt([turn(1, say("user", "A"), reply)], (RESULT,))[1]
    assert called.tool_calls == (ToolCall(id="c1", name="now", arguments=told),)


def test_calls_and_their_results_are_dropped_together():
    turns = [
        turn(1, say("user", "A"), say("assistant", "B")),
        turn(2, say("user", "C"), CALLED),
        turn(3, RESULT, CALLED),
        turn(4, RESULT, say("assistant", "D")),
        turn(5, say("user", "E"), say("assistant", "F")),
    ]
    assert [[t.n for t in group] for group in history.groups(turns)] == [[1], [2, 3, 4], [5]]
    assert history.needed(turns, (say("user", "G"),))[-1] == []
    assert [t.n for t in history.needed(turns[:3], (RESULT,))[-1]] == [2, 3]
    assert history.needed([], (RESULT,)) == [[]]


def test_results_of_calls_that_were_not_made_are_refused():
    history.check_results([turn(1, say("user", "A"), CALLED)], (RESULT,))
    for turns in ([], [turn(1, say("user", "A"), say("assistant", "B"))]):
        with pytest.raises(InvalidRequestError) as caught:
            history.check_results(turns, (RESULT,))
        assert caught.value.param == "tool_results[0].tool_call_id"


def test_results_may_be_sent_again_until_they_are_answered():
    again = Message(role="tool", parts=(TextPart("one"),), tool_call_id="c1")
    turns = [turn(1, say("user", "A"), CALLED), turn(2, RESULT, None, "failed")]
    history.check_results(turns, (again,))
    assert history.prompt(turns, (again,)) == (say("user", "A"), CALLED, again)
    between = [*turns, turn(3, say("user", "B"), None, "failed")]
    for later in (between, [*turns, turn(3, again, say("assistant", "C"), "failed")]):
        with pytest.raises(InvalidRequestError):
            history.check_results(later, (again,))


def test_a_call_has_one_result():
    with pytest.raises(InvalidRequestError) as caught:
        history.check_results([turn(1, say("user", "A"), CALLED)], (RESULT, RESULT))
    assert caught.value.param == "tool_results[1].tool_call_id"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello!", "Hello!"),
        ("  two\n lines\t", "two lines"),
        ("word " * 30, ("word " * 12).strip() + "…"),
        ("x" * 80, "x" * 60 + "…"),
        ("", ""),
    ],
)
def test_a_title_is_the_first_words(text: str, title: str):
    said = (say("system", "S"), say("user", text), say("user", "later"))
    assert history.title(said) == title


def reply(reason: ev.FinishReason | None, failed: ev.Failed | None = None, text: str = "") -> Reply:
    choice = ChoiceReply(text=text, reasoning="hm", tool_calls=(CALL,), reason=reason)
    return Reply(choices=(choice,), failed=failed)


def test_outcomes():
    state, message, error = history.outcome(reply("tool_calls", text="Hm."))
    assert (state, error) == ("done", None)
    assert message is not None
    assert (message.text, message.tool_calls, message.reasoning) == ("Hm.", (CALL,), None)
    state, message, error = history.outcome(reply("cancelled", text="Hm."))
    assert state == "cancelled"
    assert message is not None
    assert message.tool_calls == ()
    dead = ev.Failed(code="interrupted", message="the server was stopped")
    assert history.outcome(reply(None, dead)) == ("interrupted", None, "the server was stopped")
    broken = ev.Failed(code="engine_failed", message="no")
    assert history.outcome(Reply(failed=broken)) == ("failed", None, "no")
    assert history.outcome(Reply()) == ("done", None, None)
