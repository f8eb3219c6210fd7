"""From what ends a command to its exit status."""

import asyncio
import gc
import sys

import pytest
from click.testing import CliRunner

from penstock.cli import _running
from penstock.cli.__main__ import main
from penstock.core.errors import ConfigError


async def failing() -> int:
    async with asyncio.TaskGroup():
        raise ConfigError("x: wrong", param="x")


def interrupted(*_: object) -> asyncio.AbstractEventLoop:
    raise KeyboardInterrupt


def test_an_error_in_a_group_is_one_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        _running.run(failing())
    assert (left.value.code, capsys.readouterr().err) == (1, "penstock: x: wrong\n")


def test_ctrl_c_before_the_work_began():
    with pytest.raises(SystemExit) as left:
        _running.run(failing(), interrupted)
    assert left.value.code == 130
    gc.collect()  # a coroutine that nobody awaited would warn here


def test_ctrl_c_before_the_command_ran(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules["penstock.cli.serve"], "load_config", interrupted)
    found = CliRunner().invoke(main, ["serve"])
    assert (found.exit_code, found.output) == (130, "")


def test_what_is_no_error_of_ours_is_not_hidden():
    async def broken() -> int:
        async with asyncio.TaskGroup():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _running.run(broken())
