"""`penstock keys`, as its owner sees it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli import keys
from penstock.cli.__main__ import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str, status: int = 0) -> Result:
    found = CliRunner().invoke(main, ["keys", *words])
    assert found.exit_code == status, (found.output, found.exception)
    return found


def test_a_listing_shows_what_every_key_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert call("list").stdout.startswith("none; ")
    made = call(
        "create", "anna", "--expires", "100w", "--models", "llama[a-z]*", "--concurrent", "4"
    )
    call("create", "bert", "--admin", "--requests-per-minute", str(2**31 - 1))
    call("create", "cilla", "--expires", "1s")
    call("create", "dora", "--models", "a", "--models", "b", "--dialects", "ollama*")
    call("revoke", "bert")
    now = keys._now()
    monkeypatch.setattr(keys, "_now", lambda: now + 2_000)
    shown = call("list").stdout
    _, anna, bert, cilla, dora = shown.splitlines()
    assert "  models a, b; dialects ollama*  " in dora
    assert "active until" in anna
    assert "llama[a-z]*" in anna
    assert "4 at once" in anna
    assert "revoked" in bert
    assert "admin, 2147483647 a minute" in bert
    assert "expired" in cilla
    assert "everything" in cilla
    assert made.stdout.strip() not in shown
    listed = json.loads(call("list", "--json").stdout)["keys"]
    assert [key["state"] for key in listed] == ["active", "revoked", "expired", "active"]
    assert not any("digest" in key for key in listed)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--expires", "9999999w"), "over 100 years"),
        (("--expires", "0d"), "no span of time"),
        (("--expires", "soon"), "no span of time"),
        (("--requests-per-minute", str(10**30)), "2147483647"),
        (("--concurrent", str(2**31)), "2147483647"),
        (("--concurrent", "0"), "1<=x"),
        (("--models", "a*", "--models", ""), "no pattern"),
        (("--dialects", "\udcff*"), "no pattern"),
    ],
)
def test_what_no_key_can_have_is_refused_before_it_is_made(words: tuple[str, ...], told: str):
    assert told in call("create", "anna", *words, status=2).stderr
    assert call("list").stdout.startswith("none; ")


def test_a_database_that_fails_is_named(home: Path, monkeypatch: pytest.MonkeyPatch):
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "file"))
    told = call("create", "anna", status=1).stderr
    assert f"the database failed; it is {home}/file/penstock/stores.sqlite" in told
    monkeypatch.setenv("PENSTOCK_STORES__URL", "sqlite:////proc/nowhere/sekret")
    told = call("create", "anna", status=1).stderr
    assert "it is that of [stores] url" in told
    assert "sekret" not in told


def test_names():
    for name in ("key-1", "two words", "line\n", "x" * 65, ""):
        assert "NAME" in call("create", name, status=1).stderr
    for name in ("nobody", "\udcff", ""):
        assert f"no key {name!r}" in call("revoke", name, status=1).stderr
    call("create", "anna")
    assert "another name" in call("create", "anna", status=1).stderr
