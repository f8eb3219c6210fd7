"""Which topics there are, and which a client may have its answer on. Pure."""

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "user_input",
    "state",
    "template",
    "clear_history",
    "delete_session",
    "resume",
    "cancel",
    "old_session",
    "old_input",
]

_PLAIN: Final[tuple[Kind, ...]] = ("user_input", "state")
_ADMIN: Final[tuple[Kind, ...]] = ("template", "clear_history", "delete_session")
_STREAMS: Final[tuple[Kind, ...]] = ("resume", "cancel")
_UNSAFE: Final = re.compile(r"[+#\x00-\x1f\x7f]")
MOST_BYTES: Final = 1024
"""Of a topic that a client names. MQTT itself would allow 65 535."""


class Address(NamedTuple):
    """What came in on a topic. `rest`: a session's or a request's id, where the topic has one."""

    kind: Kind
    project: str
    rest: str = ""


def filters(projects: Sequence[str], legacy: Sequence[str]) -> list[str]:
    """All that the bridge subscribes to."""
    found = []
    for project in projects:
        found += [f"{project}/{kind}" for kind in (*_PLAIN, *_ADMIN)]
        found += [f"{project}/{kind}/+" for kind in (*_ADMIN, *_STREAMS)]
    for prefix in legacy:
        found += [f"{prefix}/session", f"{prefix}/user_input/+"]
        if prefix not in projects:
            found.append(f"{prefix}/user_input")
    return found


def address(topic: str, projects: Sequence[str], legacy: Sequence[str]) -> Address | None:
    """What a topic means. `None`: a subscription of a former configuration."""
    for project in projects:
        if not topic.startswith(f"{project}/"):
            continue
        kind, _, rest = topic[len(project) + 1 :].partition("/")
        for known in (*_PLAIN, *_ADMIN, *_STREAMS):
            if kind == known and bool(rest) <= (known not in _PLAIN):
                return Address(known, project, rest)
    for prefix in legacy:
        if topic == f"{prefix}/session":
            return Address("old_session", prefix)
        if topic == f"{prefix}/user_input" or topic.startswith(f"{prefix}/user_input/"):
            return Address("old_input", prefix, topic[len(prefix) + 12 :])
    return None


def is_level(name: str) -> bool:
    """Whether an id may stand in a topic: no wildcard, control character or `/` in it."""
    return bool(name) and "/" not in name and not _UNSAFE.search(name)


def reply(base: str, session: str, asked: str, *, own: bool) -> str:
    """Where an answer goes: `asked`, if it lies below `base`, else the session's own topic.

    `own`: the client named its session, so an answer may go nowhere but below that session's topic;
    otherwise one client could have words put into another's mouth.
    """
    usual = f"{base}/{session}"
    asked = asked.strip().rstrip("/")
    if not asked or _UNSAFE.search(asked) or len(asked.encode()) > MOST_BYTES:
        return usual
    if own:
        return asked if f"{asked}/".startswith(f"{usual}/") else usual
    return asked if asked.startswith(f"{base}/") and asked[len(base) + 1 :].strip("/") else usual
