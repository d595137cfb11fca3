"""Whole networks imported from torch: outputs, gradients, free sizes, names, rules."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from blockprop import blocks
from blockprop.importers import from_torch
from blockprop.interop.modules import to_torch
from blockprop.saving.storage import load, save
from tests.architectures import ARCHITECTURES, resized
from tests.importers.against_torch import (
    INEXACT,
    QUICK,
    as_tuple,
    assert_gradients_equal,
    assert_outputs_equal,
    autograd,
    directions,
    distance,
    inputs_of,
    module_of,
    network_of,
    ours,
    outputs_of,
    rows,
)

each = pytest.mark.parametrize("name", rows(ARCHITECTURES))
quick = pytest.mark.parametrize("name", sorted(QUICK))


@each
def test_outputs_and_gradients_equal_torchs_in_float64(name: str) -> None:
    network, module, inputs = network_of(name), module_of(name), inputs_of(name)
    assert_outputs_equal(network, module, inputs, 1e-9)
    assert_gradients_equal(network, module, inputs, INEXACT.get(name, 1e-9))


@each
def test_outputs_and_gradients_equal_torchs_in_float32(name: str) -> None:
    network = network_of(name)
    if any(getattr(block, "dtype", "") == "float64" for block in network.blocks.values()):
        network = network_of(name, torch.float32)  # `to` leaves the types that blocks are set to make
    else:
        network = network.copy().to(dtype=torch.float32)
    module, inputs = module_of(name, torch.float32), inputs_of(name, torch.float32)
    assert_outputs_equal(network, module, inputs, 1e-5)
    assert_gradients_equal(network, module, inputs, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "vit", "gru", "unet_bilinear"])
def test_a_module_in_float32_gives_a_network_in_float32(name: str) -> None:
    network, module, inputs = (f(name, torch.float32) for f in (network_of, module_of, inputs_of))
    assert {p.dtype for p in network.parameters.values()} == {torch.float32}
    assert_outputs_equal(network, module, inputs, 1e-5)
    assert_gradients_equal(network, module, inputs, 1e-4)


def free_axes(name: str) -> set[str]:
    architecture, free = ARCHITECTURES[name], network_of(name).meta["free"]
    return {axes[axis] for axes, found in zip(architecture.axes, free.values(), strict=True) for axis in found}


@each
def test_free_axes_are_those_that_the_module_allows(name: str) -> None:
    assert free_axes(name) == set(ARCHITECTURES[name].free)


@each
@pytest.mark.parametrize("round", [0, 1])
def test_other_sizes_give_what_torch_gives(name: str, round: int) -> None:
    architecture, inputs = ARCHITECTURES[name], inputs_of(name)
    sizes = {
        n: s for axes, x in zip(architecture.axes, inputs, strict=True) for n, s in zip(axes, x.shape, strict=True)
    }
    more = ({"batch": 3, "height": 9, "width": 5, "length": 5}, {"batch": 1, "height": 32, "width": 0, "length": -3})
    other = {axis: sizes[axis] + more[round][axis] for axis in free_axes(name) if axis != "batch"}
    inputs = resized(architecture, inputs, other | {"batch": more[round]["batch"]})
    assert_outputs_equal(network_of(name), module_of(name), inputs, 1e-9)
    assert_gradients_equal(network_of(name), module_of(name), inputs, INEXACT.get(name, 1e-9))


def test_sizes_can_be_left_fixed() -> None:
    network = from_torch(nn.Flatten(), torch.zeros(2, 3, 4), free=False)
    assert network.meta["free"] == {"input": []}
    assert network.meta["shape"] == [3, 4]


class SamePadding(nn.Conv2d):
    """The padding of TensorFlow, which depends on the size: as EfficientNet's conversions do it."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [pad // 2, pad - pad // 2]
        if any(pads):
            x = F.pad(x, pads)
        return F.conv2d(x, self.weight, self.bias, self.stride)


class OddAreDifferent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 1)) if x.shape[-1] % 2 else x * 2


class Wide(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[-1] > 9 else x


class BetweenIsDifferent(nn.Module):
    """As at the example's size at those where the graphs are compared, but not in between."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if 10 <= x.shape[-1] < 20 else x


class Halved(nn.Module):
    """An even number of rows: h // 2 * 2 is h for the example."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=(x.shape[2] // 2 * 2, x.shape[3] // 2 * 2))


@pytest.mark.filterwarnings("ignore:axes 2, 3 of 'x' are fixed at 8 × 8")
@pytest.mark.parametrize(
    ("module", "free"),
    [
        (nn.Sequential(SamePadding(3, 4, 3, 2), SamePadding(4, 4, 3, 2), SamePadding(4, 4, 2, 1)), [0, 2, 3]),
        (OddAreDifferent(), [0]),
        (Wide(), [0]),
        (BetweenIsDifferent(), [0]),
        (Halved(), [0, 2, 3]),
    ],
)
def test_sizes_that_decide_something_are_free_only_if_right_for_all(module: nn.Module, free: list[int]) -> None:
    network = from_torch(module.double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64))
    (found,) = network.meta["free"].values()
    assert found == free
    for height in (8, 9, 10, 11, 12, 13) if 2 in free else (8,):
        for width in (8, 9, 10, 11, 12, 13) if 3 in free else (8,):
            x = torch.randn(1, 3, height, width, dtype=torch.float64)
            assert distance(network(x), module(x)) < 1e-9


def test_nodes_are_named_after_the_modules_parts() -> None:
    names = list(network_of("resnet18").blocks)
    for name in (
        "conv1",
        "bn1",
        "relu",
        "layer1.0.conv1",
        "layer1.0.relu",
        "layer1.0.relu#2",
        "layer2.0.downsample.0",
        "fc",
    ):
        assert name in names
    assert any(name.startswith("layer1.0.add") for name in names)
    assert isinstance(network_of("resnet18").blocks["layer1.0.relu#2"], blocks.ReLU)


@each
def test_parameters_have_torchs_names_or_are_translated(name: str) -> None:
    network, module = network_of(name), module_of(name)
    names = network.meta.get("parameter_names", {})
    theirs = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    assert set(names) <= set(network.state)
    for own, tensor in network.parameters.items():
        if own not in network.meta.get("computed", []):
            assert torch.equal(tensor, theirs[names.get(own, own)].reshape(tensor.shape))
    kept = {own for own in network.parameters if own in theirs}
    if name in ("resnet18", "squeezenet1_1", "googlenet", "unet", "vgg16"):
        assert kept == set(network.parameters)


def test_weights_computed_from_weights_are_named() -> None:
    network = network_of("weight_norm")
    assert network.meta["computed"] == ["conv1.weight", "fc.weight"]
    assert set(network.parameters) >= {"conv1.weight", "fc.weight"}


class _Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp(min=0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> Tensor:  # type: ignore[override]
        return d_y.clamp(min=0) * (ctx.saved_tensors[0] > 0)


class GuidedReLUs(TorchFunctionMode):
    """Guided back-propagation (Springenberg et al. 2015) through every ReLU, however it is called."""

    new = (F.relu, torch.relu, Tensor.relu)
    in_place = (torch.relu_, Tensor.relu_)

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is F.relu and (kwargs.get("inplace") or args[1:] == (True,)):
            function = torch.relu_
        if function in self.new or function in self.in_place:
            self.calls += 1
            y = _Guided.apply(args[0])
            return args[0].copy_(y) if function in self.in_place else y
        return function(*args, **kwargs)


def guided(block: Any, saved: Any, d_y: Tensor) -> Any:
    return block.propagate(saved, d_y.clamp(min=0))


@pytest.mark.parametrize(
    "name", rows(["squeezenet1_1", "googlenet", "inception_v3", "densenet121", "resnet18", "resnet50", "vgg16", "unet"])
)
def test_a_rule_for_relu_reaches_every_relu(name: str) -> None:
    network, module, inputs = network_of(name), module_of(name), inputs_of(name)
    seeds = directions(module, inputs)
    with GuidedReLUs() as mode:
        theirs = autograd(module, inputs, seeds)
    calls = mode.calls
    mine = ours(network, inputs, seeds, {blocks.ReLU: guided})
    assert calls == sum(isinstance(node.block, blocks.ReLU) for node in network.nodes) > 3
    for key, expected in theirs.items():
        if key in mine:
            assert distance(mine[key], expected) < 1e-9, key
    plain = autograd(module, inputs, seeds)
    assert distance(plain["input 0"], theirs["input 0"]) > 1e-3


@pytest.mark.parametrize(
    "name", rows(["resnet18", "encoder_padded", "lstm", "unet", "vit", "swin_tiny", "tcn", "googlenet", "gpt_masked"])
)
def test_a_saved_network_is_the_same(name: str, tmp_path: Path) -> None:
    network, inputs = network_of(name), inputs_of(name)
    save(network, tmp_path / "net")
    other = load(tmp_path / "net")
    assert other.meta == network.meta
    for a, b in zip(as_tuple(network(*inputs)), as_tuple(other(*inputs)), strict=True):
        assert torch.equal(a, b)
    assert_gradients_equal(other.copy(), module_of(name), inputs, 1e-9)


@pytest.mark.parametrize("name", rows(["resnet18", "encoder_padded", "lstm", "vit_sdpa", "mobilenet_v2"]))
def test_back_to_torch_and_in_again(name: str) -> None:
    network, module, inputs = network_of(name), module_of(name), inputs_of(name)
    back = to_torch(network).eval()
    mine, theirs = outputs_of(back, *inputs), outputs_of(module, *inputs)
    for a, b in zip(mine, theirs, strict=True):
        assert distance(a, b) < 1e-9
    seeds = directions(module, inputs)
    found, expected = autograd(back, inputs, seeds), autograd(module, inputs, seeds)
    for own, d in found.items():
        title = network.meta.get("parameter_names", {}).get(own, own)
        assert (d - expected[title]).abs().max() <= 1e-9 * expected[title].abs().max().clamp(min=1e-6), own


def test_local_response_normalization_is_one_node_and_torchs_own_afterwards() -> None:
    before = F.local_response_norm
    network = from_torch(nn.Sequential(nn.LocalResponseNorm(3, 0.5), nn.ReLU()).eval(), torch.randn(2, 4, 5, 6))
    assert [type(node.block) for node in network.nodes] == [blocks.LocalResponseNorm, blocks.ReLU]
    assert network.meta["free"] == {"input": [0, 2, 3]}
    assert F.local_response_norm is before
