"""API keys as they are stored: never the key itself."""

import msgspec


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One key. `digest`: hex of a hash of the key; `hint`: its first characters, for listings.

    Times in milliseconds since the epoch. The other fields are those of `core.principals`.
    """

    id: str
    name: str
    digest: str
    hint: str
    created: int
    expires: int | None = None
    revoked: int | None = None
    admin: bool = False
    models: tuple[str, ...] = ()
    dialects: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    concurrent: int | None = None
