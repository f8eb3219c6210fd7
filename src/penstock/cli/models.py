"""`penstock models`: what every binding offers."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table

from penstock.cli import _output, _running
from penstock.cli._arguments import CONFIG
from penstock.cli._settings import settings
from penstock.cli._talking import partner
from penstock.core.cards import BindingCard, ModelCard


@click.command()
@click.option("-c", "--config", type=CONFIG, help="As for `penstock stream`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
def models(*, config: Path | None, as_json: bool) -> None:
    """List what every binding offers.

    Asks the endpoint of -c FILE or of [client.api]; else the server on this machine; else starts
    the configured bindings in this process and asks them.

    \b
    Examples:
      penstock models
      penstock models --json | jq -r '.models[].name'
    """
    _running.run(_models(config, as_json=as_json))


async def _models(config: Path | None, *, as_json: bool) -> int:
    async with partner(settings(config)) as who:
        cards = await who.models()
        bindings = await who.bindings()
        address = who.address
    if as_json:
        _output.machine({"address": address, "models": cards, "bindings": bindings})
    else:
        _show(cards, bindings, address)
    return _running.DONE


def _show(cards: Sequence[ModelCard], bindings: Sequence[BindingCard], address: str) -> None:
    _output.say(f"Models {'at ' if '://' in address else ''}{address}", bold=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("MODEL", no_wrap=True)
    for name in ("BINDING", "CONTEXT", "SIZE", "STANDS FOR"):
        table.add_column(name, overflow="fold")
    for card in cards:
        table.add_row(*_output.cells(*_row(card)))
    if cards:
        _output.draw(table)
    else:
        _output.say("none; `penstock doctor` says what to fix")
    for binding in bindings:
        if binding.state != "up":
            _output.say(f"{binding.name} is {binding.state}: {binding.trouble or 'wait a moment'}")


def _row(card: ModelCard) -> tuple[str, ...]:
    return (
        card.name,
        card.binding,
        str(card.context_size or ""),
        f"{card.size / 1024**2:.1f} MiB" if card.size else card.parameter_size or "",
        card.alias_of or "",
    )
