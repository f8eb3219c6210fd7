"""Every engine's page names every setting and every feature of it."""

from pathlib import Path
from types import ModuleType

import pytest

from penstock.core.ports import Timeouts
from penstock.engines import comfyui, diffusers, ollama, openai, openai_images, replay, sdwebui

PAGES = Path(__file__).parents[2] / "docs" / "engines"
PAGED = [comfyui, diffusers, ollama, openai, openai_images, replay, sdwebui]


@pytest.mark.parametrize("module", PAGED, ids=lambda m: m.__name__)
def test_settings_and_features_are_on_the_page(module: ModuleType) -> None:
    page = (PAGES / f"{module.__name__.rpartition('.')[2]}.md").read_text()
    config = module.Config(path="x") if module is replay else module.Config()
    names = {*module.Config.__struct_fields__, *module.Engine(config, Timeouts()).supports}
    assert sorted(name for name in names if f"`{name}`" not in page) == []
