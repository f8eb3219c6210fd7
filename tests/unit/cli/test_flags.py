"""Every scalar of [server] and [streams] is a flag, made from the schema."""

import click
import msgspec
import pytest
from click.testing import CliRunner

from penstock.cli import _flags
from penstock.cli.__main__ import main
from penstock.cli.serve import curl
from penstock.config import loading
from penstock.config.schema import Server, Streams

LISTS = {"allowed_origins", "allowed_hosts", "also_listen"}


def test_every_scalar_has_its_flag():
    paths = {option.path for option in _flags.options() if isinstance(option, _flags.SettingOption)}
    wanted = {f"server.{name}" for name in set(Server.__struct_fields__) - LISTS}
    assert paths == wanted | {f"streams.{name}" for name in Streams.__struct_fields__}


def given(*words: str) -> dict[str, str]:
    command = click.Command("x", params=list(_flags.options()))
    return _flags.overrides(command.make_context("x", list(words)).params)


def test_flags_become_overrides_of_their_settings():
    found = given("--port", "9", "--insecure", "--streams-log", "memory", "--streams-folder", "/x")
    config = loading.load(None, {}, found)
    assert (config.server.port, config.server.insecure) == (9, True)
    assert (config.streams.log, config.streams.folder) == ("memory", "/x")
    assert given() == {}
    assert given("--no-insecure") == {"server.insecure": "false"}


def test_help_groups_them_by_table():
    shown = CliRunner().invoke(main, ["serve", "--help"]).output
    assert shown.index("Settings of [server]:") < shown.index("--max-body-bytes")
    assert shown.index("Settings of [streams]:") < shown.rindex("--streams-on-disconnect")
    assert shown.index("Options:") < shown.index("--config PATH") < shown.index("Settings of")


@pytest.mark.parametrize(
    "words", [["serve", "--port", "x"], ["serve", "--nope"], ["nope"], ["tail", "--from", "0"],
              ["stream", "a", "b"], ["stream", "--max-tokens", "0"]]
)  # fmt: skip
def test_wrong_usage_is_2(words: list[str]):
    assert CliRunner().invoke(main, words).exit_code == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["stream", "a\udcff"], "'[PROMPT]': 'a\\udcff' is no text"),
        (["stream", "-m", "\udcff", "x"], "'-m' / '--model'"),
        (["stream", "--temperature", "nan", "x"], "'--temperature': 'nan' is no number"),
        (["stream", "--max-tokens", str(10**30), "x"], "'--max-tokens'"),
        (["chat", "-s", "\udcff"], "'-s' / '--system'"),
        (["chat", "--temperature", "NaN"], "'--temperature'"),
        (["mqtt", "-p", "\udcff", "x"], "'-p' / '--project'"),
        (["mqtt", "-p", "#", "x"], "'-p' / '--project': '#' is no project"),
        (["mqtt", "-p", "a/+", "x"], "'-p' / '--project'"),
        (["mqtt", "-p", "a\x01", "x"], "'-p' / '--project'"),
        (["mqtt", "-p", "a" * 70_000, "x"], "'-p' / '--project'"),
        (["mqtt", "--max-tokens", str(2**31), "x"], "'--max-tokens'"),
        (["image", "\udcff"], "'[PROMPT]'"),
        (["image", "--steps", str(10**30), "x"], "'--steps'"),
        (["image", "-o", "\udcff.png", "x"], "'-o' / '--output'"),
        (["stream", "--json", "-c", "\udcff.toml", "x"], "'-c' / '--config'"),
        (["image", "-o", "", "x"], "'-o': it names no file"),
        (["tail", "\udcff"], "'[STREAM_ID]'"),
        (["tail", "--from", str(2**63), "x"], "'--from'"),
        (["serve", "--host", "\udcff"], "'--host'"),
    ],
)
def test_what_no_argument_can_be_is_refused_by_its_name(words: list[str], named: str):
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 2, found.output
    assert named in found.stderr


def test_a_broker_that_can_be_none_is_named():
    for url in ("mqtt://a..b", "mqtt://[::1", "mqtt://h:99999", "http://h"):
        found = CliRunner().invoke(main, ["mqtt", "-u", url, "x"])
        assert (found.exit_code, found.stderr[:20]) == (1, "penstock: mqtt.url: ")


def test_a_setting_out_of_range_is_named():
    found = CliRunner().invoke(main, ["serve", "--port", "70000"])
    assert found.exit_code == 1
    assert "server.port: expected a whole number <= 65535" in found.stderr


def test_the_group_teaches():
    shown = CliRunner().invoke(main, ["--help"]).output
    for word in ("penstock chat", "config.toml", "PENSTOCK_SERVER__PORT", "XDG_CONFIG_HOME"):
        assert word in shown
    for name, command in main.commands.items():
        assert f"penstock {name}" in (command.help or "")


def test_the_line_of_the_banner_names_the_key_only_where_one_is_needed():
    assert "Authorization" not in curl("http://h:1", key_required=False)
    line = curl("http://h:1", key_required=True)
    assert '-H "Authorization: Bearer $PENSTOCK_KEY"' in line
    body = line.partition(" -d '")[2].rstrip("'")
    assert msgspec.json.decode(body)["stream"] is True
