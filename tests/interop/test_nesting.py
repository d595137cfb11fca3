"""Tensors inside nested values are substituted; everything else stays as it is."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.interop.nesting import substituted


class Pair(NamedTuple):
    first: Any
    second: Any


class Slotted:
    __slots__ = ("__weakref__", "empty", "x")

    def __init__(self, x: Any):
        self.x = x


class Below(Slotted):
    __slots__ = "y"

    def __init__(self, x: Any, y: Any):
        super().__init__(x)
        self.y = y


@dataclass(frozen=True)
class Frozen:
    x: Any
    name: str = "frozen"


def shapes(value: Any) -> Any:
    return substituted(value, Tensor, lambda tensor: f"{tensor.numel()}")


def test_tensors_are_found_wherever_they_are() -> None:
    x, y = torch.ones(2), torch.ones(3)
    assert shapes(x) == "2"
    assert shapes([x, (y, None), {"a": x, 3: [y]}, 7]) == ["2", ("3", None), {"a": "2", 3: ["3"]}, 7]
    assert shapes(Pair(x, Pair(1, y))) == Pair("2", Pair(1, "3"))
    assert shapes(Slotted([x])).x == ["2"]
    found = shapes(Below(x, (y,)))
    assert (found.x, found.y) == ("2", ("3",))
    assert shapes(Frozen(x)) == Frozen("2")


def test_what_holds_none_is_not_copied() -> None:
    block = blocks.Linear(2, 2)
    for value in (torch.Size((2, 3)), [1, "a", None], Pair(1, 2), Slotted(1), Frozen(1), torch.float32, slice(1, 2)):
        assert shapes(value) is value
    assert shapes(block) is block, "a block keeps its weights"
    assert shapes(Linear := type(block)) is Linear


def test_nothing_is_changed_in_place() -> None:
    x = torch.ones(2)
    slotted, listed = Slotted(x), [x]
    shapes([slotted, listed])
    assert slotted.x is x
    assert listed[0] is x
