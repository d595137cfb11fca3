"""The named rules against an oracle that replaces every spelling of ReLU, and what the report of coverage says."""

import inspect

import pytest
import torch
from torch import Tensor, nn

from blockprop import Network, Sequential, from_torch
from blockprop.blocks import (
    BLOCKS,
    Add,
    Clamp,
    Constant,
    Conv2d,
    Flatten,
    Function,
    HardSwish,
    Linear,
    Max,
    PReLU,
    ReLU,
    SiLU,
)
from blockprop.engine.block import Block
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError, GraphError
from blockprop.interop.opaque import Opaque
from blockprop.rules.named import NAMED_RULES, deconvnet, guided, redirected
from tests.architectures import ARCHITECTURES, SPELLINGS
from tests.rules import rule_oracle
from tests.rules.chains import backward_seed, chain
from tests.rules.rule_oracle import ORACLES

RELU_SPELLINGS = [name for name in SPELLINGS if name.startswith("relu_") and name != "relu_absolute"]
RELU_NETWORKS = ["alexnet", "googlenet", "inception_v3", "squeezenet1_1", "resnet18", "densenet121", "mobilenet_v2"]
ALIVE = [name for name in ORACLES if name != "redirected"]
"""The rules that change something in networks whose rectifiers are not dead."""
each_rule = pytest.mark.parametrize(
    ("rule", "oracle"), [(NAMED_RULES[name], ORACLES[name]) for name in ALIVE], ids=ALIVE
)


def imported(name: str) -> tuple[nn.Module, Network, Tensor]:
    case = (ARCHITECTURES | SPELLINGS)[name]
    module = case.make().double()
    (x,) = (each.double() for each in case.inputs(torch.Generator().manual_seed(0)))
    return module, from_torch(module, x, free=False), x


def weighed(y: Tensor) -> Tensor:
    """A number that looks at every output in another way."""
    return (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()


def backward(network: Network, x: Tensor, rules: object) -> Tensor:
    trace = network.forward(x)
    seed = torch.linspace(-1, 1, trace.output.numel(), dtype=x.dtype).view_as(trace.output)
    return network.backward(trace, seed, wrt="inputs", rules=rules)[network.inputs[0]]


@each_rule
@pytest.mark.parametrize("name", RELU_SPELLINGS)
def test_every_spelling_of_relu(name: str, rule: object, oracle: type[torch.autograd.Function]) -> None:
    module, network, x = imported(name)
    rules = rule(network, strict=True)
    expected, count = rule_oracle.gradient(module, x, weighed, oracle)
    assert len(rules.coverage.replaced) == count
    found = backward(network, x, rules)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found, backward(network, x, None))


@each_rule
@pytest.mark.parametrize("name", RELU_NETWORKS)
def test_networks_whatever_their_relus_look_like(
    name: str, rule: object, oracle: type[torch.autograd.Function]
) -> None:
    module, network, x = imported(name)
    expected, count = rule_oracle.gradient(module, x, weighed, oracle)
    rules = rule(network, strict=True)
    assert rules.coverage.complete
    assert len(rules.coverage.replaced) == count
    torch.testing.assert_close(
        backward(network, x, rules), expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max())
    )


def test_by_hand() -> None:
    network = Sequential({"relu": ReLU(), "six": Clamp(0, 6)})
    x, d_y = torch.tensor([[-1.0, 2.0, 3.0, 7.0, -1.0]]), torch.tensor([[1.0, 2.0, -3.0, 4.0, -1.0]])
    assert backward_seed(network, x, d_y, guided(network)).tolist() == [[0, 2, 0, 0, 0]]
    assert backward_seed(network, x, d_y, deconvnet(network)).tolist() == [[1, 2, 0, 4, 0]]
    assert backward_seed(network, x, d_y, None).tolist() == [[0, 2, -3, 0, 0]]


def test_each_rule_has_a_slow_version_from_its_paper() -> None:
    missing = NAMED_RULES.keys() - ORACLES.keys()
    assert not missing, f"write {', '.join(missing)} slowly, from the paper, in tests/rules/rule_oracle.py"
    assert ORACLES.keys() <= NAMED_RULES.keys()


@pytest.mark.parametrize(("block", "module"), [(ReLU(), nn.ReLU()), (Clamp(0, 6), nn.ReLU6())], ids=["relu", "relu6"])
@pytest.mark.parametrize("name", ORACLES)
def test_a_single_rectifier_with_dead_examples(name: str, block: Block, module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 4 * torch.randn(6, 5, 3, generator=generator, dtype=torch.float64)
    x[1].abs_().neg_()
    x[3].abs_().add_(6)
    d_y = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    network = Sequential(block)
    expected, count = rule_oracle.gradient(module, x, lambda y: (y * d_y).sum(), ORACLES[name])
    assert count == 1
    assert torch.equal(backward_seed(network, x, d_y, NAMED_RULES[name](network)), expected)


def test_redirected_helps_dead_examples_alone() -> None:
    network = Sequential(ReLU())
    x = torch.tensor([[-1.0, -2.0, 0.0], [-1.0, 2.0, -3.0], [1.0, -1.0, -1.0]])
    d_y = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, 6.0], [0.0, 7.0, -7.0]])
    found = backward_seed(network, x, d_y, redirected(network))
    assert found.tolist() == [[1, 0, 3], [0, 5, 0], [0, 7, 0]]


def test_redirected_opens_relu6_from_both_sides() -> None:
    network = Sequential(Clamp(0, 6))
    x = torch.tensor([[-1.0, -1.0, 7.0, 7.0], [-1.0, 1.0, 7.0, 7.0]])
    d_y = torch.tensor([[1.0, -2.0, 3.0, -4.0], [1.0, 1.0, 1.0, -1.0]])
    assert backward_seed(network, x, d_y, redirected(network)).tolist() == [[1, 0, 0, -4], [0, 1, 0, 0]]


@pytest.mark.parametrize("name", ["relu_where", "relu_max", "relu_mask", "relu_masked_fill", "relu_leaky"])
def test_redirected_reads_other_spellings(name: str) -> None:
    _, network, x = imported(name)
    network.blocks["conv2"].bias -= 1e3  # all dead
    last = redirected(network).coverage.replaced[-1]
    trace = network.forward(x)
    d_y = torch.randn_like(trace[last])
    found = network.backward(trace, {last: d_y}, wrt="conv2", rules=redirected(network), keep_trace=True)["conv2"]
    assert torch.equal(found, d_y.clamp(min=0))
    assert not network.backward(trace, {last: d_y}, wrt="conv2")["conv2"].any()


def test_the_report_counts_what_it_left_out_and_why() -> None:
    network = chain(ReLU(), SiLU(), PReLU(), Clamp(-1, 1), HardSwish(), ReLU())
    coverage = guided(network).coverage
    assert coverage.replaced == ("relu1", "relu2")
    assert list(coverage.not_replaced) == ["silu1", "prelu1", "clamp1", "hardswish1"]
    assert str(coverage).splitlines()[0] == "guided: replaced 2 of 6 nodes that rectify or gate"
    assert coverage.not_replaced["clamp1"] == "cuts at -1 and 1, not at 0 from below"
    with pytest.raises(BlockpropError, match=r"does not cover the network; left out: silu1 \(opens by degrees"):
        guided(network, strict=True)


def test_a_rule_without_a_place_is_an_error() -> None:
    with pytest.raises(GraphError, match=r"guided would change nothing; left out: silu1"):
        guided(chain(SiLU()))
    with pytest.raises(GraphError, match="nothing in the network rectifies"):
        deconvnet(Sequential(Linear(2, 2)))


def test_a_maximum_with_another_constant_is_left_out() -> None:
    one = Constant((1,))
    one.value.fill_(1.0)
    nodes = [Node("one", one, ()), Node("max", Max(), ("x", "one")), Node("relu", ReLU(), ("max",))]
    coverage = guided(Network(nodes)).coverage
    assert coverage.replaced == ("relu",)
    assert coverage.not_replaced == {"max": "cuts at 1, not at 0 from below"}
    nodes[0].block.value.zero_()
    assert guided(Network(nodes), strict=True).coverage.replaced == ("max", "relu")


class Own(ReLU):
    """A block of somebody's own."""


def test_opaque_and_own_blocks_are_unknown() -> None:
    network = Sequential(ReLU(), Opaque("aten.relu.default", ({"input": 0},)), Own())
    coverage = guided(network).coverage
    assert coverage.replaced == ("relu1",)
    assert coverage.unknown == {
        "opaque1": "aten.relu.default is opaque",
        "own1": "Own is not one of blockprop's blocks",
    }
    assert "; 2 more may do so inside" in str(coverage)
    with pytest.raises(GraphError, match="opaque1"):
        guided(network, strict=True)


class Bent(Block):
    """An activation of somebody's own."""

    kind = "activation"

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return x.tanh(), None


class Gating(Bent):
    gate = "swings open"


class Straight(Bent):
    gate = ""


def test_an_activation_is_unknown_until_it_says_whether_it_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Sequential(ReLU(), Bent(), Gating(), Straight(), Function("mish"), Function("sin"))
    coverage = guided(network).coverage
    assert coverage.unknown == {"bent1": "Bent is not one of blockprop's blocks"}
    assert coverage.not_replaced == {
        "gating1": "swings open",
        "function1": "opens by degrees, and lets a little of the negative side through",
    }
    monkeypatch.setitem(BLOCKS, "Bent", Bent)
    coverage = guided(network).coverage
    assert coverage.unknown == {"bent1": "Bent does not say whether it gates"}
    assert not coverage.complete


def test_only_the_nodes_on_the_way_count() -> None:
    conv = Conv2d(1, 2, 3)
    nodes = [
        Node("conv", conv, ("x",)),
        Node("relu", ReLU(), ("conv",)),
        Node("flat", Flatten(), ("relu",)),
        Node("above", ReLU(), ("flat",)),
        Node("beside", SiLU(), ("flat",)),
        Node("sum", Add(), ("above", "beside")),
    ]
    network = Network(nodes)
    assert guided(network, seeds=["above"], wrt=["x"], strict=True).coverage.replaced == ("relu", "above")
    assert list(guided(network).coverage.not_replaced) == ["beside"]


def test_rules_say_what_they_are() -> None:
    assert guided.__doc__.startswith("Guided back-propagation")
    assert list(inspect.signature(guided).parameters) == ["network", "seeds", "wrt", "strict"]


def test_nothing_is_changed_in_place() -> None:
    for name in ("relu_method", "relu_where", "relu_max", "relu_mask", "relu_leaky"):
        _, network, x = imported(name)
        for rule in (guided, deconvnet, redirected):
            trace = network.forward(x)
            seed = torch.randn_like(trace.output)
            before = seed.clone()
            first = network.backward(trace, seed, wrt="inputs", rules=rule(network), keep_trace=True)["x"]
            second = network.backward(trace, seed, wrt="inputs", rules=rule(network), keep_trace=True)["x"]
            assert torch.equal(seed, before)
            assert torch.equal(first, second)
