"""to_torch: networks as torch modules, whose backward passes under autograd are the blocks' own."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop import blocks
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError, ShapeError
from blockprop.interop.modules import to_torch
from tests.blocks.running import back, made, run, seeds_for
from tests.cases import CASES, Case
from tests.interop.small_networks import pictures, small_module, small_network
from tests.random_networks import CHANNELS, CLASSES, SIZE, gradients_by_autograd, random_network


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_block_gives_autograd_what_it_gives_us(case: Case) -> None:
    block, inputs = made(case), case.tensors()
    outputs, saved = run(block, case, *inputs)
    seeds = seeds_for(outputs)
    d_inputs, gradients = back(block, saved, seeds)
    module = to_torch(made(case)).train(case.training)
    if hasattr(block, "generator"):
        module._block.generator.manual_seed(1)
    leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    theirs = module(*leaves)
    theirs = theirs if isinstance(theirs, tuple) else (theirs,)
    for mine, other in zip(outputs, theirs, strict=True):
        assert torch.equal(mine, other)
    reached = [(y, d) for y, d in zip(theirs, seeds, strict=True) if y.requires_grad]
    if reached:
        torch.autograd.backward(*zip(*reached, strict=True))
    for x, d in zip(leaves, d_inputs, strict=True):
        assert d is x.grad is None or not x.requires_grad or torch.equal(d, x.grad)
    for name, parameter in module.named_parameters():
        assert torch.equal(gradients[name], parameter.grad)


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_have_the_gradients_of_blockprop_and_of_autograd(seed: int) -> None:
    network = random_network(seed).to(dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, CHANNELS, SIZE, SIZE, generator=generator, dtype=torch.float64)
    target = torch.randint(CLASSES, (6,), generator=generator)
    theirs = gradients_by_autograd(network, x, target)
    trace = network.forward(x, training=True)
    ours = network.backward(trace, cross_entropy().evaluate(trace.outputs, target)[1], ("parameters", "inputs"))
    module, leaf = to_torch(network), x.clone().requires_grad_()
    F.cross_entropy(module(leaf), target).backward()
    found = {name: p.grad for name, p in module.named_parameters()} | {"x": leaf.grad}
    assert found.keys() == ours.keys()
    for name, d in found.items():
        d = torch.zeros_like(ours[name]) if d is None else d
        torch.testing.assert_close(d, ours[name], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(d, theirs[name], rtol=1e-9, atol=1e-9)


def test_training_twenty_steps_equals_training_the_torch_module() -> None:
    network = small_network()
    module, other = to_torch(network), small_module(network)
    x, target = pictures()
    for each in (module, other):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
        for _ in range(20):
            optimizer.zero_grad()
            F.cross_entropy(each(x), target).backward()
            optimizer.step()
    theirs = [tensor for name, tensor in other.state_dict().items() if "num_batches" not in name]
    for mine, tensor in zip(module.state_dict().values(), theirs, strict=True):
        torch.testing.assert_close(mine, tensor, rtol=1e-9, atol=1e-9)
    assert not torch.equal(module.fc.weight, network.parameters["fc.weight"])
    torch.testing.assert_close(module.eval()(x), other.eval()(x), rtol=1e-9, atol=1e-9)


def test_after_eval_it_equals_the_network() -> None:
    network, x = random_network(3), torch.randn(2, CHANNELS, SIZE, SIZE)
    module = to_torch(network).eval()
    assert torch.equal(module(x), network(x))
    with torch.no_grad():
        assert not module(x).requires_grad
    with torch.inference_mode():
        assert torch.equal(module(x), network(x))


def test_train_and_eval_reach_dropout_and_normalization_each_by_itself() -> None:
    network = Sequential({"norm": blocks.BatchNorm1d(3), "drop.out": blocks.Dropout(0.5)})
    module, x = to_torch(network), torch.randn(50, 3) + 4
    assert (module(x) == 0).any()
    mean = module.norm.running_mean.clone()
    torch.testing.assert_close(mean, 0.1 * x.mean(0))
    module.norm.eval()
    assert (module(x) == 0).any()
    assert torch.equal(module.norm.running_mean, mean)
    y = module.eval()(x)
    assert not (y == 0).any()
    with torch.no_grad():
        module.train()(x)
    assert not torch.equal(module.norm.running_mean, mean)
    assert torch.equal(network.blocks["norm"].buffers["running_mean"], torch.zeros(3))


def test_what_a_block_remembers_by_a_new_tensor_arrives_in_the_module() -> None:
    class Counting(blocks.ReLU):
        buffer_names = ("count",)
        has_training_mode = True

        def __init__(self) -> None:
            self.count = torch.zeros(())

        def forward(self, x: Tensor, training: bool = False) -> tuple[Tensor, Any]:
            return super().forward(x)

        def remember(self, saved: Any) -> None:
            self.count = self.count + 1

    module = to_torch(Counting())
    module(module(torch.ones(2)))
    assert module.count == 2


def test_two_forward_passes_in_training_before_one_backward_pass() -> None:
    network, (x, target) = small_network(), pictures()
    module, other = to_torch(network), small_module(network)
    for each in (module, other):
        (F.cross_entropy(each(x), target) + F.cross_entropy(each(2 * x), target)).backward()
    for mine, theirs in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_torch_before", [False, True])
def test_mixed_precision_passes_the_blocks_by(with_torch_before: bool) -> None:
    network = Sequential(blocks.Linear(3, 4), blocks.LayerNorm(4), blocks.GELU(), blocks.Linear(4, 2))
    module, x = to_torch(network), torch.randn(5, 3)
    before = nn.Linear(3, 3) if with_torch_before else nn.Identity()
    with torch.autocast("cpu", torch.bfloat16):
        h = before(x)
        module(h).sum().backward()
    found = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    module(h.detach().float()).sum().backward()
    for mine, parameter in zip(found, module.parameters(), strict=True):
        assert torch.equal(mine, parameter.grad)


def test_several_inputs_and_outputs_integers_and_blocks_without_inputs() -> None:
    table, value = blocks.Embedding(7, 4), blocks.Parameter((4,))
    value.value = torch.randn(4)
    nodes = [
        Node("table", table, ("words",)),
        Node("position", value, ()),
        Node("sum", blocks.Add(), ("table", "position", "x")),
        Node("parts", blocks.Split((1, 3), axis=1), ("sum",)),
        Node("tanh", blocks.Tanh(), ("parts[1]",)),
    ]
    network = Network(nodes, ("words", "x"), outputs=("tanh", "sum"))
    words, x = torch.tensor([1, 5, 1]), torch.randn(3, 4, requires_grad=True)
    module = to_torch(network)
    first, second = module(words, x)
    for mine, theirs in zip((first, second), network(words, x.detach()), strict=True):
        assert torch.equal(mine, theirs)
    first.sum().backward()
    expected = network.backward(network.forward(words, x.detach()), {"tanh": torch.ones(3, 3)}, ("parameters", "x"))
    torch.testing.assert_close(x.grad, expected["x"])
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
    with pytest.raises(ShapeError, match="takes 2 inputs"):
        module(words)
    with pytest.raises(ShapeError, match="node 'sum'"):
        module(words, torch.ones(2, 3, 5))


def test_errors_say_where() -> None:
    module = to_torch(small_network())
    with pytest.raises(ShapeError, match="node 'fc'"):
        module(torch.zeros(1, 1, 7, 7, dtype=torch.float64))
    with pytest.raises(BlockpropError, match="node 'conv'"):
        module("no tensor")
