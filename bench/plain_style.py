"""The paper on artistic style, written plainly with torch's autograd and L-BFGS: style.py compares with it."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from blockprop.engine.network import Network
from blockprop.visualize.style.run import Stylization

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.architectures.squeezenet import SqueezeNet


class Reading(NamedTuple):
    """Seconds of one's own work so far, the loss, and its parts: content, style, total variation."""

    seconds: float
    value: float
    parts: Sequence[float]


def vgg(network: Network) -> nn.Sequential:
    layers: dict[str, nn.Module] = {}
    for node in network.nodes:
        name, weight = node.name, network.parameters.get(f"{node.name}.weight")
        if name.startswith("pad"):
            layers[name] = nn.ReflectionPad2d(1)
        elif name.startswith("conv"):
            assert weight is not None
            layers[name] = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2])
        elif name.startswith("relu"):
            layers[name] = nn.ReLU(inplace=True)
        elif name.startswith("pool"):
            layers[name] = nn.MaxPool2d(2)
    return _sequential(layers)


def squeezenet(_: Network) -> nn.Sequential:
    names = ("conv1", "relu_conv1", "pool1", "fire2", "fire3", "pool3", "fire4", "fire5", "pool5", "fire6", "fire7")
    features = list(SqueezeNet(1.0, 1000).features.children())
    caffe = torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    return _sequential({"caffe": _Caffe(caffe), **dict(zip(names, features, strict=False))})


class _Caffe(nn.Module):
    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1) * 255 - self.mean


def _sequential(layers: dict[str, nn.Module]) -> nn.Sequential:
    module = nn.Sequential()
    for name, layer in layers.items():
        module.add_module(name, layer)
    return module


def with_weights(module: nn.Sequential, network: Network) -> nn.Sequential:
    """The module in evaluation, with the network's weights, which want no gradients."""
    module.eval()
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), network.parameters.values(), strict=False):
            parameter.copy_(weight)
            parameter.requires_grad_(False)
    return module


class Plain:
    """Gatys, Ecker and Bethge 2015 by autograd: what `stylize` minimizes at a single size, in the usual few lines."""

    def __init__(self, module: nn.Sequential, run: Stylization):
        assert run.point is not None
        self.weights, self.x = run.weights, run.point.x.clone().requires_grad_()
        deepest = max(i for i, (name, _) in enumerate(module.named_children()) if name in run.weights.nodes)
        self.module = nn.Sequential(*module[: deepest + 1])
        self.names = [name for name, _ in module.named_children()][: deepest + 1]
        with torch.no_grad():
            self.content = self.outputs(run.content)
            aim = run.aims(*run.sizes[-1])[0].picture
            self.grams = {name: self.gram(y) for name, y in self.outputs(aim).items()}
        # Tolerances as in neural-style-pt; with those of torch it would stop early.
        self.optimizer = torch.optim.LBFGS([self.x], tolerance_grad=-1, tolerance_change=-1)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        outputs = {}
        for name, layer in zip(self.names, self.module, strict=True):
            x = layer(x)
            if name in self.weights.nodes:
                outputs[name] = x
        return outputs

    @staticmethod
    def gram(y: Tensor) -> Tensor:
        f = y.flatten(2)[0]
        return f @ f.T / f.shape[1]

    def losses(self) -> tuple[Tensor, ...]:
        outputs, w = self.outputs(self.x), self.weights
        content = sum(
            share * (outputs[name] - self.content[name]).square().sum() / self.content[name].square().sum()
            for name, share in w.content_layers.items()
        )
        style = sum(
            share * (self.gram(outputs[name]) - self.grams[name]).square().sum() / self.grams[name].square().sum()
            for name, share in w.style_layers.items()
        )
        variation = (self.x.diff(dim=2).square().sum() + self.x.diff(dim=3).square().sum()) / self.x.numel()
        return w.content * content, w.style * style, w.variation * variation  # type: ignore[return-value]

    def evaluate(self) -> tuple[Tensor, ...]:
        self.optimizer.zero_grad()
        parts = self.losses()
        sum(parts).backward()  # type: ignore[union-attr]
        return parts

    def steps(self, count: int) -> Iterator[Reading]:
        """One reading for each evaluation, handed out 20 at a time, because torch's step makes so many."""
        readings: list[Reading] = []
        used = start = 0.0

        def closure() -> Tensor:
            parts = self.evaluate()
            value = sum(parts)
            seconds = used + time.perf_counter() - start
            readings.append(Reading(seconds, float(value.detach()), [float(part.detach()) for part in parts]))
            return value  # type: ignore[return-value]

        while len(readings) < count:
            done, start = len(readings), time.perf_counter()
            self.optimizer.step(closure)
            used += time.perf_counter() - start
            yield from readings[done:]
