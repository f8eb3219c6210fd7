"""A folder that can't be written to is said by its setting: at the start, or where it is used."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.serving import ROOT, free_port

SHUT = 0o555
SECONDS = 60


@pytest.fixture
def shut(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be read, and not written to."""
    folder = tmp_path / "shut"
    folder.mkdir()
    folder.chmod(SHUT)
    yield folder
    folder.chmod(0o755)
    assert list(folder.iterdir()) == []


def powerless(*command: str | Path) -> list[str | Path]:
    """The command, as somebody whom a folder's mode stops: root without the right to pass over it
    (`setpriv` is of util-linux), anybody else as they are.
    """
    return (
        ["setpriv", "--bounding-set", "-dac_override", *command]
        if os.geteuid() == 0
        else [*command]
    )


def penstock(home: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    own = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "PENSTOCK_SERVER__PORT": str(free_port()),
    }
    command = powerless(sys.executable, "-m", "penstock.cli", *words)
    return subprocess.run(
        command,
        env=own | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("how", ["home", "setting", "folder itself"])
def test_a_log_that_can_not_be_written_stops_the_start(shut: Path, tmp_path: Path, how: str):
    folders = {"setting": shut / "streams", "folder itself": shut}
    own = {"PENSTOCK_STREAMS__FOLDER": str(folders[how])} if how in folders else {}
    done = penstock(shut if how == "home" else tmp_path, "serve", **own)
    assert done.returncode == 1
    assert done.stderr == "penstock: streams.folder: can't be used: Permission denied\n"
    assert done.stdout == ""


def test_keys_and_models_say_it_too(shut: Path, tmp_path: Path):
    own = {"XDG_DATA_HOME": str(shut)}
    done = penstock(tmp_path, "keys", "create", "alice", **own)
    assert (done.returncode, done.stdout) == (1, "")
    place = shut / "penstock" / "stores.sqlite"
    assert done.stderr.endswith(f"penstock: the database can't be written; it is {place}\n")
    assert "Traceback" not in done.stderr
    demo = str(ROOT / "src" / "penstock" / "models" / "penstock-demo.gguf")
    done = penstock(tmp_path, "pull", demo, **own)
    assert done.returncode == 1
    assert "paths.models_folder: can't be used: Permission denied" in done.stderr
