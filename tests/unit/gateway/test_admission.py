"""What a binding can't honour is refused by name, or in a free-form request left out and named."""

import pytest

from penstock.core.errors import (
    InvalidRequestError,
    ModalityError,
    OverloadedError,
    UnsupportedParameterError,
)
from penstock.core.messages import ImagePart, Message, say
from penstock.core.request import ReplyFormat, Request, Sampling, ToolSpec
from penstock.gateway.admission import check_room, fit


class Plain:
    """An engine that honours a temperature and nothing else."""

    description = "plain"
    supports = frozenset({"temperature"})
    outputs = ("text",)


ENGINE = Plain()
TURN = (say("user", "Hi"),)
PICTURE = Message(role="user", parts=(ImagePart(url="data:image/png;base64,AAAA"),))


def ask(**more: object) -> Request:
    return Request(**{"messages": TURN, **more})  # type: ignore[arg-type]


def test_what_is_supported_passes_unchanged():
    request = ask(sampling=Sampling(temperature=0.5, max_tokens=9))
    assert fit(request, ENGINE, "b") is request  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (ask(tools=(ToolSpec(name="f"),)), "tools"),
        (ask(reply_format=ReplyFormat(kind="json_object")), "response_format"),
        (ask(effort="low"), "reasoning_effort"),
        (ask(messages=(PICTURE,)), "messages"),
        (ask(sampling=Sampling(top_k=3)), "top_k"),
        (ask(sampling=Sampling(stop=("x",))), "stop"),
        (ask(sampling=Sampling(logprobs=True)), "logprobs"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(request_: Request, param: str):
    with pytest.raises(UnsupportedParameterError) as caught:
        fit(request_, ENGINE, "b")  # type: ignore[arg-type]
    assert caught.value.param == param
    assert "'b'" in caught.value.message


def test_several_calls_at_once_are_a_leave_and_only_one_a_demand():
    class Calling(Plain):
        supports = frozenset({"tools"})

    request = ask(tools=(ToolSpec(name="f"),), parallel_tool_calls=True)
    assert fit(request, Calling(), "b") is request  # type: ignore[arg-type]
    with pytest.raises(UnsupportedParameterError) as caught:
        fit(ask(tools=(ToolSpec(name="f"),), parallel_tool_calls=False), Calling(), "b")  # type: ignore[arg-type]
    assert caught.value.param == "parallel_tool_calls"


def test_choices_need_nothing_of_an_engine_and_are_bounded():
    request = ask(choices=128)
    assert fit(request, ENGINE, "b") is request  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError) as caught:
        fit(ask(choices=129), ENGINE, "b")  # type: ignore[arg-type]
    assert caught.value.param == "n"


def test_a_free_form_request_loses_sampling_by_name_and_nothing_else():
    request = ask(freeform=True, sampling=Sampling(top_k=3, temperature=0.5), ignored=("quality",))
    fitted = fit(request, ENGINE, "b")  # type: ignore[arg-type]
    assert fitted.sampling == Sampling(temperature=0.5)
    assert fitted.ignored == ("quality", "parameters.top_k")
    with pytest.raises(UnsupportedParameterError):
        fit(ask(freeform=True, tools=(ToolSpec(name="f"),)), ENGINE, "b")  # type: ignore[arg-type]


def test_a_modality_that_the_engine_does_not_make():
    with pytest.raises(ModalityError):
        fit(ask(modality="image"), ENGINE, "b")  # type: ignore[arg-type]


def test_room_is_bounded():
    check_room(9, 10)
    with pytest.raises(OverloadedError) as caught:
        check_room(10, 10)
    assert caught.value.retry_after


def test_an_effort_that_was_only_hinted_at_is_left_out_and_named():
    hinted = fit(ask(effort="none", effort_hint="enable_thinking"), ENGINE, "b")  # type: ignore[arg-type]
    assert hinted == ask(ignored=("enable_thinking",))


def test_an_effort_that_was_asked_for_is_refused():
    with pytest.raises(UnsupportedParameterError) as caught:
        fit(ask(effort="none"), ENGINE, "b")  # type: ignore[arg-type]
    assert caught.value.param == "reasoning_effort"
