"""to_torch: networks as torch modules, whose backward passes under autograd are the blocks' own."""

import copy
import gc
import threading
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.engine.network import Network, Sequential
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError, GraphError, ShapeError
from blockprop.interop.modules import BlockModule, to_torch
from tests.blocks.test_blocks import back, made, run, seeds_for
from tests.cases import CASES, Case
from tests.random_networks import CHANNELS, CLASSES, SIZE, gradients_by_autograd, random_network


class Watched(blocks.Linear):
    """Counts its backward passes."""

    def __init__(self, features_in: int, features_out: int):
        super().__init__(features_in, features_out)
        self.calls: list[str] = []

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        self.calls.append("propagate")
        return super().propagate(saved, d_y)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        self.calls.append("gradients")
        return super().gradients(saved, d_y)


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


def watched() -> tuple[nn.Module, list[str], Tensor]:
    """(module of one block, its calls, input)"""
    module = to_torch(Watched(3, 2))
    return module, module._block.calls, torch.randn(4, 3, requires_grad=True)


def small_network() -> Network:
    torch.manual_seed(0)
    convolution = {"conv": blocks.Conv2d(1, 3, 3), "norm": blocks.BatchNorm2d(3), "relu": blocks.ReLU()}
    head = {"flatten": blocks.Flatten(), "fc": blocks.Linear(48, 5)}
    return Sequential(convolution | head).to(dtype=torch.float64)


def small_module(network: Network) -> nn.Module:
    """The same in torch's own modules, with the same weights."""
    modules = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)]
    module = nn.Sequential(*modules).double()
    own = ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]
    module.load_state_dict(dict(zip(own, network.parameters.values(), strict=True)), strict=False)
    return module


def pictures(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 1, 6, 6, dtype=torch.float64, generator=generator)
    return x, torch.randint(5, (count,), generator=generator)


# The same numbers -----------------------------------------------------------------------------------------------------


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


# Names, tensors, copies -----------------------------------------------------------------------------------------------


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


# Modes ----------------------------------------------------------------------------------------------------------------


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


# Inputs and outputs ---------------------------------------------------------------------------------------------------


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


# What autograd expects of a function ----------------------------------------------------------------------------------


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


# As a part of others --------------------------------------------------------------------------------------------------


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


def test_errors_say_where() -> None:
    module = to_torch(small_network())
    with pytest.raises(ShapeError, match="node 'fc'"):
        module(torch.zeros(1, 1, 7, 7, dtype=torch.float64))
    with pytest.raises(BlockpropError, match="node 'conv'"):
        module("no tensor")
