"""Graphs of one node, without inputs, with inputs of other names; weights that start as a tensor."""

from pathlib import Path

import pytest
import torch
from torch import nn

from blockprop import Network, Node, check_network, costs, diagram, load, mean_squared_error, save
from blockprop.blocks import Add, Constant, Linear, Mul, Parameter
from blockprop.errors import GraphError, SettingError


def test_a_graph_of_weights_alone_has_no_input(tmp_path: Path) -> None:
    network = Network([Node("p", Parameter(torch.tensor([1.0, -2.0])), ())])
    assert network.inputs == ()
    assert torch.equal(network(), torch.tensor([1.0, -2.0]))
    trace = network.forward()
    assert torch.equal(network.backward(trace, torch.ones(2))["p.value"], torch.ones(2))
    check_network(network, objective=mean_squared_error(), target=torch.zeros(2)).verify()
    assert ">x<" not in diagram(network)
    save(network, tmp_path / "p.safetensors")
    assert load(tmp_path / "p.safetensors").inputs == ()
    costs(network)


def test_x_is_the_input_where_a_node_takes_it() -> None:
    scale = [Node("w", Parameter((3,)), ()), Node("y", Mul(), ("x", "w"))]
    assert Network(scale).inputs == ("x",)
    assert Network([Node("x", Parameter((3,)), ()), Node("y", Add(), ("x", "x"))]).inputs == ()
    assert Network([]).inputs == ("x",)
    assert Network([Node("p", Parameter((3,)), ())], inputs=("x",)).inputs == ("x",)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (("X",), r'node \'fc\' takes \'X\', .*; if it is an input of the network, say inputs=\("X",\)'),
        (("x", "image"), r'takes \'image\', .* say inputs=\("x", "image"\)'),
        (("relu",), r"did you mean 'relu1'\?"),
    ],
)
def test_an_input_of_another_name_says_how_it_is_named(sources: tuple[str, ...], said: str) -> None:
    block = Linear(3, 2) if len(sources) == 1 else Add()
    with pytest.raises(GraphError, match=said):
        Network([Node("relu1", Parameter((2,)), ()), Node("fc", block, sources)])
    assert Network([Node("fc", Linear(3, 2), ("X",))], inputs=("X",)).inputs == ("X",)


def test_weights_and_constants_start_as_a_tensor(tmp_path: Path) -> None:
    numbers = torch.randn(2, 3, dtype=torch.float64)
    parameter = Parameter(numbers)
    assert torch.equal(parameter.value, numbers)
    assert parameter.shape == (2, 3)
    parameter.value.zero_()
    assert bool(numbers.any())
    assert not Parameter(nn.Parameter(numbers)).value.requires_grad
    constant = Constant(torch.tensor([True, False]))
    assert (constant.shape, constant.dtype) == ((2,), "bool")
    network = Network([Node("p", Parameter(torch.ones(2)), ()), Node("c", constant, ()), Node("y", Mul(), ("p", "c"))])
    save(network, tmp_path / "n.safetensors")
    assert torch.equal(load(tmp_path / "n.safetensors")(), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (torch.tensor([1, 2]), "a parameter is of real numbers, these are int64"),
        ([0.5, 1.5], "numbers to start as come in a tensor"),
        ("2,3", "expected a shape such as"),
        (3, "expected a shape such as"),
    ],
)
def test_what_a_parameter_cannot_start_as(start: object, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Parameter(start)  # type: ignore[arg-type]
