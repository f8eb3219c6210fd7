"""Prompts and sessions of a project, as its clients change them: template, clear, delete."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from penstock.config.schema import Mqtt
from penstock.core.errors import InvalidRequestError
from penstock.core.principals import Principal
from penstock.core.queries import Query, SessionAsk, SystemAsk
from penstock.gateway.gateway import Gateway
from penstock.transports.mqtt import topics
from penstock.transports.mqtt.asking import template
from penstock.transports.mqtt.client import Outgoing
from penstock.transports.mqtt.ledger import Ledger
from penstock.transports.mqtt.link import Link
from penstock.wire import json

_ALL: Final = "all"
_MOST: Final = 10_000


class Admin:
    """What `template`, `clear_history` and `delete_session` do. Prompts last as long as this."""

    def __init__(self, gateway: Gateway, link: Link, settings: Mqtt, ledger: Ledger) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._link = link
        self._settings = settings
        self._of_projects: dict[str, str] = {}
        self._of_sessions: OrderedDict[tuple[str, str], str] = OrderedDict()

    def system(self, project: str, session: str) -> str:
        """The system prompt of a new session that brings none."""
        of_project = self._of_projects.get(project)
        if of_project is None:
            of_project = self._settings.project(project).system_prompt
        return self._of_sessions.get((project, session), of_project)

    async def change(
        self, place: topics.Address, payload: bytes, principal: Principal, *, retained: bool
    ) -> None:
        """Does what was said. Raises `InvalidRequestError` for what is no JSON object.

        `retained`: a template that the broker keeps, and tells at every new connection.
        """
        said: Mapping[str, object] = {}
        if payload.strip():
            said = json.decode(payload, dict[str, object], InvalidRequestError)
        session = _target(said, place.rest)
        if place.kind == "template":
            self._prompt(place.project, session, said)
            if not retained:  # Sessions began anew, or not, when it was said.
                await self._instruct(place.project, session, said, principal)
        else:
            await self.drop(place.project, session, principal)
            if place.kind == "clear_history":
                await self._say(place.project, session, "History cleared")

    async def drop(self, project: str, session: str, principal: Principal) -> None:
        """Forgets a session, or all of a project. The next message begins it anew."""
        while names := await self._names(project, session, principal):
            for name in names:
                query = Query("drop_session", name, SessionAsk(name))
                await self._gateway.find(query, principal)
            if session:  # Of all, a listing shows only the newest.
                break
        self._ledger.begin_anew(project, session)

    def _prompt(self, project: str, session: str, said: Mapping[str, object]) -> None:
        system = _prompt(said)
        # The original gives everybody the prompt that one session asked for.
        if session:
            self._of_sessions[project, session] = system
            if len(self._of_sessions) > _MOST:
                self._of_sessions.popitem(last=False)
        else:
            self._of_projects[project] = system

    async def _instruct(
        self, project: str, session: str, said: Mapping[str, object], principal: Principal
    ) -> None:
        if said.get("reset", True) not in (False, "false", 0):
            await self.drop(project, session, principal)
        else:
            for name in await self._names(project, session, principal):
                query = Query("instruct_session", name, SystemAsk(name, _prompt(said)))
                await self._gateway.find(query, principal)
        await self._say(project, session, "Template updated")

    async def _names(self, project: str, session: str, principal: Principal) -> list[str]:
        if session:
            return [f"{project}/{session}"]
        found = await self._gateway.find(Query("sessions"), principal)
        return [line.id for line in found.sessions if line.id.startswith(f"{project}/")]

    async def _say(self, project: str, session: str, text: str) -> None:
        if topics.is_level(session):
            payload = json.encode({"hint": text})
            await self._link.publish(Outgoing(f"{project}/hint/{session}", payload, 0))


def _prompt(said: Mapping[str, object]) -> str:
    """Of a template. Raises `InvalidRequestError` where there is none."""
    names = ("template", "system_prompt", "prompt_template")
    system = next((found for name in names if (found := template(said.get(name)))), None)
    if system is None:
        raise InvalidRequestError("template: a prompt is required", param="template")
    return system


def _target(said: Mapping[str, object], rest: str) -> str:
    """The session that is meant; empty: all."""
    named = [said.get(name) for name in ("session_id", "sessionId", "target")]
    found = next((one for one in named if isinstance(one, str) and one.strip()), rest).strip()
    return "" if found == _ALL else found
