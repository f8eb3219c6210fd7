"""Tokens, vectors, raw texts, descriptions and the model folder of the embedded engine."""

import asyncio
import math
import shutil
import struct
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.integration.embedded import DEMO, GREEDY, answer, ask, events, reply, running

from penstock.core import events as ev
from penstock.core.errors import (
    InvalidRequestError,
    ModalityError,
    UnknownModelError,
)
from penstock.core.messages import say
from penstock.core.ports import Describer, Embedder, Tokenizer
from penstock.core.queries import EmbedAsk, TokensAsk
from penstock.core.request import ReplyFormat, Request, Sampling, ToolSpec
from penstock.engines import _llama_facts, llamacpp
from penstock.engines.llamacpp import Config
from penstock.wire import json

FIM = {"fim_pre": 1000, "fim_suf": 1001, "fim_mid": 1002}


def raw(text: str, sampling: Sampling = GREEDY) -> Request:
    return Request(messages=(say("user", text),), sampling=sampling, raw=True)


def with_keys(data: bytes, *keys: bytes) -> bytes:
    """A GGUF file with more keys in its header; the tensors stay as they are."""
    tensors, count = struct.unpack_from("<QQ", data, 8)
    end = _end_of_header(data, tensors)
    head = data[:8] + struct.pack("<QQ", tensors, count + len(keys)) + b"".join(keys)
    head += data[24:end]
    return head + b"\0" * (-len(head) % 32) + data[-(-end // 32) * 32 :]


def _end_of_header(data: bytes, tensors: int) -> int:
    """Behind the last entry of the tensor table, which is where the first name leads to."""
    at = data.index(struct.pack("<Q", 17) + b"token_embd.weight")
    for _ in range(tensors):
        (length,) = struct.unpack_from("<Q", data, at)
        (dimensions,) = struct.unpack_from("<I", data, at + 8 + length)
        at += 8 + length + 4 + 8 * dimensions + 4 + 8
    return at


def uint(name: str, value: int) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<II", 4, value)


async def test_it_has_all_the_optional_parts() -> None:
    async with running() as engine:
        assert isinstance(engine, Tokenizer)
        assert isinstance(engine, Embedder)
        assert isinstance(engine, Describer)


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "Hello wörld", "a\nb  c", "日本語 🎉", "<|im_start|>user\n"])
async def test_tokens_come_back_as_the_text(text: str) -> None:
    async with running() as engine:
        tokens = tuple(await engine.tokenize(TokensAsk(text=text)))
        assert await engine.detokenize(TokensAsk(tokens=tokens)) == text
    assert bool(tokens) == bool(text)


async def test_the_tokens_are_those_that_a_run_counts() -> None:
    text = "The quick brown fox jumps over the lazy dog"
    async with running() as engine:
        tokens = await engine.tokenize(TokensAsk(text=text))
        found = await reply(engine, raw(text, Sampling(max_tokens=1)))
    assert found.usage is not None
    assert found.usage.input_tokens == len(tokens)


async def test_ends_are_added_where_asked_for() -> None:
    known = await asyncio.to_thread(_llama_facts.read, DEMO)
    async with running() as engine:
        plain = await engine.tokenize(TokensAsk(text="Hello"))
        both = await engine.tokenize(TokensAsk(text="Hello", add_bos=True, add_eos=True))
    assert both == [known.bos, *plain, known.eos]


@pytest.mark.parametrize("token", [-1, 4096, 10**30])
async def test_an_id_that_there_is_not(token: int) -> None:
    async with running() as engine:
        with pytest.raises(InvalidRequestError) as caught:
            await engine.detokenize(TokensAsk(tokens=(5, token)))
    assert caught.value.param == "tokens[1]"


async def test_half_a_character_is_text_too() -> None:
    async with running() as engine:
        tokens = await engine.tokenize(TokensAsk(text="🎉"))
        halves = [await engine.detokenize(TokensAsk(tokens=(token,))) for token in tokens]
    assert len(halves) > 1
    assert all("\N{REPLACEMENT CHARACTER}" in half for half in halves)


async def test_an_unknown_model_has_no_tokens() -> None:
    async with running() as engine:
        with pytest.raises(UnknownModelError):
            await engine.tokenize(TokensAsk(model="other", text="x"))


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────


async def test_vectors_have_length_one_and_mean_something() -> None:
    texts = ("a cat sat on the mat", "a cat sat on a mat", "Python has a global interpreter lock")
    async with running() as engine:
        found = await engine.embed(EmbedAsk(texts=texts))
        counts = [len(await engine.tokenize(TokensAsk(text=text))) for text in texts]
        again = await engine.embed(EmbedAsk(texts=texts[2:]))
    assert found.input_tokens == sum(counts)
    assert [len(vector) for vector in found.vectors] == [256] * 3
    for vector in found.vectors:
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)
    near = math.dist(found.vectors[0], found.vectors[1])
    assert near < math.dist(found.vectors[0], found.vectors[2])
    assert again.vectors[0] == pytest.approx(found.vectors[2], abs=1e-3)


async def test_the_order_is_kept_beyond_one_call() -> None:
    texts = tuple(f"number {n}" for n in range(19))
    async with running() as engine:
        together = await engine.embed(EmbedAsk(texts=texts))
        for n in (0, 8, 18):
            alone = await engine.embed(EmbedAsk(texts=(texts[n],)))
            assert alone.vectors[0] == pytest.approx(together.vectors[n], abs=1e-3)


async def test_fewer_dimensions() -> None:
    async with running() as engine:
        whole = (await engine.embed(EmbedAsk(texts=("hello",)))).vectors[0]
        short = (await engine.embed(EmbedAsk(texts=("hello",), dimensions=16))).vectors[0]
        with pytest.raises(InvalidRequestError) as caught:
            await engine.embed(EmbedAsk(texts=("hello",), dimensions=257))
    assert caught.value.param == "dimensions"
    length = math.hypot(*whole[:16])
    assert short == pytest.approx([value / length for value in whole[:16]], abs=1e-4)
    assert math.hypot(*short) == pytest.approx(1, abs=1e-6)


async def test_a_text_that_is_too_long() -> None:
    long = "word " * 2000
    async with running() as engine:
        with pytest.raises(InvalidRequestError) as caught:
            await engine.embed(EmbedAsk(texts=("x", long), param="prompt"))
        assert caught.value.param == "prompt[1]"
        cut = await engine.embed(EmbedAsk(texts=(long,), truncate=True))
    assert cut.input_tokens == 1024


async def test_nothing_to_embed() -> None:
    async with running() as engine:
        with pytest.raises(InvalidRequestError) as caught:
            await engine.embed(EmbedAsk(texts=("",)))
        assert (await engine.embed(EmbedAsk())).vectors == ()
    assert caught.value.param == "input"


async def test_vectors_while_it_talks() -> None:
    async with running() as engine:
        asks = [engine.embed(EmbedAsk(texts=(f"text {n}",))) for n in range(6)]
        found, said = await asyncio.gather(
            asyncio.gather(*asks), answer(engine, ask("Tell me a story"))
        )
    assert [len(one.vectors) for one in found] == [1] * 6
    assert said.text


# ── raw ──────────────────────────────────────────────────────────────────────────────────────────


async def test_raw_is_continued_without_a_template() -> None:
    async with running() as engine:
        templated = await reply(engine, ask("Once upon a time"))
        plain = await reply(engine, raw("Once upon a time", Sampling(temperature=0, max_tokens=8)))
    assert plain.usage is not None
    assert templated.usage is not None
    assert plain.usage.input_tokens < templated.usage.input_tokens
    assert 0 < plain.usage.output_tokens <= 8


async def test_raw_with_the_template_written_out_is_the_same_run() -> None:
    written = "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"
    async with running() as engine:
        known = await answer(engine, ask("Who are you?"))
        assert (await answer(engine, raw(written))).text == known.text


async def test_raw_stops_limits_and_counts() -> None:
    written = "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"
    async with running() as engine:
        whole = (await answer(engine, raw(written))).text
        stop = whole.split()[3]
        stopped = await answer(engine, raw(written, Sampling(temperature=0, stop=(stop,))))
        short = await reply(engine, raw(written, Sampling(temperature=0, max_tokens=3)))
    assert stopped.text == whole.partition(stop)[0]
    assert short.first.reason == "length"
    assert short.usage is not None
    assert short.usage.output_tokens == 3


async def test_raw_logprobs_have_the_shape_of_chat() -> None:
    sampling = Sampling(temperature=0, max_tokens=4, logprobs=True, top_logprobs=2)
    async with running() as engine:
        found = await answer(engine, raw("Once upon a", sampling))
    tokens = [
        token
        for array in found.logprobs
        for token in json.decode(bytes(array), list[dict[str, object]], InvalidRequestError)
    ]
    assert "".join(str(token["token"]) for token in tokens) == found.text
    for token in tokens:
        assert {"token", "logprob", "bytes", "top_logprobs"} <= set(token)
        assert isinstance(token["top_logprobs"], list)
        assert len(token["top_logprobs"]) == 2


async def test_raw_obeys_a_format() -> None:
    schema = json.raw('{"enum":["seven"]}')
    wanted = ReplyFormat(kind="json_schema", schema=schema)
    async with running() as engine:
        found = await answer(engine, replace(raw("JSON:"), reply_format=wanted))
    assert json.decode(found.text.encode(), str, InvalidRequestError) == "seven"


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (replace(raw("x"), tools=(ToolSpec(name="a"),)), "tools"),
        (replace(raw("x"), effort="high"), "reasoning_effort"),
        (replace(raw("x"), suffix="y"), "suffix"),
        (raw(""), "prompt"),
        (raw("word " * 2000), "prompt"),
        (Request(messages=(say("user", "a"), say("user", "b")), raw=True), "messages"),
    ],
)
async def test_what_raw_can_not_have(request_: Request, param: str) -> None:
    async with running() as engine:
        with pytest.raises(InvalidRequestError) as caught:
            await events(engine, request_)
    assert caught.value.param == param


async def test_a_cancelled_raw_run_gives_its_slot_back() -> None:
    async with running(Config(parallel=1)) as engine:
        stream = engine.stream(raw("Once", Sampling(max_tokens=900, temperature=1)))
        async for batch in stream:
            if any(isinstance(event, ev.TextDelta) for event in batch):
                break
        await stream.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):
            assert (await answer(engine, ask("Hello!"))).text


# ── what is known ────────────────────────────────────────────────────────────────────────────────


async def test_the_description_is_of_the_file() -> None:
    async with running() as engine:
        found = await engine.describe("penstock-demo")
        with pytest.raises(UnknownModelError):
            await engine.describe("other")
    assert found.card.name == "penstock-demo"
    assert found.card.size == DEMO.stat().st_size
    assert "<|im_start|>" in found.template
    assert found.license == "Apache-2.0"
    assert found.capabilities == ("completion", "tools", "thinking")
    assert found.metadata["general.architecture"] == "llama"
    assert found.metadata["llama.context_length"] == 1024
    assert found.metadata["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert found.metadata["tokenizer.ggml.add_bos_token"] is False
    assert "tokenizer.chat_template" not in found.metadata


async def test_loading_and_unloading() -> None:
    async with running(Config(load="first_use", parallel=2)) as engine:
        assert await engine.loaded() == []
        await engine.load("penstock-demo")
        (found,) = await engine.loaded()
        assert found.card.name == "penstock-demo"
        assert found.context == 1024
        # 6 blocks, 4 heads of 32 for keys and values, two bytes each, two conversations.
        assert found.size == DEMO.stat().st_size + 2 * 1024 * 6 * 4 * (32 + 32) * 2
        await engine.embed(EmbedAsk(texts=("x",)))
        (more,) = await engine.loaded()
        assert more.size > found.size
        await engine.unload("penstock-demo")
        assert await engine.loaded() == []
        assert (await answer(engine, ask("Hello!"))).text


async def test_unloading_waits_for_what_runs() -> None:
    async with running() as engine:
        said, _ = await asyncio.gather(
            answer(engine, ask("Tell me a story")), engine.unload("penstock-demo")
        )
        assert said.reason == "stop"
        assert await engine.loaded() == []


# ── a folder whose files come and go ─────────────────────────────────────────────────────────────


def in_folder(folder: Path) -> Config:
    return Config(models_folder=str(folder), max_loaded=2)


async def names(engine: llamacpp.Engine) -> list[str]:
    return [card.name for card in await engine.models()]


async def test_a_file_that_came_is_a_model_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    async with running(in_folder(folder)) as engine:
        assert await names(engine) == ["penstock-demo"]
        await asyncio.to_thread(folder.mkdir)
        await asyncio.to_thread(shutil.copy, DEMO, folder / "pulled.gguf")
        asked = Request(model="pulled", messages=(say("user", "Hello!"),), sampling=GREEDY)
        assert (await answer(engine, asked)).text
        assert await names(engine) == ["penstock-demo", "pulled"]
        assert len(await engine.loaded()) == 2


async def test_a_file_that_went_is_none_and_is_let_go(tmp_path: Path) -> None:
    await asyncio.to_thread(shutil.copy, DEMO, tmp_path / "pulled.gguf")
    async with running(in_folder(tmp_path)) as engine:
        await engine.load("pulled")
        await asyncio.to_thread((tmp_path / "pulled.gguf").unlink)
        assert await names(engine) == ["penstock-demo"]
        assert [one.card.name for one in await engine.loaded()] == ["penstock-demo"]
        with pytest.raises(UnknownModelError):
            await events(engine, Request(model="pulled", messages=(say("user", "x"),)))


async def test_a_run_outlives_its_file(tmp_path: Path) -> None:
    await asyncio.to_thread(shutil.copy, DEMO, tmp_path / "pulled.gguf")
    async with running(in_folder(tmp_path)) as engine:
        asked = Request(model="pulled", messages=(say("user", "Tell me a story"),), sampling=GREEDY)
        run = asyncio.ensure_future(answer(engine, asked))
        while not any(one.card.name == "pulled" for one in await engine.loaded()):
            await asyncio.sleep(0.005)
        await asyncio.to_thread((tmp_path / "pulled.gguf").unlink)
        await names(engine)
        assert (await run).reason == "stop"
        async with asyncio.timeout(10):
            while len(await engine.loaded()) > 1:
                await asyncio.sleep(0.005)


async def test_broken_files_and_other_files_are_no_models(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "half.gguf").write_bytes, DEMO.read_bytes()[:10_000])
    await asyncio.to_thread((tmp_path / "part.partial").write_bytes, b"x")
    async with running(in_folder(tmp_path)) as engine:
        assert await names(engine) == ["penstock-demo"]


async def test_a_gap_is_filled_where_the_model_has_tokens_for_it(tmp_path: Path) -> None:
    keys = [uint(f"tokenizer.ggml.{name}_token_id", n) for name, n in FIM.items()]
    await asyncio.to_thread(
        (tmp_path / "fill.gguf").write_bytes, with_keys(DEMO.read_bytes(), *keys)
    )
    async with running(Config(path=str(tmp_path))) as engine:
        assert "insert" in (await engine.describe("fill")).capabilities
        found = await reply(engine, replace(raw("def f(", Sampling(max_tokens=3)), suffix="return"))
        plain = await engine.tokenize(TokensAsk(text="def f("))
        after = await engine.tokenize(TokensAsk(text="return"))
    assert found.usage is not None
    assert found.usage.input_tokens == len(plain) + len(after) + 3


async def test_a_model_made_for_vectors_says_nothing(tmp_path: Path) -> None:
    data = with_keys(DEMO.read_bytes(), uint("llama.pooling_type", 1))
    await asyncio.to_thread((tmp_path / "vectors.gguf").write_bytes, data)
    async with running(Config(path=str(tmp_path))) as engine:
        assert (await engine.describe("vectors")).capabilities == ("embedding",)
        assert len((await engine.embed(EmbedAsk(texts=("x",)))).vectors[0]) == 256
        assert await engine.tokenize(TokensAsk(text="x"))
        with pytest.raises(ModalityError):
            await events(engine, ask("Hello!"))
