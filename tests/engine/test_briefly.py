"""Things that hold tensors are shown in a line, not in pages of numbers."""

import dataclasses
import importlib
import inspect
import pkgutil
from typing import Any

import pytest
import torch

import blockprop
from blockprop import Sequential, cross_entropy, read_data
from blockprop.blocks import Linear, ReLU
from blockprop.engine.briefly import brief
from blockprop.training.measures import Measures
from blockprop.training.rate_finder import RateCurve
from blockprop.visualize import maximize, saliency
from tests.commands.running import small

ROOMS = ("engine", "blocks", "rules", "training", "data", "visualize", "networks")
PAGE = torch.zeros(40, 40)


def annotations(kind: Any) -> dict[str, str]:
    """Of its fields, in order."""
    if dataclasses.is_dataclass(kind):
        return {field.name: str(field.type) for field in dataclasses.fields(kind)}
    return {name: str(kind.__annotations__[name]) for name in getattr(kind, "_fields", ())}


def is_tensor(annotation: str) -> bool:
    return "Tensor" in annotation and "Callable" not in annotation


def kinds() -> list[type]:
    modules = [
        importlib.import_module(found.name)
        for room in ROOMS
        for found in pkgutil.walk_packages([f"{blockprop.__path__[0]}/{room}"], f"blockprop.{room}.")
    ]
    classes = {kind for module in modules for kind in vars(module).values() if inspect.isclass(kind)}
    named = [kind for kind in classes if kind.__module__.startswith("blockprop.") and not kind.__name__.startswith("_")]
    some = [kind for kind in named if any(map(is_tensor, annotations(kind).values()))]
    return sorted(some, key=lambda kind: kind.__name__)


def full_of_pages(kind: Any) -> Any:
    values = {name: PAGE if is_tensor(text) else "n" for name, text in annotations(kind).items()}
    if issubclass(kind, tuple):
        return kind._make([values[name] for name in kind._fields])
    thing = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(thing, name, value)
    return thing


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_nothing_that_holds_tensors_prints_them(kind: type) -> None:
    shown = repr(full_of_pages(kind))
    assert "[0., 0." not in shown
    assert len(shown) < 1_000


def test_results_say_what_they_are() -> None:
    network = Sequential(Linear(4, 3), ReLU())
    assert repr(network.forward(torch.randn(5, 4))) == (
        "Trace({'x': float32 5 x 4, 'linear1': float32 5 x 3, 'relu1': float32 5 x 3}, saved at 2 nodes)"
    )
    seen = small()
    found = saliency(seen, torch.rand(1, 3, 24, 24), "red fox")
    assert repr(found).startswith("Saliency(map=float32 1 x 24 x 24, attribution=float32 1 x 3 x 24 x 24, targets=[")
    (record,) = maximize(seen, "red fox", steps=1)
    assert "picture=float32 1 x 3 x 24 x 24" in repr(record)
    assert len(repr(record)) < 400
    assert len(repr(cross_entropy(class_weights=torch.rand(1000)))) < 100
    assert repr(cross_entropy(class_weights=torch.tensor([1.0, 2.0]))) == "cross_entropy(class_weights=[1.0, 2.0])"


def test_what_holds_many_numbers_or_columns_is_shown_in_some_lines() -> None:
    data = read_data("breast_cancer")
    assert "train=Dataset(breast_cancer: 569 examples of 30, 2 classes)" in repr(data)
    values = {"accuracy": 0.5}
    for thing, most in (
        (data, 300),
        (data.encoder, 700),
        (RateCurve(tuple(map(float, range(1, 101))), tuple(map(float, range(100)))), 200),
        (Measures(values, {f"class {i}": values for i in range(1000)}), 500),
    ):
        assert len(repr(thing)) < most, repr(thing)


def test_long_collections_are_cut() -> None:
    assert brief(list(range(100))) == "[0, 1, 2, 3, 4, 5, 94 more]"
    assert brief({"a": torch.zeros(2)}) == "{'a': float32 2}"
    assert brief("x" * 200).endswith("…")
