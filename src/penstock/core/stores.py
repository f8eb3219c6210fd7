"""Ports of what is kept besides streams: conversations, keys, models."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from penstock.core.events import Event
from penstock.core.keys import KeyRecord
from penstock.core.messages import Message
from penstock.core.ports import StreamState
from penstock.core.request import Request
from penstock.core.sessions import Session, SessionLine


class SessionStore(Protocol):
    """Conversations, each of one principal: two owners may use the same id and never meet.

    Times in milliseconds since the epoch. All of it is durable when a call returns.
    """

    async def open(self, session: Session) -> Session:
        """The session of this owner and id, with all its turns; created as given if there is
        none.
        """

    async def get(self, owner: str, session: str) -> Session | None:
        """The same, never creating."""

    async def begin(
        self, owner: str, session: str, stream: str, said: Sequence[Message], now: int
    ) -> int:
        """Begins a turn and returns its number. Atomic among all processes of one store.

        Raises `SessionBusyError` while a turn of this session is live, `UnknownSessionError`.
        """

    async def end(
        self,
        stream: str,
        state: StreamState,
        reply: Message | None,
        error: str | None,
        now: int,
    ) -> None:
        """Ends the turn of this stream. Idempotent: the first end holds."""

    async def abandon(self, stream: str) -> None:
        """Forgets a turn that never began to run."""

    async def recent(self, owner: str, limit: int) -> Sequence[SessionLine]:
        """The newest first."""

    async def instruct(self, owner: str, session: str, system: str) -> bool:
        """Gives a session another system prompt; false when there was no session."""

    async def drop(self, owner: str, session: str) -> bool:
        """Forgets a session with all its turns; false when there was none."""

    async def aclose(self) -> None:
        """Lets go of the database."""


class KeyStore(Protocol):
    """API keys, hashed."""

    async def all(self) -> Sequence[KeyRecord]:
        """Every key, revoked ones too, the oldest first."""

    async def add(self, record: KeyRecord) -> None:
        """Keeps a new key. Raises `InvalidRequestError` when its name is taken."""

    async def revoke(self, name_or_id: str, now: int) -> KeyRecord | None:
        """Ends a key; `None` when there is no such key."""

    async def aclose(self) -> None:
        """Lets go of the database."""


class StoredModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model of the store: a GGUF file with a name, perhaps with a system prompt and parameters.

    `file`: the GGUF's name in the store's folder, without a path. `digest`: its SHA-256, hex. Of
    a model in parts: the first one's name, the SHA-256 of their digests, and the sum of sizes.
    `origin`: `hf.co/ORG/REPO:QUANT`, a path's last part, or the model that it was made from.
    Times in seconds since the epoch, `size` in bytes.
    """

    name: str
    file: str
    digest: str
    size: int
    modified: int
    origin: str = ""
    system: str = ""
    template: str = ""
    license: str = ""
    parameters: dict[str, bool | float | int | str | list[str]] = {}


class ModelStore(Protocol):
    """GGUF files that were pulled, uploaded or made here. `m` and `m:latest` are one name."""

    folder: str
    """Where the GGUF files lie: what an engine serves."""

    def fetch(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Runs a request whose `task` is `pull` or `create`, as an engine would: `Progress` of
        what `fetching` with Ollama's status lines, then `Done`. What was fetched stays when it is
        closed early, and the next time goes on from there.
        """

    async def models(self) -> Sequence[StoredModel]:
        """All of them, by name."""

    async def delete(self, name: str) -> None:
        """Raises `UnknownModelError`. The file goes with its last name."""

    async def copy(self, source: str, destination: str) -> None:
        """Another name for the same. Raises `UnknownModelError`, `InvalidRequestError`."""

    async def has_blob(self, sha256: str) -> bool:
        """Whether a file of this content is there."""

    async def put_blob(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Keeps an uploaded file. Raises `InvalidRequestError` when its content is another."""
