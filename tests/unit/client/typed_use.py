"""How a program uses the clients; two type checkers say what they see (`test_public_types.py`)."""

from collections.abc import Sequence
from typing import assert_type

import penstock
from penstock import AsyncClient, Client, Event, Reply
from penstock.client.sync import Line, Metrics, Picture
from penstock.core.cards import ModelCard
from penstock.core.events import Entry, Progress


def blocking(client: Client) -> None:
    with client.stream("Hi", model="m", temperature=0.2, stop=["x"]) as stream:
        for text in stream.text():
            assert_type(text, str)
        for event in stream:
            assert_type(event, Event)
        for entry in stream.replay(speed=2).entries():
            assert_type(entry, Entry)
        assert_type(stream.id, str)
        assert_type(stream.metrics, Metrics)
        assert_type(stream.cancel(), bool)
    assert_type(client.generate("Hi"), Reply)
    assert_type(client.chat([{"role": "user", "content": "Hi"}]), Reply)
    assert_type(client.session("s").history(), Sequence[Line])
    assert_type(client.models(), Sequence[ModelCard])
    with client.image("x", size=(1, 2)) as drawing:
        for progress in drawing:
            assert_type(progress, Progress)
        assert_type(drawing.result(), Sequence[Picture])
    with penstock.open("llamacpp:") as local:
        assert_type(local, Client)


async def awaiting(client: AsyncClient) -> None:
    async with client.stream("Hi") as stream:
        async for text in stream.text():
            assert_type(text, str)
        async for event in stream:
            assert_type(event, Event)
        assert_type(await stream.result(), Reply)
    assert_type(await client.generate("Hi"), Reply)
    assert_type(await client.session("s").generate("Hi"), Reply)
    async with client.image("x") as drawing:
        async for progress in drawing:
            assert_type(progress, Progress)
    async with penstock.open("llamacpp:") as local:
        assert_type(local, AsyncClient)
