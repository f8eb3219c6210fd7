"""The reference and the example: complete, fresh, and valid."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from penstock import registry
from penstock.config import loading, reference
from penstock.config.schema import Config, Mqtt, MqttProject, Personalities, PersonalityTable

ROOT = Path(__file__).parents[3]
ENGINES = {name: registry.load("engines", name).Config for name in registry.names("engines")}
KEYS = [key for section in reference.sections(ENGINES) for key in section.keys]


def test_what_is_made_from_the_code_is_fresh():
    command = [sys.executable, str(ROOT / "tools/reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_section_of_the_schema_is_there():
    sections = {section.path.partition(".")[0] for section in reference.sections(ENGINES)}
    assert sections == set(Config.__struct_fields__)
    bindings = {s.path for s in reference.sections(ENGINES) if s.path.startswith("bindings")}
    assert bindings == {f"bindings.NAME ({name})" for name in ENGINES}


@pytest.mark.parametrize("key", KEYS, ids=[key.path for key in KEYS])
def test_every_key_is_explained(key: reference.Key):
    assert len(key.description) > 3
    assert f"| `{key.name}` |" in reference.markdown(ENGINES)


def test_every_key_of_every_struct_is_a_key_of_the_reference():
    def fields(kind: type[msgspec.Struct]) -> int:
        inner = [f.type for f in msgspec.structs.fields(kind)]
        if kind is Personalities:
            inner = [*inner[:-1], PersonalityTable]  # its tables stand below it by their names
        if kind is Mqtt:
            inner = [*inner, MqttProject]  # a list of names, or a table for each
        structs = [t for t in inner if isinstance(t, type) and issubclass(t, msgspec.Struct)]
        return len(inner) - len(structs) + sum(fields(one) for one in structs)

    sections: list[type[msgspec.Struct]] = []
    for field in msgspec.structs.fields(Config):
        kind = field.type if isinstance(field.type, type) else None
        if kind is not None and issubclass(kind, msgspec.Struct):
            sections.append(kind)
        elif field.name != "bindings":
            sections.append(field.type.__args__[1])
    assert len(KEYS) == sum(fields(kind) for kind in [*sections, *ENGINES.values()])


def test_the_example_is_valid_as_it_is_and_says_the_defaults(tmp_path: Path):
    path = tmp_path / "config.toml"
    path.write_text((ROOT / "config.example.toml").read_text())
    assert loading.load(path, {}, {}) == Config()


def test_the_example_is_valid_with_every_setting_of_a_plain_section_switched_on(tmp_path: Path):
    lines: list[str] = []
    plain = False
    for line in (ROOT / "config.example.toml").read_text().splitlines():
        if line.startswith(("[", "# [")):
            plain = line.startswith("[")
        setting = re.match(r"# [a-z_]+ = ", line)
        lines.append(line.removeprefix("# ") if plain and setting else line)
    path = tmp_path / "config.toml"
    path.write_text("\n".join(lines))
    config = loading.load(path, {"NAME_OF_A_VARIABLE": "secret"}, {})
    assert config.server == Config().server
    assert config.client.api.endpoint == "..."


TABLES = re.findall(r"^# \[[\w.]+\]\n(?:#.*\n)*", (ROOT / "config.example.toml").read_text(), re.M)
NEEDED = ("binding", "personality_conditioning", "path")


@pytest.mark.parametrize("table", TABLES, ids=[" ".join(t.splitlines()[:2]) for t in TABLES])
def test_a_named_table_of_the_example_is_valid_with_any_one_setting_switched_on(
    table: str, tmp_path: Path
):
    head = re.findall(r"^# (\[.*\]|engine = .*)$", table, re.MULTILINE)
    settings = re.findall(r"^# ([a-z_]+) = (.*)$", table.replace("# engine = ", "# "), re.MULTILINE)
    needed = {name: value for name, value in settings if name in NEEDED}
    for name, value in settings:
        path = tmp_path / "config.toml"
        both = {**needed, name: value}
        path.write_text("\n".join([*head, *[f"{one} = {both[one]}" for one in both]]))
        environment = {"NAME_OF_A_VARIABLE": "secret"}
        config = loading.load(path, environment, {})
        for binding, found in config.bindings.items():
            kind = ENGINES[loading.engine_of(binding, found)]
            loading.convert_binding(binding, found, kind, environment)
