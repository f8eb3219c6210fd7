"""What doctor looks at, each on a set-up that is broken that way."""

import os
import socket
import time
from pathlib import Path

import pytest

from penstock.cli import _checks
from penstock.config import loading
from penstock.config.schema import Config


def config(folder: Path, **more: str) -> Config:
    return loading.load(None, {}, {"streams.folder": str(folder), **more})


def test_a_file_with_keys_that_others_can_read(tmp_path: Path):
    path = tmp_path / "config.toml"
    path.write_text('[bindings.a]\nkey = "sk-1"\n')
    path.chmod(0o644)
    found = _checks.readable_keys(path)
    assert found.state == "note"
    assert found.fix.startswith(f"chmod 600 {path}")
    path.chmod(0o600)
    assert _checks.readable_keys(path).state == "ok"
    path.write_text('[bindings.a]\nkey = { env = "K" }\n# key = 1\n')
    path.chmod(0o644)
    assert _checks.readable_keys(path).state == "ok"


def test_a_taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        found = _checks.port("127.0.0.1", number, ours=False)
        assert (found.state, "taken by another program" in found.found) == ("broken", True)
        assert _checks.port("127.0.0.1", number, ours=True).state == "ok"
    assert _checks.port("127.0.0.1", number, ours=False).state == "ok"


@pytest.mark.parametrize("host", ["203.0.113.1", "[", "a" * 64])
def test_a_host_that_is_not_ours(host: str):
    found = _checks.port(host, 9601, ours=False)
    assert found.state == "broken"
    assert "[server] host" in found.fix


def test_a_folder_that_is_a_file_and_one_in_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/streams"):
        (found, *_) = _checks.folder(config(path), path)
        assert (found.state, found.check) == ("broken", "log folder")
        assert "choose another" in found.fix


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
def test_an_unwritable_folder():
    path = Path("/proc/self/streams")
    (found, *_) = _checks.folder(config(path), path)
    assert found.state == "broken"
    assert "can't be used" in found.found


def test_a_folder_that_others_can_look_into(tmp_path: Path):
    tmp_path.chmod(0o755)
    states = {
        finding.found: finding.state for finding in _checks.folder(config(tmp_path), tmp_path)
    }
    assert states[f"others can look into {tmp_path}"] == "note"
    tmp_path.chmod(0o700)
    found = list(_checks.folder(config(tmp_path), tmp_path))
    assert [finding.state for finding in found if finding.check == "log folder"] == ["ok"]
    assert "7 days, at most 2048 MiB" in found[0].found


def test_a_folder_that_is_not_there_yet_is_fine(tmp_path: Path):
    path = tmp_path / "a/b/streams"
    assert next(_checks.folder(config(path), path)).state == "ok"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("free", "state"), [(0, "broken"), (100 << 20, "note"), (9 << 30, "ok")])
def test_a_full_disk(free: int, state: str):
    assert _checks.room(free).state == state


def test_a_state_file_from_the_future(tmp_path: Path):
    now = time.time()
    (tmp_path / "segments").mkdir()
    file = tmp_path / "segments/one"
    file.write_text("")
    assert _checks.clock(now, tmp_path).state == "ok"
    os.utime(file, (now + 7200, now + 7200))
    found = _checks.clock(now, tmp_path)
    assert (found.state, "120 minutes from now" in found.found) == ("broken", True)
    assert _checks.clock(1000.0, tmp_path).state == "broken"


def test_a_file_that_goes_while_it_is_looked_at_is_no_trouble(tmp_path: Path):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert _checks.clock(time.time(), tmp_path).state == "ok"


def inspection(version: int | None, *, current: bool, segments: int = 1) -> _checks.Inspection:
    return _checks.Inspection(
        segments=segments,
        bytes=10,
        streams=1,
        index_version=version,
        index_current=current,
        unindexed=0,
        in_use=False,
    )


@pytest.mark.parametrize(
    ("version", "current", "state"),
    [(1, True, "ok"), (99, False, "broken"), (-1, False, "broken"), (None, False, "note")],
)
def test_an_old_damaged_or_missing_index(version: int | None, current: bool, state: str):
    found = _checks.index(inspection(version, current=current))
    assert found.state == state
    assert ("--rebuild-index" in found.fix) == (state != "ok")


def test_a_scripted_and_a_bad_personality(tmp_path: Path):
    (tmp_path / "kit").mkdir()
    sheet = tmp_path / "kit/config.yaml"
    text = (
        "name: Kit\nversion: '1'\nauthor: me\npersonality_description: x\n"
        "personality_conditioning: y\n"
    )
    sheet.write_text(text + "script_path: x.py\n")
    chosen = loading.load(None, {}, {"paths.personalities_folder": str(tmp_path)})
    assert [finding.state for finding in _checks.speakers(chosen)] == ["ok", "note"]
    sheet.write_text("name: Kit\n")
    (found,) = _checks.speakers(chosen)
    assert found.state == "broken"
    assert "kit/config.yaml: version: missing" in found.found
