"""`penstock image` against a real server with a small real painter, on terminals of all kinds."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image as Pillow
from tests.integration.http.painting import STEPS, Painter, with_pictures
from tests.integration.http.parts import Running, serving
from tests.integration.serving import ROOT, free_port
from tests.integration.terminals import Screen

from penstock.config.schema import Server
from penstock.dialects import openai_chat, openai_images

pytestmark = pytest.mark.timeout(180)
DIALECTS = (openai_images.Dialect(), openai_chat.Dialect())
KEY = "sk-one"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    settings = Server(heartbeat_seconds=0.2)
    async with serving(
        DIALECTS,
        engine=Painter(),
        keys=(KEY,),
        more=with_pictures(tmp_path),
        settings=settings,
    ) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def painter(server: Running) -> Painter:
    assert isinstance(server.engine, Painter)
    return server.engine


def environment(folder: Path, port: int, key: str = KEY) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "PENSTOCK_SERVER__PORT": str(port),
        "PENSTOCK_KEY": key,
    }


class Ran:
    """What a command did."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status = status
        self.out = out.decode()
        self.err = err.decode()

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]


async def start(folder: Path, port: int, *words: str, key: str = KEY) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "penstock.cli",
        "image",
        *words,
        env=environment(folder, port, key),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def image(folder: Path, port: int, *words: str, key: str = KEY) -> Ran:
    process = await start(folder, port, *words, key=key)
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, out, err)


def texts(path: Path) -> dict[str, str]:
    with Pillow.open(path) as opened:
        opened.load()
        assert opened.format == "PNG"
        return {str(name): str(value) for name, value in opened.info.items()}


async def test_a_picture_is_saved_with_what_it_was_made_of(server: Running, here: Path):
    words = ("a déjà-vu → disc", "--seed", "7", "--steps", "3", "--size", "32x24")
    ran = await image(here, server.port, *words, "--negative", "squares")
    assert ran.status == 0, ran.err
    (file,) = (here / "generated_images").iterdir()
    assert file.match("generated_image_????????-??????.png")
    said = texts(file)
    assert said["prompt"] == "a déjà-vu → disc"
    assert said["negative_prompt"] == "squares"
    assert (said["seed"], said["steps"], said["width"], said["height"]) == ("7", "3", "32", "24")
    assert said["model"] == "discs"
    assert said["Software"] == "Penstock"
    asked = painter(server).painted[0]
    assert asked.sampling.seed == 7
    assert asked.image is not None
    assert (asked.image.size, asked.image.steps) == ((32, 24), 3)
    assert asked.image.negative_prompt == "squares"
    assert f"generated_images/{file.name}" in ran.out
    assert "seed: 7" in ran.out
    assert "base64" not in ran.out


async def test_nothing_is_ever_overwritten(server: Running, here: Path):
    (here / "disc.png").write_bytes(b"precious")
    ran = await image(here, server.port, "a disc", "-o", "disc.png", "-n", "2")
    assert ran.status == 0, ran.err
    again = await image(here, server.port, "a disc", "-o", "disc.png")
    assert again.status == 0, again.err
    names = sorted(name for name in os.listdir(here) if name.startswith("disc"))  # noqa: PTH208
    assert names == ["disc-1.png", "disc-2.png", "disc-3.png", "disc.png"]
    assert (here / "disc.png").read_bytes() == b"precious"


async def test_the_suffix_chooses_the_format(server: Running, here: Path):
    ran = await image(here, server.port, "a disc", "-o", "deep/disc.webp")
    assert ran.status == 0, ran.err
    with Pillow.open(here / "deep/disc.webp") as opened:
        assert opened.format == "WEBP"


async def test_machines_get_every_event_and_the_files(server: Running, here: Path):
    ran = await image(here, server.port, "a disc", "--json", "-n", "2", "--seed", "3")
    assert ran.status == 0, ran.err
    kinds = [line["type"] for line in ran.lines]
    drawn = ["progress"] * STEPS + ["image", "saved"]
    assert kinds == ["start", *drawn, *drawn, "usage", "done", "result"]
    result = ran.lines[-1]
    assert result["outcome"] == "finished"
    files = result["files"]
    assert isinstance(files, list)
    assert [texts(here / file)["seed"] for file in files] == ["3", "4"]
    assert len(set(files)) == 2


async def test_a_binding_is_asked_by_name(server: Running, here: Path):
    for more in ((), ("-m", "discs")):
        ran = await image(here, server.port, "a disc", "--binding", "scripted", *more)
        assert ran.status == 0, ran.err
    ran = await image(here, server.port, "a disc", "--binding", "nobody")
    assert ran.status == 1
    assert "no binding named 'nobody'" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a disc", "--size", "9000x10"), "size"),
        (("a disc", "--steps", "100000"), "steps"),
        ((" ",), "prompt"),
        (("a disc", "-m", "nothing"), "nothing"),
        (("--stream", "0" * 32), "no such stream"),
    ],
)
async def test_what_is_refused_says_what_to_do(
    server: Running, here: Path, words: tuple[str, ...], said: str
):
    ran = await image(here, server.port, *words)
    assert ran.status == 1
    assert said in ran.err
    assert not (here / "generated_images").exists()


async def test_a_wrong_key_is_refused_and_not_shown(server: Running, here: Path):
    ran = await image(here, server.port, "a disc", key="sk-wrong-secret")
    assert ran.status == 1
    assert "PENSTOCK_KEY" in ran.err
    assert "sk-wrong-secret" not in ran.err + ran.out


async def test_an_engine_that_breaks_is_a_failure(server: Running, here: Path):
    async def break_at(step: int) -> None:
        if step == 2:
            raise MemoryError

    painter(server).step = break_at
    ran = await image(here, server.port, "a disc", "--json")
    assert ran.status == 1
    assert ran.lines[-1]["outcome"] == "failed"
    assert ran.lines[-1]["files"] == []
    assert ran.err.startswith("penstock: ")


async def test_a_folder_that_cannot_be_written_names_the_file(server: Running, here: Path):
    (here / "taken").write_text("a file")
    ran = await image(here, server.port, "a disc", "-o", "taken/disc.png")
    assert ran.status == 1
    assert "taken/disc.png can't be written" in ran.err


async def test_ctrl_c_cancels_the_run_at_the_engine(server: Running, here: Path):
    at_step = asyncio.Event()

    async def hold(step: int) -> None:
        if step == 2:
            at_step.set()
            await asyncio.Event().wait()

    painter(server).step = hold
    process = await start(here, server.port, "a disc", "--json")
    assert process.stdout is not None
    assert b'"start"' in await process.stdout.readline()
    await asyncio.wait_for(at_step.wait(), 30)
    process.send_signal(signal.SIGINT)
    out, _err = await process.communicate()
    assert process.returncode == 130
    result = json.loads(out.splitlines()[-1])
    assert result["outcome"] == "stopped"
    assert result["message"] == "stopped by Ctrl-C; the run was cancelled at the engine"
    assert painter(server).stopped == ["discs"]
    await server.idle()


class Cable:
    """Passes bytes to the server; `cut` resets what is connected, and refuses for a while."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: list[asyncio.StreamWriter] = []
        self.connections = 0

    async def __aenter__(self) -> "Cable":
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", free_port())
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        other_reader, other = await asyncio.open_connection("127.0.0.1", self._to)
        self._open += [writer, other]
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, other))
            group.create_task(_pump(other_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def test_a_lost_connection_is_taken_up_again(server: Running, here: Path):
    async with Cable(server.port) as cable:

        async def cut(step: int) -> None:
            await asyncio.sleep(0.3)
            cable.cut()

        painter(server).step = cut
        ran = await image(here, cable.port, "a disc", "--json", "--seed", "5")
        assert ran.status == 0, ran.err
        kinds = [line["type"] for line in ran.lines]
        drawn = ["progress"] * STEPS + ["image", "saved"]
        assert kinds == ["start", *drawn, "usage", "done", "result"]
        assert cable.connections > STEPS
    assert len(painter(server).painted) == 1


async def test_a_killed_client_still_gets_its_picture(server: Running, here: Path):
    go, at_step = asyncio.Event(), asyncio.Event()

    async def hold(step: int) -> None:
        if step == 2:
            at_step.set()
            await go.wait()

    painter(server).step = hold
    process = await start(here, server.port, "a disc", "--json", "--seed", "9")
    await asyncio.wait_for(at_step.wait(), 30)
    process.kill()
    await process.communicate()
    (info,) = await server.gateway.recent(server.gateway.authenticate([KEY]), 9)
    go.set()
    ran = await image(here, server.port, "--stream", info.stream)
    assert ran.status == 0, ran.err
    (file,) = (here / "generated_images").iterdir()
    assert texts(file)["seed"] == "9"


_ASKED_BY_LIBRARY = b"\x1b_Gi="

SHOWN = {
    "kitty": b"\x1b_G",
    "sixel": b"\x1bP0;0;0q",
    "iterm2": b"\x1b]1337;File=width=",
    "plain": "▀".encode(),
    "silent": "▀".encode(),
}


@pytest.mark.parametrize("kind", SHOWN)
async def test_a_terminal_gets_previews_of_its_own_kind(server: Running, here: Path, kind: str):
    own = environment(here, server.port)
    go = asyncio.Event()

    async def hold(step: int) -> None:
        if step == 3:
            await go.wait()

    painter(server).step = hold
    screen = Screen(here, kind, "image", "a disc", "--size", "48x32", **own)
    await screen.wait_for(b"drawing")
    await screen.wait_for(b"2/4")
    marked = screen.seen.replace(b"\x1b_Gi=31,s=1,v=1,a=q", b"")  # the question
    assert SHOWN[kind] in marked
    go.set()
    assert await screen.status() == 0
    own_mark = SHOWN[kind]
    others = [mark for mark in SHOWN.values() if mark != own_mark]
    rest = screen.seen.replace(b"\x1b_Gi=31,s=1,v=1,a=q", b"").replace(_ASKED_BY_LIBRARY, b"")
    assert not [mark for mark in others if mark in rest]
    (file,) = (here / "generated_images").iterdir()
    assert file.name.encode() in screen.seen
