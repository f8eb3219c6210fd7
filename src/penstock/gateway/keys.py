"""Presented keys to principals. Constant time, hashed at rest."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

import msgspec

from penstock.core.errors import InvalidKeyError, MissingKeyError
from penstock.core.keys import KeyRecord
from penstock.core.principals import ADMIN, LOCAL, Principal
from penstock.core.secrets import Secret

PREFIX: Final = "pk-"
_RANDOM_BYTES: Final = 24
_HINT: Final = 8


def _digest(key: str) -> bytes:
    # A fast hash will do: keys are random, so there is nothing to guess from a dictionary.
    return blake2b(key.encode(), digest_size=32, person=b"penstock").digest()


def _id_of(digest: bytes) -> str:
    return f"key-{digest[:8].hex()}"


def issue(name: str, now: int, scope: Principal, expires: int | None) -> tuple[Secret, KeyRecord]:
    """A new key of 192 random bits, and what is kept of it.

    `scope` says what it may, but for its `id`. Times in milliseconds since the epoch.
    """
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    digest = _digest(key)
    record = KeyRecord(
        id=_id_of(digest),
        name=name,
        digest=digest.hex(),
        hint=key[:_HINT],
        created=now,
        expires=expires,
        admin=scope.is_admin,
        models=scope.models,
        dialects=scope.dialects,
        requests_per_minute=scope.requests_per_minute,
        concurrent=scope.concurrent,
    )
    return Secret(key), record


class _Held(msgspec.Struct, frozen=True):
    digest: bytes
    principal: Principal
    expires: int | None = None
    revoked: bool = False


class KeyRing:
    """The keys that count. With none, ever, everybody is the user of this machine.

    `now`: milliseconds since the epoch, for keys that expire.
    """

    def __init__(
        self,
        keys: Iterable[Secret] = (),
        admin_keys: Iterable[Secret] = (),
        now: Callable[[], int] = lambda: 0,
    ) -> None:
        self._now = now
        self._stored: tuple[_Held, ...] = ()
        self._needed = False
        configured: list[_Held] = []
        for secret, scopes in (
            *((key, frozenset({ADMIN})) for key in admin_keys),
            *((key, frozenset[str]()) for key in keys),
        ):
            digest = _digest(secret.reveal())
            configured.append(_Held(digest, Principal(id=_id_of(digest), scopes=scopes)))
        self._configured = tuple(configured)

    @property
    def needed(self) -> bool:
        """Whether there is, or was, any key: revoking the last one opens nothing."""
        return self._needed or bool(self._configured)

    def hold(self, records: Iterable[KeyRecord]) -> None:
        """From now on these stored keys count, besides the configured ones."""
        self._stored = tuple([_held(record) for record in records])
        self._needed = self._needed or bool(self._stored)

    def authenticate(self, presented: Sequence[str]) -> Principal:
        """The principal of the first presented key that is ours.

        Raises `MissingKeyError` when none was presented, `InvalidKeyError` when none is ours, or it
        has expired or was revoked. Every presented key is compared with every one of ours, whether
        or not one was found before.
        """
        if not self.needed:
            return LOCAL
        found: _Held | None = None
        any_presented = False
        for key in presented:
            if not key:
                continue
            any_presented = True
            digest = _digest(key)
            for ours in (*self._configured, *self._stored):
                if compare_digest(digest, ours.digest) and found is None:
                    found = ours
        if found is None:
            if any_presented:
                raise InvalidKeyError("this API key is not known here")
            raise MissingKeyError("an API key is needed")
        if found.revoked:
            raise InvalidKeyError("this API key was revoked")
        if found.expires is not None and found.expires <= self._now():
            raise InvalidKeyError("this API key has expired")
        return found.principal


def _held(record: KeyRecord) -> _Held:
    principal = Principal(
        id=record.id,
        scopes=frozenset({ADMIN}) if record.admin else frozenset(),
        models=record.models,
        dialects=record.dialects,
        requests_per_minute=record.requests_per_minute,
        concurrent=record.concurrent,
    )
    return _Held(
        bytes.fromhex(record.digest), principal, record.expires, record.revoked is not None
    )
