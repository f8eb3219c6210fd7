"""A conversation's turns and its file."""

from pathlib import Path

import msgspec
import pytest

from penstock.cli._conversation import Conversation
from penstock.core.errors import ConfigError, InvalidRequestError
from penstock.core.request import Sampling


@pytest.fixture
def talk() -> Conversation:
    found = Conversation("m", "Be brief.", Sampling(max_tokens=5))
    found.keep("One?", "One.", stopped=False)
    found.keep("Two?", "Tw", stopped=True)
    return found


def test_what_was_said_is_sent_again(talk: Conversation):
    request = talk.request("Three?")
    said = [(message.role, message.text) for message in request.messages]
    assert said == [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "One."),
        ("user", "Two?"),
        ("assistant", "Tw"),
        ("user", "Three?"),
    ]
    assert request.sampling.max_tokens == 5
    talk.clear()
    assert [message.role for message in talk.request("x").messages] == ["system", "user"]


def test_a_question_without_an_answer_is_not_kept(talk: Conversation):
    assert not talk.keep("Lost?", "", stopped=True)
    assert len(talk.turns) == 4


def test_it_is_saved_with_what_was_cut_short_marked(talk: Conversation, tmp_path: Path):
    talk.save(str(tmp_path / "talk.md"))
    text = (tmp_path / "talk.md").read_text()
    assert "**You:**\n\nTwo?\n\n**Model:**\n\nTw\n\n*(stopped here)*" in text
    assert text.count("stopped here") == 1
    talk.save(str(tmp_path / "talk.json"))
    saved = msgspec.json.decode((tmp_path / "talk.json").read_bytes())
    assert saved["turns"][3] == {"role": "assistant", "text": "Tw", "stopped": True}
    assert (saved["model"], saved["system"]) == ("m", "Be brief.")


def test_nothing_is_overwritten(talk: Conversation, tmp_path: Path):
    path = tmp_path / "mine.md"
    path.write_text("precious")
    with pytest.raises(InvalidRequestError, match="is there already"):
        talk.save(str(path))
    assert path.read_text() == "precious"
    with pytest.raises(InvalidRequestError, match="can't be written"):
        talk.save(str(tmp_path / "no/such/folder.md"))


@pytest.mark.parametrize("name", ["~nobody-of-this-name/a.md", "a\0b"])
def test_what_is_no_path_is_said(talk: Conversation, name: str):
    with pytest.raises(ConfigError, match="is no path"):
        talk.save(name)
