"""A forward that leaves the type of number or the device of its input is what a check blames, not the way back."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Cast, Linear
from blockprop.engine.block import Block
from blockprop.engine.check import check_block, check_network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.sequential import Sequential


class Doubling(Block):
    """y = 2 x, with something done to y."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        self.then = then

    def forward(self, x: Tensor) -> tuple:
        return self.then(2 * x), None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (2 * d_y,)


class Twice(Doubling):
    """The same in both of its outputs, the second of which is changed."""

    output_count = 2

    def forward(self, x: Tensor) -> tuple:
        return (2 * x, self.then(2 * x)), x

    def propagate(self, saved: Tensor, d_y: tuple) -> tuple:
        return (sum((2 * d for d in d_y if d is not None), torch.zeros_like(saved)),)


WORDS = {
    "float32": (Tensor.float, "forward returns torch.float32 for torch.float64"),
    "float16": (Tensor.half, "forward returns torch.float16 for torch.float64"),
    "bfloat16": (Tensor.bfloat16, "forward returns torch.bfloat16 for torch.float64"),
    "a new tensor": (lambda y: torch.tensor(y.tolist()), "forward returns torch.float32 for torch.float64"),
    "another device": (lambda y: y.to("meta"), "forward returns a tensor on meta for those on cpu"),
    "there and back": (lambda y: y.float().double(), "forward gives no more digits than torch.float32 has"),
    "half and back": (lambda y: y.half().double(), "forward gives no more digits than torch.float32 has"),
}


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("kind", [Doubling, Twice])
def test_a_forward_that_loses_digits_or_leaves_the_device_is_blamed(kind: type[Doubling], name: str) -> None:
    then, words = WORDS[name]
    if kind is Twice and "back" in name:
        pytest.skip("the other output has all digits")
    report = check_block(kind(then), torch.randn(2, 3))
    assert not report.passed
    assert words in report.faults[0]
    assert "test_check_types.py, line" in report.faults[0]
    assert "propagate" not in report.faults[0]


@pytest.mark.parametrize("name", WORDS)
def test_in_a_network_its_node_is_named_and_not_the_next(name: str) -> None:
    then, words = WORDS[name]
    network = Sequential({"below": Linear(3, 3), "own": Doubling(then), "above": Linear(3, 2)})
    report = check_network(network, torch.randn(2, 3), objective=mean_squared_error(), target=torch.randn(2, 2))
    assert not report.passed
    assert "node 'own'" in report.faults[0]
    assert words in report.faults[0]


@pytest.mark.parametrize("then", [lambda y: y > 0, Tensor.long, lambda y: y.to(torch.complex128)])
def test_a_forward_to_which_no_error_comes_back_is_said_to_be_one(then: Callable[[Tensor], Tensor]) -> None:
    (fault,) = check_block(Doubling(then), torch.randn(2, 3)).faults
    assert fault.startswith("forward returns torch.")
    assert "to which no error comes back" in fault


def test_a_step_with_a_wrong_slope_is_not_said_to_lose_digits() -> None:
    report = check_block(Doubling(lambda y: (y > 0).to(y.dtype)), torch.randn(2, 3))
    assert not report.passed
    assert report.faults == ()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_block_that_is_there_to_change_the_type_is_right(dtype: str) -> None:
    assert check_block(Cast(dtype), torch.randn(3)).passed
    network = Sequential({"below": Linear(3, 3), "cast": Cast(dtype), "back": Cast("float32"), "above": Linear(3, 2)})
    assert check_network(network, torch.randn(2, 3), objective=mean_squared_error(), target=torch.randn(2, 2)).passed
