"""Models of the store, from the command line to an answer, by a hub on loopback."""

import asyncio
import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.integration.embedded import DEMO
from tests.integration.hub import Hub
from tests.integration.serving import Serving, free_port, serve
from tests.integration.splitting import split

from penstock import compose
from penstock.cli.__main__ import main
from penstock.config.schema import Config, Model, Paths, Streams
from penstock.core import events as ev
from penstock.core.errors import ForbiddenError, UnknownModelError
from penstock.core.messages import say
from penstock.core.ports import Head
from penstock.core.principals import LOCAL, Principal
from penstock.core.queries import CopyAsk, Query, TokensAsk
from penstock.core.request import Fetch, Request, Sampling
from penstock.gateway.gateway import Gateway

NAME = "hf.co/acme/demo:Q8_0"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    # Not the embedded model's own bytes: a file that says who answers by its digest.
    found = Hub({"demo-Q8_0.gguf": DEMO.read_bytes() + b"\0" * 32})
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PENSTOCK_SERVER__PORT", str(free_port()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def penstock(*words: str) -> Result:
    return CliRunner().invoke(main, words, catch_exceptions=False)


def test_pulled_on_the_command_line_shown_asked_and_deleted(hub: Hub, home: Path):
    done = penstock("pull", NAME)
    assert done.exit_code == 0, done.output
    assert "pulling manifest" in done.output
    assert "success" in done.output
    assert (home / ".local/share/penstock/models/names").is_dir()

    listed = json.loads(penstock("models", "--json").stdout)
    names = [card["name"] for card in listed["models"] if card["binding"] == "embedded"]
    assert names == ["penstock-demo", NAME]

    done = penstock("stream", "-m", NAME, "--json", "Hello!")
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (start,) = [event for event in events if event["type"] == "start"]
    assert (start["model"], start["binding"]) == (NAME, "embedded")
    assert any(event["type"] == "text" for event in events)

    shown = json.loads(penstock("show", NAME, "--json").stdout)
    assert shown["size"] == DEMO.stat().st_size + 32
    assert shown["origin"] == NAME
    human = penstock("show", NAME).output
    assert f"sha256:{shown['digest']}" in human

    assert penstock("rm", NAME).exit_code == 0
    gone = penstock("show", NAME)
    assert gone.exit_code == 1
    assert "no model named" in gone.stderr
    assert penstock("stream", "-m", NAME, "Hello!").exit_code == 1


def test_a_file_is_pulled_under_a_name_of_ones_own(home: Path):
    assert penstock("pull", str(DEMO), "--name", "mine").exit_code == 0
    assert penstock("pull", str(DEMO)).exit_code == 0
    assert json.loads(penstock("show", "mine", "--json").stdout)["name"] == "mine:latest"
    assert penstock("show", "penstock-demo").exit_code == 0
    broken = home / "broken.gguf"
    broken.write_bytes(DEMO.read_bytes()[:5000])
    failed = penstock("pull", str(broken))
    assert failed.exit_code == 1
    assert "broken.gguf is cut off" in failed.stderr


@pytest.mark.parametrize("name", ["hf.co/acme/demo:demo-Q8_0.gguf", "huggingface.co/acme/demo"])
def test_every_way_to_name_a_model_of_the_hub_is_the_name_to_ask_for(
    hub: Hub, home: Path, name: str
):
    done = penstock("pull", name)
    assert done.exit_code == 0, done.output
    asked = penstock("stream", "-m", name, "--json", "Hello!")
    assert asked.exit_code == 0, asked.output
    assert penstock("show", name).exit_code == 0
    assert penstock("rm", name).exit_code == 0


def test_a_name_for_what_has_one_is_refused(hub: Hub, home: Path):
    wrong = penstock("pull", NAME, "--name", "mine")
    assert wrong.exit_code == 2
    assert "--name" in wrong.stderr
    assert hub.authorized == []


def test_a_split_model_is_pulled_asked_and_deleted_as_one(hub: Hub, home: Path):
    parts = split(DEMO.read_bytes(), 3)
    files = {f"Q4_K_M/demo-Q4_K_M-{n:05}-of-00003.gguf": part for n, part in enumerate(parts, 1)}
    hub.files |= files
    name = "hf.co/acme/demo:Q4_K_M"
    assert penstock("pull", name).exit_code == 0
    listed = json.loads(penstock("models", "--json").stdout)
    cards = {card["name"]: card for card in listed["models"] if card["binding"] == "embedded"}
    assert list(cards) == ["penstock-demo", name]
    assert cards[name]["size"] == sum(map(len, parts))
    shown = json.loads(penstock("show", name, "--json").stdout)
    assert (shown["size"], shown["digest"]) == (cards[name]["size"], cards[name]["digest"])

    # llama.cpp finds the parts by their names, and they are the model that was split.
    said = [texts("stream", "-m", model, *GREEDY) for model in ("penstock-demo", name)]
    assert said[0] == said[1] != ""

    # Files of one's own are the same content.
    for path, part in files.items():
        (home / Path(path).name).write_bytes(part)
    first = home / "demo-Q4_K_M-00001-of-00003.gguf"
    assert penstock("pull", str(first)).exit_code == 0
    mine = "demo-Q4_K_M"
    assert json.loads(penstock("show", mine, "--json").stdout)["digest"] == shown["digest"]
    assert penstock("rm", name).exit_code == 0
    assert texts("stream", "-m", mine, *GREEDY) == said[0]
    assert penstock("rm", mine).exit_code == 0
    assert list((home / ".local/share/penstock/models/files").iterdir()) == []


GREEDY = ("--json", "--temperature", "0", "What is streaming?")


def texts(*words: str) -> str:
    done = penstock(*words)
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return "".join(event["text"] for event in events if event["type"] == "text")


def test_a_pull_for_machines(hub: Hub, home: Path):
    events = [json.loads(line) for line in penstock("pull", "--json", NAME).stdout.splitlines()]
    assert events[0] == {"type": "progress", "what": "fetching", "text": "pulling manifest"}
    assert events[-1] == {"type": "done", "reason": "stop"}


def asked(serving: Serving, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(serving.url + path, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def digests(serving: Serving, path: str) -> dict[str, str]:
    return {model["name"]: model["digest"] for model in asked(serving, path)["models"]}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_running_server_offers_what_another_process_pulled(hub: Hub, home: Path, tmp_path: Path):
    with serve(tmp_path / "server", f"[paths]\nmodels_folder = '{home}/store'\n") as serving:
        ids = [model["id"] for model in asked(serving, "/v1/models")["data"]]
        assert NAME not in ids
        (home / "config.toml").write_text(f"[paths]\nmodels_folder = '{home}/store'\n")
        assert penstock("pull", NAME).exit_code == 0
        hello = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 5}
        answer = asked(serving, "/v1/chat/completions", {"model": NAME, **hello})
        assert answer["model"] == NAME
        assert answer["usage"]["completion_tokens"] > 0
        # The store knows its own; what lies elsewhere is read in the background.
        assert digests(serving, "/api/tags")[NAME] == sha256(*hub.files.values())
        assert digests(serving, "/api/ps")[NAME] == sha256(*hub.files.values())
        ids = [model["id"] for model in asked(serving, "/v1/models")["data"]]
        assert ids[:2] == ["penstock-demo", NAME]
        # A model that nobody names is the binding's own.
        assert asked(serving, "/v1/chat/completions", {"model": "default", **hello})["usage"]
        assert penstock("rm", NAME).exit_code == 0
        ids = [model["id"] for model in asked(serving, "/v1/models")["data"]]
        assert ids[0] == "penstock-demo"
        assert not any(name.startswith("hf.co/") or len(name) == 64 for name in ids)


async def test_a_created_model_runs_with_what_it_was_created_with(tmp_path: Path):
    streams = Streams(folder=str(tmp_path / "streams"))
    config = Config(paths=Paths(models_folder=str(tmp_path / "store")), streams=streams)
    parameters: dict[str, float | int | str | list[str]] = {"num_predict": 3, "stop": ["xyz"]}
    work = Fetch(source="penstock-demo", system="You are a pirate.", parameters=parameters)
    async with compose.open_gateway(config, {}) as gateway:
        create = Request(model="pirate", task="create", work=work)
        said = await ended(gateway, await gateway.submit(create, "native", LOCAL))
        assert isinstance(said[-1], ev.Done), said
        hello = (say("user", "Hello!"),)
        ask = Request(model="pirate", messages=hello)
        head = await gateway.submit(ask, "native", LOCAL)
        assert head.model == "pirate:latest"
        assert [message.role for message in head.request.messages] == ["system", "user"]
        assert head.request.messages[0].text == "You are a pirate."
        assert head.request.sampling == Sampling(max_tokens=3, stop=("xyz",))
        said = await ended(gateway, head)
        assert isinstance(said[-1], ev.Done), said
        (start,) = [event for event in said if isinstance(event, ev.Start)]
        assert start.model == "pirate:latest"
        # What the client says goes first.
        ask = Request(
            model="pirate:latest",
            messages=(say("system", "Be plain."), say("user", "Hello!")),
            sampling=Sampling(max_tokens=2),
        )
        head = await gateway.submit(ask, "native", LOCAL)
        assert head.request.messages == ask.messages
        assert head.request.sampling.max_tokens == 2
        await ended(gateway, head)

        details = (await gateway.find(Query("model_details", "pirate"), LOCAL)).details
        assert details is not None
        assert details.system == "You are a pirate."
        assert details.parameters == {"num_predict": 3, "stop": ("xyz",)}
        loaded = (await gateway.find(Query("loaded_models"), LOCAL)).loaded
        assert [model.card.name for model in loaded] == ["pirate:latest"]
        tokens = TokensAsk(model="pirate", text="Hello")
        assert (await gateway.find(Query("tokenize", ask=tokens), LOCAL)).tokens
        await gateway.find(Query("copy_model", ask=CopyAsk("pirate", "captain")), LOCAL)
        await gateway.find(Query("delete_model", "pirate"), LOCAL)
        # At once, although the store's folder is not looked at for every request.
        with pytest.raises(UnknownModelError):
            await gateway.submit(Request(model="pirate", messages=ask.messages), "native", LOCAL)
        head = await gateway.submit(Request(model="captain", messages=hello), "native", LOCAL)
        await ended(gateway, head)
        await compose.model_store(config).copy("captain", "mate")
        head = await gateway.submit(Request(model="mate", messages=hello), "native", LOCAL)
        await ended(gateway, head)
        names = [card.name for card in (await gateway.find(Query("models"), LOCAL)).models]
        assert names == ["penstock-demo", "captain:latest", "mate:latest"]


async def test_a_file_of_its_own_is_listed_with_its_digest(tmp_path: Path):
    config = Config(
        paths=Paths(models_folder=str(tmp_path / "store")), streams=Streams(log="memory")
    )
    async with compose.open_gateway(config, {}) as gateway, asyncio.timeout(60):
        await gateway.bindings.started(60)
        while True:
            # What is cached was asked for while the file was being read.
            await gateway.bindings.refresh(older_than=0.0)
            (card,) = (await gateway.find(Query("models"), LOCAL)).models
            if card.digest is not None:
                break
            await asyncio.sleep(0.05)
    assert card.digest == sha256(DEMO.read_bytes())


async def test_aliases_and_bindings_reach_stored_models(tmp_path: Path):
    aliases = {"short": Model(binding="embedded", name="pirate", temperature=0.0)}
    config = Config(
        paths=Paths(models_folder=str(tmp_path / "store")),
        streams=Streams(log="memory"),
        models=aliases,
    )
    store = compose.model_store(config)
    work = Fetch(source="penstock-demo", system="You are a pirate.")
    async for _ in store.fetch(Request(model="pirate", task="create", work=work)):
        continue
    hello = (say("user", "Hello!"),)
    asks = [
        Request(model="short", messages=hello),
        Request(model="short:latest", messages=hello),
        Request(model="embedded/pirate", messages=hello),
        Request(model="pirate", binding="embedded", messages=hello),
    ]
    async with compose.open_gateway(config, {}) as gateway:
        for ask in asks:
            head = await gateway.submit(ask, "native", LOCAL)
            assert (head.binding, head.model) == ("embedded", "pirate:latest")
            assert head.request.messages[0].text == "You are a pirate."
            assert isinstance((await ended(gateway, head))[-1], ev.Done)
        shared = gateway.questions.model_cards()
        assert "short" in [card.name for card in shared]
        head = await gateway.submit(asks[1], "native", LOCAL)
        assert head.request.sampling.temperature == 0.0  # the alias' own
        await ended(gateway, head)
        shown = await gateway.find(Query("model_details", "short:latest"), LOCAL)
        assert shown.details is not None
        assert shown.details.system == "You are a pirate."
        # A key that may use the alias may say it in full.
        some = Principal(id="some", models=("short",))
        await gateway.find(Query("load_model", "short:latest"), some)
        with pytest.raises(ForbiddenError):
            await gateway.find(Query("load_model", "penstock-demo"), some)


async def test_cancelling_a_pull_keeps_its_part(hub: Hub, tmp_path: Path):
    hub.pace = 0.05
    config = Config(
        paths=Paths(models_folder=str(tmp_path / "store")), streams=Streams(log="memory")
    )
    async with compose.open_gateway(config, {}) as gateway:
        head = await gateway.submit(Request(model=NAME, task="pull"), "native", LOCAL)
        stream = ev.StreamId(head.stream)
        watch = gateway.watch(stream, ev.BEGINNING)
        while entries := await watch.take():
            if any(isinstance(e.event, ev.Progress) and e.event.at > 0 for e in entries):
                break
        assert await gateway.cancel(stream, LOCAL)
        watch.close()
        said = await ended(gateway, head)
        assert said[-1] == ev.Done(reason="cancelled")
        (kept,) = parts(tmp_path)
        assert kept > 0
        hub.pace = 0.0
        hub.ranges.clear()
        again = await gateway.submit(Request(model=NAME, task="pull"), "native", LOCAL)
        assert (await ended(gateway, again))[-1] == ev.Done(reason="stop")
        assert hub.ranges == [f"bytes={kept}-"]
        # Offered as soon as the end is told.
        names = [card.name for card in (await gateway.find(Query("models"), LOCAL)).models]
        assert names == ["penstock-demo", NAME]


def parts(folder: Path) -> list[int]:
    return [path.stat().st_size for path in (folder / "store" / "parts").glob("*.part")]


async def ended(gateway: Gateway, head: Head) -> list[ev.Event]:
    watch = gateway.watch(ev.StreamId(head.stream), ev.BEGINNING)
    found: list[ev.Event] = []
    try:
        while entries := await watch.take():
            found += [entry.event for entry in entries]
    finally:
        watch.close()
    return found
