"""`penstock rm`: forget models of the store."""

from pathlib import Path

import click

from penstock.cli import _output, _running
from penstock.cli import _store as stored
from penstock.cli._arguments import CONFIG
from penstock.cli._settings import server_config


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("-c", "--config", type=CONFIG, help="A server's config.toml.")
def rm(*, models: tuple[str, ...], config: Path | None) -> None:
    """Forget MODELS of the store. A file goes with the last name it has.

    \b
    Examples:
      penstock rm hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q8_0
    """
    _running.run(_rm(models, config))


async def _rm(models: tuple[str, ...], config: Path | None) -> int:
    store = stored.open_store(server_config(config))
    for name in models:
        await store.delete(name)
        _output.say(f"deleted {name}")
    return _running.DONE
