"""The estimate of a text's tokens is never below the truth; the docs say how far above it is."""

import re
from pathlib import Path

from tests.integration.embedded import ask, reply, running

from penstock.core.request import Sampling
from penstock.gateway.budgets import PER_MESSAGE, PER_PROMPT, estimate

DOCS = Path(__file__).parents[2] / "docs/sessions.md"
TEXTS = {
    "English": "The keeper climbed the stairs every evening, and lit the lamp. " * 4,
    "German": "Der Wärter stieg jeden Abend hinauf und zündete die Lampe an. " * 4,
    "Python": "def fold(entries):\n    return [e.event for e in entries if e.seq > 0]\n" * 4,
    "Chinese": "灯塔看守人每天晚上都爬上楼梯,点亮灯光。" * 4,
    "emoji": "😀🚀🌍🎉" * 8,
}


async def test_the_estimate_is_never_too_low():
    page = DOCS.read_text()
    async with running() as engine:
        for name, text in TEXTS.items():
            usage = (await reply(engine, ask(text, Sampling(max_tokens=1)))).usage
            assert usage is not None
            counted = estimate(text) + PER_MESSAGE + PER_PROMPT
            assert usage.input_tokens <= counted
            row = re.search(rf"^\| {name} \| (\d+) \| (\d+) \|", page, re.MULTILINE)
            assert row is not None
            assert (int(row[1]), int(row[2])) == (usage.input_tokens, counted), name
