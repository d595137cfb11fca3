"""What a network says about data, and how good that is."""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from blockprop.errors import ShapeError
from blockprop.network import Network
from blockprop.objectives import Objective


class Examples(Protocol):
    """What can be learned from: inputs `x` and targets `y`, one example a row in both (a Dataset, say)."""

    @property
    def x(self) -> Tensor: ...

    @property
    def y(self) -> Tensor | None: ...


Data = Examples | tuple[Tensor, Tensor]


class Evaluation(NamedTuple):
    """value: mean of the objective; accuracy: share of right classes, None unless the targets are class numbers."""

    value: float
    accuracy: float | None


def pair(data: Data) -> tuple[Tensor, Tensor]:
    """(x, y) of a data set or a pair; ShapeError if they do not belong together."""
    if not isinstance(data, tuple) and not hasattr(data, "x"):
        hint = ": take its .train or .test part" if hasattr(data, "train") else ""
        raise ShapeError(f"expected a Dataset or a pair (x, y), came a {type(data).__name__}{hint}")
    x, y = data if isinstance(data, tuple) else (data.x, data.y)
    if not isinstance(x, Tensor) or not isinstance(y, Tensor | None):
        raise ShapeError(f"expected torch tensors x and y, came {type(x).__name__} and {type(y).__name__}")
    if y is None:
        raise ShapeError("the data have no targets; training and evaluation need one for each example")
    if len(x) != len(y) or not len(x):
        raise ShapeError(f"expected as many targets as examples and at least one, came {len(x)} and {len(y)}")
    return x, y


@torch.no_grad()
def predict(network: Network, x: Tensor, batch_size: int = 256) -> Tensor:
    """The network's output for each row of x, computed batch by batch. The result lies on the CPU."""
    return torch.cat([network(fitting(rows, network)).cpu() for rows in x.split(batch_size)])


@torch.no_grad()
def evaluate(network: Network, data: Data, objective: Objective, batch_size: int = 256) -> Evaluation:
    """The mean of the objective over the data, and the share of right classes if the targets are class numbers."""
    x, y = pair(data)
    keep = objective.nodes or network.outputs
    head = objective.nodes[0] if len(objective.nodes) == 1 else network.outputs[0]
    total, right, count = 0.0, 0, 0
    for rows, targets in zip(x.split(batch_size), y.split(batch_size), strict=True):
        trace = network.forward(fitting(rows, network), keep=dict.fromkeys((*keep, *network.outputs)))
        targets = targets.to(trace[keep[0]].device)
        value, _ = objective.evaluate({name: trace[name] for name in keep}, targets)
        total += float(value) * len(rows)
        scores = trace[head]
        if _are_classes(scores, targets):
            right += int((scores.argmax(1) == targets).sum())
            count += targets.numel()
    return Evaluation(total / len(x), right / count if count else None)


def _are_classes(scores: Tensor, targets: Tensor) -> bool:
    return not targets.is_floating_point() and scores.dim() == targets.dim() + 1 and scores.shape[1] > 1


def fitting(x: Tensor, network: Network) -> Tensor:
    """x on the network's device, and with its type of number if x is of real numbers."""
    for parameter in network.parameters.values():
        return x.to(parameter.device, parameter.dtype if x.is_floating_point() else None)
    return x


def first_bad_row(x: Tensor) -> int | None:
    """The first row that holds a NaN or an infinity."""
    bad = (~torch.isfinite(x.reshape(len(x), -1))).any(1).nonzero()
    return int(bad[0]) if len(bad) else None


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
                f"the last update made the {key} of block {node!r} ({network.blocks[node]!r}) not finite: the gradient "
                "overflowed; try a smaller rate or clip="
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
