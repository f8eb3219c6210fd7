"""Who comes in, and how many at a time: keys, configured and stored, with their limits."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from penstock.config.schema import Security
from penstock.core.errors import GatewayError
from penstock.core.principals import Principal
from penstock.core.stores import KeyStore
from penstock.gateway.keys import KeyRing
from penstock.gateway.limits import Allowance, Leave, Limits

logger = logging.getLogger(__name__)

RELOAD_SECONDS: Final = 1.5
"""A key that is revoked elsewhere is refused here within two seconds."""


class Entrance:
    """The ring of keys, kept as its store is while others change the store.

    `now`: milliseconds since the epoch.
    """

    def __init__(self, security: Security, store: KeyStore | None, now: Callable[[], int]) -> None:
        self._ring = KeyRing(security.allowed_api_keys, security.admin_keys, now)
        self._store = store
        self._limits = Limits(now)

    @property
    def needs_key(self) -> bool:
        """Whether there is any key, or ever was while we served."""
        return self._ring.needed

    def authenticate(self, presented: Sequence[str]) -> Principal:
        """Raises `MissingKeyError` or `InvalidKeyError`."""
        return self._ring.authenticate(presented)

    def enter(self, principal: Principal) -> Leave:
        """Counts a request of this key. Raises `OverloadedError` when a limit of it is reached."""
        return self._limits.enter(principal)

    def allowance(self, principal: Principal) -> Allowance | None:
        """What is left of this minute; `None` for a key without such a limit."""
        return self._limits.allowance(principal)

    async def load(self) -> None:
        """Reads the stored keys. Raises what the store raises: who can't know, lets nobody in."""
        if self._store is not None:
            self._ring.hold(await self._store.all())

    async def follow(self) -> None:
        """Reads them again and again. What was known last holds while they can't be read."""
        failing = False
        while self._store is not None:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await self.load()
            except GatewayError as error:
                if not failing:
                    logger.warning("keys can't be read, the last known count: %s", error.message)
                failing = True
            else:
                if failing:
                    logger.warning("keys can be read again")
                failing = False
