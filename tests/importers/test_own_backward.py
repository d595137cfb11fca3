"""Modules that go back otherwise than by the derivative of their forward pass."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blockprop.importers import from_torch


class Rounded(torch.autograd.Function):
    """The straight-through estimator: as if nothing had been rounded."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(_ctx: Any, d: Tensor) -> Tensor:
        return d


class Reversed(torch.autograd.Function):
    """Nothing forward, the sign changed on the way back."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_ctx: Any, d: Tensor) -> Tensor:
        return -d


class Swish(torch.autograd.Function):
    """Written for memory's sake: the derivative is the usual one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return d * (s + x * s * (1 - s))


class Applied(nn.Module):
    def __init__(self, function: Any):
        super().__init__()
        self.function, self.linear = function, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.function(x) * 2)


@pytest.mark.parametrize("function", [Rounded, Reversed], ids=lambda function: function.__name__)
def test_a_backward_pass_of_its_own_is_said_to_be_left_out(function: Any) -> None:
    with pytest.warns(UserWarning, match=f"{function.__name__}: what torch.autograd.Function does in backward is not"):
        network = from_torch(Applied(function.apply).eval(), torch.randn(2, 4))
    assert any(function.__name__ in note for note in network.meta["notes"])


def test_one_that_is_the_usual_derivative_is_nothing_to_speak_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = from_torch(Applied(Swish.apply).eval(), torch.randn(2, 4))
    assert "notes" not in network.meta


def _no_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        scale = x.abs().mean()
    return x * scale


@pytest.mark.parametrize(
    "function",
    [lambda x: x + (x.round() - x).detach(), lambda x: x * x.detach().exp(), _no_gradient],
    ids=["straight through", "factor", "no_grad"],
)
def test_what_torch_does_not_go_back_through_is_not_gone_back_through(function: Any) -> None:
    module, x = Applied(function).double().eval(), torch.randn(2, 4, dtype=torch.float64)
    network = from_torch(module, x)
    trace = network.forward(x)
    d_y = torch.randn_like(trace.output)
    leaf = x.clone().requires_grad_()
    module(leaf).backward(d_y)
    torch.testing.assert_close(network.backward(trace, d_y, wrt="inputs")["x"], leaf.grad)
