"""The model store against a real server on loopback that speaks as the hub does."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest
from tests.integration.embedded import DEMO
from tests.integration.hub import Hub
from tests.integration.splitting import split

from penstock import compose
from penstock.config.schema import Config, Paths, Streams
from penstock.core import events as ev
from penstock.core.errors import (
    ConfigError,
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    UnavailableError,
    UnknownModelError,
    UnsupportedParameterError,
)
from penstock.core.request import Fetch, Request
from penstock.engines.llamacpp import check_file
from penstock.stores import _pulling
from penstock.stores._download import Patience
from penstock.stores._folder import Folder
from penstock.stores.models import Models

CONTENT = DEMO.read_bytes()
SHA = hashlib.sha256(CONTENT).hexdigest()
NAME = "hf.co/acme/demo:Q8_0"
QUICK = Patience(connect=2, silence=0.5, tries=2, pause=0.01)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    found = Hub({"demo-Q8_0.gguf": CONTENT, "demo-F16.gguf": CONTENT + b"\0" * 64})
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    try:
        yield found
    finally:
        found.close()


def models(folder: Path, **more: object) -> Models:
    return Models(
        folder,
        check=check_file,
        embedded={"penstock-demo": DEMO},
        patience=QUICK,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def store(tmp_path: Path) -> Models:
    return models(tmp_path / "models")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetching(store: Models, request: Request) -> AsyncGenerator[list[ev.Event]]:
    return cast("AsyncGenerator[list[ev.Event]]", store.fetch(request))


async def pull(store: Models, name: str = NAME) -> list[ev.Progress | ev.Done]:
    return await run(store, Request(model=name, task="pull"))


async def create(store: Models, name: str, work: Fetch) -> list[ev.Progress | ev.Done]:
    return await run(store, Request(model=name, task="create", work=work))


async def run(store: Models, request: Request) -> list[ev.Progress | ev.Done]:
    async with aclosing(fetching(store, request)) as batches:
        return [event async for batch in batches for event in batch]  # type: ignore[misc]


def lines(events: list[ev.Progress | ev.Done]) -> list[str]:
    found: list[str] = []
    for event in events:
        text = event.text if isinstance(event, ev.Progress) else "done"
        if text not in found:
            found.append(text)
    return found


def start(header: str | None) -> int:
    assert header is not None
    return int(header.removeprefix("bytes=").removesuffix("-"))


def files(store: Models) -> list[str]:
    return [path.name for path in Path(store.folder).iterdir()]


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def part(store: Models) -> Path:
    return Path(store.folder).parent / "parts" / f"{SHA}.part"


async def test_a_pull_tells_what_ollama_tells_and_leaves_a_whole_private_file(
    store: Models, hub: Hub
):
    events = await pull(store)
    assert lines(events) == [
        "pulling manifest",
        f"pulling {SHA[:12]}",
        "verifying sha256 digest",
        "writing manifest",
        "success",
        "done",
    ]
    told = [e for e in events if isinstance(e, ev.Progress) and e.of]
    assert {e.digest for e in told} == {f"sha256:{SHA}"}
    assert told[-1].at == told[-1].of == len(CONTENT)
    (model,) = await store.models()
    assert (model.name, model.digest, model.size) == (NAME, SHA, len(CONTENT))
    file = Path(store.folder) / model.file
    assert file.read_bytes() == CONTENT
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert not part(store).exists()


async def test_a_second_pull_fetches_no_byte(store: Models, hub: Hub):
    await pull(store)
    await pull(store)
    assert len(hub.ranges) == 1


async def test_a_cut_is_gone_on_from_within_the_same_pull(store: Models, hub: Hub):
    hub.cut_after = 1_100_000
    await pull(store)
    first, second = hub.ranges
    assert first is None
    # What lay in the socket's buffer when it broke may be asked for again.
    assert 1_000_000 < start(second) <= 1_100_000
    assert (Path(store.folder) / f"{SHA}.gguf").read_bytes() == CONTENT


async def test_a_pull_that_failed_goes_on_next_time(store: Models, hub: Hub):
    hub.cut_after, hub.cuts = 1_100_000, 99
    with pytest.raises(EngineError, match="bytes are kept, pull again"):
        await pull(store)
    kept = part(store).stat().st_size
    assert 1_000_000 < kept <= 1_100_000
    assert await store.models() == ()
    hub.cut_after = None
    hub.ranges.clear()
    await pull(models(Path(store.folder).parent))
    assert hub.ranges == [f"bytes={kept}-"]
    assert (Path(store.folder) / f"{SHA}.gguf").read_bytes() == CONTENT


async def test_a_changed_entity_tag_starts_anew(store: Models, hub: Hub):
    hub.cut_after, hub.cuts = 1_100_000, 99
    with pytest.raises(EngineError):
        await pull(store)
    hub.cut_after, hub.etag = None, '"v2"'
    hub.ranges.clear()
    await pull(store)
    assert 1_000_000 < start(hub.ranges[0]) <= 1_100_000
    assert (Path(store.folder) / f"{SHA}.gguf").read_bytes() == CONTENT


async def test_a_wrong_checksum_deletes_the_part(store: Models, hub: Hub):
    hub.sent = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(EngineRefusedError, match="checksum mismatch"):
        await pull(store)
    assert not part(store).exists()
    assert await store.models() == ()
    hub.sent = None
    await pull(store)


async def test_too_many_bytes_are_refused(store: Models, hub: Hub):
    hub.sent = CONTENT + b"more"
    with pytest.raises(EngineRefusedError, match="more than the file has"):
        await pull(store)
    assert not part(store).exists()


async def test_a_stalled_server_is_an_error_in_time(store: Models, hub: Hub):
    hub.stall_after = 65_536
    with pytest.raises(EngineTimeoutError, match="silent"):
        await pull(store)
    assert part(store).stat().st_size == 65_536


async def test_closing_keeps_what_was_fetched(store: Models, hub: Hub):
    hub.pace = 0.05
    async with aclosing(fetching(store, Request(model=NAME, task="pull"))) as batches:
        async for batch in batches:
            event = batch[0]
            if isinstance(event, ev.Progress) and 0 < event.at < event.of:
                break
    kept = part(store).stat().st_size
    assert 0 < kept < len(CONTENT)
    hub.pace = 0.0
    hub.ranges.clear()
    await pull(store)
    assert hub.ranges == [f"bytes={kept}-"]


async def test_who_waits_for_anothers_pull_and_leaves_holds_nothing(
    store: Models, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    real = Folder.try_lock

    def slowly(folder: Folder, sha256: str) -> int | None:
        time.sleep(0.1)
        return real(folder, sha256)

    with monkeypatch.context() as slow:
        slow.setattr(Folder, "try_lock", slowly)
        async with aclosing(fetching(store, Request(model=NAME, task="pull"))) as batches:
            async for batch in batches:
                event = batch[0]
                if isinstance(event, ev.Progress) and event.of:
                    break  # the next thing that it does is to take the lock
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(batches)
            await asyncio.sleep(0.2)  # whoever took the lock late has it by now
    async with asyncio.timeout(10):
        await pull(store)


async def test_two_who_want_the_same_fetch_it_once(tmp_path: Path, hub: Hub):
    hub.pace = 0.01
    stores = [models(tmp_path / "models") for _ in range(2)]
    told = await asyncio.gather(*(pull(store) for store in stores))
    assert [lines(events)[-1] for events in told] == ["done", "done"]
    assert len(hub.ranges) == 1
    assert [m.name for m in await stores[0].models()] == [NAME]


async def test_a_full_disk_is_said_before_a_byte_is_fetched(tmp_path: Path, hub: Hub):
    store = models(tmp_path / "models", free=lambda _: 1000)
    with pytest.raises(UnavailableError, match="not enough room"):
        await pull(store)
    assert hub.ranges == []


async def test_the_token_goes_to_the_hub_and_not_to_the_cdn(
    store: Models, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    hub.token = "hf_very_secret"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    await pull(store)
    assert set(hub.authorized) == {("api", "Bearer hf_very_secret"), ("cdn", None)}


@pytest.mark.parametrize(
    ("gated", "kind", "said"),
    [(False, UnknownModelError, "HF_TOKEN"), (True, EngineRefusedError, "gated")],
)
async def test_who_may_not_is_told_what_to_do(
    store: Models,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    gated: bool,
    kind: type[GatewayError],
    said: str,
):
    hub.token, hub.gated = "hf_right", gated
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_and_secret")
    with pytest.raises(kind, match=said) as caught:
        await pull(store)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("hf.co/acme/nothing", UnknownModelError, "the hub has no"),
        ("hf.co/acme/demo:Q2_K", UnknownModelError, "there is: F16, Q8_0"),
        ("llama3", InvalidRequestError, "'llama3' is a name of Ollama's library"),
        ("hf.co/acme", InvalidRequestError, "ORG/REPO"),
        ("hf.co/acme/../etc:x", InvalidRequestError, "no model's name"),
        ("", InvalidRequestError, "no model's name"),
        ("./model.gguf", InvalidRequestError, "penstock pull PATH"),
        ("/etc/passwd", InvalidRequestError, "penstock pull PATH"),
        ("~/x", InvalidRequestError, "penstock pull PATH"),
    ],
)
async def test_names_that_can_not_be_pulled(
    store: Models, hub: Hub, name: str, kind: type[GatewayError], said: str
):
    with pytest.raises(kind, match=said) as caught:
        await pull(store, name)
    assert caught.value.param == "model"


async def test_without_a_quantization_the_usual_one_else_the_first(store: Models, hub: Hub):
    await pull(store, "hf.co/acme/demo")
    assert (await store.models())[0].digest == SHA
    hub.files = {"demo.Q2_K.gguf": CONTENT + b"\0", "demo.Q4_K_M.gguf": CONTENT + b"\0\0"}
    await pull(store, "hf.co/acme/demo")
    (model,) = await store.models()
    assert (model.name, model.origin) == ("hf.co/acme/demo:latest", "hf.co/acme/demo:Q4_K_M")
    # The content that nothing is called by any more is gone.
    assert files(store) == [model.file]


async def test_what_is_no_model_is_not_accepted(store: Models, hub: Hub):
    hub.files = {"demo-Q8_0.gguf": b"no model at all"}
    with pytest.raises(InvalidRequestError, match="the file is no GGUF file"):
        await pull(store)
    assert files(store) == []
    hub.files = {"demo-Q8_0-00001-of-00002.gguf": CONTENT}
    with pytest.raises(UnknownModelError, match="no GGUF but parts of split ones"):
        await pull(store)
    hub.files["demo-F16.gguf"] = CONTENT
    with pytest.raises(UnknownModelError, match=r"there is: F16$"):
        await pull(store)
    hub.files = {"README": b""}
    with pytest.raises(UnknownModelError, match="no GGUF file"):
        await pull(store)


@pytest.mark.parametrize(
    "told",
    [
        {"sha256": "../../outside"},
        {"sha256": None},
        {"sha256": 5},
        {"size": "5"},
        {"size": -1},
        {"size": None},
    ],
    ids=str,
)
async def test_a_hub_that_makes_no_sense(
    store: Models, hub: Hub, tmp_path: Path, told: dict[str, object]
):
    hub.told = told
    with pytest.raises(EngineProtocolError, match="the hub's"):
        await pull(store)
    assert listed(tmp_path / "models" / "parts") == []
    assert listed(tmp_path) == [tmp_path / "models"]


async def test_a_token_that_is_none(store: Models, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sécret")
    with pytest.raises(EngineRefusedError, match="HF_TOKEN") as caught:
        await pull(store)
    assert "cret" not in str(caught.value)


async def test_an_unreachable_hub(store: Models, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    hub.close()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(EngineError, match="can't be reached"):
        await pull(store)


@pytest.mark.parametrize(
    "url", ["x", "ftp://a", "http://[::1", "http://u:sekret@[a", "http://a..b", "http://a:99999"]
)
async def test_an_address_that_is_no_hubs(store: Models, monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(ConfigError, match="HF_ENDPOINT is no address") as caught:
        await pull(store)
    assert "sekret" not in str(caught.value)


# ── models in parts ──────────────────────────────────────────────────────────────────────────────

PARTS = split(CONTENT, 3)
SET = hashlib.sha256("".join(f"{sha256(part)}\n" for part in PARTS).encode()).hexdigest()
SET_FILES = [f"{SET}-{n:05}-of-00003.gguf" for n in (1, 2, 3)]


def in_parts(name: str, parts: Sequence[bytes] = PARTS) -> dict[str, bytes]:
    count = len(parts)
    return {f"{name}-{n:05}-of-{count:05}.gguf": part for n, part in enumerate(parts, 1)}


@pytest.mark.parametrize("path", ["demo-Q4_K_M", "Q4_K_M/demo-Q4_K_M", "demo.q4_k_m"])
async def test_a_split_model_is_one_model(store: Models, hub: Hub, path: str):
    hub.files |= in_parts(path)
    events = await pull(store, "hf.co/acme/demo:Q4_K_M")
    said = {e.digest: e.of for e in events if isinstance(e, ev.Progress) and e.digest}
    assert said == {f"sha256:{sha256(part)}": len(part) for part in PARTS}
    (model,) = await store.models()
    assert (model.digest, model.file) == (SET, SET_FILES[0])
    assert (model.size, model.origin) == (sum(map(len, PARTS)), "hf.co/acme/demo:Q4_K_M")
    assert sorted(files(store)) == SET_FILES
    assert [(Path(store.folder) / name).read_bytes() for name in SET_FILES] == PARTS
    # It is the usual one, though in parts; nothing is fetched twice.
    await pull(store, "hf.co/acme/demo")
    assert len(hub.ranges) == 3
    await store.delete("hf.co/acme/demo")
    assert sorted(files(store)) == SET_FILES
    await store.delete("hf.co/acme/demo:Q4_K_M")
    assert files(store) == []


async def test_a_whole_file_is_preferred_and_a_part_that_is_missing_hides_the_others(
    store: Models, hub: Hub
):
    hub.files |= in_parts("demo-split-Q8_0")
    await pull(store)
    assert files(store) == [f"{SHA}.gguf"]
    missing = in_parts("demo-Q4_K_M")
    del missing["demo-Q4_K_M-00002-of-00003.gguf"]
    hub.files |= missing
    with pytest.raises(UnknownModelError, match=r"there is: F16, Q8_0$"):
        await pull(store, "hf.co/acme/demo:Q4_K_M")


async def test_a_split_model_that_was_cut_goes_on_with_the_part_that_is_missing(
    store: Models, hub: Hub
):
    hub.files = in_parts("demo-Q8_0")
    hub.cut_after, hub.cuts = len(PARTS[2]) + 1, 99
    bigger = [len(part) > hub.cut_after for part in PARTS]
    assert bigger.pop() is False
    assert any(bigger)
    with pytest.raises(EngineError, match="pull again"):
        await pull(store)
    # Engines look for the first, which comes last.
    there = files(store)
    assert SET_FILES[2] in there
    assert SET_FILES[0] not in there
    assert await store.models() == ()
    hub.cut_after = None
    asked = len(hub.ranges)
    await pull(store)
    assert len(hub.ranges) == asked + 3 - len(there)
    assert sorted(files(store)) == SET_FILES


async def test_the_room_for_all_parts_is_asked_for_before_the_first(tmp_path: Path, hub: Hub):
    hub.files = in_parts("demo-Q8_0")
    enough = max(map(len, PARTS)) + 64 * 1024**2
    store = models(tmp_path / "models", free=lambda _: enough)
    with pytest.raises(UnavailableError, match="not enough room"):
        await pull(store)
    assert hub.ranges == []


async def test_parts_that_wait_for_others_are_not_collected(
    store: Models, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_pulling, "_CLAIM_SECONDS", 0.0)
    other, root = models(Path(store.folder).parent), Path(store.folder)
    hub.files = in_parts("demo-Q8_0")
    async with aclosing(fetching(store, Request(model=NAME, task="pull"))) as batches:
        async for batch in batches:
            event = batch[0]
            if isinstance(event, ev.Progress) and event.digest:
                # Each was there for long before the next line; the next claims it.
                await other.collect()
                for name in files(store):
                    aged(root / name, 2)
    assert sorted(files(store)) == SET_FILES


async def test_a_split_file_of_this_machine_is_taken_in_whole(store: Models, tmp_path: Path):
    for name, content in in_parts("mine").items():
        (tmp_path / name).write_bytes(content)
    first, second = (tmp_path / f"mine-0000{n}-of-00003.gguf" for n in (1, 2))
    with pytest.raises(InvalidRequestError, match=r"is part 2 .* mine-00001-of-00003\.gguf"):
        await added(store, second)
    await added(store, first)
    (model,) = await store.models()
    assert (model.digest, sorted(files(store))) == (SET, SET_FILES)
    second.unlink()
    with pytest.raises(GatewayError, match=r"no file mine-00002-of-00003\.gguf"):
        await added(store, first)
    await store.copy("mine", "other")
    await store.delete("mine")
    assert sorted(files(store)) == SET_FILES
    await store.delete("other")
    assert files(store) == []


async def added(store: Models, path: Path) -> None:
    async with aclosing(store.add(path, "mine")) as batches:
        async for _ in batches:
            continue


# ── files, uploads, models of models ─────────────────────────────────────────────────────────────


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 100_000):
        yield data[at : at + 100_000]


async def test_a_file_of_this_machine_is_taken_in(store: Models, tmp_path: Path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(CONTENT)
    async with aclosing(store.add(path, "mine")) as batches:
        said = [event async for batch in batches for event in batch]
    assert isinstance(said[-1], ev.Done)
    told = [one for one in said if isinstance(one, ev.Progress) and one.of]
    assert (told[-1].text, told[-1].at) == ("copying mine.gguf", len(CONTENT))
    assert {one.of for one in told} == {len(CONTENT)}
    path.write_bytes(b"changed afterwards")
    (model,) = await store.models()
    assert (model.name, model.digest, model.origin) == ("mine:latest", SHA, "mine.gguf")
    assert (Path(store.folder) / model.file).read_bytes() == CONTENT


async def test_leaving_while_a_file_is_copied_leaves_nothing(
    store: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "large.gguf"
    path.write_bytes(CONTENT + b"\0" * 8_000_000)
    real = _pulling._append

    def slowly(fresh: Path, piece: bytes, digest: _pulling._Digest) -> None:
        time.sleep(0.1)
        real(fresh, piece, digest)

    monkeypatch.setattr(_pulling, "_append", slowly)
    begun = asyncio.Event()

    async def take_in() -> None:
        async with aclosing(store.add(path, "large")) as batches:
            async for _ in batches:
                begun.set()

    work = asyncio.create_task(take_in())
    await begun.wait()
    await asyncio.sleep(0.05)  # within the next piece
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert files(store) == []
    assert listed(tmp_path / "models" / "parts") == []


async def test_a_broken_file_is_refused_by_what_is_wrong_with_it(store: Models, tmp_path: Path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(CONTENT[:100_000])
    with pytest.raises(GatewayError, match=r"cut\.gguf is cut off") as caught:
        async with aclosing(store.add(path, "cut")) as batches:
            async for _ in batches:
                continue
    assert str(tmp_path) not in str(caught.value)
    assert await store.models() == ()


async def test_uploads(store: Models):
    assert not await store.has_blob(f"sha256:{SHA}")
    with pytest.raises(InvalidRequestError, match="digest mismatch"):
        await store.put_blob(f"sha256:{SHA}", chunks(CONTENT[:-1]))
    assert not await store.has_blob(f"sha256:{SHA}")
    await store.put_blob(f"sha256:{SHA}", chunks(CONTENT))
    assert await store.has_blob(f"sha256:{SHA}")
    work = Fetch(files={"m.gguf": f"sha256:{SHA}"}, system="Be brief.", license="MIT")
    events = await create(store, "brief", work)
    assert lines(events)[-3:] == ["writing manifest", "success", "done"]
    (model,) = await store.models()
    assert (model.name, model.system, model.license) == ("brief:latest", "Be brief.", "MIT")


@pytest.mark.parametrize("digest", ["", "sha256:../../etc", "sha256:" + "g" * 64, "md5:0"])
async def test_a_digest_is_no_path(store: Models, digest: str):
    with pytest.raises(InvalidRequestError):
        await store.put_blob(digest, chunks(b""))
    with pytest.raises(InvalidRequestError):
        await store.has_blob(digest)


async def test_a_model_of_the_embedded_one_and_one_of_that(store: Models):
    first = Fetch(source="penstock-demo", system="One.", parameters={"top_k": 5, "stop": "x"})
    await create(store, "one", first)
    await create(store, "two:v2", Fetch(source="one", parameters={"temperature": 0.5}))
    found = {model.name: model for model in await store.models()}
    assert set(found) == {"one:latest", "two:v2"}
    assert found["one:latest"].origin == "penstock-demo"
    assert found["two:v2"].system == "One."
    assert found["two:v2"].parameters == {"top_k": 5, "stop": ["x"], "temperature": 0.5}
    assert found["two:v2"].origin == "one:latest"
    # The content has no name of its own, and goes with the last model that is made of it.
    assert files(store) == [f"{SHA}.gguf"]
    await store.delete("one")
    assert files(store) == [f"{SHA}.gguf"]
    await store.delete("two:v2")
    assert files(store) == []


@pytest.mark.parametrize(
    ("work", "param"),
    [
        (Fetch(), "from"),
        (Fetch(source="nobody"), "from"),
        (Fetch(source="/etc/passwd"), "from"),
        (Fetch(files={"a": "sha256:" + "0" * 64}), "files"),
        (Fetch(files={"a": "x"}), "files.a"),
        (Fetch(source="penstock-demo", parameters={"nonsense": 1}), "parameters.nonsense"),
        (Fetch(source="penstock-demo", parameters={"mirostat": 1}), "parameters.mirostat"),
        (Fetch(source="penstock-demo", parameters={"top_k": "many"}), "parameters.top_k"),
        (Fetch(source="penstock-demo", parameters={"top_k": 1.5}), "parameters.top_k"),
        (Fetch(source="penstock-demo", parameters={"top_p": 7}), "parameters.top_p"),
        (Fetch(source="penstock-demo", parameters={"seed": 10**30}), "parameters.seed"),
        (Fetch(source="penstock-demo", parameters={"temperature": True}), "parameters.temperature"),
        (
            Fetch(source="penstock-demo", parameters={"repeat_penalty": 0}),
            "parameters.repeat_penalty",
        ),
    ],
)
async def test_what_can_not_be_created(store: Models, work: Fetch, param: str):
    with pytest.raises(GatewayError) as caught:
        await create(store, "x", work)
    assert caught.value.param == param
    assert "x:latest" not in [model.name for model in await store.models()]


async def test_parameters_are_kept_as_what_they_are(tmp_path: Path):
    work = Fetch(
        source="penstock-demo",
        parameters={"use_mmap": True, "num_ctx": 2048, "top_k": 5.0, "stop": ["", "x"]},
    )
    await create(models(tmp_path / "models"), "one", work)
    (model,) = await models(tmp_path / "models").models()
    kept = {"use_mmap": True, "num_ctx": 2048, "top_k": 5, "stop": ["x"]}
    assert model.parameters == kept
    assert model.parameters["use_mmap"] is True


async def test_a_template_is_refused_by_name(store: Models):
    with pytest.raises(UnsupportedParameterError) as caught:
        await create(store, "x", Fetch(source="penstock-demo", template="{{ .Prompt }}"))
    assert caught.value.param == "template"


async def test_copies_share_a_file_which_goes_with_its_last_name(store: Models, hub: Hub):
    await pull(store)
    await store.copy(NAME, "mine")
    assert len(files(store)) == 1
    await store.delete(NAME)
    assert [model.name for model in await store.models()] == ["mine:latest"]
    assert len(files(store)) == 1
    await store.delete("mine:latest")
    assert await store.models() == ()
    assert files(store) == []
    for wrong in ("mine", "never"):
        with pytest.raises(UnknownModelError):
            await store.delete(wrong)
    with pytest.raises(UnknownModelError):
        await store.copy("never", "x")


@pytest.mark.parametrize("name", ["../x", "a/../b", "a b", "x" * 300, ".x", "a:b:c", "a//b", "é"])
async def test_a_name_is_no_path(store: Models, name: str):
    await create(store, "one", Fetch(source="penstock-demo"))
    for attempt in (store.delete(name), store.copy("one", name)):
        with pytest.raises(InvalidRequestError):
            await attempt


def aged(path: Path, days: float) -> Path:
    path.touch()
    then = time.time() - days * 24 * 3600 - 60
    os.utime(path, (then, then))
    return path


def everything(root: Path) -> set[str]:
    kinds = ("blobs", "parts", "files", "names")
    return {str(path.relative_to(root)) for kind in kinds for path in listed(root / kind)}


async def test_what_was_abandoned_is_forgotten(store: Models, hub: Hub):
    root = Path(store.folder).parent
    await pull(store)
    kept = everything(root)
    aged(root / "files" / f"{SHA}.gguf", 99)
    a, b, c = ("abc"[n] * 64 for n in range(3))
    left = {f"files/{b}.gguf": 0, "files/mine.gguf": 99, "blobs/b": 0, "parts/d.part": 2}
    gone = {
        f"files/{a}.gguf": 2,
        f"files/{c}-00001-of-00002.gguf": 2,
        "blobs/a": 2,
        "parts/c.new": 2,
        "parts/e.part": 15,
        "parts/e.etag": 15,
        "names/.0011.new": 2,
    }
    for name, days in (left | gone).items():
        aged(root / name, days)
    await store.collect()
    assert everything(root) == kept | left.keys()
    assert [model.name for model in await store.models()] == [NAME]


async def test_it_is_forgotten_with_a_delete_and_at_a_start(tmp_path: Path):
    root = tmp_path / "models"
    store = models(root)
    await create(store, "one", Fetch(source="penstock-demo"))
    old = root / "files" / f"{'a' * 64}.gguf"
    aged(old, 2)
    await store.delete("one")
    assert files(store) == []
    aged(old, 2)
    config = Config(paths=Paths(models_folder=str(root)), streams=Streams(log="memory"))
    async with compose.open_gateway(config, {}):
        assert files(store) == []


async def test_a_name_that_can_not_be_read_may_stand_for_any_content(store: Models, hub: Hub):
    root = Path(store.folder).parent
    await pull(store)
    (manifest,) = listed(root / "names")
    written = manifest.read_bytes()
    manifest.write_bytes(b'{"name": "of a newer version"}')
    aged(root / "files" / f"{SHA}.gguf", 2)
    await store.collect()
    assert files(store) == [f"{SHA}.gguf"]
    manifest.write_bytes(written)
    assert [model.name for model in await models(root).models()] == [NAME]


async def test_what_is_in_use_elsewhere_stays(store: Models, hub: Hub):
    """An old content that somebody is about to name, an old part that somebody is fetching."""
    root = Path(store.folder).parent
    other = models(root)
    await create(store, "x", Fetch(source="penstock-demo"))
    await store.delete("x")
    content = root / "files" / f"{SHA}.gguf"
    async with aclosing(fetching(store, Request(model=NAME, task="pull"))) as batches:
        async for batch in batches:
            match batch[0]:
                case ev.Progress(text="pulling manifest"):
                    # As a pull leaves it that died before it wrote the name.
                    content.write_bytes(CONTENT)
                    aged(content, 2)
                case ev.Progress(text="writing manifest"):
                    await other.collect()
                case _:
                    pass
    assert [model.name for model in await other.models()] == [NAME]
    assert hub.ranges == []
    await store.delete(NAME)

    # The same with an upload, by somebody who first asks whether it is there.
    await store.put_blob(SHA, chunks(CONTENT))
    aged(root / "blobs" / SHA, 2)
    assert await store.has_blob(SHA)
    await other.collect()
    await create(store, "mine", Fetch(files={"m.gguf": f"sha256:{SHA}"}))
    await store.delete("mine")

    hub.pace = 0.05
    async with aclosing(fetching(store, Request(model=NAME, task="pull"))) as batches:
        async for batch in batches:
            event = batch[0]
            if isinstance(event, ev.Progress) and 0 < event.at < event.of:
                aged(part(store), 99)
                await other.collect()
                assert part(store).exists()
                hub.pace = 0.0
    assert content.read_bytes() == CONTENT


async def test_a_folder_that_can_not_be_written_is_said_without_its_path(
    store: Models, hub: Hub, tmp_path: Path
):
    await create(store, "one", Fetch(source="penstock-demo"))
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(CONTENT)
    names = tmp_path / "models" / "locks" / "names"
    names.unlink()
    names.mkdir()  # no file: root, who runs tests too, may write to any that is one
    tries = [
        store.delete("one"),
        store.copy("one", "two"),
        store.has_blob(SHA),
        create(store, "three", Fetch(source="one")),
        pull(store),
        added(store, mine),
    ]
    for attempt in tries:
        with pytest.raises(UnavailableError, match="the model store can't be used") as caught:
            await attempt
        assert str(tmp_path) not in str(caught.value)


async def test_another_process_sees_it(tmp_path: Path):
    here, there = models(tmp_path / "models"), models(tmp_path / "models")
    assert await there.models() == ()
    await create(here, "one", Fetch(source="penstock-demo"))
    await create(here, "two", Fetch(source="penstock-demo"))
    assert [model.name for model in await there.models()] == ["one:latest", "two:latest"]
    await here.delete("one")
    assert [model.name for model in await there.models()] == ["two:latest"]
