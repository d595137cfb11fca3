"""Modules as parts of others, and the parts of a network's module: replaced, hooked, used by tools of torch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError
from blockprop.interop.modules import BlockModule, to_torch
from tests.interop.small_networks import pictures, small_network


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a.b", "a.b.c.d"),
        ("a.b.c.d", "a.b", "a"),
        ("conv#2.1", "x..y", "to", "half.type"),
        ("a", "a.weight.inner", "a.bias.weight.deeper"),
    ],
)
def test_names_of_nodes_are_paths(names: tuple[str, ...]) -> None:
    nodes = [Node(name, blocks.Linear(3, 3), ("input" if i == 0 else names[i - 1],)) for i, name in enumerate(names)]
    network = Network(nodes, ("input",))
    module = to_torch(network)
    assert module.state_dict().keys() == network.state.keys()
    assert set(dict(module.named_parameters())) == set(network.parameters)
    x = torch.randn(2, 3)
    assert torch.equal(module(x), network(x))
    other = to_torch(Network([Node(name, blocks.Linear(3, 3), sources) for name, _, sources in nodes], ("input",)))
    other.load_state_dict(module.state_dict())
    assert torch.equal(copy.deepcopy(other)(x), network(x))


def test_a_parameter_that_torch_has_no_room_for_is_refused() -> None:
    class Odd(Block):
        parameter_names = ("type",)

        def __init__(self) -> None:
            self.type = torch.ones(2)

    with pytest.raises(GraphError, match="'type'"):
        to_torch(Odd())


def test_the_network_stays_untouched_unless_shared() -> None:
    x, target = pictures()
    for share in (False, True):
        network = small_network()
        before = {name: tensor.clone() for name, tensor in network.state.items()}
        module = to_torch(network, share=share)
        F.cross_entropy(module(x), target).backward()
        torch.optim.SGD(module.parameters(), lr=0.1).step()
        for name, tensor in network.state.items():
            assert torch.equal(tensor, module.state_dict()[name]) == share
            assert torch.equal(tensor, before[name]) != share
            assert not tensor.requires_grad


def test_a_shared_block_has_one_parameter_whose_gradients_add_up() -> None:
    linear = blocks.Linear(3, 3)
    nodes = [Node("a", linear, ("x",)), Node("tanh", blocks.Tanh(), ("a",)), Node("b", linear, ("tanh",))]
    network = Network(nodes)
    module, x = to_torch(network), torch.randn(4, 3)
    assert [*module.state_dict()] == ["a.weight", "a.bias"]
    module(x).sum().backward()
    trace = network.forward(x)
    expected = network.backward(trace, torch.ones(4, 3))
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])


def test_moving_halving_and_copying() -> None:
    network = Sequential(blocks.Linear(3, 4), blocks.BatchNorm1d(4), blocks.Linear(4, 2))
    x = torch.randn(5, 3)
    module = to_torch(network)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        moved = copy.deepcopy(module).to(dtype)
        y = moved(x.to(dtype))
        y.sum().backward()
        assert y.dtype == dtype
        assert {p.grad.dtype for p in moved.parameters() if p.grad is not None} == {dtype}
    assert module(x).dtype == torch.float32
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.linear1.weight.zero_()
    assert not torch.equal(twin.eval()(x), module.eval()(x))
    twin.load_state_dict(module.state_dict())
    assert torch.equal(twin(x), module(x))
    assert to_torch(network).to("meta")(x.to("meta")).shape == (5, 2)


def test_parts_can_be_replaced_and_hooked() -> None:
    network, (x, _) = small_network(), pictures()
    module = to_torch(network)
    shapes: list[torch.Size] = []
    module.get_submodule("relu").register_forward_hook(lambda *args: shapes.append(args[-1].shape))
    module.requires_grad_(False)
    module.fc = nn.Linear(48, 2, dtype=torch.float64)
    assert module(x).shape == (6, 2)
    assert shapes == [(6, 3, 4, 4)]
    module(x).sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is not None] == ["fc.weight", "fc.bias"]


def test_a_block_in_a_module_of_ones_own() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), to_torch(blocks.PReLU())
            self.norm = to_torch(blocks.LayerNorm(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.second(self.first(x))).square()

    own, x = Own(), torch.randn(5, 3)
    own(x)[:, 0].sum().backward()
    a = F.prelu(own.first(x), own.second.weight)
    y = F.layer_norm(a, (4,), own.norm.weight, own.norm.bias).square()
    for parameter, d in zip(own.parameters(), torch.autograd.grad(y[:, 0].sum(), list(own.parameters())), strict=True):
        torch.testing.assert_close(parameter.grad, d)
    assert isinstance(own.norm, BlockModule)
    assert "LayerNorm((4,))" in repr(own)


def test_tools_of_torch_see_an_ordinary_module() -> None:
    network, (x, _) = small_network(), pictures()
    module = to_torch(network).eval()
    exported = torch.export.export(module, (x,))
    torch.testing.assert_close(exported.module()(x), network(x))
    doubled = {name: 2 * parameter for name, parameter in module.named_parameters()}
    expected = to_torch(network).eval()
    with torch.no_grad():
        for parameter in expected.parameters():
            parameter.mul_(2)
    assert torch.equal(torch.func.functional_call(module, doubled, (x,)), expected(x))
    torch.nn.utils.parametrizations.weight_norm(module.fc)
    module(x).sum().backward()
    assert module.fc.parametrizations.weight.original0.grad is not None
