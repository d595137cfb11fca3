"""Gradients by the input with all weights fixed: ours beside torch's autograd, as people write it and tuned.

Usage: python bench/fixed_weights.py [--rows NAME …] [--seconds S] [--write]     (ten minutes; nothing else should run)

Before anything is timed, all compute the same numbers in float64. They take turns; medians, and how far they spread.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from reporting import machine, table, write_section
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from plain_style import vgg, with_weights
from training_step import peak_memory

from blockprop import from_torch
from blockprop.blocks import Add, Affine, BatchNorm2d, Conv2d, GlobalAvgPool, Linear, MaxPool2d, ReLU
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.networks.architectures import vgg19
from blockprop.networks.shipped import shipped
from blockprop.visualize import saliency
from tests.architectures.googlenet import GoogLeNet
from tests.architectures.mobilenet import MobileNetV2
from tests.architectures.resnet import resnet50
from tests.architectures.squeezenet import SqueezeNet

Gradient = Callable[[Tensor], Tensor]
"""∂S/∂x for pictures x."""


class Row(NamedTuple):
    """What is differentiated.

    make: a module and the same network.   side: pixels.   node: where S is read; None for the score of class 0.
    """

    make: Callable[[], tuple[nn.Module, Network]]
    side: int
    batch: int
    node: str | None = None


def imported(build: Callable[[], nn.Module]) -> Callable[[], tuple[nn.Module, Network]]:
    def make() -> tuple[nn.Module, Network]:
        module = build().eval()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):  # statistics as after training: no two alike
                nn.init.uniform_(part.running_mean, -0.1, 0.1)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
        return module, from_torch(module, torch.rand(1, 3, 224, 224))

    return make


def styled() -> tuple[nn.Module, Network]:
    network = vgg19("relu5_1", with_conv0=False)
    return with_weights(vgg(network), network), network


class Graph(nn.Module):
    """The shipped network, written as a torch module."""

    def __init__(self, network: Network):
        super().__init__()
        self.nodes = [(node.name, node.inputs) for node in network.nodes]
        self.input, self.output = network.inputs[0], network.outputs[0]
        self.parts = nn.ModuleDict({node.name: _module(node.block) for node in network.nodes})

    def forward(self, x: Tensor) -> Tensor:
        values = {self.input: x}
        for name, sources in self.nodes:
            values[name] = self.parts[name](*[values[source] for source in sources])
        return values[self.output]


class Sum(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Scale(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 4 * x - 2


def _module(block: Block) -> nn.Module:
    match block:
        case Conv2d():
            settings = {name: getattr(block, name) for name in ("stride", "padding", "groups")}
            settings["bias"] = block.with_bias
            module: nn.Module = nn.Conv2d(block.channels_in, block.channels_out, block.kernel, **settings)
        case BatchNorm2d():
            module = nn.BatchNorm2d(block.channels, block.epsilon)
        case Linear():
            module = nn.Linear(*block.weight.shape[::-1])
        case _:
            return OTHERS[type(block)](block)
    with torch.no_grad():
        names = {"running_variance": "running_var"}
        state = {names.get(name, name): tensor for name, tensor in (block.parameters | block.buffers).items()}
        module.load_state_dict(state, strict=False)
    return module


OTHERS: dict[type[Block], Callable[[Any], nn.Module]] = {
    ReLU: lambda _: nn.ReLU(inplace=True),
    MaxPool2d: lambda block: nn.MaxPool2d(block.kernel, block.stride, block.padding),
    GlobalAvgPool: lambda _: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    Add: lambda _: Sum(),
    Affine: lambda _: Scale(),
}


def own() -> tuple[nn.Module, Network]:
    network = shipped("pictures")
    return Graph(network).eval(), network


MODELS = {
    "SqueezeNet 1.1": imported(lambda: SqueezeNet(1.0, 1000)),
    "GoogLeNet": imported(lambda: GoogLeNet(1.0, 1000, auxiliary=False)),
    "ResNet-50": imported(lambda: resnet50(64, 1000)),
    "MobileNetV2": imported(lambda: MobileNetV2(1.0, 1000)),
}
ROWS = {f"{name}, batch {batch}": Row(make, 224, batch) for name, make in MODELS.items() for batch in (1, 8)}
ROWS |= {f"VGG-19 to conv5_1, {side}²": Row(styled, side, 1, "relu5_1") for side in (256, 512)}
ROWS |= {f"shipped network, batch {batch}": Row(own, 64, batch) for batch in (1, 8)}
WANTED = {"SqueezeNet": 1.2, "GoogLeNet": 1.4, "VGG-19": 1.1}
"""Times as fast as the tuned autograd; 1 for all others."""


def by_autograd(module: nn.Module, node: str | None, last: bool) -> Gradient:
    """The usual few lines, with weights that want no gradients.   last: channels last in memory."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    order = torch.channels_last if last else torch.contiguous_format
    module = module.to(memory_format=order)

    def gradient(x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=order).requires_grad_()
        y = module(x)
        (d_x,) = torch.autograd.grad(y.mean() * len(y) if node else y[:, 0].sum(), x)
        return d_x

    return gradient


def ours(network: Network, node: str | None) -> Gradient:
    if node is None:
        return lambda x: saliency(network, x, 0).attribution

    def gradient(x: Tensor) -> Tensor:
        lean = network.prepare([node])
        trace = lean.forward(x)
        return lean.backward(trace, torch.full_like(trace[node], 1 / trace[node][0].numel()), wrt="inputs")[
            network.inputs[0]
        ]

    return gradient


def ways(row: Row) -> tuple[dict[str, Gradient], Tensor]:
    """All that compute it, and the pictures."""
    torch.manual_seed(0)
    module, network = row.make()
    x = torch.rand(row.batch, 3, row.side, row.side)
    network.to(dtype=torch.float64)
    exact = by_autograd(module.double(), row.node, False)(x.double())
    error = float((ours(network, row.node)(x.double()) - exact).norm() / exact.norm())
    assert error < 1e-9, f"another gradient: {error}"
    module.float()
    network.to(dtype=torch.float32)
    return {
        "ours": ours(network, row.node),
        "autograd": by_autograd(module, row.node, False),
        "tuned": by_autograd(copy.deepcopy(module), row.node, True),
    }, x


def measured(name: str, seconds: float) -> list[str]:
    gradients, x = ways(ROWS[name])
    inputs = {way: x.contiguous(memory_format=torch.channels_last) if way == "tuned" else x for way in gradients}
    times: dict[str, list[float]] = {way: [] for way in gradients}
    for way, gradient in gradients.items():
        gradient(inputs[way])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["ours"]) < 5:
        for way, gradient in gradients.items():
            start = time.perf_counter()
            gradient(inputs[way])
            times[way].append(time.perf_counter() - start)
    medians = {way: statistics.median(past) for way, past in times.items()}
    middle = sorted(times["ours"])[len(times["ours"]) // 4 : -(len(times["ours"]) // 4)]
    spread = (middle[-1] - middle[0]) / medians["ours"]
    wanted = next((ratio for start, ratio in WANTED.items() if name.startswith(start)), 1.0)
    pixels = x[:, 0].numel()
    memory = [f"{peak_memory(lambda g=g, way=way: g(inputs[way])) / pixels:.0f}" for way, g in gradients.items()]
    return [
        name,
        f"{medians['ours'] * 1e3:.1f} ms ± {spread * 50:.0f}%",
        *(f"{medians[way] / medians['ours']:.2f}" for way in ("autograd", "tuned")),
        f"{wanted:g}",
        *memory,
    ]


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    heads = [
        "gradient by the input",
        "ours",
        "× autograd",
        "× tuned autograd",
        "wanted",
        "bytes a pixel: ours",
        "autograd",
        "tuned",
    ]
    rows = []
    for name in wanted.rows:
        rows.append(measured(name, wanted.seconds))
        print(rows[-1], flush=True)
    text = f"""## Fixed weights

By `bench/fixed_weights.py`, on {machine()}, {torch.get_num_threads()} threads: the gradient of a class (of
all of conv5_1 in VGG-19) by the picture, all weights fixed, in networks of full width with random weights; 224 x 224
pixels but where it is said, 64 x 64 for the shipped network. Medians of turns; half of ours lie within ± the share.
× how many times as fast ours is. Autograd is told that weights want no gradients; tuned has channels last in memory
besides. Memory: the peak of tensors made in a call, without weights. In float64 all agree to 1e-9.

{table(heads, rows)}
"""
    write_section("fixed weights", text) if wanted.write else print(text)


if __name__ == "__main__":
    main()
