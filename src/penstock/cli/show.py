"""`penstock show`: what the store knows about a model."""

from pathlib import Path

import click
import msgspec

from penstock.cli import _output, _running
from penstock.cli import _store as stored
from penstock.cli._arguments import CONFIG
from penstock.cli._settings import server_config
from penstock.core.stores import StoredModel


@click.command()
@click.argument("model")
@click.option("-c", "--config", type=CONFIG, help="A server's config.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
def show(*, model: str, config: Path | None, as_json: bool) -> None:
    """Show a MODEL of the store: its file, where it is from, what it was created with.

    \b
    Examples:
      penstock show hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q8_0
      penstock show mario --json
    """
    _running.run(_show(model, config, as_json=as_json))


async def _show(name: str, config: Path | None, *, as_json: bool) -> int:
    store = stored.open_store(server_config(config))
    model = await stored.find(store, name)
    if as_json:
        _output.machine(msgspec.structs.asdict(model))
        return _running.DONE
    _output.say(model.name, bold=True)
    for label, value in _lines(model, store.folder):
        if value:
            _output.say(f"  {label:<11} {value}")
    return _running.DONE


def _lines(model: StoredModel, folder: str) -> list[tuple[str, str]]:
    said = [(f"{name}:", str(value)) for name, value in sorted(model.parameters.items())]
    return [
        ("size", stored.megabytes(model.size)),
        ("digest", f"sha256:{model.digest}"),
        ("from", model.origin),
        ("file", str(Path(folder) / model.file)),
        ("system", model.system),
        ("license", model.license.partition("\n")[0]),
        *said,
    ]
