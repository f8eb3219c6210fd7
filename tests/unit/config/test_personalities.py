"""Personalities in lollms' format: those that ship, a folder, tables."""

from pathlib import Path

import pytest

from penstock.config import loading, personalities
from penstock.config.schema import Config
from penstock.core.errors import ConfigError

SHEET = """\
name: Kit
version: 2
author: me
personality_description: A test.
personality_conditioning: Talk like a pirate.
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "config.yaml").write_text(text)
    return folder


def test_two_good_ones_ship():
    found = {one.name: one for one in personalities.shipped()}
    assert sorted(found) == ["lollms", "my_coolbot"]
    for name, one in found.items():
        assert one.path == name
        assert len(one.conditioning) > 200
        assert one.trouble is None
        assert 0 < one.parameters["temperature"] <= 1
    assert "Answer like a robot." in found["my_coolbot"].conditioning


def test_a_folder_is_read_by_lollms_rules(tmp_path: Path):
    text = SHEET + (
        "model_temperature: 0.5\nmodel_n_predicts: 64\nmodel_top_k: 40\nmodel_top_p: 0.9\n"
        "model_repeat_penalty: 1.1\nmodel_repeat_last_n: 32\ntags: [a, b]\nlanguage:\n"
        "welcome_message: Hi\nmodel_max_output_tokens: 5\nfuture_key: {x: 1}\n"
    )
    write(tmp_path, "kit", text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.md").write_text("no personality")
    (kit,) = personalities.read_folder(tmp_path)
    assert (kit.name, kit.version, kit.path, kit.language) == ("Kit", "2", "kit", "english")
    assert kit.tags == ("a", "b")
    assert kit.parameters == {
        "temperature": 0.5,
        "max_tokens": 64,
        "top_k": 40,
        "top_p": 0.9,
        "repeat_penalty": 1.1,
        "repeat_last_n": 32,
    }


@pytest.mark.parametrize(
    ("text", "said", "param"),
    [
        (SHEET.replace("author: me\n", ""), "kit/config.yaml: author: missing", "author"),
        (SHEET + "model_temperature: 3", "kit/config.yaml: model_temperature: expected a number <=",
         "model_temperature"),
        (SHEET + "tags: a", "kit/config.yaml: tags: expected a list", "tags"),
        (SHEET + "a: [", "kit/config.yaml:6: not valid YAML", None),
        ("- a\n- b\n", "kit/config.yaml: expected keys and values", None),
        ("!!python/object/apply:os.system ['x']\n", "kit/config.yaml:1: not valid YAML", None),
    ],
)  # fmt: skip
def test_a_bad_sheet_is_named_with_file_and_key(
    tmp_path: Path, text: str, said: str, param: str | None
):
    write(tmp_path, "kit", text)
    with pytest.raises(ConfigError) as caught:
        personalities.read_folder(tmp_path)
    assert caught.value.message.startswith(said)
    assert caught.value.param == param


def test_a_scripted_one_is_listed_and_says_why_it_is_refused(tmp_path: Path):
    write(tmp_path, "kit", SHEET + "script_path: script.py\n")
    (tmp_path / "kit/script.py").write_text("raise SystemExit('it was run')")
    (kit,) = personalities.read_folder(tmp_path)
    assert kit.trouble is not None
    assert "script_path" in kit.trouble
    assert "add 'Kit' to [personalities] scripts" in kit.trouble
    assert kit.scripted


def scripted(folder: Path, script_path: str, scripts: str = '["Kit"]') -> Config:
    write(folder, "kit", SHEET + f"script_path: {script_path}\n")
    (folder / "kit/script.py").write_text("raise SystemExit('it was run')")
    (folder / "outside.py").write_text("")
    path = folder / "config.toml"
    path.write_text(
        f"[paths]\npersonalities_folder = '{folder}'\n[personalities]\nscripts = {scripts}\n"
        "[personalities.Other]\npersonality_conditioning = 'Be brief.'\n"
    )
    return loading.load(path, {}, {})


def test_a_script_that_is_listed_may_run(tmp_path: Path):
    config = scripted(tmp_path, "script.py")
    assert config.personalities.scripts == ("Kit",)
    found = personalities.load(config)
    assert (found["Kit"].trouble, found["Kit"].scripted) == (None, True)
    assert found["Other"].conditioning == "Be brief."
    assert personalities.scripts(config) == {"Kit": (tmp_path / "kit/script.py").resolve()}


def test_a_script_that_is_not_listed_is_not_even_looked_for(tmp_path: Path):
    config = scripted(tmp_path, "nowhere.py", "[]")
    assert personalities.load(config)["Kit"].trouble is not None
    assert personalities.scripts(config) == {}


@pytest.mark.parametrize(
    ("script_path", "said"),
    [("nowhere.py", "there is no file"), ("../outside.py", "outside"), ("/etc/passwd", "outside")],
)
def test_a_script_lies_in_its_own_folder(tmp_path: Path, script_path: str, said: str):
    config = scripted(tmp_path, script_path)
    with pytest.raises(ConfigError, match=said) as caught:
        personalities.scripts(config)
    assert caught.value.message.startswith("kit/config.yaml: script_path: ")


def test_a_list_that_names_no_script_is_an_error(tmp_path: Path):
    config = scripted(tmp_path, "script.py", '["Kit", "Other"]')
    with pytest.raises(ConfigError, match="no personality named 'Other' has a script") as caught:
        personalities.load(config)
    assert caught.value.param == "personalities.scripts"


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("[personalities]\nscripts = 'Kit'\n", "personalities.scripts"),
        ("[personalities]\nscript = ['Kit']\n", "personalities.script"),
        ("[personalities.Kit]\nmood = 1\n", "personalities.Kit.mood"),
        ("[personalities.Kit]\n", "personalities.Kit.personality_conditioning"),
    ],
)
def test_errors_name_the_key_as_it_stands_in_the_file(tmp_path: Path, text: str, param: str):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        loading.load(path, {}, {})
    assert caught.value.param == param


def test_the_environment_reaches_both():
    environment = {
        "PENSTOCK_PERSONALITIES__SCRIPTS": '["Kit"]',
        "PENSTOCK_PERSONALITIES__KIT__PERSONALITY_CONDITIONING": "42",
    }
    config = loading.load(None, environment, {})
    assert config.personalities.scripts == ("Kit",)
    assert config.personalities.tables["kit"].personality_conditioning == "42"


def test_a_missing_folder_is_an_error():
    with pytest.raises(ConfigError, match="no folder /nowhere") as caught:
        personalities.read_folder(Path("/nowhere"))
    assert caught.value.param == "paths.personalities_folder"


def test_a_table_wins_over_a_folder_and_a_folder_over_ours(tmp_path: Path):
    write(tmp_path, "one", SHEET.replace("Kit", "lollms"))
    write(tmp_path, "two", SHEET)
    path = tmp_path / "config.toml"
    path.write_text(
        f"[paths]\npersonalities_folder = '{tmp_path}'\n"
        "[personalities.Kit]\npersonality_conditioning = 'Be brief.'\nmodel_temperature = 0.1\n"
    )
    found = personalities.load(loading.load(path, {}, {}))
    assert sorted(found) == ["Kit", "lollms", "my_coolbot"]
    assert found["lollms"].conditioning == "Talk like a pirate."
    assert found["Kit"].conditioning == "Be brief."
    assert found["Kit"].parameters == {"temperature": 0.1}
