"""Scripted personalities: what they may say, what they are given, how they end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from tests.unit.gateway.gateways import Scripted, ask, events, gateway, read, submit

from penstock.config.schema import Config as Settings
from penstock.config.schema import Defaults, Functions, Paths
from penstock.core import events as ev
from penstock.core.cards import Personality
from penstock.core.errors import (
    ConfigError,
    EngineRefusedError,
    ModalityError,
    UnsupportedParameterError,
)
from penstock.core.events import StreamId
from penstock.core.folding import fold
from penstock.core.messages import ImagePart, Message, TextPart, say
from penstock.core.ports import Head
from penstock.core.principals import LOCAL
from penstock.core.request import ImageAsk, Request, Sampling, ToolSpec
from penstock.gateway.functions import load_functions
from penstock.gateway.gateway import Gateway
from penstock.gateway.own_code import OwnCode
from penstock.gateway.workflows import load_scripts

KIT = Personality(name="Kit", conditioning="Be Kit.", scripted=True)
HEAD = "async def run_workflow(prompt, params, context):\n"


async def answers(request: Request) -> AsyncIterator[Sequence[ev.Event]]:
    """An engine that says what it was asked, in two pieces."""
    yield [ev.Progress(what="loading")]
    yield [ev.ReasoningDelta(part=0, text="hm"), ev.TextDelta(part=1, text="you said ")]
    yield [ev.TextDelta(part=1, text=request.messages[-1].text)]
    yield [ev.Usage(input_tokens=5, output_tokens=2, reasoning_tokens=1), ev.Done(reason="stop")]


def own(folder: Path, script: str, functions: str = "") -> OwnCode:
    (folder / "script.py").write_text(script)
    (folder / "more.py").write_text(functions)
    listed = Functions(modules=("more",) if functions else ())
    config = Settings(paths=Paths(functions_folder=str(folder)), functions=listed)
    scripts = load_scripts({"Kit": folder / "script.py"}, {"Kit": KIT})
    return OwnCode(load_functions(config), scripts, Defaults())


async def run(folder: Path, script: str, **more: object) -> list[ev.Event]:
    """All that a run of the script says, behind the engine above."""
    engine = Scripted(answers)
    engine.supports |= {"images"}
    made_of = own(folder, script)
    async with gateway(engine, own=made_of, personalities={"Kit": KIT}) as made:
        request = ask(personality="Kit", **more)
        return events(await read(made, await submit(made, request)))[1:]


def text(part: str) -> ev.Event:
    return ev.TextDelta(part=1, text=part)


STOP = ev.Done(reason="stop")


# ── what it may say ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("'Hi'", [text("Hi"), STOP]),
        ("''", [STOP]),
        ("7", [text("7"), STOP]),
        ("{'text': 'Hi', 'thoughts': 'hm'}",
         [ev.ReasoningDelta(part=0, text="hm"), text("Hi"), STOP]),
        ("{'type': 'text', 'data': 'Hi'}", [text("Hi"), STOP]),
        ("{'type': 'json', 'data': {'a': 1}}", [text('{"a":1}'), STOP]),
        ("{'a': 1}", [text('{"a":1}'), STOP]),
        ("[{'type': 'info', 'data': 'wait'}, {'type': 'text', 'data': 'a'},"
         " {'type': 'thoughts', 'data': 'x'}, {'type': 'text', 'data': 'b'}]",
         [ev.Progress(what="step", text="wait"), text("a"), text("b"), STOP]),
        ("{'type': 'error', 'data': 'no luck'}",
         [ev.Failed(code="internal_error", message="no luck")]),
        (r"'caf\udce9\ud83d\ude00'", [text("caf\ufffd\U0001f600"), STOP]),
        ("[{'type': 'text', 'data': 'a'}, {'type': 'error', 'data': 'b'}, 'c']",
         [text("a"), ev.Failed(code="internal_error", message="b")]),
    ],
)  # fmt: skip
async def test_what_is_returned_whole_is_a_stream_too(
    tmp_path: Path, returned: str, said: list[ev.Event]
):
    assert await run(tmp_path, f"{HEAD}    return {returned}\n") == said
    # One that is not `async` runs in a thread and may return the same.
    assert await run(tmp_path, f"{HEAD[6:]}    return {returned}\n") == said


@pytest.mark.parametrize(
    ("yielded", "said"),
    [
        (["'a'", "'b'"], [text("a"), text("b"), STOP]),
        (["{'type': 'chunk', 'content': 'a', 'thoughts': None, 'metadata': {}}",
          "{'type': 'chunk', 'content': None, 'thoughts': 'hm'}"],
         [text("a"), ev.ReasoningDelta(part=0, text="hm"), STOP]),
        (["{'type': 'info', 'content': {'step': 1}}", "'a'"],
         [ev.Progress(what="step", text='{"step":1}'), text("a"), STOP]),
        (["{'type': 'chunk', 'content': 'ab'}",
          "{'type': 'final', 'content': [{'type': 'text', 'data': 'abc', 'thoughts': 'x'}]}"],
         [text("ab"), ev.ReasoningDelta(part=0, text="x"), text("c"), STOP]),
        (["{'type': 'chunk', 'content': 'ab'}", "{'type': 'final', 'content': 'other'}"],
         [text("ab"), STOP]),
        (["{'type': 'final', 'content': [{'type': 'text', 'data': 'all'}]}"], [text("all"), STOP]),
        (["{'type': 'final', 'content': None}"], [STOP]),
        (["{'type': 'error', 'content': 'no'}", "'never said'"],
         [ev.Failed(code="internal_error", message="no")]),
        ([r"{'type': 'chunk', 'content': '\ud83d', 'thoughts': '\ud83d'}",
          r"{'type': 'info', 'content': '\ud83d'}",
          r"{'type': 'function_call', 'content': {'id': '\ud83d', 'name': '\ud83d',"
          r" 'arguments': '\ud83d'}}",
          r"{'type': 'error', 'content': '\ud83d'}"],
         [ev.ReasoningDelta(part=0, text="\ufffd"), text("\ufffd"),
          ev.Progress(what="step", text="\ufffd"),
          ev.ToolCallDelta(part=2, call="\ufffd", name="\ufffd", arguments="\ufffd"),
          ev.Failed(code="internal_error", message="\ufffd")]),
        (["{'type': 'function_call', 'content': {'id': 'c', 'name': 'f', 'arguments': {'x': 1}}}"],
         [ev.ToolCallDelta(part=2, call="c", name="f", arguments='{"x":1}'),
          ev.Done(reason="tool_calls")]),
    ],
)  # fmt: skip
async def test_what_is_yielded_comes_as_it_is_yielded(
    tmp_path: Path, yielded: list[str], said: list[ev.Event]
):
    body = "".join(f"    yield {value}\n" for value in yielded)
    assert await run(tmp_path, HEAD + body) == said


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return None", "returned nothing"),
        ("return []", "said nothing"),
        ("return [{'type': 'odd', 'data': 1}]", "said nothing"),
        ("return {'image_base64': 'aGk='}", "made image, which can't be told yet"),
        ("return {'type': 'audio', 'data': 'aGk='}", "made audio"),
        ("yield {'type': 'odd', 'content': 1}", "a chunk of the type 'odd'"),
        ("yield {'type': 'function_call', 'content': 'f'}", "a function_call without a name"),
        ("raise ValueError('the secret')", "failed: ValueError"),
        ("raise SystemExit('the secret')", "failed: SystemExit"),
        ("raise GeneratorExit('the secret')", "failed: GeneratorExit"),
        ("import asyncio; raise asyncio.CancelledError('the secret')", "failed: CancelledError"),
        ("return {'type': 'json', 'data': object()}", "internal error"),
    ],
)
async def test_what_cannot_be_told_fails_the_run_and_says_why(
    tmp_path: Path, body: str, why: str, caplog: pytest.LogCaptureFixture
):
    # One that is not `async` has a thread, and can't yield.
    for head in (HEAD, HEAD[6:])[: 1 if "yield" in body else 2]:
        caplog.clear()
        (failed,) = await run(tmp_path, f"{head}    {body}\n")
        assert isinstance(failed, ev.Failed)
        assert failed.code == "internal_error"
        assert why in failed.message
        assert "secret" not in failed.message
        if "secret" in body:
            assert "the secret" in caplog.text  # who runs the server can see it


async def test_one_that_yields_without_being_async_is_told_so(tmp_path: Path):
    (failed,) = await run(tmp_path, f"{HEAD[6:]}    yield 'a'\n")
    assert isinstance(failed, ev.Failed)
    assert "yields without being async" in failed.message


async def test_what_was_said_before_a_failure_stays(tmp_path: Path):
    said = await run(tmp_path, f"{HEAD}    yield 'a'\n    raise KeyError('x')\n")
    assert said[0] == text("a")
    assert isinstance(said[1], ev.Failed)


# ── what it is given ─────────────────────────────────────────────────────────────────────────────

SHOWS = HEAD + (
    "    c = context\n"
    "    return [{'type': 'text', 'data': repr(value)} for value in (\n"
    "        prompt, params, [(i.type, i.role, i.data) for i in c['input_data']],\n"
    "        c['personality'].conditioning, c['config'], c['request_info']['generation_type'],\n"
    "        c['request'].parameters, c['request'].stream, len(c['request_info']['request_id']),\n"
    "        sorted(c))]\n"
)


async def test_prompt_parameters_and_context(tmp_path: Path):
    messages = (
        say("system", "Context."),
        say("user", "First"),
        say("assistant", "Aha"),
        Message(role="user", parts=(TextPart("Second"), ImagePart(url="data:,x"))),
    )
    said = await run(
        tmp_path, SHOWS, messages=messages, sampling=Sampling(temperature=0.5, stop=("X",))
    )
    shown = [event.text for event in said if isinstance(event, ev.TextDelta)]
    parameters = {
        "temperature": 0.5,
        "stop": ["X"],
        "system_message": "Context.\n\nBe Kit.",
    }
    defaults = {name: getattr(Defaults(), name) for name in Defaults.__struct_fields__}
    assert shown == [
        repr(value)
        for value in (
            "Second",
            parameters,
            [
                ("text", "system_context", "Context.\n\nBe Kit."),
                ("text", "user_prompt", "First"),
                ("text", "assistant", "Aha"),
                ("text", "user_prompt", "Second"),
                ("image", "input_image", "data:,x"),
            ],
            "Be Kit.",
            {"defaults": defaults},
            "ttt",
            parameters,
            True,
            16,
            [
                "binding",
                "config",
                "function_manager",
                "input_data",
                "personality",
                "request",
                "request_info",
            ],
        )
    ]


async def test_its_binding_is_the_gateways_engine(tmp_path: Path):
    said = await run(
        tmp_path,
        HEAD
        + "    b = context['binding']\n"
        + "    (item,) = await b.generate('one', {'system_message': 'S', 'seed': 1, 'odd': 2})\n"
        + "    yield item['data'] + '|' + item['thoughts'] + '|' + item['metadata']['model_used']\n"
        + "    async for chunk in b.generate_stream('two', params):\n"
        + "        yield chunk\n",
    )
    reply = fold([ev.Entry(ev.Seq(n), 0, event) for n, event in enumerate(said)])
    assert reply.first.text == "you said one|hm|myou said two"
    assert reply.first.reasoning == "hm"
    assert reply.usage == ev.Usage(input_tokens=10, output_tokens=4, reasoning_tokens=2)
    assert ev.Progress(what="step", text="loading") in said


async def test_what_its_binding_is_asked(tmp_path: Path):
    engine = Scripted(answers)
    script = HEAD + (
        "    return await context['binding'].generate(\n"
        "        prompt='p', params={'system_message': 'S', 'temperature': 0.1, 'seed': 1,\n"
        "        'stop': 'X', 'odd': 2}, request_info=context['request_info'])\n"
    )
    async with gateway(engine, own=own(tmp_path, script), personalities={"Kit": KIT}) as made:
        request = ask(personality="Kit", sampling=Sampling(temperature=0.9))
        await read(made, await submit(made, request))
    (asked,) = engine.asked
    assert asked.messages == (say("system", "S"), say("user", "p"))
    assert asked.sampling == Sampling(temperature=0.1, stop=("X",))  # a seed is not for this engine
    assert (asked.model, asked.personality) == ("m", None)


async def test_pictures_go_along(tmp_path: Path):
    engine = Scripted(answers)
    script = HEAD + (
        "    b, items = context['binding'], context['input_data']\n"
        "    pictures = [item for item in items if item.type == 'image']\n"
        "    await b.generate('a', {}, multimodal_data=pictures)\n"
        "    pictures = [{'type': 'image', 'data': 'aGk=', 'mime_type': 'image/gif'}]\n"
        "    async for chunk in b.generate_stream('b', multimodal_data=pictures):\n"
        "        yield chunk\n"
    )
    parts = own(tmp_path, script)
    asked = ask(
        personality="Kit", messages=(Message(role="user", parts=(ImagePart(url="data:,x"),)),)
    )
    async with gateway(engine, own=parts, personalities={"Kit": KIT}) as made:
        with pytest.raises(UnsupportedParameterError):
            await submit(made, asked)
        engine.supports |= {"images"}
        await read(made, await submit(made, asked))
        assert [one.messages[0].parts for one in engine.asked] == [
            (TextPart("a"), ImagePart(url="data:,x")),
            (TextPart("b"), ImagePart(url="data:image/gif;base64,aGk=")),
        ]
        engine.supports -= {"images"}
        said = events(await read(made, await submit(made, ask(personality="Kit"))))
    # The client sent none: here it is the script that asks for what the engine lacks.
    assert said[-1] == ev.Failed(
        code="internal_error",
        message="a script asked too much: the binding 'b0' does not support images (input_data)",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "['a']",
        "'a', {'temperature': 'hot'}",
        "'a', {'system_message': 3}",
        "'a', multimodal_data=[{'type': 'text', 'data': 'b'}]",
        "'a', multimodal_data=[{'type': 'image', 'data': b'b'}]",
        "'a', multimodal_data=context['input_data']",
        "'a', multimodal_data=['aGk=']",
    ],
)
async def test_what_a_script_asks_wrongly_is_no_fault_of_the_clients(
    tmp_path: Path, arguments: str
):
    for method in ("await context['binding'].generate", "context['binding'].generate_stream"):
        (failed,) = await run(tmp_path, f"{HEAD}    {method}({arguments})\n    return 'a'\n")
        assert isinstance(failed, ev.Failed)
        assert failed.code == "internal_error"
        assert failed.message != "internal error"


async def test_an_error_of_its_engine_is_told_as_it_is(tmp_path: Path):
    async def refuses(request: Request) -> AsyncIterator[Sequence[ev.Event]]:
        yield []
        raise EngineRefusedError("the upstream says no")

    script = f"{HEAD}    return await context['binding'].generate(prompt)\n"
    parts = own(tmp_path, script)
    async with gateway(Scripted(refuses), own=parts, personalities={"Kit": KIT}) as made:
        said = events(await read(made, await submit(made, ask(personality="Kit"))))
    assert said[-1] == ev.Failed(code="engine_refused", message="the upstream says no")


async def test_it_may_call_the_servers_functions(tmp_path: Path):
    script = HEAD + (
        "    functions = context['function_manager']\n"
        "    yield str(functions.list_functions())\n"
        "    yield str(await functions.execute_function('more.add', {'a': 2, 'b': 3, 'x': 1}))\n"
        "    yield str(await functions.execute_function('more.add', {'a': 2}))\n"
    )
    parts = own(tmp_path, script, "async def add(a: int, b: int): return a + b\n")
    async with gateway(Scripted(answers), own=parts, personalities={"Kit": KIT}) as made:
        said = events(await read(made, await submit(made, ask(personality="Kit"))))
    shown = [event.text for event in said if isinstance(event, ev.TextDelta)]
    assert shown[:2] == ["['more.add']", "(True, 5)"]
    assert shown[2].startswith("(False, ")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": (ToolSpec(name="t"),)}, "parameters.tools"),
        ({"functions": ("a.b",)}, "functions"),
    ],
)
async def test_tools_are_refused(tmp_path: Path, more: dict[str, object], param: str):
    with pytest.raises(UnsupportedParameterError) as caught:
        await run(tmp_path, f"{HEAD}    return 'a'\n", **more)
    assert caught.value.param == param


async def test_pictures_are_not_what_a_script_makes(tmp_path: Path):
    engine = Scripted(answers)
    engine.outputs = ("text", "image")
    parts = own(tmp_path, f"{HEAD}    return 'a'\n")
    async with gateway(engine, own=parts, personalities={"Kit": KIT}) as made:
        with pytest.raises(ModalityError, match="'Kit' is a script, which makes no image") as found:
            await submit(made, ask(personality="Kit", modality="image", image=ImageAsk()))
    assert found.value.param == "generation_type"


# ── cancelling and loading ───────────────────────────────────────────────────────────────────────


async def endless(_request: Request) -> AsyncIterator[Sequence[ev.Event]]:
    while True:
        yield [ev.TextDelta(part=1, text="x")]
        await asyncio.sleep(0.001)


async def first_text(made: Gateway, head: Head) -> None:
    """Waits for it."""
    watch = made.watch(StreamId(head.stream), ev.BEGINNING)
    async with asyncio.timeout(10):
        while not any(isinstance(e.event, ev.TextDelta) for e in await watch.take()):
            pass
    watch.close()


async def test_a_cancel_stops_it_and_what_it_had_begun(tmp_path: Path):
    script = HEAD + (
        "    chunks = context['binding'].generate_stream(prompt)\n"
        "    async for chunk in chunks:\n"
        "        break\n"
        "    yield 'begun'\n"
        "    import asyncio\n"
        "    await asyncio.sleep(60)\n"
    )
    engine = Scripted(endless)
    async with gateway(engine, own=own(tmp_path, script), personalities={"Kit": KIT}) as made:
        head = await submit(made, ask(personality="Kit"))
        await first_text(made, head)
        assert not engine.stopped.is_set()
        assert await made.cancel(StreamId(head.stream), LOCAL)
        assert engine.stopped.is_set()
        assert events(await read(made, head))[-1] == ev.Done(reason="cancelled")


@pytest.mark.parametrize("asks", ["b.generate('a')", "read(b.generate_stream('a'))"])
@pytest.mark.parametrize("cancelled", [True, False])
async def test_what_tasks_of_its_own_asked_ends_with_the_run(
    tmp_path: Path, asks: str, cancelled: bool
):
    script = (
        "import asyncio\n"
        "async def read(chunks):\n    async for chunk in chunks:\n        pass\n"
        f"{HEAD}    b = context['binding']\n"
        f"    task = asyncio.ensure_future({asks})\n"
        "    await asyncio.sleep(0.01)\n"
        "    yield 'begun'\n"
        f"    await asyncio.sleep({60 if cancelled else 0})\n"
    )
    engine = Scripted(endless)
    async with gateway(engine, own=own(tmp_path, script), personalities={"Kit": KIT}) as made:
        head = await submit(made, ask(personality="Kit"))
        await first_text(made, head)
        if cancelled:
            assert await made.cancel(StreamId(head.stream), LOCAL)
        end = ev.Done(reason="cancelled" if cancelled else "stop")
        assert events(await read(made, head))[-1] == end
        async with asyncio.timeout(10):
            await engine.stopped.wait()
        assert len(engine.asked) == 1


async def test_a_cancel_does_not_wait_for_a_thread(tmp_path: Path):
    script = (
        "import threading\nlet_go = threading.Event()\nbegun = threading.Event()\n"
        "def run_workflow(prompt, params, context):\n"
        "    begun.set()\n    let_go.wait(20)\n    return 'late'\n"
    )
    parts = own(tmp_path, script)
    module = parts._scripts["Kit"].run.__globals__
    begun, let_go = module["begun"], module["let_go"]
    assert isinstance(begun, threading.Event)
    async with gateway(Scripted(answers), own=parts, personalities={"Kit": KIT}) as made:
        head = await submit(made, ask(personality="Kit"))
        async with asyncio.timeout(10):
            while not begun.is_set():
                await asyncio.sleep(0.001)
            assert await made.cancel(StreamId(head.stream), LOCAL)
            assert events(await read(made, head))[1:] == [ev.Done(reason="cancelled")]
            let_go.set()
            while parts._threads._busy:
                await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("script", "said"),
    [("1/0", "ZeroDivisionError"), ("x = 1", "has no run_workflow"), ("import nowhere", "nowhere")],
)
def test_one_that_cannot_be_loaded_says_why(tmp_path: Path, script: str, said: str):
    with pytest.raises(ConfigError, match=said):
        own(tmp_path, script)
