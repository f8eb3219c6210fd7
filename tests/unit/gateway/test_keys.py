"""Who is asking."""

import asyncio
import logging
from collections.abc import Sequence

import msgspec
import pytest

from penstock.config.schema import Security
from penstock.core.errors import InvalidKeyError, MissingKeyError, UnavailableError
from penstock.core.keys import KeyRecord
from penstock.core.principals import ADMIN, LOCAL, Principal
from penstock.core.secrets import Secret
from penstock.gateway import entrance
from penstock.gateway.entrance import Entrance
from penstock.gateway.keys import KeyRing, issue

RING = KeyRing([Secret("one"), Secret("zwei-é")], [Secret("root")])


def test_without_keys_everybody_is_the_local_user():
    assert KeyRing().authenticate([]) == LOCAL
    assert not KeyRing().needed
    assert LOCAL.is_admin


def test_a_key_is_a_principal_of_its_own():
    one, two, root = (RING.authenticate([key]) for key in ("one", "zwei-é", "root"))
    assert len({one.id, two.id, root.id}) == 3
    assert (one.is_admin, two.is_admin, root.is_admin) == (False, False, True)
    assert RING.authenticate(["", "wrong", "one"]) == one


def test_refusals():
    with pytest.raises(MissingKeyError):
        RING.authenticate(["", ""])
    with pytest.raises(InvalidKeyError) as caught:
        RING.authenticate(["wrong-key"])
    assert "wrong-key" not in caught.value.message


def test_nothing_shows_a_key():
    shown = repr(RING) + repr(RING.__dict__) + repr(RING.authenticate(["one"]))
    assert "one" not in shown.replace("None", "")
    assert "root" not in shown
    assert repr(Secret("sk-123")) == f"{Secret('sk-123')}" == "Secret('***')"


SCOPE = Principal(
    id="",
    scopes=frozenset({ADMIN}),
    models=("a*",),
    dialects=("openai_*",),
    requests_per_minute=5,
    concurrent=2,
)


def test_a_stored_key_is_who_it_was_made_for():
    key, record = issue("alice", 1_000, SCOPE, None)
    ring = KeyRing()
    ring.hold([record])
    assert ring.authenticate([key.reveal()]) == msgspec.structs.replace(SCOPE, id=record.id)
    with pytest.raises(MissingKeyError):
        ring.authenticate([])
    with pytest.raises(InvalidKeyError):
        ring.authenticate([record.digest, record.id, record.hint])


def test_a_new_key_is_random_and_its_record_does_not_hold_it():
    made = [issue("alice", 1_000, SCOPE, None) for _ in range(50)]
    assert len({key.reveal() for key, _ in made}) == 50
    for key, record in made:
        assert key.reveal().startswith("pk-")
        assert len(key.reveal()) == 3 + 32  # 192 bits in base 64
        assert key.reveal() not in repr(record)
        assert record.hint == key.reveal()[:8]


def test_a_key_counts_until_it_expires():
    now = 1_000
    key, record = issue("alice", now, SCOPE, 2_000)
    ring = KeyRing(now=lambda: now)
    ring.hold([record])
    ring.authenticate([key.reveal()])
    now = 2_000
    with pytest.raises(InvalidKeyError, match="expired"):
        ring.authenticate([key.reveal()])


def test_revoking_the_last_key_opens_nothing():
    key, record = issue("alice", 1_000, SCOPE, None)
    ring = KeyRing()
    assert not ring.needed
    ring.hold([msgspec.structs.replace(record, revoked=2_000)])
    assert ring.needed
    with pytest.raises(InvalidKeyError, match="revoked"):
        ring.authenticate([key.reveal()])
    ring.hold([])
    with pytest.raises(MissingKeyError):
        ring.authenticate([])


class Flaky:
    """A store whose trouble comes and goes."""

    def __init__(self) -> None:
        self.records: list[KeyRecord] = []
        self.broken = False
        self.read = asyncio.Event()

    async def all(self) -> Sequence[KeyRecord]:
        self.read.set()
        if self.broken:
            raise UnavailableError("the database can't be reached")
        return self.records

    async def add(self, record: KeyRecord) -> None:
        self.records.append(record)

    async def revoke(self, name_or_id: str, now: int) -> KeyRecord | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        return None


async def test_what_was_known_last_holds_while_keys_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(entrance, "RELOAD_SECONDS", 0.001)
    store, (key, record) = Flaky(), issue("alice", 1_000, SCOPE, None)
    door = Entrance(Security(), store, lambda: 1_000)
    assert door.authenticate([]) == LOCAL

    async def read_twice() -> None:
        for _ in range(2):
            store.read.clear()
            await asyncio.wait_for(store.read.wait(), 10)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(door.follow())
        await store.add(record)
        await read_twice()
        assert door.authenticate([key.reveal()]).id == record.id
        store.broken = True
        with caplog.at_level(logging.WARNING):
            await read_twice()
            await read_twice()
        assert door.authenticate([key.reveal()]).id == record.id
        assert caplog.text.count("keys can't be read") == 1
        store.broken = False
        store.records[0] = msgspec.structs.replace(record, revoked=1)
        await read_twice()
        with pytest.raises(InvalidKeyError):
            door.authenticate([key.reveal()])
        task.cancel()


async def test_nobody_comes_in_while_the_keys_were_never_read():
    store = Flaky()
    store.broken = True
    with pytest.raises(UnavailableError):
        await Entrance(Security(), store, lambda: 1_000).load()
