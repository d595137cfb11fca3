"""Random networks of convolutions, activations, pooling, normalization, forks and joins, beside torch's autograd."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.plan import Node

CHANNELS, SIZE, CLASSES = 4, 8, 5


def random_network(seed: int) -> Network:
    """A graph on pictures (n, 4, 8, 8): 4 to 12 random blocks over earlier outputs, then a small classifier."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)

    def draw(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    shared = blocks.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
    nodes: list[Node] = []
    for i in range(4 + draw(9)):
        earlier = ["x", *(node.name for node in nodes)]
        first, second = earlier[-1 - draw(min(3, len(earlier)))], earlier[draw(len(earlier))]
        makers = [
            lambda: blocks.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            lambda: shared,
            lambda: blocks.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2, groups=2),
            blocks.ReLU,
            blocks.GELU,
            blocks.SiLU,
            lambda: blocks.BatchNorm2d(CHANNELS),
            lambda: blocks.GroupNorm(2, CHANNELS),
            lambda: blocks.MaxPool2d(3, 1, 1),
            lambda: blocks.AvgPool2d(3, 1, 1),
            blocks.Add,
            blocks.Mul,
        ]
        block = makers[draw(len(makers))]()
        inputs = (first, second) if isinstance(block, blocks.Add | blocks.Mul) else (first,)
        nodes.append(Node(f"node{i}", block, inputs))
    last = nodes[-1].name
    head = [("pool", blocks.MaxPool2d(2), last), ("flatten", blocks.Flatten(), "pool")]
    head += [("fc1", blocks.Linear(CHANNELS * SIZE * SIZE // 4, 16), "flatten"), ("tanh", blocks.Tanh(), "fc1")]
    head += [("fc2", blocks.Linear(16, CLASSES), "tanh")]
    return Network([*nodes, *(Node(name, block, (source,)) for name, block, source in head)], outputs=("fc2",))


def by_torch(block: Block, weights: dict[str, Tensor], *x: Tensor) -> Tensor:
    """What torch makes of the same input with the same weights."""
    weight, bias = weights.get("weight"), weights.get("bias")
    match block:
        case blocks.Conv2d():
            return F.conv2d(x[0], weight, bias, block.stride, block.padding, block.dilation, block.groups)
        case blocks.BatchNorm2d():
            return F.batch_norm(x[0], None, None, weight, bias, training=True)
        case blocks.GroupNorm():
            return F.group_norm(x[0], block.groups, weight, bias)
        case blocks.MaxPool2d():
            return F.max_pool2d(x[0], block.kernel, block.stride, block.padding)
        case blocks.AvgPool2d():
            return F.avg_pool2d(x[0], block.kernel, block.stride, block.padding)
        case blocks.Linear():
            return F.linear(x[0], weight, bias)
        case blocks.Add():
            return x[0] + x[1]
        case blocks.Mul():
            return x[0] * x[1]
        case blocks.Flatten():
            return x[0].flatten(1)
        case blocks.ReLU() | blocks.GELU() | blocks.SiLU() | blocks.Tanh():
            return {"ReLU": F.relu, "GELU": F.gelu, "SiLU": F.silu, "Tanh": torch.tanh}[type(block).__name__](x[0])
    raise AssertionError(block)


def gradients_by_autograd(network: Network, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """∂L/∂(each parameter and the input) by torch's autograd, L the cross-entropy; zeros where L does not depend."""
    weights = {name: p.clone().requires_grad_() for name, p in network.parameters.items()}
    place = {id(block): name for name, block in network.unique_blocks.items()}
    values = {"x": x.clone().requires_grad_()}
    for node in network.nodes:
        name = place[id(node.block)]
        own = {key: weights[f"{name}.{key}"] for key in node.block.parameters}
        values[node.name] = by_torch(node.block, own, *(values[source] for source in node.inputs))
    F.cross_entropy(values["fc2"], target).backward()
    found = weights | {"x": values["x"]}
    return {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in found.items()}


def gradient_error(seed: int, dtype: torch.dtype) -> float:
    """|ours − autograd's| / |autograd's| for the whole gradient of one network: all parameters and the input together.

    Not tensor by tensor: some gradients cancel to 0 but for rounding (of weights between two normalizations, which do
    not see their scale), and rounding has no relative error.
    """
    network = random_network(seed).to(dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, CHANNELS, SIZE, SIZE, generator=generator, dtype=dtype)
    target = torch.randint(CLASSES, (6,), generator=generator)
    trace = network.forward(x, training=True)
    _, seeds = cross_entropy().evaluate(trace.outputs, target)
    ours = network.backward(trace, seeds, wrt=("parameters", "inputs"))
    theirs = gradients_by_autograd(network, x, target)
    assert ours.keys() == theirs.keys()
    assert all(d.shape == theirs[name].shape and d.dtype == dtype for name, d in ours.items())
    difference = torch.cat([(d - theirs[name]).flatten() for name, d in ours.items()])
    return float(difference.norm() / torch.cat([d.flatten() for d in theirs.values()]).norm())
