"""The ASGI callable: one request in, one answer out, whatever happens."""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import cast

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from penstock.config.schema import Server
from penstock.core.errors import GatewayError, InternalError, UnknownRouteError
from penstock.core.ports import Answer, Dialect
from penstock.gateway.gateway import Gateway
from penstock.transports.http.exchange import Exchange
from penstock.transports.http.health import Health
from penstock.transports.http.native import Native
from penstock.transports.http.openapi import OpenApi
from penstock.transports.http.origins import Origins
from penstock.transports.http.pages import Pages
from penstock.transports.http.pictures import Blobs
from penstock.transports.http.protocol import AbortedResponseError
from penstock.transports.http.replays import Replays
from penstock.transports.http.routing import OwnedRoute, Table
from penstock.transports.http.shapes import ErrorShapes
from penstock.transports.http.visits import Visit

logger = logging.getLogger(__name__)


class App:
    """All routes of a gateway. Serve it with `penstock.transports.http.server`.

    Raises `ConfigError` when two dialects claim the same request.
    """

    def __init__(self, gateway: Gateway, settings: Server) -> None:
        self._shapes = ErrorShapes(gateway.dialects)
        self._origins = Origins(settings, lambda: gateway.key_required)
        described = OpenApi(gateway, self._shapes)
        self.table = Table([*_routes(gateway, settings), *described.routes()])
        described.describe(self.table.routes)

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serves one request."""
        visit = Visit(cast("HTTPScope", scope), receive, send)
        begun = time.monotonic()
        try:
            await self._serve(visit)
        except GatewayError as error:
            await self._refuse(visit, error)
        except AbortedResponseError:
            raise
        except Exception:
            logger.exception("request %s: %s %s broke", visit.request_id, visit.method, visit.path)
            await self._refuse(visit, InternalError("internal error; see x-request-id"))
        finally:
            if logger.isEnabledFor(logging.INFO):
                self._note(visit, time.monotonic() - begun)

    def refusal(self, path: str, error: GatewayError) -> Answer:
        """How an error looks under a path, for requests that never get here."""
        return self._shapes.answer(path, error)

    async def _serve(self, visit: Visit) -> None:
        self._origins.check(visit)
        answer = self._origins.preflight(visit)
        if answer is None and visit.method == "OPTIONS":
            allowed = self.table.allowed(visit.path)
            if not allowed:
                raise UnknownRouteError(f"no route {visit.path[:200]}")
            answer = Answer(204, b"", "text/plain", {"allow": ", ".join(allowed)})
        if answer is not None:
            await visit.answer(answer)
            return
        match = self.table.find(visit.method, visit.path)
        visit.params = match.params
        await match.route.endpoint(visit)

    async def _refuse(self, visit: Visit, error: GatewayError) -> None:
        if visit.started:
            raise AbortedResponseError
        accept = visit.headers.get("accept", "")
        await visit.answer(self._shapes.answer(visit.path, error, accept))

    def _note(self, visit: Visit, seconds: float) -> None:
        # Never the query, a header or a body: they may hold secrets.
        logger.info(
            "%s %s %d %.1f ms %s",
            visit.method,
            visit.path,
            visit.status,
            seconds * 1000,
            visit.request_id,
        )


def create_app(gateway: Gateway, settings: Server) -> App:
    """The app of a gateway."""
    return App(gateway, settings)


def _credentials(dialects: Sequence[Dialect], first: Dialect | None = None) -> tuple[str, ...]:
    """Every header that may hold a key, those of `first` before the others."""
    known = [*(first.credentials if first is not None else ())]
    for dialect in dialects:
        known += dialect.credentials
    return tuple(dict.fromkeys([*known, "authorization", "x-api-key", "api-key"]))


def _routes(gateway: Gateway, settings: Server) -> Iterator[OwnedRoute]:
    everywhere = _credentials(gateway.dialects)
    exchanges: dict[str, Exchange] = {}
    for dialect in gateway.dialects:
        names = _credentials(gateway.dialects, dialect)
        for route in dialect.routes:
            endpoint = Exchange(gateway, settings, dialect, route, names)
            exchanges.setdefault(dialect.name, endpoint)
            yield OwnedRoute(route.method, route.path, dialect.name, endpoint)
    yield from Replays(gateway, everywhere, exchanges).routes()
    native = Native(gateway, settings, everywhere)
    yield from native.routes()
    yield from Blobs(gateway, native.check_own).routes()
    yield from Health(gateway, everywhere).routes()
    yield from Pages().routes()
