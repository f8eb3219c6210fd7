"""Is it there, can it answer, and what has it counted."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from penstock.core.description import Described
from penstock.core.ports import Answer
from penstock.gateway.gateway import Gateway
from penstock.transports.http.exchange import presented_keys
from penstock.transports.http.metrics import CONTENT_TYPE, exposition
from penstock.transports.http.origins import is_loopback
from penstock.transports.http.routing import OURS, OwnedRoute
from penstock.transports.http.visits import Visit
from penstock.wire import json

_RETRY: Final = {"retry-after": "5"}


class Healthy(msgspec.Struct, frozen=True):
    """The answer of `/health`."""

    status: str
    version: str
    api_key_required: bool


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of `/ready`. `trouble`: why nothing can be generated. `notes`: what else is wrong,
    by the name of the part, such as `mqtt`.
    """

    status: Literal["ready", "unavailable"]
    trouble: str = ""
    notes: dict[str, str] = {}


class Health:
    """`/health`, `/ready` and `/metrics`."""

    def __init__(self, gateway: Gateway, credentials: Sequence[str]) -> None:
        self._gateway = gateway
        self._credentials = credentials

    def routes(self) -> list[OwnedRoute]:
        """All of them."""
        return [
            OwnedRoute(
                "GET",
                "/health",
                OURS,
                self._health,
                "Whether the process answers",
                open=True,
                described=Described(told=(Healthy,)),
            ),
            OwnedRoute(
                "GET",
                "/ready",
                OURS,
                self._ready,
                "Whether it can generate, else why not",
                open=True,
                described=Described(told=(Readiness,), also={503: Readiness}),
            ),
            OwnedRoute(
                "GET",
                "/metrics",
                OURS,
                self._metrics,
                "Counters for Prometheus",
                described=Described(texts=("text/plain",)),
            ),
        ]

    async def _health(self, visit: Visit) -> None:
        """One object that serves every dialect's clients."""
        gateway = self._gateway
        found = Healthy("ok", gateway.version, gateway.key_required)
        await visit.answer(Answer(200, json.encode(found)))

    async def _ready(self, visit: Visit) -> None:
        trouble, notes = self._gateway.trouble(), self._gateway.notes
        if trouble is None:
            await visit.answer(Answer(200, json.encode(Readiness("ready", notes=notes))))
        else:
            body = json.encode(Readiness("unavailable", trouble, notes))
            await visit.answer(Answer(503, body, headers=_RETRY))

    async def _metrics(self, visit: Visit) -> None:
        if not is_loopback(visit):
            self._gateway.authenticate(presented_keys(visit.headers, self._credentials))
        await visit.answer(Answer(200, exposition(self._gateway), CONTENT_TYPE))
