"""The imported network beside the module: what it gives, and how it goes back."""

from collections.abc import Sequence

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.errors import ShapeError, shape
from blockprop.importers.torch.twin import Twin
from blockprop.interop.functions import errors_at, functions_behind, recorded

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 3e-2, torch.bfloat16: 2e-1}
"""How far the network's outputs may be from the module's, relative to the largest: what is left are rounding errors."""
EQUAL = 1e-3
"""Of the largest error at an input: what float32 leaves over many layers."""


def difference_of(network: Network, inputs: list[Tensor], expected: list[Tensor]) -> str:
    """How the network's outputs differ from the module's, in words; "" if they agree."""
    outputs = network(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for name, here, there in zip(network.outputs, outputs, expected, strict=True):
        if here.shape != there.shape or here.dtype != there.dtype:
            return f"the imported {name} is {shape(here)} {here.dtype}, the module's is {shape(there)} {there.dtype}"
        here, there = (y.double().nan_to_num(1e30, 1e30, -1e30) for y in (here, there))
        scale = max(there.abs().max().item(), 1e-30) if there.numel() else 1.0
        error = (here - there).abs().max().item() / scale if there.numel() else 0.0
        if error > max(TOLERANCE.get(y.dtype, 0.0) for y in (*inputs, *expected)):
            return f"the imported {name} differs from the module's by {error:.2g} of the largest value"
    return ""


def notes_of_functions(network: Network, twin: Twin, inputs: Sequence[Tensor], names: Sequence[str]) -> list[str]:
    """That the module has functions whose backward pass is not the network's; none if both give the same here."""
    try:
        leaves, outputs = recorded(lambda leaves: twin.outputs(leaves, names), inputs)
    except ShapeError:
        return []  # it runs without autograd alone
    functions = functions_behind(outputs)
    if not functions or _go_back_alike(network, inputs, leaves, outputs):
        return []
    return [
        f"{', '.join(functions)}: what torch.autograd.Function does in backward is not imported; the network goes back "
        "by the derivative of what it does in forward. A block with this backward pass can take its place"
    ]


def _go_back_alike(
    network: Network, inputs: Sequence[Tensor], leaves: Sequence[Tensor], outputs: Sequence[Tensor]
) -> bool:
    floating = [name for name, x in zip(network.inputs, inputs, strict=True) if x.is_floating_point()]
    generator = torch.Generator().manual_seed(0)
    seeds = [torch.randn(y.shape, generator=generator).to(y) if y.is_floating_point() else None for y in outputs]
    sought = {name: d for name, d in zip(network.outputs, seeds, strict=True) if d is not None}
    if not floating or not sought:
        return False
    ours = network.backward(network.forward(*inputs), sought, wrt=floating)
    for name, theirs in zip(network.inputs, errors_at(leaves, outputs, seeds), strict=True):
        if name in ours:
            theirs = torch.zeros_like(ours[name]) if theirs is None else theirs
            if float((ours[name] - theirs).abs().max()) > EQUAL * max(float(theirs.abs().max()), 1e-30):
                return False
    return True
