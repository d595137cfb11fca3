"""What autograd expects of a function: nothing computed for nothing, nothing kept, nothing changed unnoticed."""

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.errors import GraphError
from blockprop.interop.modules import to_torch
from tests.interop.small_networks import pictures, small_network, watched
from tests.random_networks import CHANNELS, SIZE, random_network


class Keeping(Block):
    """y = x², saving a tensor of its own in an object with slots."""

    class Seen:
        __slots__ = ("__weakref__", "twice")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        seen = self.Seen()
        seen.twice = 2 * x
        return x * x, {"seen": seen}

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (saved["seen"].twice * d_y,)


class Squaring(Block):
    """y = x · x, saving the input itself; and the output, which must not make a cycle."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x * x
        return y, (x, [y])

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (2 * saved[0] * d_y,)


def test_an_output_that_nothing_came_back_to_counts_as_zero() -> None:
    module, x = to_torch(blocks.Split((1, 2), axis=1)), torch.randn(2, 3, requires_grad=True)
    module(x)[1].sum().backward()
    assert torch.equal(x.grad, torch.tensor([[0.0, 1, 1], [0, 1, 1]]))


def test_gradients_stand_in_memory_of_their_own() -> None:
    """torch adds later gradients to .grad in place."""

    class Sum(Block):
        parameter_names = ("a", "b")

        def __init__(self) -> None:
            self.a, self.b = torch.zeros(3), torch.zeros(3)

        def forward(self) -> tuple[Tensor, Any]:
            return self.a + self.b, None

        def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
            return {"a": d_y.view(3), "b": d_y.view(3)}

    module, seed = to_torch(Sum()), torch.ones(3)
    for _ in range(2):
        (2 * module()).backward(seed)
    assert torch.equal(module.a.grad, torch.full((3,), 4.0))
    assert torch.equal(module.b.grad, torch.full((3,), 4.0))
    assert torch.equal(seed, torch.ones(3))


def test_nothing_is_computed_for_nothing() -> None:
    module, calls, x = watched()
    module(x.detach()).sum().backward()
    assert calls == ["gradients"]
    module, calls, x = watched()
    module.requires_grad_(False)(x).sum().backward()
    assert calls == ["propagate"]
    module, calls, x = watched()
    torch.autograd.grad(module(1 * x).sum(), x)
    torch.autograd.grad(module(x).sum(), x)
    assert calls == ["propagate"] * 2, "autograd.grad asked for x alone"
    calls.clear()
    torch.autograd.grad(module(x).sum(), list(module.parameters()))
    assert calls == ["gradients"]
    calls.clear()
    module(x).sum().backward()
    assert calls == ["propagate", "gradients"]
    assert not module(x.detach()).detach().requires_grad
    assert not module.requires_grad_(False)(x.detach()).requires_grad


def test_a_frozen_bias_alone() -> None:
    module, _, x = watched()
    module.bias.requires_grad_(False)
    module(x).sum().backward()
    assert module.bias.grad is None
    torch.testing.assert_close(module.weight.grad, x.detach().sum(0).expand(2, 3))


def test_there_are_no_second_derivatives() -> None:
    x = torch.randn(3, requires_grad=True)
    (d_x,) = torch.autograd.grad(to_torch(Keeping())(x).sum(), x, create_graph=True)
    torch.testing.assert_close(d_x.detach(), 2 * x.detach())
    with pytest.raises(GraphError, match="create_graph"):
        (d_x.square().sum() + x.sum()).backward()


@pytest.mark.parametrize("block", [Keeping(), Squaring(), blocks.Sigmoid(), blocks.Linear(3, 3)], ids=repr)
def test_a_graph_is_used_up_unless_it_is_retained(block: Block) -> None:
    x = torch.randn(2, 3, requires_grad=True)
    y = to_torch(block)(x).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    y.backward()
    torch.testing.assert_close(x.grad, 2 * first)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_changing_what_is_still_needed_is_noticed() -> None:
    leaf = torch.randn(2, 3, requires_grad=True)
    y = to_torch(blocks.Sigmoid())(leaf)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()
    x = 1 * leaf
    y = to_torch(Squaring())(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()
    module = to_torch(blocks.Linear(3, 3))
    y = module(leaf)
    with torch.no_grad():
        module.weight.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


@pytest.mark.parametrize("kind", [Keeping, Squaring])
def test_what_was_saved_is_freed_by_the_backward_pass_and_with_the_output(kind: type[Block]) -> None:
    class Packed:
        def __init__(self, tensor: Tensor):
            self.tensor = tensor
            seen.append(weakref.ref(self))

    def alive() -> list[bool]:
        return [ref() is not None for ref in seen]

    seen: list[weakref.ref[Packed]] = []
    x, module = torch.randn(3, requires_grad=True), to_torch(kind())
    gc.disable()  # a cycle would stay
    try:
        with torch.autograd.graph.saved_tensors_hooks(Packed, lambda packed: packed.tensor):
            y = module(x)
            assert alive()
            assert all(alive())
            y.sum().backward()
            assert not any(alive())
            y = module(x)
            assert any(alive())
            del y
            assert not any(alive())
        y = module(x)
        output = weakref.ref(y)
        del y
        assert output() is None
    finally:
        gc.enable()


def test_checkpointing_and_hooks_of_autograd_see_the_saved_tensors() -> None:
    module, x = to_torch(small_network()).eval(), pictures()[0].requires_grad_()
    (expected,) = torch.autograd.grad(module(x).square().sum(), x)
    (found,) = torch.autograd.grad(checkpoint(module, x, use_reentrant=False).square().sum(), x)
    assert torch.equal(found, expected)
    packed: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        (found,) = torch.autograd.grad(module(x).square().sum(), x)
    assert torch.equal(found, expected)
    assert len(packed) > 5


def test_several_threads_at_once() -> None:
    module, inputs = to_torch(random_network(5)).eval(), [torch.randn(2, CHANNELS, SIZE, SIZE) for _ in range(8)]
    expected = [
        torch.autograd.grad(module(x).square().sum(), list(module.parameters()), allow_unused=True) for x in inputs
    ]
    found: dict[int, Any] = {}

    def work(i: int) -> None:
        for _ in range(5):
            y = module(inputs[i]).square().sum()
            found[i] = torch.autograd.grad(y, list(module.parameters()), allow_unused=True)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        for mine, theirs in zip(found[i], expected[i], strict=True):
            assert mine is theirs is None or torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_call_in_the_middle_of_another() -> None:
    class Waiting(blocks.Linear):
        def forward(self, x: Tensor) -> tuple[Tensor, Any]:
            if threading.current_thread() is slow:
                inside.set()
                other_is_over.wait(10)
            return super().forward(x)

    inside, other_is_over, x, found = threading.Event(), threading.Event(), torch.randn(2, 3), []
    module = to_torch(Waiting(3, 2))
    slow = threading.Thread(target=lambda: found.append(module(x)))
    slow.start()
    inside.wait(10)
    expected = module(x)
    other_is_over.set()
    slow.join()
    assert torch.equal(found[0], expected)
