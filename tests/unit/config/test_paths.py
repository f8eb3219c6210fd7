"""Where things lie, and which configuration counts."""

from pathlib import Path

import pytest

from penstock.config import loading, paths
from penstock.core.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_xdg_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for kind in ("config", "state", "data"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / "elsewhere" / kind))
    assert paths.config_folder() == tmp_path / "elsewhere/config/penstock"
    assert paths.state_folder() == tmp_path / "elsewhere/state/penstock"
    assert paths.data_folder() == tmp_path / "elsewhere/data/penstock"
    assert paths.history_file().parent == paths.state_folder()
    assert not (tmp_path / "elsewhere").exists()


def test_the_log_lies_in_the_state_folder_or_where_it_is_told(home: Path):
    assert paths.streams_folder(loading.load(None, {}, {})) == paths.state_folder() / "streams"
    config = loading.load(None, {}, {"streams.folder": "~/log"})
    assert paths.streams_folder(config) == home / "log"


def test_the_nearest_configuration_counts(home: Path, monkeypatch: pytest.MonkeyPatch):
    here = home / "here"
    here.mkdir()
    assert paths.find_config(here) is None
    users = paths.config_folder() / "config.toml"
    users.parent.mkdir(parents=True)
    users.write_text("")
    assert paths.find_config(here) == users
    (here / "config.toml").write_text("")
    assert paths.find_config(here) == here / "config.toml"


@pytest.mark.parametrize(
    ("text", "told"), [("~nobody-of-this-name/x", "no home of that name"), ("a\0b", "NUL")]
)
def test_what_is_no_path_is_said(text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        paths.place(text)
