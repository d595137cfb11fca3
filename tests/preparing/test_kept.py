"""A prepared network is used again while its network is what it was, and never afterwards."""

import copy
import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Clamp, Concat, Conv2d, Flatten, Linear, ReLU
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.native.library import usable_sets
from blockprop.native.sources import SWITCH
from blockprop.preparing import kept
from blockprop.preparing.kept import _sum_of_bits, sums_of_bits
from blockprop.preparing.native.kernels import kernels

X = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def network() -> Network:
    torch.manual_seed(0)
    return Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), ReLU(), Flatten(), Linear(64, 5))


class Doubled(ReLU):
    """y = 2 max(x, 0)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = 2 * x.relu()
        return y, y


def by_data(net: Network) -> None:
    net.parameters["conv2d1.weight"].data[0, 0, 0, 0] += 1


def by_numpy(net: Network) -> None:
    net.parameters["conv2d1.bias"].numpy()[0] += 1


def by_torch(net: Network) -> None:
    with torch.no_grad():
        net.parameters["conv2d1.weight"].mul_(2)


def by_another_tensor(net: Network) -> None:
    net.blocks["conv2d1"].weight = 2 * net.parameters["conv2d1.weight"]  # type: ignore[attr-defined]


def by_permuting(net: Network) -> None:
    weight = net.parameters["conv2d1.weight"]
    weight.copy_(weight.flip(0))


def by_permuting_unseen(net: Network) -> None:
    weight = net.parameters["conv2d1.weight"].numpy()
    weight[[0, 2]] = weight[[2, 0]]


def by_statistics(net: Network) -> None:
    net.state["batchnorm2d1.running_mean"].add_(1)


def by_setting(net: Network) -> None:
    net.blocks["batchnorm2d1"].epsilon = 1.0  # type: ignore[attr-defined]


def by_method(net: Network) -> None:
    block = net.blocks["relu1"]
    block.forward = Doubled.forward.__get__(block)  # type: ignore[method-assign]


def by_type(net: Network) -> None:
    net.blocks["relu1"].__class__ = Doubled


CHANGES: list[Callable[[Network], None]] = [
    by_data,
    by_numpy,
    by_torch,
    by_another_tensor,
    by_permuting,
    by_permuting_unseen,
    by_statistics,
    by_setting,
    by_method,
    by_type,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_is_changed_is_seen(change: Callable[[Network], None]) -> None:
    net = network()
    before = net.prepare()
    assert net.prepare() is before
    change(net)
    assert net.prepare() is not before
    torch.testing.assert_close(net.prepare()(X), net(X))
    assert not torch.equal(net(X), before(X))


@pytest.mark.parametrize("sums", [sums_of_bits, lambda xs: [int(_sum_of_bits(x)) for x in xs]], ids=["C", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8], ids=str)
def test_no_change_of_a_number_and_no_exchange_of_two_leaves_the_sum(
    sums: Callable[[list[Tensor]], list[int]], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of signs alone, too, and of numbers that have few digits; wherever they stand, and in the last bytes."""
    monkeypatch.setattr(kept, "PART", 20)
    generator = torch.Generator().manual_seed(0)
    for count in (2, 3, 7, 64, 101):
        whole = torch.randint(-2, 3, (count,), generator=generator).to(dtype)
        (before,) = sums([whole])
        for _ in range(40):
            i, j = torch.randperm(count, generator=generator)[:2].tolist()
            for change in (whole.clone().index_fill_(0, torch.tensor([i]), 7), whole.clone()):
                change[[i, j]] = change[[j, i]]
                assert torch.equal(change, whole) == (sums([change]) == [before])
    flat = torch.arange(48, dtype=dtype)
    arranged = [flat, flat.flip(0), flat.view(6, 8).t().flatten(), flat.roll(2), flat.roll(24), flat.view(2, -1).t()]
    assert len({*sums(arranged)}) == len(arranged)


def test_a_change_of_a_class_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    net.prepare()
    monkeypatch.setattr(ReLU, "forward", Doubled.forward)
    torch.testing.assert_close(net.prepare()(X), net(X))


def wrapped(old: Any) -> Any:
    return functools.wraps(old)(lambda self, x: Doubled.forward(self, x))


METHODS: list[Callable[[Any], Any]] = [
    wrapped,
    lambda _old: staticmethod(functools.partial(Doubled.forward, None)),
    lambda _old: functools.partialmethod(Doubled.forward),
    lambda old: Mock(wraps=functools.partial(Doubled.forward, None), spec=old, __module__=old.__module__),
    lambda _old: Clamp.forward,
]
"""Others in a method's place, some of which say that they are it."""


@pytest.mark.parametrize("other", METHODS, ids=["wraps", "staticmethod", "partialmethod", "Mock", "another's"])
def test_a_method_in_whose_place_another_stands_is_called(
    other: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReLU, "low", 1, raising=False)  # for Clamp's
    monkeypatch.setattr(ReLU, "high", None, raising=False)
    monkeypatch.setattr(ReLU, "inclusive", False, raising=False)
    before = network()(X)
    monkeypatch.setattr(ReLU, "forward", other(ReLU.forward))
    net = network()
    assert net.prepare().blocks["relu1"] is net.blocks["relu1"]
    torch.testing.assert_close(net.prepare()(X), net(X))
    assert not torch.allclose(net(X), before)


@pytest.mark.parametrize("other", METHODS[:-1], ids=["wraps", "staticmethod", "partialmethod", "Mock"])
def test_a_method_of_a_block_s_own_is_called(other: Callable[[Any], Any]) -> None:
    net = network()
    block, before = net.blocks["relu1"], network()(X)
    vars(block)["forward"] = type("Other", (ReLU,), {"forward": other(ReLU.forward)})().forward
    assert net.prepare().blocks["relu1"] is block
    torch.testing.assert_close(net.prepare()(X), net(X))
    assert not torch.allclose(net(X), before)


def test_a_change_of_a_method_s_code_is_seen() -> None:
    net, code = network(), ReLU.forward.__code__
    before = net.prepare()
    try:
        ReLU.forward.__code__ = Doubled.forward.__code__
        assert net.prepare().blocks["relu1"] is net.blocks["relu1"]
    finally:
        ReLU.forward.__code__ = code
    assert torch.equal(net.prepare()(X), before(X))


@pytest.mark.skipif(kernels() is None, reason="no native kernels here")
def test_a_change_of_what_a_region_computes_is_seen() -> None:
    torch.manual_seed(0)
    convolutions = [Node(name, Conv2d(3, 16, 3), ("x",)) for name in "ab"]
    net = Network([*convolutions, Node("c", Concat(), ("a", "b"))])
    before = net.prepare()
    assert "c" not in {node.name for node in before.nodes if node.block is net.blocks["c"]}
    net.blocks["c"].axis = 2  # type: ignore[attr-defined]
    assert net.prepare() is not before
    torch.testing.assert_close(net.prepare()(X), net(X), rtol=1e-4, atol=1e-5)


def test_what_was_prepared_follows_where_nothing_was_rewritten() -> None:
    net = network()
    lean = net.prepare()
    y = lean(X)
    net.parameters["conv2d1.weight"].mul_(2)
    torch.testing.assert_close(lean(X), y)
    net = network()
    lean = net.prepare()
    net.parameters["linear1.weight"].mul_(2)
    assert net.prepare() is lean
    torch.testing.assert_close(lean(X), net(X))


def test_different_questions_share_their_blocks() -> None:
    net = network()
    without = ["join_regions"]
    a, b = net.prepare(without=without), net.prepare(["linear1", "flatten1"], without=without)
    assert a is not b
    assert a.blocks["relu1"] is b.blocks["relu1"]


def test_no_more_are_kept_than_a_few() -> None:
    net = network()
    for wrt in (["relu1"], ["flatten1"], ["x"], ["batchnorm2d1"], ["conv2d1"], ["linear1"]):
        net.prepare(wrt=wrt)
        net.prepare(["flatten1"], wrt=wrt[:0])
        net.prepare(["relu1", "linear1"], wrt=wrt)
    assert len(net.prepared) == 8


def test_copies_have_none() -> None:
    net = network()
    net.prepare()
    assert copy.deepcopy(net).prepared == {} == net.copy().prepared


@pytest.mark.skipif(kernels() is None, reason="no native kernels here")
def test_other_kernels_make_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    for name in usable_sets():
        monkeypatch.setenv(SWITCH, name)
        assert f"programs, {name}" in net.prepare().report()  # type: ignore[attr-defined]
    monkeypatch.setenv(SWITCH, "0")
    assert "no kernels in C" in net.prepare().report()  # type: ignore[attr-defined]
