"""Rules and where each applies, joined; and the reports of both."""

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop import Network, Sequential
from blockprop.blocks import (
    Linear,
    ReLU,
    SiLU,
)
from blockprop.engine.block import Block
from blockprop.engine.plan import Node
from blockprop.errors import GraphError
from blockprop.rules.composites import Composite, NamedRule, Scope, Selection
from blockprop.rules.named import NAMED_RULES, guided
from blockprop.rules.scopes import RECTIFIERS
from tests.rules.chains import backward_seed, chain


def test_rules_combine() -> None:
    network = chain(ReLU(), SiLU())
    doubled = {SiLU: lambda block, saved, d_y: tuple(2 * d for d in block.propagate(saved, d_y))}
    rules = guided(network) | doubled
    assert rules.coverage.replaced == ("relu1", "silu1")
    assert not rules.coverage.not_replaced
    x, d_y = torch.randn(3, 4), torch.randn(3, 2)
    expected = 2 * backward_seed(network, x, d_y, guided(network))
    torch.testing.assert_close(backward_seed(network, x, d_y, rules), expected)
    assert "guided | own rules: replaced 2 of 2" in repr(rules)


def halved(_place: Any, block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    return block.propagate(saved, d_y / 2)


def linear_nodes(_network: Network, nodes: Sequence[Node]) -> Selection:
    kinds = {node.name: node.block for node in nodes}
    others = {name: "is curved" for name, block in kinds.items() if isinstance(block, SiLU)}
    return Selection({name: None for name, block in kinds.items() if isinstance(block, Linear)}, others, {})


def test_a_composite_joins_rules_for_nodes_of_other_kinds() -> None:
    (guided_part,) = guided.parts
    assert guided_part[0] is RECTIFIERS
    assert guided_part[1].name == "guided"
    halves = Scope(linear_nodes, "are affine", "nothing is affine"), NamedRule("halved", "d_x / 2", halved)
    network = chain(ReLU(), SiLU())
    rules = Composite("both", [guided_part, halves])(network)
    assert rules.coverage.replaced == ("linear1", "relu1", "linear2")
    assert list(rules.coverage.not_replaced) == ["silu1"]
    assert str(rules.coverage).startswith("both: replaced 3 of 4 nodes that rectify or gate, or are affine")
    x, d_y = torch.randn(3, 4), torch.randn(3, 2)
    expected = backward_seed(network, x, d_y, guided(network)) / 4
    torch.testing.assert_close(backward_seed(network, x, d_y, rules), expected)
    with pytest.raises(GraphError, match=r"both does not cover the network; left out: silu1 \("):
        Composite("both", [guided_part, halves])(network, strict=True)
    with pytest.raises(GraphError, match="would change nothing: nothing is affine"):
        Composite("halved", [halves])(Sequential(ReLU()))


def test_where_several_rules_apply_the_first_does() -> None:
    (guided_part,) = guided.parts
    half_there = RECTIFIERS, NamedRule("halved", "d_x / 2", halved)
    network = Sequential(ReLU())
    x, d_y = torch.tensor([[1.0, 2.0, -1.0]]), torch.tensor([[2.0, -2.0, 2.0]])
    for parts, expected in (([guided_part, half_there], [[2, 0, 0]]), ([half_there, guided_part], [[1, -1, 0]])):
        assert backward_seed(network, x, d_y, Composite("both", parts)(network)).tolist() == expected


@pytest.mark.parametrize("name", NAMED_RULES)
def test_rules_can_be_sent_to_other_processes(name: str) -> None:
    network = Sequential(ReLU())
    x, d_y = torch.tensor([[-1.0, 2.0, 3.0]]), torch.tensor([[1.0, -2.0, 3.0]])
    rules = NAMED_RULES[name](network)
    sent, again = pickle.loads(pickle.dumps(rules)), pickle.loads(pickle.dumps(NAMED_RULES[name]))(network)
    expected = network.backward(network.forward(x), d_y, wrt="inputs", rules=rules)["x"]
    for other in (sent, again):
        assert other.coverage == rules.coverage
        assert torch.equal(network.backward(network.forward(x), d_y, wrt="inputs", rules=other)["x"], expected)
