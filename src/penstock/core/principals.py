"""Who is asking."""

import msgspec

ADMIN = "admin"


class Principal(msgspec.Struct, frozen=True):
    """Somebody who may ask. `id` names the key without revealing it; streams belong to it."""

    id: str
    scopes: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        """Whether other principals' streams are visible."""
        return ADMIN in self.scopes


LOCAL = Principal("local", frozenset({ADMIN}))
"""The user of this machine, when no key is configured."""
