"""Models of another package beside their imports: outputs, gradients, other sizes, time; a line of JSON each.

Usage: python bench/foreign_model.py FAMILY NAME …      (bench/foreign_models.py calls it)
"""

import json
import sys
import time
from typing import Any

import torch
import torch.nn.functional as F
from foreign_example import Example
from foreign_zoo import FAMILIES
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from blockprop import from_torch
from blockprop.engine.network import Network


def outputs_of(module: nn.Module, inputs: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> list[Tensor]:
    """All tensors that it gives."""
    leaves = pytree.tree_leaves(module(*inputs, **keywords))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def error(mine: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    if mine.shape != theirs.shape:
        return float("inf")
    if not theirs.numel():
        return 0.0
    mine, theirs = mine.double().nan_to_num(1e9, 1e9, -1e9), theirs.double().nan_to_num(1e9, 1e9, -1e9)
    return float((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))


def compared(network: Network, module: nn.Module, example: Example) -> float:
    """The largest error of an output."""
    with torch.no_grad():
        theirs = outputs_of(module, example.inputs, example.keywords)
    mine: Any = network(*example.inputs, *example.keywords.values())
    mine = mine if isinstance(mine, tuple) else (mine,)
    if len(mine) != len(theirs):
        return float("inf")
    return max(error(a, b) for a, b in zip(mine, theirs, strict=True))


class _Contiguous(torch.autograd.Function):
    """Identity, whose derivative has a plain layout.

    torch 2.13 on the CPU gets batch_norm's derivative in evaluation wrong where a transposed one comes in: for x of
    (1, 448, 7, 7) it is off by as much as its own size, beside d · weight / sqrt(variance + eps) written out.
    """

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, *d: Tensor) -> Tensor:
        return d[0].contiguous()


_batch_norm = F.batch_norm


def batch_norm(*args: Any, **keywords: Any) -> Tensor:
    """torch's, with a derivative that it is right for."""
    return _Contiguous.apply(_batch_norm(*args, **keywords))  # type: ignore[no-any-return, no-untyped-call]


def gradient_error(network: Network, module: nn.Module, example: Example) -> float:
    """The largest error of a derivative of a random direction of the first real output, relative to the largest one."""
    tensors = [*example.inputs, *example.keywords.values()]
    leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in tensors]
    count = len(example.inputs)
    keywords = dict(zip(example.keywords, leaves[count:], strict=True))
    F.batch_norm = batch_norm
    try:
        theirs = outputs_of(module, tuple(1 * x if x.requires_grad else x for x in leaves[:count]), keywords)
    finally:
        F.batch_norm = _batch_norm
    place = next(i for i, y in enumerate(theirs) if y.is_floating_point() and y.requires_grad)
    direction = torch.randn(theirs[place].shape, generator=torch.Generator().manual_seed(1))
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    wanted = {f"input {i}": x for i, x in enumerate(leaves) if x.requires_grad} | parameters
    found = torch.autograd.grad(theirs[place], list(wanted.values()), direction, allow_unused=True)
    autograd = {name: d for name, d in zip(wanted, found, strict=True) if d is not None}
    trace = network.forward(*tensors)
    titles = {name: f"input {i}" for i, name in enumerate(network.inputs)}
    titles |= {name: network.meta.get("parameter_names", {}).get(name, name) for name in network.parameters}
    real = [name for name, x in zip(network.inputs, tensors, strict=True) if x.is_floating_point()]
    summed: dict[str, Any] = {}
    for name, d in network.backward(trace, {network.outputs[place]: direction}, [*real, *network.parameters]).items():
        summed[titles[name]] = summed.get(titles[name], 0) + d
    largest = max((float(d.abs().max()) for d in autograd.values()), default=1.0)
    shared = [(summed[name], d) for name, d in autograd.items() if name in summed and summed[name].shape == d.shape]
    return max(float((a - b).abs().max()) / largest for a, b in shared)


def plain_export(module: nn.Module, example: Example) -> float:
    """Seconds of torch.export alone; NaN if it cannot."""
    start = time.process_time()
    try:
        torch.export.export(module, example.inputs, example.keywords or None, strict=False)
    except Exception:
        return float("nan")
    return time.process_time() - start


def elsewhere(network: Network, module: nn.Module, others: dict[str, Example]) -> dict[str, str]:
    """By title whether the network is right at other sizes, of those that the module takes."""
    tried = {}
    for title, other in others.items():
        try:
            with torch.no_grad():
                outputs_of(module, other.inputs, other.keywords)
        except Exception:
            continue
        try:
            tried[title] = "right" if compared(network, module, other) < 1e-3 else "wrong"
        except Exception:
            tried[title] = "refused"
    return tried


def measured(family: str, name: str) -> dict[str, Any]:
    """All that is said of one model."""
    torch.manual_seed(0)
    try:
        module, example, others = FAMILIES[family].build(name)
        plain = plain_export(module.eval(), example)
        module, example, others = FAMILIES[family].build(name)  # anew: the export may have left its mark
        outputs_of(module.eval(), example.inputs, example.keywords)
    except Exception as reason:
        return {"why": f"not built: {type(reason).__name__}: {str(reason)[:200]}"}
    start = time.process_time()
    try:
        network = from_torch(module, example.inputs, example.keywords, training=False)
    except Exception as reason:
        return {"why": f"{type(reason).__name__}: {' '.join(str(reason).split())[:400]}"}
    seconds = time.process_time() - start
    tried = elsewhere(network, module, others)
    return {
        "seconds": seconds,
        "ratio": seconds / plain,
        "output": compared(network, module, example),
        "gradient": gradient_error(network, module, example),
        "free": "; ".join(f"{key} {axes}" for key, axes in network.meta["free"].items()),
        "notes": network.meta.get("notes", []),
        "elsewhere": ", ".join(tried) if set(tried.values()) == {"right"} else "",
        "tried": tried,
    }


if __name__ == "__main__":
    from_torch(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), torch.randn(1, 3, 8, 8))  # both load their parts once
    for name in sys.argv[2:]:
        try:
            result = measured(sys.argv[1], name)
        except Exception as reason:
            result = {"why": f"{type(reason).__name__} while it was compared: {str(reason)[:200]}"}
        print(json.dumps({"family": sys.argv[1], "model": name} | result), flush=True)
