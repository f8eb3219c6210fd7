"""Who is asking, and what they may."""

from fnmatch import fnmatchcase

import msgspec

ADMIN = "admin"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may ask. `id` names the key without revealing it; streams belong to it.

    `models`, `dialects`: patterns (`llama*`, `openai_*`) of what may be used; empty: everything.
    `requests_per_minute`, `concurrent`: limits of this key; `None`: none.
    """

    id: str
    scopes: frozenset[str] = frozenset()
    models: tuple[str, ...] = ()
    dialects: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    concurrent: int | None = None

    @property
    def is_admin(self) -> bool:
        """Whether other principals' streams are visible."""
        return ADMIN in self.scopes

    def may_use(self, model: str) -> bool:
        """Whether a model of this name may answer."""
        return _matches(self.models, model)

    def may_speak(self, dialect: str) -> bool:
        """Whether requests of this dialect are answered."""
        return _matches(self.dialects, dialect)


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


LOCAL = Principal(id="local", scopes=frozenset({ADMIN}))
"""The user of this machine, when no key is configured."""
