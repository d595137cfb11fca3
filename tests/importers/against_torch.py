"""Imported networks beside the modules that they came from: outputs and gradients."""

import warnings
from collections import defaultdict
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from blockprop.engine.network import Network
from blockprop.importers import from_torch
from tests.architectures import ARCHITECTURES, SPELLINGS

ALL = ARCHITECTURES | SPELLINGS
QUICK = {"lenet5", "squeezenet1_1", "resnet18", "unet", "googlenet", "encoder_padded", "gpt", "lstm"}
INEXACT = {"mobilenet_v3_large": 1e-6, "mobilenet_v3_small": 1e-6}
"""Where torch's own float64 is no better: hardswish and hardsigmoid take 1/6 from float32 in their backward kernels."""
LOW = {"float16": 2e-2, "bfloat16": 2e-1, "cast_inside": 2e-1}
"""Networks that are about low precision, and how far they may be off: a few units in the last place of it."""


def rows(names: Any) -> list[Any]:
    """Parameters of a test for these architectures; all but the quick ones are slow."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


def in_float64(module: nn.Module) -> nn.Module:
    """The module in float64, tensors that are neither parameter nor buffer as well."""
    for part in module.double().modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and value.is_floating_point():
                setattr(part, name, value.double())
    return module


@cache
def module_of(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """The module of the table; in float64, where rounding hides nothing."""
    module = ALL[name].make()
    return in_float64(module) if dtype == torch.float64 else module


@cache
def inputs_of(name: str, dtype: torch.dtype = torch.float64, seed: int = 1) -> tuple[Tensor, ...]:
    """Its inputs, in the same type of number."""
    inputs = ALL[name].inputs(torch.Generator().manual_seed(seed))
    return tuple(x.to(dtype) if dtype == torch.float64 and x.is_floating_point() else x for x in inputs)


@cache
def network_of(name: str, dtype: torch.dtype = torch.float64) -> Network:
    """The network that is imported from it, once for all tests; some have axes that are fixed, with a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ax[ei]s .* fixed")
        return from_torch(module_of(name, dtype), inputs_of(name, dtype))


def precision(name: str) -> tuple[torch.dtype, float]:
    """(type of number to compare in, tolerance)"""
    return (torch.float32, LOW[name]) if name in LOW else (torch.float64, INEXACT.get(name, 1e-9))


def outputs_of(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> list[Tensor]:
    """All tensors that the module gives, however they are nested."""
    return [y for y in tree_leaves(module(*inputs, **keywords)) if isinstance(y, Tensor)]


def distance(mine: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert mine.shape == theirs.shape
    assert mine.dtype == theirs.dtype
    if theirs.numel() == 0:
        return 0.0
    mine, theirs = mine.double(), theirs.double()
    return ((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)).item()


def as_tuple(y: Any) -> tuple[Tensor, ...]:
    """What a network returns, always as a tuple."""
    return y if isinstance(y, tuple) else (y,)


def assert_outputs_equal(network: Network, module: nn.Module, inputs: tuple[Tensor, ...], tolerance: float) -> None:
    """Forward equals torch's."""
    with torch.no_grad():
        theirs = outputs_of(module, *(x.clone() for x in inputs))
    mine = as_tuple(network(*inputs))
    assert len(mine) == len(theirs)
    for i, (y, expected) in enumerate(zip(mine, theirs, strict=True)):
        assert distance(y, expected) <= tolerance, f"output {i}"


def assert_gradients_equal(network: Network, module: nn.Module, inputs: tuple[Tensor, ...], tolerance: float) -> None:
    """The derivative of a random direction of the outputs, by the inputs and all parameters, equals autograd's."""
    theirs = autograd(module, inputs, directions(module, inputs))
    mine = ours(network, inputs, directions(module, inputs))
    largest = max([d.abs().max().item() for d in theirs.values() if d.numel()], default=0.0)
    computed = network.meta.get("computed", [])
    for name, expected in theirs.items():
        if name not in mine:
            owner = name.split(".parametrizations.")[0]
            assert any(each.startswith(owner) for each in computed) or not expected.any(), f"{name} is missing"
            continue
        scale = max(expected.abs().max().item(), 1e-3 * largest)
        error = (mine[name].double() - expected.double()).abs().max().item()
        assert error <= tolerance * scale, f"{name}: {error:.3g} beside {scale:.3g}"
    assert set(mine) - set(theirs) == {*computed, *network.meta.get("frozen", [])}


def directions(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Random directions, one for each output."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        outputs = outputs_of(module, *(x.clone() for x in inputs))
    return [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype) for y in outputs]


def autograd(module: nn.Module, inputs: tuple[Tensor, ...], seeds: list[Tensor]) -> dict[str, Tensor]:
    """Derivatives by "input 0" and so on and by each trained parameter (zeros where nothing came back)."""
    leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
    # times one, because a module may write into its inputs, and autograd forbids that for leaves
    outputs = outputs_of(module, *(1 * x if x.requires_grad else x.clone() for x in leaves))
    wanted = {f"input {i}": x for i, x in enumerate(leaves) if x.requires_grad}
    wanted |= {name: p for name, p in module.named_parameters() if p.requires_grad}
    pairs = [(y, d) for y, d in zip(outputs, seeds, strict=True) if y.requires_grad]
    ends, directions = [list(each) for each in zip(*pairs, strict=True)] if pairs else ([], [])
    found = torch.autograd.grad(ends, list(wanted.values()), directions, allow_unused=True)
    return {name: torch.zeros_like(x) if d is None else d for (name, x), d in zip(wanted.items(), found, strict=True)}


def ours(network: Network, inputs: tuple[Tensor, ...], seeds: list[Tensor], rules: Any = None) -> dict[str, Tensor]:
    """The same by the network, under the names that torch has for the parameters."""
    floating = [name for name, x in zip(network.inputs, inputs, strict=True) if x.is_floating_point()]
    trace = network.forward(*inputs)
    summed: dict[str, Tensor] = {}
    for name, d in zip(network.outputs, seeds, strict=True):
        if d.is_floating_point():
            summed[name] = summed[name] + d if name in summed else d
    found = network.backward(trace, summed, [*floating, *network.parameters], rules=rules)
    names = network.meta.get("parameter_names", {}) | {x: f"input {i}" for i, x in enumerate(network.inputs)}
    by_name: dict[str, Any] = defaultdict(float)
    for name, d in found.items():
        by_name[names.get(name, name)] = by_name[names.get(name, name)] + d
    return dict(by_name)
