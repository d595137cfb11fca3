"""Whatever a user's own block raises or returns, the error names its node, its method, and what came."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.check import check_network
from blockprop.engine.network import Network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError, GraphError, ShapeError
from blockprop.interop import to_torch
from tests.engine.small_blocks import Double, Scale


class Own(Block):
    """y = weight x, unless a method is told to raise or to return something else."""

    parameter_names = ("weight",)

    def __init__(self, method: str, instead: Callable[[], Any]) -> None:
        self.method, self.instead = method, instead
        self.weight = torch.tensor(2.0)

    def forward(self, x: Tensor) -> Any:
        return self.instead() if self.method == "forward" else (self.weight * x, x)

    def propagate(self, saved: Tensor, d_y: Tensor) -> Any:
        return self.instead() if self.method == "propagate" else (self.weight * d_y,)

    def gradients(self, saved: Tensor, d_y: Tensor) -> Any:
        return self.instead() if self.method == "gradients" else {"weight": (saved * d_y).sum()}


class Together(Own):
    """With `both`."""

    def both(self, saved: Tensor, d_y: Tensor) -> Any:
        return self.instead()


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


ERRORS = [
    KeyError("gain"), ValueError("odd"), AttributeError("no gain"), IndexError("far"), TypeError("kind"),
    RuntimeError("torch says no"), NotImplementedError("later"), ZeroDivisionError("by 0"), AssertionError("no"),
    StopIteration("end"), OSError("no file"), UnicodeError("sign"), OverflowError("much"), RecursionError("deep"),
    Exception("plain"),
]  # fmt: skip


def run(block: Block) -> None:
    network = Sequential({"first": Double(), "own": block, "last": Double()})
    trace = network.forward(torch.ones(2, 3))
    network.backward(trace, torch.ones(2, 3), wrt=("parameters", "inputs"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["forward", "propagate", "gradients", "both"])
def test_every_error_of_every_method_is_located(method: str, error: Exception) -> None:
    block = (Together if method == "both" else Own)(method, raising(error))
    with pytest.raises(BlockpropError) as caught:
        run(block)
    text = str(caught.value)
    assert text.startswith("node 'own': ")
    for part in (
        f"cannot use 2 x 3 torch.float32 in {method} (", type(block).__name__, f"{type(error).__name__}: ",
        "test_failing_blocks.py, line",
    ):  # fmt: skip
        assert part in text
    assert caught.value.__cause__ is error


def test_an_error_in_a_rule_is_located() -> None:
    network = Sequential({"own": Double()})
    trace = network.forward(torch.ones(2, 3))
    with pytest.raises(BlockpropError, match=r"node 'own': Double\(\) cannot use 2 x 3 torch.float32 in its rule"):
        network.backward(trace, torch.ones(2, 3), "inputs", rules={"own": lambda *_: {}["no"]})


def test_a_block_without_a_backward_pass_says_so_with_its_node() -> None:
    class Half(Block):
        def forward(self, x: Tensor) -> tuple:
            return x / 2, None

    with pytest.raises(BlockpropError, match=r"node 'own'.* in propagate \(NotImplementedError: Half has no propagate"):
        run(Half())


def test_a_block_with_two_outputs_names_the_errors_that_came() -> None:
    class Two(Double):
        output_count = 2

        def forward(self, x: Tensor) -> tuple:
            return (x, x), None

        def propagate(self, saved: None, d_y: Any) -> tuple:
            return (d_y[0]["no"],)

    network = Network([Node("two", Two(), ("x",)), Node("up", Scale(), ("two[0]",))], ("x",), ("up",))
    trace = network.forward(torch.ones(2, 3))
    with pytest.raises(BlockpropError, match=r"node 'two': Two\(\) cannot use 2 x 3 torch.float32 in propagate"):
        network.backward(trace, torch.ones(2, 3), "inputs")


def test_as_a_module_of_torch_and_in_the_check_it_is_located_too() -> None:
    network = Sequential({"own": Own("forward", raising(KeyError("gain")))})
    with pytest.raises(BlockpropError, match="node 'own'"):
        to_torch(network)(torch.ones(2, 3))
    report = check_network(network, torch.ones(2, 3), objective=mean_squared_error(), target=torch.ones(2, 3))
    assert "node 'own'" in str(report)
    assert "KeyError" in str(report)


def test_what_no_block_can_help_is_passed_on() -> None:
    for error in (torch.OutOfMemoryError("memory"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            run(Own("forward", raising(error)))


@pytest.mark.parametrize(
    ("method", "returned", "words"),
    [
        ("forward", torch.ones(2, 3), r"forward must return \(output, saved\), came a Tensor"),
        ("forward", None, r"forward must return \(output, saved\), came a NoneType"),
        ("forward", (1, 2, 3), "too many values"),
        ("propagate", torch.ones(1, 3), "in a tuple; came a tensor"),
        ("propagate", (None, None), "came 2"),
        ("propagate", None, "NoneType"),
        ("gradients", {}, "weight lacking"),
        ("gradients", None, "weight lacking"),
        ("gradients", {"wieght": torch.ones(())}, "weight lacking"),
    ],
)
def test_what_a_method_must_not_return_is_named_and_never_taken_for_zeros(
    method: str, returned: Any, words: str
) -> None:
    with pytest.raises(BlockpropError, match=f"node 'own': .*{words}") as caught:
        run(Own(method, lambda: returned))
    assert isinstance(caught.value, GraphError | ShapeError)
