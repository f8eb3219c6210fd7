"""Workflows in ComfyUI's API format, and what a request changes in them. No I/O but one file.

A workflow is what ComfyUI's menu saves as "Export (API)": node ids to `class_type` and `inputs`.
Names of ours stand for single inputs of it: `prompt = "6.inputs.text"`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from penstock.core.errors import ConfigError, UnsupportedParameterError
from penstock.core.request import Request, prompt
from penstock.wire import json

Value = str | int | float

NAMES: Final = frozenset(
    {
        "prompt",
        "negative_prompt",
        "seed",
        "steps",
        "guidance_scale",
        "sampler",
        "width",
        "height",
        "model",
        "image",
        "mask",
        "mask_channel",
        "strength",
    }
)
"""Everything that can be named."""

_COMMON: Final = {
    "prompt": "6.inputs.text",
    "negative_prompt": "7.inputs.text",
    "seed": "3.inputs.seed",
    "steps": "3.inputs.steps",
    "guidance_scale": "3.inputs.cfg",
    "sampler": "3.inputs.sampler_name",
    "model": "4.inputs.ckpt_name",
}
_FOLDER: Final = Path(__file__).parent / "_comfy_workflows"
SHIPPED: Final[Mapping[str, tuple[Path, Mapping[str, str]]]] = {
    "workflow": (
        _FOLDER / "text_to_image.json",
        {**_COMMON, "width": "5.inputs.width", "height": "5.inputs.height"},
    ),
    "edit_workflow": (
        _FOLDER / "image_to_image.json",
        {**_COMMON, "image": "10.inputs.image", "strength": "3.inputs.denoise"},
    ),
    "inpaint_workflow": (
        _FOLDER / "inpainting.json",
        {
            **_COMMON,
            "image": "10.inputs.image",
            "mask": "11.inputs.image",
            "mask_channel": "11.inputs.channel",
            "strength": "3.inputs.denoise",
        },
    ),
}
"""Those that come with Penstock: file and names."""

_FEATURES: Final = ("negative_prompt", "seed", "steps", "guidance_scale", "sampler", "strength")
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "workflow": ("prompt",),
    "edit_workflow": ("prompt", "image"),
    "inpaint_workflow": ("prompt", "image", "mask"),
}


class Node(msgspec.Struct):
    """One node, as ComfyUI takes it."""

    class_type: str
    inputs: dict[str, object]


Graph = dict[str, Node]


class Place(msgspec.Struct, frozen=True):
    """One input of one node."""

    node: str
    field: str


class Workflow:
    """A file and the names of its inputs. `setting`: the key of the binding that names the file.

    Raises `ConfigError` for names that say nothing; the file is read by `load`.
    """

    def __init__(self, setting: str, file: Path, names: Mapping[str, str]) -> None:
        self.file = file
        self._setting = setting
        self.places = {name: _place(setting, name, text) for name, text in names.items()}
        missing = [name for name in _NEEDED[setting] if name not in self.places]
        if missing:
            raise ConfigError(f"it does not name {missing[0]}", param=_names_of(setting))
        self._graph: Graph = {}

    def load(self) -> None:
        """Reads the file. Raises `ConfigError` for what is no workflow, or lacks a named input."""
        try:
            data = self.file.read_bytes()
        except OSError as error:
            raise ConfigError(f"can't be read: {error.strerror}", param=self._setting) from error
        try:
            graph = json.decode(data, Graph, ConfigError)
        except ConfigError as error:
            raise ConfigError(
                f"is no workflow in API format ({error.message}); ComfyUI's menu saves one as "
                "Export (API)",
                param=self._setting,
            ) from error
        for name, place in self.places.items():
            node = graph.get(place.node)
            if node is None or place.field not in node.inputs:
                raise ConfigError(
                    f"{name}: the workflow has no input {place.node}.inputs.{place.field}",
                    param=_names_of(self._setting),
                )
        self._graph = graph

    @property
    def supports(self) -> frozenset[str]:
        """The features of image requests that it can honour."""
        found: set[str] = {name for name in _FEATURES if name in self.places}
        if {"width", "height"} <= self.places.keys():
            found.add("size")
        return frozenset(found | ({"inputs"} if "image" in self.places else set()))

    def kind(self, name: str) -> str:
        """The class of the node that has this input; empty when there is none of that name."""
        place = self.places.get(name)
        return self._graph[place.node].class_type if place is not None else ""

    def kind_of(self, node: str) -> str:
        """The class of a node; empty for those that ComfyUI made up itself."""
        found = self._graph.get(node)
        return found.class_type if found is not None else ""

    def value(self, name: str) -> Value | None:
        """What the file says."""
        place = self.places.get(name)
        found = self._graph[place.node].inputs[place.field] if place is not None else None
        return found if isinstance(found, str | int | float) else None

    def name_at(self, node: str, field: str) -> str | None:
        """What an input is called."""
        return next((n for n, p in self.places.items() if p == Place(node, field)), None)

    def filled(self, values: Mapping[str, Value]) -> Graph:
        """A graph to be queued. What has no place in it is left out."""
        graph = {
            name: Node(class_type=node.class_type, inputs=dict(node.inputs))
            for name, node in self._graph.items()
        }
        for name, value in values.items():
            place = self.places.get(name)
            if place is not None:
                graph[place.node].inputs[place.field] = value
        return graph

    def used(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The settings that a picture is made with: what was asked, else what the file says."""
        shown = ("steps", "guidance_scale", "sampler", "strength", "negative_prompt", "model")
        found = {name: values.get(name, self.value(name)) for name in shown}
        return {name: value for name, value in found.items() if value not in (None, "")}


def asked(request: Request, workflow: Workflow) -> dict[str, Value]:
    """What a request says, by our names. Raises `UnsupportedParameterError` for what has no place
    in this workflow (it may have one in another).
    """
    said = request.image
    values: dict[str, Value | None] = {"prompt": prompt(request)}
    if request.model:
        values["model"] = request.model
    if said is None:
        return {name: value for name, value in values.items() if value is not None}
    values |= {
        "negative_prompt": said.negative_prompt,
        "steps": said.steps,
        "guidance_scale": said.guidance_scale,
        "sampler": said.sampler,
        "strength": said.strength,
        "width": said.size[0] if said.size else None,
        "height": said.size[1] if said.size else None,
    }
    found = {name: value for name, value in values.items() if value is not None}
    for name in found.keys() - workflow.places.keys() - {"model"}:
        field = "size" if name in ("width", "height") else name
        raise UnsupportedParameterError(
            f"{field} has no place in the workflow for such requests", param=field
        )
    return found


def _names_of(setting: str) -> str:
    return setting.replace("workflow", "inputs")


def _place(setting: str, name: str, text: str) -> Place:
    node, _, field = text.partition(".inputs.")
    if name not in NAMES:
        raise ConfigError(
            f"{name!r} is none of {', '.join(sorted(NAMES))}", param=_names_of(setting)
        )
    if not node or not field:
        raise ConfigError(
            f"{name}: {text!r} does not look like 6.inputs.text", param=_names_of(setting)
        )
    return Place(node, field)
