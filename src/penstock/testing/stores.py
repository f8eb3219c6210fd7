"""What every session store and every key store must do.

Subclass `SessionStoreContract` or `KeyStoreContract` and give it a fixture `open_store`: a callable
that opens one more store on the database of this test, as another process would.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from itertools import count

import msgspec

from penstock.core.errors import (
    GatewayError,
    InvalidRequestError,
    SessionBusyError,
    UnavailableError,
    UnknownSessionError,
)
from penstock.core.keys import KeyRecord
from penstock.core.messages import ImagePart, Message, TextPart, ToolCall, say
from penstock.core.sessions import Session
from penstock.core.stores import KeyStore, SessionStore

OpenSessions = Callable[[], SessionStore]
OpenKeys = Callable[[], KeyStore]

ODD = "é☃😀\u2028\u0000\\ \"'%_;--\n"
"""What a client may well write."""


def session(name: str = "s", owner: str = "alice", at: int = 1_000) -> Session:
    """A session without turns."""
    return Session(id=name, owner=owner, title="", model="demo", created=at, updated=at)


def key(name: str, at: int = 1_000) -> KeyRecord:
    """A key of this name."""
    digest = name.encode().hex().rjust(64, "0")[-64:]
    return KeyRecord(id=f"key-{name}", name=name, digest=digest, hint="pk-abcde", created=at)


async def raises(kind: type[GatewayError], doing: Coroutine[object, object, object]) -> None:
    """Asserts that a coroutine raises `kind`."""
    try:
        await doing
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


class SessionStoreContract:
    """The rules of the port `SessionStore`, one a test."""

    async def test_a_session_is_made_once(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            assert await store.get("alice", "s") is None
            first = Session(id="s", owner="alice", title="A", system="B", model="C", created=5)
            assert await store.open(first) == first
            later = msgspec.structs.replace(first, title="other", created=9)
            assert await store.open(later) == first
            assert await store.get("alice", "s") == first

    async def test_two_that_open_the_same_get_the_same(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as one, aclosing(open_store()) as two:
            wanted = [msgspec.structs.replace(session(), title=str(n)) for n in range(8)]
            stores = [one, two] * 4
            found = await asyncio.gather(
                *(store.open(each) for store, each in zip(stores, wanted, strict=True))
            )
            assert len(set(found)) == 1

    async def test_a_turn_from_its_beginning_to_its_end(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            await store.open(session())
            assert await store.begin("alice", "s", "a", [say("user", "hello")], 2_000) == 1
            found = await store.get("alice", "s")
            assert found is not None
            (turn,) = found.turns
            assert (turn.n, turn.stream, turn.state, turn.created) == (1, "a", "live", 2_000)
            assert (turn.said, turn.reply, turn.ended) == ((say("user", "hello"),), None, None)
            await store.end("a", "cancelled", say("assistant", "hi"), "left", 3_000)
            found = await store.get("alice", "s")
            assert found is not None
            (turn,) = found.turns
            assert (turn.state, turn.error, turn.ended) == ("cancelled", "left", 3_000)
            assert turn.reply == say("assistant", "hi")
            assert (found.created, found.updated) == (1_000, 3_000)
            assert await store.begin("alice", "s", "b", [say("user", "more")], 4_000) == 2

    async def test_the_first_end_holds(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            await store.open(session())
            await store.begin("alice", "s", "a", [say("user", "hello")], 2_000)
            await store.end("a", "done", say("assistant", "hi"), None, 3_000)
            await store.begin("alice", "s", "b", [say("user", "more")], 4_000)
            before = await store.get("alice", "s")
            await store.end("a", "failed", None, "late", 9_000)
            await store.end("no such stream", "failed", None, "late", 9_000)
            assert await store.get("alice", "s") == before
            busy = store.begin("alice", "s", "c", [say("user", "more")], 9_000)
            await raises(SessionBusyError, busy)

    async def test_one_turn_at_a_time(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as one, aclosing(open_store()) as two:
            await one.open(session())
            await one.begin("alice", "s", "a", [say("user", "hello")], 2_000)
            for store in (one, two):
                busy = store.begin("alice", "s", "b", [say("user", "hello")], 2_000)
                await raises(SessionBusyError, busy)
            await two.end("a", "done", None, None, 3_000)
            assert await one.begin("alice", "s", "b", [say("user", "hello")], 4_000) == 2

    async def test_of_many_that_begin_at_once_one_does(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as one, aclosing(open_store()) as two:
            await one.open(session())
            for turn in range(1, 6):
                streams = [f"{turn}-{n}" for n in range(8)]
                begun = await asyncio.gather(
                    *(
                        store.begin("alice", "s", stream, [say("user", stream)], turn)
                        for store, stream in zip([one, two] * 4, streams, strict=True)
                    ),
                    return_exceptions=True,
                )
                won = [n for n, result in enumerate(begun) if result == turn]
                assert len(won) == 1
                lost = [r for r in begun if r != turn]
                assert all(isinstance(r, SessionBusyError) for r in lost), lost
                await two.end(streams[won[0]], "done", None, None, turn)

    async def test_an_abandoned_turn_never_was(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            await store.open(session())
            await store.begin("alice", "s", "a", [say("user", "hello")], 2_000)
            await store.abandon("a")
            await store.abandon("a")
            found = await store.get("alice", "s")
            assert found is not None
            assert found.turns == ()
            assert [line.turns for line in await store.recent("alice", 10)] == [0]
            n = await store.begin("alice", "s", "b", [say("user", "hello")], 3_000)
            await store.end("b", "done", say("assistant", "hi"), None, 4_000)
            await store.abandon("b")
            found = await store.get("alice", "s")
            assert found is not None
            assert [turn.n for turn in found.turns] == [n]

    async def test_owners_never_meet(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            await store.open(session(owner="alice"))
            assert await store.get("bob", "s") is None
            foreign = store.begin("bob", "s", "b", [say("user", "hello")], 1)
            await raises(UnknownSessionError, foreign)
            assert await store.drop("bob", "s") is False
            await store.open(session(owner="bob"))
            await store.begin("alice", "s", "a", [say("user", "of alice")], 2_000)
            assert await store.begin("bob", "s", "b", [say("user", "of bob")], 2_000) == 1
            assert [line.preview for line in await store.recent("bob", 10)] == ["of bob"]
            assert await store.drop("bob", "s") is True
            assert [line.preview for line in await store.recent("alice", 10)] == ["of alice"]

    async def test_unknown_sessions(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            unknown = store.begin("alice", "s", "a", [say("user", "hello")], 1)
            await raises(UnknownSessionError, unknown)
            assert await store.drop("alice", "s") is False
            assert list(await store.recent("alice", 10)) == []

    async def test_a_session_is_told_otherwise(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            assert await store.instruct("alice", "s", "Be brief.") is False
            await store.open(session())
            await store.begin("alice", "s", "a", [say("user", "hello")], 2_000)
            assert await store.instruct("bob", "s", "Shout.") is False
            assert await store.instruct("alice", "s", "Be brief.") is True
            found = await store.get("alice", "s")
            assert found is not None
            assert found.system == "Be brief."
            assert [turn.stream for turn in found.turns] == ["a"]
            assert found.title == session().title

    async def test_a_dropped_session_is_gone(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            await store.open(session())
            await store.begin("alice", "s", "a", [say("user", "hello")], 2_000)
            assert await store.drop("alice", "s") is True
            assert await store.get("alice", "s") is None
            await store.end("a", "done", say("assistant", "hi"), None, 3_000)
            assert await store.get("alice", "s") is None
            again = await store.open(session(at=5_000))
            assert again.turns == ()
            assert await store.begin("alice", "s", "a2", [say("user", "hello")], 6_000) == 1

    async def test_a_turn_that_ends_while_its_session_is_dropped(
        self, open_store: OpenSessions
    ) -> None:
        async with aclosing(open_store()) as one, aclosing(open_store()) as two:
            for n in range(40):
                await one.open(session())
                await one.begin("alice", "s", f"t{n}", [say("user", "Hi")], 1)
                ending = (
                    one.abandon(f"t{n}") if n % 4 == 0 else one.end(f"t{n}", "done", None, None, 2)
                )
                # Each waits for the other at most: none is told that the database failed.
                await asyncio.gather(ending, two.drop("alice", "s"))
                assert await one.get("alice", "s") is None

    async def test_what_was_kept_is_there_for_the_next_process(
        self, open_store: OpenSessions
    ) -> None:
        async with aclosing(open_store()) as store:
            await store.open(session())
            await store.begin("alice", "s", "a", [say("user", "hello")], 2_000)
            kept = await store.get("alice", "s")
        async with aclosing(open_store()) as store:
            assert await store.get("alice", "s") == kept
            busy = store.begin("alice", "s", "b", [say("user", "hello")], 3_000)
            await raises(SessionBusyError, busy)

    async def test_a_thousand_sessions_the_newest_first(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            times = [1_000 + (n * 617) % 1_000 for n in range(1_000)]
            for n, at in enumerate(times):
                await store.open(session(f"s{n}", at=at))
            lines = await store.recent("alice", 2_000)
            assert [line.updated for line in lines] == sorted(times, reverse=True)
            assert len({line.id for line in lines}) == 1_000
            assert list(await store.recent("alice", 7)) == list(lines[:7])
            oldest = lines[-1].id
            await store.begin("alice", oldest, "a", [say("user", "hello")], 10_000)
            assert [line.id for line in await store.recent("alice", 1)] == [oldest]

    async def test_a_line_of_the_listing(self, open_store: OpenSessions) -> None:
        async with aclosing(open_store()) as store:
            await store.open(msgspec.structs.replace(session(), title="T", model="M"))
            await store.begin("alice", "s", "a", [say("user", " first\n" + "x" * 900)], 2_000)
            await store.end("a", "done", say("assistant", "hi"), None, 3_000)
            (line,) = await store.recent("alice", 10)
            assert (line.id, line.title, line.model, line.turns) == ("s", "T", "M", 1)
            assert (line.created, line.updated) == (1_000, 3_000)
            assert line.preview.startswith("first x")
            assert len(line.preview) < 300

    async def test_every_text_comes_back_as_it_was(self, open_store: OpenSessions) -> None:
        said = (
            Message(
                role="user",
                name=ODD,
                parts=(TextPart(ODD), ImagePart(url="data:image/png;base64,AA==", detail="low")),
            ),
            Message(role="tool", tool_call_id="c", parts=(TextPart("{}"),)),
        )
        reply = Message(
            role="assistant",
            reasoning=ODD,
            tool_calls=(ToolCall(id="c", name="f", arguments='{"a": "' + ODD),),
        )
        names = (ODD, "S", "s", "s ", "s" * 10_000, "", "../s", "%")
        async with aclosing(open_store()) as store:
            for n, name in enumerate(names):
                wanted = Session(id=name, owner="o", title=ODD, system=ODD, model=ODD)
                await store.open(wanted)
                await store.begin("o", name, f"stream-{n}", said, 1)
                await store.end(f"stream-{n}", "failed", reply, ODD, 2)
            for n, name in enumerate(names):
                found = await store.get("o", name)
                assert found is not None
                assert (found.id, found.title, found.system, found.model) == (name, ODD, ODD, ODD)
                (turn,) = found.turns
                assert (turn.stream, turn.error) == (f"stream-{n}", ODD)
                assert (turn.said, turn.reply) == (said, reply)

    async def test_a_megabyte(self, open_store: OpenSessions) -> None:
        big = "0123456789abcde\n" * 65_536
        async with aclosing(open_store()) as store:
            await store.open(session())
            await store.begin("alice", "s", "a", [say("user", big)], 2_000)
            await store.end("a", "done", say("assistant", big[::-1]), None, 3_000)
            found = await store.get("alice", "s")
            assert found is not None
            assert found.turns[0].said[0].text == big
            assert found.turns[0].reply == say("assistant", big[::-1])

    async def test_a_store_that_was_closed(self, open_store: OpenSessions) -> None:
        store = open_store()
        await store.open(session())
        await store.aclose()
        await store.aclose()
        await raises(UnavailableError, store.get("alice", "s"))


class KeyStoreContract:
    """The rules of the port `KeyStore`, one a test."""

    async def test_a_key_comes_back_as_it_was(self, open_store: OpenKeys) -> None:
        full = KeyRecord(
            id="key-1",
            name="full é☃",
            digest="ab" * 32,
            hint="pk-abcde",
            created=5,
            expires=2**41,
            admin=True,
            models=("llama*", "é\n"),
            dialects=("openai_*",),
            requests_per_minute=60,
            concurrent=3,
        )
        async with aclosing(open_store()) as store:
            assert list(await store.all()) == []
            await store.add(full)
            await store.add(key("plain", at=6))
            assert list(await store.all()) == [full, key("plain", at=6)]
        async with aclosing(open_store()) as store:
            assert list(await store.all()) == [full, key("plain", at=6)]

    async def test_the_oldest_first(self, open_store: OpenKeys) -> None:
        clock = count(10_000, -1)
        async with aclosing(open_store()) as store:
            for name in ("c", "b", "a"):
                await store.add(key(name, at=next(clock)))
            assert [record.name for record in await store.all()] == ["a", "b", "c"]

    async def test_a_name_means_one_key(self, open_store: OpenKeys) -> None:
        async with aclosing(open_store()) as one, aclosing(open_store()) as two:
            await one.add(key("a"))
            other = msgspec.structs.replace(key("b"), name="a")
            await raises(InvalidRequestError, two.add(other))
            await one.revoke("a", 2_000)
            await raises(InvalidRequestError, two.add(other))
            assert [record.id for record in await two.all()] == ["key-a"]

    async def test_revoking(self, open_store: OpenKeys) -> None:
        async with aclosing(open_store()) as one, aclosing(open_store()) as two:
            for name in ("a", "b"):
                await one.add(key(name))
            assert await two.revoke("nobody", 2_000) is None
            by_name = await two.revoke("a", 2_000)
            assert by_name is not None
            assert (by_name.id, by_name.revoked) == ("key-a", 2_000)
            again = await one.revoke("key-a", 9_000)
            assert again == by_name
            by_id = await one.revoke("key-b", 3_000)
            assert by_id is not None
            assert [record.revoked for record in await two.all()] == [2_000, 3_000]

    async def test_of_many_that_take_a_name_one_does(self, open_store: OpenKeys) -> None:
        async with aclosing(open_store()) as one, aclosing(open_store()) as two:
            records = [msgspec.structs.replace(key(f"k{n}"), name="same") for n in range(8)]
            done = await asyncio.gather(
                *(s.add(r) for s, r in zip([one, two] * 4, records, strict=True)),
                return_exceptions=True,
            )
            assert sum(result is None for result in done) == 1
            lost: Sequence[object] = [result for result in done if result is not None]
            assert all(isinstance(result, InvalidRequestError) for result in lost), lost
