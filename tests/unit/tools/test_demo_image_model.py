"""What the demo image model learns from and is judged by. Drawing needs Pillow, judging numpy."""

import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[3] / "tools" / "demo_image_model"
needs_pictures = pytest.mark.skipif(
    not (find_spec("PIL") and find_spec("numpy")), reason="Pillow and numpy are not installed"
)


@pytest.fixture
def meaning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("meaning")


@pytest.fixture
def held_out(meaning: ModuleType) -> ModuleType:
    return importlib.import_module("held_out")


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, script], cwd=TOOLS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_held_out_captions_are_200_of_four_kinds_and_none_twice(held_out: ModuleType):
    captions = held_out.read()
    kinds = [one.kind for one in captions]
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {"pair": 80, "count": 40, "place": 40, "scene": 40}
    assert len({one.caption for one in captions}) == 200


def test_training_shows_no_combination_of_a_held_out_caption(
    meaning: ModuleType, held_out: ModuleType
):
    kept = {key for one in held_out.read() for key in meaning.keys(one.meaning)}
    rng = Random(3)
    for _ in range(20_000):
        shown = meaning.training_meaning(rng)
        assert kept.isdisjoint(meaning.keys(shown)), shown


def test_a_thing_beside_another_is_never_shown_where_it_is_held_out(meaning: ModuleType):
    """A `beside` picture also shows a left and a right; neither may be a held-out one."""
    rng = Random(4)
    for _ in range(20_000):
        shown = meaning.training_meaning(rng)
        if isinstance(shown, meaning.Pair) and shown.relation == "beside":
            really = meaning.Pair(shown.first, shown.order, shown.second)
            assert not any(map(meaning.is_held_out, meaning.keys(really))), shown


def test_a_caption_that_the_grammar_no_longer_makes_is_refused(
    held_out: ModuleType, tmp_path: Path
):
    changed = tmp_path / "held_out.tsv"
    changed.write_text(held_out.FILE.read_text().replace("heart", "moon"))
    with pytest.raises(ValueError, match="was to be held out"):
        held_out.read(changed)


@needs_pictures
def test_the_checker_passes_what_is_drawn_and_refuses_it_under_another_caption():
    report = run("prove.py").splitlines()
    assert report[-1].endswith("(200 captions, 5 pictures each)")


@needs_pictures
def test_a_picture_is_the_same_for_the_same_seed(held_out: ModuleType):
    draw = importlib.import_module("draw").draw
    for one in held_out.read():
        first, again = draw(one.meaning, Random(one.seed)), draw(one.meaning, Random(one.seed))
        assert first.size == (64, 64)
        assert first.tobytes() == again.tobytes()
        assert draw(one.meaning, Random(one.seed + 1)).tobytes() != first.tobytes()
