"""What others call their things is shown as it is: neither markup nor a control character."""

import pytest

from penstock.cli import models, tail
from penstock.core.cards import ModelCard
from penstock.core.ports import StreamInfo

NAME = "a[b]c[/d]:smile:\x1b]0;owned\x07\x9b31m"
SHOWN = "a[b]c[/d]:smile:]0;owned31m"


def test_a_model(capsys: pytest.CaptureFixture[str]):
    models._show([ModelCard(name=NAME, binding=NAME)], [], "http://x")
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == [SHOWN, SHOWN]


@pytest.mark.parametrize(("created", "began"), [(0, "1970-01-01"), (10**18, "?"), (-(10**30), "?")])
def test_a_stream(capsys: pytest.CaptureFixture[str], created: int, began: str):
    info = StreamInfo(
        stream=NAME,
        owner="",
        dialect="",
        binding="b",
        model=NAME,
        state="done",
        created=created,
        ended=None,
        events=1,
        bytes=1,
    )
    tail._list([info], as_json=False)
    stream, shown, *_, model = capsys.readouterr().out.splitlines()[-1].split()
    assert (stream, shown, model) == (SHOWN, began, f"b/{SHOWN}")
