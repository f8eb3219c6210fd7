"""`penstock serve`: the gateway on HTTP, and a banner that says how to use it."""

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from penstock.cli import _flags, _output, _running
from penstock.cli._advice import single
from penstock.cli._arguments import CONFIG
from penstock.cli._settings import KEY_VARIABLE, load_config
from penstock.cli._talking import needing_server, server_url
from penstock.config import paths
from penstock.config.schema import Config
from penstock.core.cards import BindingCard
from penstock.core.errors import GatewayError
from penstock.core.principals import LOCAL
from penstock.core.queries import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Protocol

    from penstock.compose import Serving

    class _Compose(Protocol):
        """What is used of `penstock.compose`, which needs the server's packages."""

        def serving_loop(self) -> asyncio.AbstractEventLoop: ...

        def serve(
            self, config: Config, on_ready: Callable[[Serving], None]
        ) -> Coroutine[object, object, None]: ...


_BINDINGS_SECONDS: Final = 2.0
_PROMPT: Final = "Tell me a story about a lighthouse."


@click.command(cls=_flags.SettingsCommand, params=_flags.options())
@click.option("-c", "--config", type=CONFIG, help="The config.toml to serve with.")
def serve(*, config: Path | None, **flags: object) -> None:
    """Serve the gateway until Ctrl-C.

    Without --config: ./config.toml, else penstock/config.toml in your configuration folder, else
    the embedded demo model on 127.0.0.1:9601, with no key.

    A flag wins over the environment (PENSTOCK_SERVER__PORT=9700), the environment over the file.

    \b
    Examples:
      penstock serve
      penstock serve --config config.toml --port 9700
      penstock serve --streams-on-disconnect finish
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    path = config or paths.find_config(Path.cwd())
    try:
        chosen = load_config(path, os.environ, _flags.overrides(flags))
        compose = cast("_Compose", needing_server("penstock.compose"))
    except GatewayError as error:
        _running.fail(error)
    _running.run(_serve(compose, chosen, path), compose.serving_loop)


async def _serve(compose: "_Compose", config: Config, path: Path | None) -> int:
    ready: asyncio.Queue[Serving] = asyncio.Queue()
    try:
        async with asyncio.TaskGroup() as tasks:
            announcer = tasks.create_task(_announce(ready, config, path))
            try:
                await compose.serve(config, ready.put_nowait)
            finally:
                announcer.cancel()
    except BaseExceptionGroup as group:
        raise single(group) from group
    return _running.DONE


async def _announce(ready: "asyncio.Queue[Serving]", config: Config, path: Path | None) -> None:
    """The banner, once the bindings are up or down, or two seconds have passed."""
    serving = await ready.get()
    await serving.gateway.bindings.started(within=_BINDINGS_SECONDS)
    found = await serving.gateway.find(Query("models"), LOCAL)
    models: dict[str, list[str]] = {}
    for model in found.models:
        models.setdefault(model.binding, []).append(model.name)
    port = serving.url.rpartition(":")[2]
    url = f"{server_url(config).rpartition(':')[0]}:{port}"
    _output.say(f"Penstock {found.version} listens on {serving.url}", bold=True)
    _output.say(f"  configured by  {path or 'defaults; there is no config.toml'}")
    _output.say(f"  key            {_key_line(config, needed=found.key_required)}")
    _output.say(f"  stream log     {_log_line(config)}")
    if config.mqtt.url:
        _output.say(f"  mqtt           {config.mqtt.url}: {', '.join(config.mqtt.projects)}")
    for number, card in enumerate(found.bindings):
        title = "  bindings       " if number == 0 else " " * 17
        _output.say(title + _binding_line(card, models.get(card.name, [])))
    _output.say()
    _output.say("Try it:")
    _output.say(f"  {curl(url, key_required=found.key_required)}")
    _output.say()
    _output.say("API reference: " + url + "/docs    Ctrl-C stops the server.")


def curl(url: str, *, key_required: bool) -> str:
    """One line that streams, as it stands."""
    key = f' -H "Authorization: Bearer ${KEY_VARIABLE}"' if key_required else ""
    body = (
        '{"model": "default", "stream": true, '
        f'"messages": [{{"role": "user", "content": "{_PROMPT}"}}]}}'
    )
    return f"curl -N {url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{body}'"


def _key_line(config: Config, *, needed: bool) -> str:
    if needed:
        return f"needed; put one of [security]'s or of `penstock keys` into {KEY_VARIABLE}"
    if config.server.insecure:
        return "none: everybody who reaches this address may use it (insecure)"
    return "none needed; only this machine can connect"


def _log_line(config: Config) -> str:
    streams = config.streams
    if streams.log == "memory":
        return "in memory; it ends with this process"
    size = streams.retention_bytes / 1024**3
    return (
        f"{paths.streams_folder(config)} "
        f"(kept {streams.retention_days:g} days, at most {size:.3g} GiB)"
    )


def _binding_line(card: BindingCard, models: list[str]) -> str:
    shown = ", ".join(models[:5]) + (f" and {len(models) - 5} more" if len(models) > 5 else "")
    about = {"up": shown or "up, and lists no model", "starting": "starting"}.get(
        card.state, card.trouble or "down"
    )
    return f"{card.name} ({card.engine}) {card.state}: {about}"
