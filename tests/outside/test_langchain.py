"""`langchain-openai` and `langchain-ollama` through the `langchain-tests` standard suites."""

import re
import tomllib
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.outside.live import HERE, VENVS, penstock, run

LEFT_OUT = tomllib.loads((HERE / "left_out.toml").read_text())


def left_out(kind: str, case: str) -> bool:
    plain = re.sub(r"\[.*", "", case)
    return any(
        kind in entry["classes"] and (case in entry["cases"] or plain in entry["cases"])
        for entry in LEFT_OUT["left_out"]
    )


def skipping() -> list[str | Path]:
    return [
        f"--deselect=suites.py::{kind}::{case}"
        for entry in LEFT_OUT["left_out"]
        for kind in entry["classes"]
        for case in entry["cases"]
    ]


@pytest.mark.timeout(300)
def test_the_standard_suites_pass(tmp_path: Path):
    results = tmp_path / "results.xml"
    command: list[str | Path] = [
        VENVS / "langchain" / "bin" / "python",
        "-m",
        "pytest",
        "suites.py",
    ]
    command += ["--rootdir=.", "-c", "pytest.ini", f"--junitxml={results}", "--tb=short"]
    with penstock(tmp_path / "server") as serving:
        done = run([*command, *skipping()], serving, HERE / "langchain", 240)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed: Counter[str] = Counter()
    for case in ElementTree.parse(results).iter("testcase"):
        kind = str(case.get("classname")).removeprefix("suites.")
        assert not left_out(kind, str(case.get("name")))
        assert not list(case), (kind, case.get("name"))
        passed[kind] += 1
    assert passed == LEFT_OUT["passed"]


def test_what_the_demo_model_cannot_do_runs_with_the_scripted_upstream():
    both = {"Scripted" in kind for kind in LEFT_OUT["passed"] if kind.startswith("TestOpenAI")}
    assert both == {True, False}
    for entry in LEFT_OUT["left_out"]:
        if "scripted upstream" in entry["reason"]:
            for kind in entry["classes"]:
                again = kind.replace("Embedded", "Scripted")
                assert again in LEFT_OUT["passed"]
                for case in entry["cases"]:
                    assert not left_out(again, case) or case == "test_tool_choice"


def test_the_page_shows_what_is_left_out():
    page = (HERE.parents[1] / "docs" / "clients" / "outside.md").read_text()
    for entry in LEFT_OUT["left_out"]:
        assert entry["reason"] in page
        for case in entry["cases"]:
            assert f"`{case}`" in page
    for kind, count in LEFT_OUT["passed"].items():
        assert f"| `{kind}` | {count} |" in page
