"""`penstock tail`: follow or replay any stream."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table

from penstock.cli import _output, _running
from penstock.cli._arguments import CONFIG, TEXT
from penstock.cli._settings import settings
from penstock.cli._talking import Streams, streams
from penstock.core.events import (
    Done,
    Event,
    Failed,
    Finish,
    Image,
    Progress,
    ReasoningDelta,
    Seq,
    Start,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from penstock.core.ports import StreamInfo


@click.command()
@click.argument("stream_id", type=TEXT, required=False)
@click.option(
    "--from",
    "first",
    type=click.IntRange(1, 2**63 - 1),
    default=1,
    help="Number of the first event.",
)
@click.option("-n", "--newest", type=click.IntRange(1, 1000), default=20, help="How many to list.")
@click.option("-c", "--config", type=CONFIG, help="As for `penstock stream`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
def tail(
    *, stream_id: str | None, first: int, newest: int, config: Path | None, as_json: bool
) -> None:
    """Follow or replay a stream; without STREAM_ID, list the newest.

    Every answer names its stream (`Penstock-Stream` header). A stream that has ended is shown
    again, a live one is followed to its end. With no server running, it is read from the log's
    folder.

    \b
    Examples:
      penstock tail
      penstock tail 4f1c0b7d9e2a --from 120
      penstock tail 4f1c0b7d9e2a --json
    """
    _running.run(_tail(stream_id, Seq(first - 1), newest, config, as_json=as_json))


async def _tail(
    stream_id: str | None, after: Seq, newest: int, config: Path | None, *, as_json: bool
) -> int:
    async with streams(settings(config)) as where:
        if stream_id is None:
            _list(await where.recent(newest), as_json=as_json)
        else:
            await _follow(where, stream_id, after, as_json=as_json)
    return _running.DONE


async def _follow(where: Streams, stream_id: str, after: Seq, *, as_json: bool) -> None:
    async with where.follow(stream_id, after) as entries:
        async for entry in entries:
            if as_json:
                _output.machine(entry)
            else:
                _show(entry.event)


def _show(event: Event) -> None:
    match event:
        case Start(asked=asked, binding=binding, model=model):
            _output.note(f"[{binding}/{model} answers{f' for {asked}' if asked else ''}]")
        case TextDelta(text=text):
            _output.write(text)
        case ReasoningDelta(text=text):
            _output.write(text, dim=True)
        case ToolCallDelta(name=name, arguments=arguments):
            _output.write(f"\n[call {name}] {arguments}" if name else arguments, dim=True)
        case Progress(what=what, text=text):
            _output.note(f"[{what}] {text}")
        case Image(blob=blob):
            _output.say(f"[{blob.media_type}, {blob.size} bytes, {blob.sha256}]")
        case Usage(input_tokens=given, output_tokens=made):
            _output.say()
            _output.note(f"[{given} tokens in, {made} out]")
        case Finish(choice=choice, reason=reason):
            _output.note(f"[choice {choice}: {reason}]")
        case Failed(code=code, message=message):
            _output.say()
            _output.note(f"[failed: {code}: {message}]")
        case Done(reason=reason):
            _output.say()
            _output.note(f"[done: {reason}]")


def _list(found: Sequence[StreamInfo], *, as_json: bool) -> None:
    if as_json:
        for info in found:
            _output.machine(info)
        return
    if not found:
        _output.say("no streams yet; `penstock stream` makes one")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("STREAM", no_wrap=True, min_width=32)
    for name in ("BEGAN", "STATE", "EVENTS", "BYTES", "MODEL"):
        table.add_column(name, overflow="fold")
    for info in found:
        row = (info.stream, _time(info.created), info.state, str(info.events), str(info.bytes))
        table.add_row(*_output.cells(*row, f"{info.binding}/{info.model}"))
    _output.draw(table)


def _time(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # of a server that counts otherwise
        return "?"
