"""A gateway in the command's own process: leaving an answer really stops its run."""

from pathlib import Path

import pytest

from penstock.cli._inside import open_inside, open_journal
from penstock.config import loading
from penstock.config.schema import Config
from penstock.core.errors import UnknownModelError, UnknownStreamError
from penstock.core.events import Done, Seq
from penstock.core.messages import say
from penstock.core.request import Request

SLOW = '{"type":"text","part":1,"text":"word "}\n' * 50 + '{"type":"done","reason":"stop"}\n'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "slow.jsonl").write_text(SLOW)
    path = tmp_path / "config.toml"
    path.write_text(
        f"[streams]\nfolder = '{tmp_path}/streams'\n[bindings.tape]\nengine = 'replay'\n"
        f"path = '{tmp_path}/slow.jsonl'\ninterval_ms = 1000.0\n"
    )
    return loading.load(path, {}, {})


async def test_leaving_an_answer_cancels_its_run(config: Config):
    async with open_inside(config) as who:
        async with who.ask(Request(messages=(say("user", "Hi"),))) as answer:
            assert await answer.take()
        stream = answer.stream
        assert stream is not None
    async with open_journal(config) as journal:
        (info,) = await journal.recent(5)
        assert (info.stream, info.state) == (stream, "cancelled")
        async with journal.follow(stream, Seq(0)) as entries:
            found = [entry async for entry in entries]
        assert found[-1].event == Done(reason="cancelled")
        assert [entry.seq for entry in found] == list(range(1, len(found) + 1))


async def test_an_error_comes_alone_and_not_in_a_group(config: Config):
    with pytest.raises(UnknownModelError):
        async with (
            open_inside(config) as who,
            who.ask(Request(model="nope", messages=(say("user", "Hi"),))),
        ):
            pass


async def test_an_unknown_stream_is_an_error(config: Config):
    async with open_journal(config) as journal:
        with pytest.raises(UnknownStreamError, match="no such stream"):
            async with journal.follow("nope", Seq(0)):
                pass
