"""Conversations that outlive their connections: what a session store keeps. Times in ms."""

import msgspec

from penstock.core.messages import Message


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said, and what was answered to it.

    `said`: the user's message or tools' results; `reply`: the assistant's message, as far as it
    got. `state` is the state of its stream (`core.ports.StreamState`): `live` while the run goes
    on, and anything but `done` marks a reply that was cut. `error` says why.
    """

    n: int
    stream: str
    state: str
    said: tuple[Message, ...]
    reply: Message | None = None
    error: str | None = None
    created: int = 0
    ended: int | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One conversation of one principal. `model` empty: the default answers."""

    id: str
    owner: str
    title: str = ""
    system: str = ""
    model: str = ""
    created: int = 0
    updated: int = 0
    turns: tuple[Turn, ...] = ()


class SessionLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a listing. `preview`: the beginning of what was said last."""

    id: str
    title: str
    model: str
    created: int
    updated: int
    turns: int
    preview: str
