"""`penstock doctor`: what is wrong, and how to fix it."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol, cast

import click

from penstock import registry
from penstock.cli import _checks, _output, _running
from penstock.cli._arguments import CONFIG
from penstock.cli._checks import Finding, Inspection
from penstock.cli._settings import load_config
from penstock.cli._talking import needing_server, server_url
from penstock.client.connection import Connection
from penstock.config import paths
from penstock.config.schema import Config, Mqtt
from penstock.core.errors import ConfigError, GatewayError, InvalidRequestError

_MARKS: Final = {"ok": "✓", "note": "!", "broken": "✗"}
_HEALTH_SECONDS: Final = 1.0


class _Upstreams(Protocol):
    async def check_bindings(
        self, config: Config, environment: Mapping[str, str]
    ) -> list[Finding]: ...


class _Mqtt(Protocol):
    async def check(self, settings: Mqtt) -> str | None: ...


class _Journal(Protocol):
    def inspect(self, folder: Path) -> Inspection: ...

    def rebuild_index(self, folder: Path) -> Inspection: ...


@click.command()
@click.option("-c", "--config", type=CONFIG, help="The config.toml to check.")
@click.option("--rebuild-index", is_flag=True, help="Make the log's index anew from its segments.")
@click.option("--json", "as_json", is_flag=True, help="One finding a line, as JSON.")
def doctor(*, config: Path | None, rebuild_index: bool, as_json: bool) -> None:
    """Check configuration, bindings, port, permissions, clock and log, and say what to fix.

    \b
    Examples:
      penstock doctor
      penstock doctor --config config.toml
      penstock doctor --rebuild-index

    Exit status: 0 nothing is broken, 1 something is.
    """
    path = config or paths.find_config(Path.cwd())
    _running.run(_doctor(path, rebuild=rebuild_index, as_json=as_json))


async def _doctor(path: Path | None, *, rebuild: bool, as_json: bool) -> int:
    findings = await examine(path, os.environ, rebuild=rebuild)
    broken = sum(finding.state == "broken" for finding in findings)
    for finding in findings:
        if as_json:
            _output.machine(finding)
            continue
        _output.say(f"{_MARKS[finding.state]} {finding.check}: {finding.found}")
        if finding.fix:
            _output.say(f"    to fix: {finding.fix}")
    if not as_json:
        _output.say(f"{broken} broken" if broken else "Nothing is broken.", bold=True)
    return _running.FAILED if broken else _running.DONE


async def examine(
    path: Path | None, environment: Mapping[str, str], *, rebuild: bool = False
) -> list[Finding]:
    """All checks, in the order in which one would fix things."""
    try:
        config = load_config(path, environment)
    except ConfigError as error:
        fix = "correct it; docs/configuration.md has every key"
        return [Finding("configuration", "broken", error.message, fix)]
    if path is None:
        found = [Finding("configuration", "ok", "defaults; there is no config.toml")]
    else:
        found = [_checks.readable_keys(path)]
    found.extend(_checks.speakers(config))
    found.append(_checks.port(config.server.host, config.server.port, ours=await _ours(config)))
    found.extend(_folders(config))
    found.extend(_log(config, rebuild=rebuild))
    upstreams = cast("_Upstreams", needing_server("penstock.cli._upstreams"))
    found.extend(await upstreams.check_bindings(config, environment))
    if config.mqtt.url:
        found.append(await _broker(config.mqtt))
    return found


def _folders(config: Config) -> Iterator[Finding]:
    """Those of [paths] that can be none."""
    for place in (paths.models_folder, paths.functions_folder):
        try:
            place(config)
        except ConfigError as error:
            yield Finding("folders", "broken", error.message, "correct [paths]")


def _log(config: Config, *, rebuild: bool) -> list[Finding]:
    """The log's folder, and what is in it where it can be used."""
    try:
        folder = paths.streams_folder(config)
    except ConfigError as error:
        return [Finding("log folder", "broken", error.message, "correct [streams] folder")]
    found = list(_checks.folder(config, folder))
    usable = all(finding.state != "broken" or finding.check == "disk" for finding in found)
    if config.streams.log == "journal" and usable and folder.is_dir():
        found.append(_checks.clock(time.time(), folder))
        found.append(_index(folder, rebuild=rebuild))
    return found


async def _broker(settings: Mqtt) -> Finding:
    try:
        trouble = await cast("_Mqtt", registry.load("transports", "mqtt")).check(settings)
    except ConfigError as error:
        return Finding("mqtt", "broken", error.message, "correct it; docs/mqtt.md shows how")
    if trouble is None:
        return Finding("mqtt", "ok", f"the broker at {settings.url} lets us in")
    fix = "start the broker, or correct [mqtt] url, username, password and ca_file"
    return Finding("mqtt", "broken", f"the broker at {trouble}", fix)


async def _ours(config: Config) -> bool:
    if config.server.port == 0:
        return False
    try:
        async with Connection(server_url(config), direct=True) as client:
            return await client.is_penstock(within=_HEALTH_SECONDS)
    except InvalidRequestError:
        return False  # of no address; the check of the port says so


def _index(folder: Path, *, rebuild: bool) -> Finding:
    journal = cast("_Journal", registry.load("streams", "journal"))
    try:
        inspection = journal.rebuild_index(folder) if rebuild else journal.inspect(folder)
    except GatewayError as error:
        fix = "stop the server first" if rebuild else "penstock doctor --rebuild-index"
        return Finding("index", "broken", error.message, fix)
    except OSError as error:
        return Finding(
            "index",
            "broken",
            f"{folder} can't be read: {error.strerror}",
            f"chmod -R u+rwX {folder}",
        )
    return _checks.index(inspection)
