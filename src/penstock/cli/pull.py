"""`penstock pull`: a model from the hub, or from a file, into the store."""

import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, cast

import click
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from penstock.cli import _output, _running
from penstock.cli import _store as stored
from penstock.cli._arguments import CONFIG
from penstock.cli._settings import server_config
from penstock.config import paths
from penstock.core import events as ev
from penstock.core.request import Request

_HUBS: Final = ("hf.co/", "huggingface.co/")


@click.command()
@click.argument("model")
@click.option("--name", help="What to call a file's model. Default: the file's name.")
@click.option("-c", "--config", type=CONFIG, help="A server's config.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
def pull(*, model: str, name: str | None, config: Path | None, as_json: bool) -> None:
    """Pull MODEL into the store: hf.co/ORG/REPO[:QUANT], or a GGUF file of this machine.

    Needs no server; one that runs offers the model at once. A pull that was cut or stopped goes on
    where it was. HF_ENDPOINT and HF_TOKEN count.

    \b
    Examples:
      penstock pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF
      penstock pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q8_0
      penstock pull ./model.gguf --name mine
    """
    if name is not None and _path(model) is None:
        raise click.UsageError("--name is for a file: a model of the hub is called as on the hub")
    _running.run(_pull(model, name, config, as_json=as_json))


async def _pull(model: str, name: str | None, config: Path | None, *, as_json: bool) -> int:
    store = stored.open_store(server_config(config))
    path = _path(model)
    if path is not None:
        batches = store.add(path, name or _plain(path.stem))
    else:
        batches = store.fetch(Request(model=model, task="pull"))
    async with aclosing(cast("_Closable", batches)) as open_batches:
        await (_machine(open_batches) if as_json else _human(open_batches))
    return _running.DONE


def _path(model: str) -> Path | None:
    """The file that is meant; `None` for a model of the hub, whose tag may be a file's name."""
    path = Path(model)
    suffixed = path.suffix.lower() == ".gguf" and not model.startswith(_HUBS)
    return paths.place(model) if suffixed or model.startswith((".", "/", "~")) else None


_Batches = AsyncIterator[Sequence[ev.Event]]


class _Closable(AsyncIterator[Sequence[ev.Event]]):
    async def aclose(self) -> None: ...


def _plain(stem: str) -> str:
    """A file's name as a model's, without a part's number: what no name may hold becomes a dash."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", stem)
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return kept.lstrip(".-") or "model"


async def _machine(batches: _Batches) -> None:
    async for batch in batches:
        for event in batch:
            _output.machine(event)


async def _human(batches: _Batches) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bars: dict[str, TaskID] = {}
    with (
        _output.written(sys.stdout),
        Progress(*columns, console=_output.console()) as progress,
    ):
        async for batch in batches:
            for event in batch:
                if isinstance(event, ev.Progress):
                    _show(event, progress, bars)


def _show(event: ev.Progress, progress: Progress, bars: dict[str, TaskID]) -> None:
    text = _output.clean(event.text)
    if not event.of:
        progress.console.print(text, markup=False)
        return
    if text not in bars:
        bars[text] = progress.add_task(text, total=event.of)
    progress.update(bars[text], completed=event.at)
