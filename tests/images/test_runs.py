"""Runs that wait, are stopped, break, or lose the process that draws for them."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest
from tests.images.conftest import Make
from tests.images.painting import Run, ask, drawn, painter

from penstock.core.errors import ConfigError, EngineError, InvalidRequestError, OverloadedError
from penstock.core.events import Done, Progress
from penstock.core.ports import Timeouts
from penstock.engines import _diffusers_ask
from penstock.engines._diffusers_messages import Over, Step
from penstock.engines.diffusers import Config, Engine

pytestmark = [pytest.mark.images, pytest.mark.asyncio(loop_scope="module")]

LONG = 900
"""Steps of a run that nobody waits for."""


def pid(engine: Engine) -> int:
    return engine._process.pid


def places(run: Run) -> list[int]:
    return [e.at for e in run.events if isinstance(e, Progress) and e.what == "queued"]


async def test_a_run_is_stopped_within_one_step(engine: Engine):
    """Counted where the steps are made: at most the one it was in is told after `stop`."""
    process = engine._process
    facts = engine._facts["tiny-text"]
    request = ask(steps=LONG, size=(128, 128))
    draw = _diffusers_ask.draw(request, facts, Config(preview_every=0), process.begin())
    process.draw(draw)
    at = 0
    while at < 3:
        at += sum(isinstance(report, Step) for report in await process.reports(draw.job))
    process.stop(draw.job)
    after = 0
    while True:
        reports = await process.reports(draw.job)
        after += sum(isinstance(report, Step) for report in reports)
        if isinstance(reports[-1], Over):
            break
    assert after <= 1


async def test_after_a_stopped_run_the_next_one_draws_as_ever(engine: Engine):
    before = await drawn(engine, ask())
    left = await Run(engine, ask(steps=LONG)).until_step(2)
    assert left.images == []
    async with asyncio.timeout(20):
        assert (await drawn(engine, ask())).pixels() == before.pixels()


async def test_ten_runs_tell_their_places_and_start_in_order(engine: Engine):
    order: list[int] = []

    async def one(n: int) -> Run:
        run = Run(engine, ask(seed=n, steps=6))
        async with asyncio.timeout(60):
            await run.until_step(1)
        order.append(n)
        return run

    first = Run(engine, ask(steps=LONG))
    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(first.until_step(40))
        await asyncio.sleep(0)
        waiting = []
        for n in range(10):
            waiting.append(tasks.create_task(one(n)))
            await asyncio.sleep(0.01)
        await held
    assert order == list(range(10))
    for n, task in enumerate(waiting):
        found = places(task.result())
        assert found[-1] == 1
        assert found == sorted(found, reverse=True)
        assert max(found) == n + 1
    of = [
        e.of for e in waiting[9].result().events if isinstance(e, Progress) and e.what == "queued"
    ]
    assert of[0] == 10


async def test_one_who_leaves_the_line_lets_the_others_move_up(engine: Engine):
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(Run(engine, ask(steps=LONG)).until_step(60))
        await asyncio.sleep(0.01)
        second = tasks.create_task(Run(engine, ask()).whole())
        await asyncio.sleep(0.01)
        third = tasks.create_task(Run(engine, ask()).whole())
        await asyncio.sleep(0.01)
        second.cancel()
        await first
    assert places(third.result()) == [2, 1]
    assert isinstance(third.result().events[-1], Done)


async def test_a_full_line_is_refused(make: Make):
    async with painter(make("text"), max_queue=1) as engine, asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(Run(engine, ask(steps=LONG)).until_step(30)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError) as caught:
            await drawn(engine, ask())
        assert caught.value.retry_after
        await asyncio.wait(runs)
        await drawn(engine, ask())


async def test_what_the_pipeline_raises_ends_the_run_and_no_more(engine: Engine):
    before, alive = await drawn(engine, ask()), pid(engine)
    with pytest.raises(EngineError, match="the pipeline failed: ValueError") as caught:
        await drawn(engine, ask(steps=1001))  # the scheduler was trained on 1000
    assert "/" not in caught.value.message.replace("num_inference_steps", "")
    assert (await drawn(engine, ask())).pixels() == before.pixels()
    assert pid(engine) == alive


async def test_memory_that_runs_out_ends_the_run_and_no_more(make: Make):
    async with painter(make("text"), max_pixels=2**62) as engine:
        before, alive = await drawn(engine, ask()), pid(engine)
        with pytest.raises(EngineError, match="memory ran out"):
            await drawn(engine, ask(size=(2**23, 2**23)))
        assert (await drawn(engine, ask())).pixels() == before.pixels()
        assert pid(engine) == alive


async def test_a_process_that_is_killed_ends_its_run_and_another_takes_over(make: Make):
    async with painter(make("text")) as engine:
        before, killed = await drawn(engine, ask()), pid(engine)
        run = Run(engine, ask(steps=LONG))

        async def kill() -> None:
            while not run.steps:
                await asyncio.sleep(0.01)
            os.kill(killed, signal.SIGKILL)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kill())
            with pytest.raises(EngineError, match="SIGKILL while it drew: perhaps for lack"):
                await run.whole()
        after = await drawn(engine, ask())
        assert after.pixels() == before.pixels()
        assert "loading" in [e.what for e in after.events if isinstance(e, Progress)]
        assert pid(engine) not in (0, killed)


async def test_a_process_that_hangs_is_killed_and_another_takes_over(make: Make):
    async with painter(make("text"), Timeouts(between_tokens=0.5)) as engine:
        hung = pid(engine)
        await Run(engine, ask(steps=LONG)).until_step(2)
        os.kill(hung, signal.SIGSTOP)
        assert len((await drawn(engine, ask())).images) == 1
        assert pid(engine) not in (0, hung)


async def test_a_process_killed_while_nobody_draws_is_not_missed(make: Make):
    async with painter(make("text")) as engine:
        process = engine._process._process
        assert process is not None
        process.kill()
        await process.wait()
        assert len((await drawn(engine, ask())).images) == 1


async def test_closing_ends_the_process_in_the_middle_of_a_run(make: Make):
    async with painter(make("text")) as engine:
        process = pid(engine)
        run = asyncio.ensure_future(Run(engine, ask(steps=LONG)).whole())
        await asyncio.sleep(0.1)
    with pytest.raises(Exception, match="the engine is closed"):
        await run
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def resident(process: int) -> int:
    """Bytes in main memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
async def test_memory_is_flat_over_a_hundred_pictures(engine: Engine):
    for n in range(20):
        await drawn(engine, ask(seed=n))
    before = resident(pid(engine)), resident(os.getpid())
    for n in range(100):
        await drawn(engine, ask(seed=n))
    grown = resident(pid(engine)) - before[0], resident(os.getpid()) - before[1]
    assert max(grown) < 16 * 2**20, grown


# ── which models there are ───────────────────────────────────────────────────────────────────────


async def test_a_folder_of_pipelines_takes_turns_in_memory(make: Make):
    one, other = make("text"), make("inpaint")
    assert one.parent == other.parent
    async with painter(one.parent, model="tiny-text", load="first_use") as engine:
        names = [card.name for card in await engine.models()]
        assert {"tiny-inpaint", "tiny-text"} <= set(names)
        first = await drawn(engine, ask())
        loading = [e for e in first.events if isinstance(e, Progress) and e.what == "loading"]
        assert loading[0].text == "tiny-text"
        named = msgspec.structs.replace(ask(), model="tiny-inpaint")
        with pytest.raises(InvalidRequestError, match="only draws into a picture"):
            await drawn(engine, named)
        assert (await drawn(engine, ask())).pixels() == first.pixels()


async def test_before_a_model_is_loaded_it_is_refused_what_it_can_not_do(make: Make):
    async with painter(make("text"), load="first_use") as engine:
        assert pid(engine) == 0
        assert "sampler" in engine.supports
        with pytest.raises(InvalidRequestError) as caught:
            await drawn(engine, ask(sampler="best"))
        assert caught.value.param == "sampler"


async def test_loading_that_nobody_waits_for_is_loading_for_the_next(make: Make):
    async with painter(make("text"), load="first_use") as engine:
        left = await Run(engine, ask()).begun()
        assert left.events == [Progress(what="loading", text="tiny-text")]
        first = pid(engine)
        run = await drawn(engine, ask())
        assert "loading" not in [e.what for e in run.events if isinstance(e, Progress)]
        assert pid(engine) == first


async def test_a_sampler_of_the_configuration_is_checked_at_the_start(make: Make):
    with pytest.raises(ConfigError, match="'best' is not one of") as caught:
        async with painter(make("text"), sampler="best"):
            pass
    assert caught.value.param == "sampler"


async def test_what_can_not_be_loaded_is_told_at_the_start(make: Make, tmp_path: Path):
    with pytest.raises(ConfigError, match="no folder 'none'"):
        async with painter(tmp_path / "none"):
            pass
    with pytest.raises(ConfigError, match="no pipeline"):
        async with painter(tmp_path):
            pass
    with pytest.raises(ConfigError, match="no model 'b'; there are: tiny-text"):
        async with painter(make("text"), model="b"):
            pass
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_text('{"_class_name": "NoSuchPipeline"}')
    with pytest.raises(ConfigError, match="can't be loaded") as caught:
        async with painter(broken):
            pass
    assert str(tmp_path) not in caught.value.message


async def test_nothing_is_downloaded_unless_it_is_allowed():
    engine = Engine(Config(path="org/name"), Timeouts())
    try:
        with pytest.raises(ConfigError, match="can't be loaded") as caught:
            await engine.start()
        assert "allow_download" in caught.value.message
    finally:
        await engine.aclose()
