"""`penstock keys`: make, list and revoke API keys, also while a server runs."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.table import Table
from typing_extensions import override

from penstock.cli import _output, _running
from penstock.cli._arguments import CONFIG, COUNT
from penstock.cli._settings import server_config
from penstock.config import paths
from penstock.core.errors import InvalidRequestError, NotFoundError, UnavailableError
from penstock.core.keys import KeyRecord
from penstock.core.principals import ADMIN, Principal
from penstock.gateway.keys import issue
from penstock.stores import LateKeys

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST: Final = 100 * 365 * _UNITS["d"] * 1000
_NAME: Final = re.compile(r"(?!key-)[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_CONFIG = click.option("-c", "--config", type=CONFIG, help="The server's config.toml.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")


class _Span(click.ParamType[int]):
    """`30d` and the like, in milliseconds."""

    name = "span"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        found = re.fullmatch(r"([1-9][0-9]{0,6})([smhdw])", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no span of time; write 30d, 12h, 2w …", param, ctx)
        span = int(found[1]) * _UNITS[found[2]] * 1000
        if span > _LONGEST:
            self.fail(f"{value!r} is over 100 years; without it a key never expires", param, ctx)
        return span


class _Pattern(click.ParamType[str]):
    """A name, perhaps with `*`, `?` and `[…]`. Bytes of no encoding come as surrogates."""

    name = "pattern"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        if not text.strip() or not text.isprintable():
            self.fail(f"{value!r} is no name and no pattern of one", param, ctx)
        return text


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    They are kept, as digests only, in the database of [stores], which a running server reads again
    every two seconds. As soon as there is one, every client needs a key.

    \b
    Examples:
      penstock keys create alice --expires 30d --requests-per-minute 60
      penstock keys list
      penstock keys revoke alice
    """


@keys.command()
@click.argument("name")
@click.option(
    "--models", type=_Pattern(), multiple=True, metavar="PATTERN", help="Only models like 'llama*'."
)
@click.option(
    "--dialects",
    type=_Pattern(),
    multiple=True,
    metavar="PATTERN",
    help="Only dialects like 'openai_*'.",
)
@click.option("--expires", type=_Span(), metavar="SPAN", help="How long it counts: 30d, 12h …")
@click.option("--requests-per-minute", type=COUNT, metavar="N", help="More is 429.")
@click.option("--concurrent", type=COUNT, metavar="N", help="Runs at a time.")
@click.option("--admin", is_flag=True, help="Sees and ends other keys' streams too.")
@_JSON
@_CONFIG
def create(
    *, name: str, expires: int | None, as_json: bool, config: Path | None, **scope: object
) -> None:
    """Make a key for NAME and show it, once. Only its digest is kept.

    --models and --dialects may be given more than once; without them the key may use everything.

    \b
    Examples:
      penstock keys create alice --models 'penstock-*' --dialects 'openai_*'
      penstock keys create ci --expires 12h --concurrent 2 --json | jq -r .key
    """
    admin = scope.pop("admin")
    values = {"scopes": frozenset({ADMIN}) if admin else frozenset(), **scope}
    principal = Principal(id="", **values)  # type: ignore[arg-type]  # click has checked them
    _running.run(_create(config, name, principal, expires, as_json=as_json))


async def _create(
    config: Path | None, name: str, scope: Principal, expires: int | None, *, as_json: bool
) -> int:
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            "NAME: up to 64 letters, digits and any of . _ @ + -, not beginning with 'key-'",
            param="name",
        )
    now = _now()
    key, record = issue(name, now, scope, None if expires is None else now + expires)
    async with _store(config) as store:
        await store.add(record)
    if as_json:
        _output.machine({"key": key.reveal(), **_shown(record)})
        return _running.DONE
    _output.say(key.reveal(), bold=True)
    _output.note(f"This is the key of {name}. It is shown this once and can't be shown again.")
    return _running.DONE


@keys.command(name="list")
@_JSON
@_CONFIG
def list_(*, config: Path | None, as_json: bool) -> None:
    """List the keys that were made here, the oldest first; revoked ones too.

    \b
    Examples:
      penstock keys list
      penstock keys list --json | jq -r '.keys[].name'
    """
    _running.run(_list(config, as_json=as_json))


async def _list(config: Path | None, *, as_json: bool) -> int:
    async with _store(config) as store:
        records = await store.all()
    if as_json:
        _output.machine({"keys": [_shown(record) for record in records]})
        return _running.DONE
    if not records:
        _output.say("none; `penstock keys create NAME` makes one")
        return _running.DONE
    table = Table(box=None, pad_edge=False)
    for column in ("NAME", "ID", "KEY", "STATE", "MAY USE", "LIMITS AND RIGHTS"):
        table.add_column(column, overflow="fold")
    for record in records:
        table.add_row(*_output.cells(*_row(record)))
    _output.draw(table)
    return _running.DONE


@keys.command()
@click.argument("name_or_id")
@_JSON
@_CONFIG
def revoke(*, name_or_id: str, config: Path | None, as_json: bool) -> None:
    """Revoke a key, by its name or id. A running server refuses it within two seconds.

    \b
    Examples:
      penstock keys revoke alice
    """
    _running.run(_revoke(config, name_or_id, as_json=as_json))


async def _revoke(config: Path | None, name_or_id: str, *, as_json: bool) -> int:
    async with _store(config) as store:
        # Names and ids are ASCII, and a database may not even be asked for bytes of no encoding.
        record = await store.revoke(name_or_id, _now()) if name_or_id.isascii() else None
    if record is None:
        raise NotFoundError(f"no key {name_or_id!r}; `penstock keys list` lists them")
    if as_json:
        _output.machine(_shown(record))
    else:
        _output.say(f"{record.name} ({record.id}) is revoked since {_time(record.revoked)}")
    return _running.DONE


@asynccontextmanager
async def _store(config: Path | None) -> AsyncIterator[LateKeys]:
    loaded = server_config(config)
    store = LateKeys(loaded.stores, paths.stores_file())
    try:
        yield store
    except UnavailableError as error:
        place = "that of [stores] url" if loaded.stores.url else f"{paths.stores_file()}"
        raise UnavailableError(f"{error.message}; it is {place}") from error
    finally:
        await store.aclose()


def _shown(record: KeyRecord) -> dict[str, object]:
    """All but the digest."""
    names = [name for name in record.__struct_fields__ if name != "digest"]
    return {"state": _state(record), **{name: getattr(record, name) for name in names}}


def _row(record: KeyRecord) -> tuple[str, ...]:
    limits = ["admin"] if record.admin else []
    if record.requests_per_minute is not None:
        limits.append(f"{record.requests_per_minute} a minute")
    if record.concurrent is not None:
        limits.append(f"{record.concurrent} at once")
    state = _state(record)
    until = record.revoked or record.expires
    state = f"{state} until" if until and state == "active" else state
    return (
        record.name,
        record.id,
        f"{record.hint}…",
        f"{state} {_time(until)}" if until else state,
        _scope(record),
        ", ".join(limits),
    )


def _scope(record: KeyRecord) -> str:
    models = f"models {', '.join(record.models)}" if record.models else ""
    dialects = f"dialects {', '.join(record.dialects)}" if record.dialects else ""
    return "; ".join(one for one in (models, dialects) if one) or "everything"


def _state(record: KeyRecord) -> str:
    if record.revoked is not None:
        return "revoked"
    expired = record.expires is not None and record.expires <= _now()
    return "expired" if expired else "active"


def _time(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "never"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _now() -> int:
    return time.time_ns() // 1_000_000
