"""The two passes of random networks against torch's autograd."""

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import Linear
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from tests.engine.small_blocks import Double, Plus
from tests.random_networks import gradient_error


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seed", range(10))
def test_gradients_of_random_networks_equal_autograd(seed: int, dtype: torch.dtype, tolerance: float) -> None:
    """Random graphs of linear maps, sums and shared blocks against torch's autograd, relative error of each tensor."""
    generator = torch.Generator().manual_seed(seed)
    width, shared = 8, Linear(8, 8)
    nodes = []
    for i in range(12):
        earlier = ["x", *(node.name for node in nodes)]
        pick = lambda names=earlier: names[int(torch.randint(len(names), (1,), generator=generator))]  # noqa: E731
        kind = int(torch.randint(4, (1,), generator=generator))
        block = (Plus(), shared, Linear(width, width), Double())[kind]
        nodes.append(Node(f"n{i}", block, (pick(), pick()) if kind == 0 else (pick(),)))
    network = Network(nodes).to(dtype=dtype)
    x = torch.randn(5, width, dtype=dtype, generator=generator)
    parameters = {name: p.clone().requires_grad_() for name, p in network.parameters.items()}
    values = {"x": x.clone().requires_grad_()}
    place = {id(block): name for name, block in reversed(network.blocks.items())}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        if isinstance(node.block, Linear):
            name = place[id(node.block)]
            values[node.name] = F.linear(*inputs, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
        else:
            values[node.name] = inputs[0] + inputs[1] if isinstance(node.block, Plus) else 2 * inputs[0]
    seeds = {name: torch.randn(5, width, dtype=dtype, generator=generator) for name in network.outputs}
    torch.autograd.backward([values[name] for name in seeds], list(seeds.values()))
    trace = network.forward(x)
    d = network.backward(trace, seeds, wrt=("parameters", "inputs"))
    expected = {name: p.grad for name, p in parameters.items()} | {"x": values["x"].grad}
    for name, mine in d.items():
        theirs = torch.zeros_like(mine) if expected[name] is None else expected[name]
        assert mine.shape == theirs.shape
        assert mine.dtype == dtype
        assert (mine - theirs).norm() <= tolerance * theirs.norm().clamp_min(1e-30), name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seed", range(25))
def test_gradients_of_random_convolutional_networks_equal_autograd(
    seed: int, dtype: torch.dtype, tolerance: float
) -> None:
    assert gradient_error(seed, dtype) <= tolerance
