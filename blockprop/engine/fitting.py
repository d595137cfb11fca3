"""Inputs on the network's device and in its type of number, and where the first NaN or infinity stands."""

import math

import torch
from torch import Tensor

from blockprop.engine.network import Network


def fitting(x: Tensor, network: Network) -> Tensor:
    """x on the network's device, and with its type of number if x is of real numbers."""
    for parameter in network.parameters.values():
        return x.to(parameter.device, parameter.dtype if x.is_floating_point() else None)
    return x


def first_not_finite(network: Network, x: Tensor, training: bool, updated: bool = True) -> str:
    """Say where the first NaN or infinity stands: in a parameter, or in the output of the first block that has one.

    updated: whether an update came before, which is then to blame for a parameter.
    """
    for name, parameter in reversed(network.parameters.items()):
        if not torch.isfinite(parameter).all():
            node, _, key = name.rpartition(".")
            if not updated:
                return f"the {key} of block {node!r} ({network.blocks[node]!r}) was not finite before the first step"
            return (
                f"the last update made the {key} of block {node!r} ({network.blocks[node]!r}) not finite: its "
                f"gradient, {_way_back(network, node)}, was too large for its type (try a smaller rate or clip=), "
                "or nothing finite at all, as the slope of a root at 0 or of a quotient by 0 is"
            )
    trace = network.forward(x, training=training)
    for node_ in network.nodes:
        if not all(torch.isfinite(trace[key]).all() for key in node_.keys):
            sizes = [float(trace[key].abs().max()) for key in node_.inputs]
            largest = max((size for size in sizes if math.isfinite(size)), default=math.nan)
            return f"block {node_.name!r} ({node_.block!r}) was the first to give one; its input reached {largest:.3g}"
    return (
        "all blocks gave finite outputs, the objective itself did not; try a smaller rate, or targets of a smaller size"
    )


def _way_back(network: Network, node: str) -> str:
    """Through which blocks the errors come to a node, the nearest first."""
    names = [step.name for step in network.nodes]
    above = [step for step in network.nodes[names.index(node) + 1 :] if step.inputs]
    shown = ", ".join(f"{step.name!r} ({step.block!r})" for step in above[:3])
    return f"which came back through {shown}{', …' * (len(above) > 3)}" if above else "which came from the objective"
