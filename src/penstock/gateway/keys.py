"""Presented keys to principals. Constant time, hashed at rest."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from hmac import compare_digest

from penstock.core.errors import InvalidKeyError, MissingKeyError
from penstock.core.principals import ADMIN, LOCAL, Principal
from penstock.core.secrets import Secret


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=32, person=b"penstock").digest()


class KeyRing:
    """The keys that count. Empty: everybody is the user of this machine."""

    def __init__(self, keys: Iterable[Secret] = (), admin_keys: Iterable[Secret] = ()) -> None:
        self._principals: list[tuple[bytes, Principal]] = []
        for secret, scopes in (
            *((key, frozenset({ADMIN})) for key in admin_keys),
            *((key, frozenset[str]()) for key in keys),
        ):
            digest = _digest(secret.reveal())
            self._principals.append(
                (digest, Principal(id=f"key-{digest[:8].hex()}", scopes=scopes))
            )

    @property
    def needed(self) -> bool:
        """Whether any key is configured."""
        return bool(self._principals)

    def authenticate(self, presented: Sequence[str]) -> Principal:
        """The principal of the first presented key that is ours.

        Raises `MissingKeyError` when none was presented, `InvalidKeyError` when none is ours. Every
        presented key is compared with every one of ours, whether or not one was found before.
        """
        if not self._principals:
            return LOCAL
        found: Principal | None = None
        any_presented = False
        for key in presented:
            if not key:
                continue
            any_presented = True
            digest = _digest(key)
            for ours, principal in self._principals:
                if compare_digest(digest, ours) and found is None:
                    found = principal
        if found is not None:
            return found
        if any_presented:
            raise InvalidKeyError("this API key is not known here")
        raise MissingKeyError("an API key is needed")
