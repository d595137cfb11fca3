"""A new last layer for other outputs: where it goes, what stays, and what is refused."""

import pytest
import torch

from blockprop.blocks import (
    Add,
    Affine,
    BatchNorm1d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    Parameter,
    ReLU,
    Softmax,
)
from blockprop.engine.about import About
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.networks.heads import head_of, with_outputs


def network(*end: dict, shape: tuple[int, ...] = (2, 6, 6), **meta: object) -> Network:
    net = Sequential({"conv": Conv2d(2, 4, 3), "relu": ReLU()}, *end)
    net.meta = About(shape=list(shape), **meta)  # type: ignore[typeddict-item]
    return net


POOLED = {"pool": GlobalAvgPool(), "flatten": Flatten()}
ENDS = {
    "linear": [POOLED, {"last": Linear(4, 7)}],
    "softmax behind": [POOLED, {"last": Linear(4, 7), "softmax": Softmax()}],
    "dropout before, units behind": [POOLED, {"drop": Dropout(), "last": Linear(4, 7), "units": Affine(2.0, 1.0)}],
    "convolution, ReLU, pooling": [{"last": Conv2d(4, 7, 1), "relu2": ReLU(), "pool": GlobalAvgPool()}],
    "convolution, pooling, dropout": [{"last": Conv2d(4, 7, 1), "pool": GlobalAvgPool(), "drop": Dropout()}],
}


@pytest.mark.parametrize("end", ENDS)
def test_the_new_layer_stands_where_the_last_one_stood_and_all_outputs_are_equally_likely(end: str) -> None:
    old = network(*ENDS[end], classes=list("abcdefg"), data="letters", spec="cnn", free={"x": [0, 2, 3]})
    x = torch.randn(3, 2, 6, 6)
    new = with_outputs(old, 2)
    assert torch.equal(new(x), torch.zeros(3, 2))
    assert new.blocks["last"] is not old.blocks["last"]
    assert new.blocks["conv"] is old.blocks["conv"]
    assert new.meta == {"shape": [2, 6, 6], "free": {"x": [0, 2, 3]}}
    assert {"softmax", "relu2", "units"}.isdisjoint(new.blocks)
    assert ("drop" in new.blocks) == ("drop" in old.blocks)
    assert torch.equal(old(x), old.copy()(x)), "the old network stays"


def test_a_bias_that_stands_by_itself_goes() -> None:
    nodes = [
        Node("last", Linear(4, 7, with_bias=False), ("x",)),
        Node("bias", Parameter((7,)), ()),
        Node("add", Add(), ("last", "bias")),
    ]
    new = with_outputs(Network(nodes, meta=About(shape=[4])), 3)
    assert [node.name for node in new.nodes] == ["last"]
    assert set(new.parameters) == {"last.weight", "last.bias"}


def test_it_learns() -> None:
    new = with_outputs(network(POOLED, {"last": Linear(4, 7)}), 2)
    trace = new.forward(torch.randn(5, 2, 6, 6))
    d = new.backward(trace, torch.randn(5, 2))
    assert d["last.weight"].abs().sum() > 0


TWO_WAYS = Network([Node("a", Linear(4, 3), ("x",)), Node("b", Linear(4, 3), ("x",))], meta=About(shape=[4]))
SUM = Network([*TWO_WAYS.nodes, Node("sum", Add(), ("a", "b"))], meta=About(shape=[4]))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (TWO_WAYS, "one input and one output"),
        (SUM, "the network ends with 'sum', Add"),
        (network(POOLED, {"last": Linear(4, 7), "norm": BatchNorm1d(7)}), "ends with 'norm'"),
        (Sequential(ReLU()), "no layer with weights"),
        (network({"last": Conv2d(4, 7, 1)}), r"outputs of \(32,\)"),
        (network({"last": Conv2d(4, 6, 1, groups=2)}, POOLED), "ends with 'last'"),
        (Sequential(Linear(4, 3)), "what one example is"),
    ],
)
def test_refused(net: Network, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        with_outputs(net, 2)


def test_the_head_names_the_layer_and_what_pools_behind_it() -> None:
    layer, pools = head_of(network(*ENDS["convolution, pooling, dropout"]))
    assert layer.name == "last"
    assert [node.name for node in pools] == ["pool", "drop"]
