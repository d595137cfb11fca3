"""What the help says of choices and defaults is what there is: they stand a second time where torch is not loaded."""

from importlib import import_module
from typing import Any

import pytest

from blockprop.commands import choices

HOMES = {
    "SHIPPED": "networks.shipped.NAMES",
    "LOSSES": "engine.objectives.LOSSES",
    "TORCH_OPTIMIZERS": "commands.optimizers.TORCH_OPTIMIZERS",
    "SCHEDULES": "commands.optimizers.SCHEDULES",
    "ARCHITECTURES": "networks.architectures.ARCHITECTURES",
    "PUBLISHED": "networks.published.PUBLISHED",
    "METHODS": "visualize.attribution.methods.METHODS",
    "CANVASES": "visualize.pipeline.CANVASES",
    "UPDATES": "visualize.updates.OPTIMIZERS",
    "COLORS": "visualize.style.stylize.COLORS",
    "COARSEST": "visualize.style.stylize.COARSEST",
    "MOST_SCALES": "visualize.style.stylize.MOST_SCALES",
    "STEPS": "visualize.maximize.STEPS",
    "TILE": "visualize.tiling.TILE",
    "MOST_PIXELS": "pictures.image_files.MOST_PIXELS",
    "MOST_NODES": "learning.stepper.MOST_NODES",
    "WIDEST": "pictures.framing.WIDEST",
}
"""Where each is what counts."""
SORTED = ("TORCH_OPTIMIZERS",)


def home_of(name: str) -> tuple[str, Any]:
    """(the file, its value)"""
    module, _, there = HOMES[name].rpartition(".")
    return f"blockprop/{module.replace('.', '/')}.py", getattr(import_module(f"blockprop.{module}"), there)


@pytest.mark.parametrize("name", HOMES)
def test_what_the_help_names_is_what_there_is(name: str) -> None:
    said = getattr(choices, name)
    file, there = home_of(name)
    if not isinstance(said, tuple):
        assert said == there, f"{name} of blockprop/commands/choices.py is {said}, that of {file} is {there}"
        return
    assert not {*said} - {*there}, f"not in {file}: {sorted({*said} - {*there})}"
    assert not {*there} - {*said}, f"not in blockprop/commands/choices.py: {sorted({*there} - {*said})}"
    assert [*said] == (sorted(there) if name in SORTED else [*there]), "in another order"


def test_the_methods_that_need_many_gradients() -> None:
    _, methods = home_of("METHODS")
    assert [*choices.MANY] == [name for name, method in methods.items() if method.passes]


def test_nothing_is_said_that_has_no_home() -> None:
    assert {name for name in vars(choices) if name.isupper()} == {*HOMES, "MANY"}
